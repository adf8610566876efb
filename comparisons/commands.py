"""What the commands here share: how they call git and DVC, their options, and their exit status."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stages.files.errors import InputError, heed_interruption

DVC = (sys.executable, "-m", "dvc")  # from this interpreter's environment, activated or not


def output(*command: str) -> str:
    """What git or DVC prints; if it fails, raises InputError with the line that gives the reason."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        raise InputError(f"{command[0]} is not installed, or not on the path") from None
    except subprocess.CalledProcessError as error:
        name = " ".join(command).replace(" ".join(DVC), "dvc")
        raise InputError(f"`{name}` failed: {reason(error.stderr or error.stdout)}") from None


def reason(printed: str) -> str:
    """The first line of git's, DVC's or a stage's output that gives the reason for a failure."""
    lines = printed.strip().splitlines() or ["it gives no reason"]
    errors = (line.split(": ", 1)[1] for line in lines if line.lower().startswith(("error: ", "fatal: ")))
    return next(errors, lines[0])


def commit(revision: str) -> str | None:
    """The full hash of a commit, or None if there is no such commit here."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """The options that all of our commands have."""
    made = argparse.ArgumentParser(f"python -m comparisons.{module}", description=description)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--folder", default=".", help="the folder of dvc.yaml (default: the current one)")
    return made


def enter(folder: str) -> None:
    """Go to the folder of a pipeline, given by --folder. Raises InputError if it is not one."""
    if not Path(folder, "dvc.yaml").is_file():
        raise InputError(f"{folder} holds no dvc.yaml; name the folder of a pipeline, as in: studies/rat")
    os.chdir(folder)


def finish(main: Callable[[], int]) -> None:
    """Exit with the status that `main` returns: 0 good, 1 bad; or with 2, and one line, if it cannot decide."""
    try:
        heed_interruption()
        sys.exit(main())
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell reports for SIGINT
