"""Make DVC ready to work, before `make` calls it: `python -m comparisons.unlock`.

A killed DVC can leave a lock half-written, after which every DVC command fails; without git it needs a
setting.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.strictyaml import load

from stages.files.errors import run
from stages.repository import allow_no_git

TMP = Path(".dvc/tmp")


def main() -> None:
    if allow_no_git(Path.cwd()):
        print("there is no git here: .dvc/config.local tells DVC so (core.no_scm)")
    if TMP.exists():
        unlock("rwlock.lock", [TMP / "rwlock"], lambda path: json.loads(path.read_bytes()))
        locks = [Path("dvc.lock"), *Path("studies").rglob("dvc.lock")]  # a broken one stops DVC everywhere
        unlock("lock", locks, lambda path: load(str(path), COMPILED_LOCKFILE_SCHEMA))


def unlock(guard: str, files: Iterable[Path], read: Callable[[Path], object]) -> None:
    """Remove those `files` that `read` refuses, while holding the `guard` that DVC holds as it writes."""
    with (TMP / guard).open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # a DVC may be writing
        for file in filter(Path.exists, files):
            try:
                read(file)
            except (ValueError, DvcException):
                if b"<<<<<<<" not in file.read_bytes():  # else a merge's conflict, for a person to decide
                    file.unlink()
                    print(f"{file} was left half-written by a DVC that was killed, and is removed")


if __name__ == "__main__":
    run(main)
