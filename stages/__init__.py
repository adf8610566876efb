"""What DVC runs, and commands for a person: `python -m stages.NAME`."""

import signal
import sys

# NAME's imports take seconds: until stages.files.errors.run, Ctrl-C ends the program without a traceback.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
