"""What a person can mend is said in one line, with a non-zero exit and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(Exception):
    """Bad input. The message is one line: what is wrong, where (file, key, value), what would be right."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`; turn what its user can mend into one line on stderr and exit status 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except MemoryError as error:
        sys.exit(f"error: not enough memory for parameters or data of this size: {error}")
    except OSError as error:  # a full disk, a missing permission: the operating system's own words say it best
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell reports for SIGINT
