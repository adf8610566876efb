"""Make DVC ready to work, before `make` calls it: `python -m comparisons.unlock`.

A killed DVC can leave a lock half-written, after which every DVC command fails; and without git DVC needs a setting.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from stages.errors import run
from stages.repository import allow_no_git

TMP = Path(".dvc/tmp")


def main() -> None:
    if allow_no_git(Path.cwd()):
        print("there is no git here: .dvc/config.local tells DVC so (core.no_scm)")
    unlock()


def unlock() -> None:
    """Remove .dvc/tmp/rwlock if it is empty or cut off, while holding rwlock.lock, as DVC does when it writes it."""
    rwlock = TMP / "rwlock"
    if not rwlock.exists():
        return
    with (TMP / "rwlock.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            json.loads(rwlock.read_bytes())
        except (BlockingIOError, FileNotFoundError):
            return  # a DVC is writing it
        except ValueError:
            rwlock.unlink()
            print(f"{rwlock} was left half-written by a DVC that was killed, and is removed")


if __name__ == "__main__":
    run(main)
