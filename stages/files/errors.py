"""Mistakes that the user can correct are one line, with a non-zero exit status and no traceback."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from stages.files import OBSERVERS

# Set where a command runs DVC and prints the answer: a file to which stages add the errors that they name.
SAID = "HDLOGIT_SAID"


class InputError(Exception):
    """Bad input. The message is one line: what is wrong, where (file, key, value), what would be right."""

    status = 1  # exit status


class NoEstimateError(InputError):
    """The trials determine no coefficients: a finding, which a caller may expect."""

    status = 3


def run(main: Callable[[], None]) -> None:
    """Run a command's `main`; mistakes that the user can correct become one line on stderr and a status."""
    try:
        main()
    except InputError as error:
        _fail(str(error), error.status)
    except MemoryError as error:
        _fail(f"not enough memory for parameters or data of this size: {error}")
    except OSError as error:  # a full disk, a missing permission: the system's own words say it best
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell reports for SIGINT


def check_memory(needed: float, what: str, instead: str) -> None:
    """Raise InputError where this machine has less memory than `what` needs, in bytes."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        sizes = f"needs {needed / 1e9:.3g} GB of memory, but this machine has {there / 1e9:.3g}"
        raise InputError(f"{what} {sizes}; {instead}")


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage, which takes no arguments: its parameters are in params.yaml and its files below data/."""
    notice = "It takes no arguments: its parameters are in params.yaml, its files below data/."
    argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__, epilog=notice).parse_args()
    run(main)


def _fail(message: str, status: int = 1) -> None:
    here = Path.cwd()
    if here.parent.name == OBSERVERS:
        message = f"{here.name}: {message}"
    if SAID in os.environ:
        with Path(os.environ[SAID]).open("a", encoding="utf-8") as said:
            said.write(f"{message}\n")
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
