"""What decides about a change, and compares experiments: `python -m comparisons.NAME`."""

import stages  # noqa: F401  # while Python looks for NAME, Ctrl-C ends it without a traceback: see there
