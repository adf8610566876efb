"""Checks of a change, and comparison of experiments: `python -m comparisons.NAME`."""

import stages  # noqa: F401  # so that Ctrl-C during NAME's imports gives no traceback: see there
