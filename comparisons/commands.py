"""git and DVC as commands, and how our own commands end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from stages.errors import InputError

DVC = (sys.executable, "-m", "dvc")  # of this interpreter's environment, activated or not


def output(*command: str) -> str:
    """What the command prints; raises InputError with the line in which it says why it failed."""
    return attempt(*command).stdout


def attempt(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, both streams kept; raises InputError like `output`."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise InputError(f"{command[0]} is not installed, or not on the path") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines() or ["it does not say why"]
        why = next((line for line in said if line.lower().startswith(("error: ", "fatal: "))), f"error: {said[0]}")
        name = " ".join(command).replace(" ".join(DVC), "dvc")
        raise InputError(f"`{name}` failed: {why.split(': ', 1)[1]}") from None


def finish(main: Callable[[], int]) -> None:
    """End with the exit status that `main` returns: 0 good, 1 bad; and 2, with one line, if it could not tell."""
    try:
        sys.exit(main())
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell reports for SIGINT
