"""Make DVC ready to work, before `make` calls it: `python -m comparisons.unlock`.

A killed DVC can leave a lock half-written, after which every DVC command fails; without git it needs a
setting.
"""

from __future__ import annotations

import json
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.strictyaml import load

from comparisons.git import DVC, output
from stages.files.errors import run


def main() -> None:
    allow_no_git()
    for lock in (Path(".dvc/tmp/rwlock"), Path("dvc.lock"), *Path("studies").rglob("dvc.lock")):
        if lock.exists() and is_half_written(lock):
            lock.unlink()
            print(f"{lock} was left half-written by a DVC that was killed, and is removed")


def allow_no_git() -> None:
    """Set core.no_scm, without which DVC refuses to work where there is no git, as in an unpacked archive."""
    config, here = Path(".dvc/config.local"), Path.cwd()
    is_set = config.exists() and "no_scm" in config.read_text(encoding="utf-8")
    if not is_set and not any((above / ".git").exists() for above in (here, *here.parents)):
        output(*DVC, "config", "--local", "core.no_scm", "true")  # other settings stay
        print(f"there is no git here: {config} tells DVC so (core.no_scm)")


def is_half_written(lock: Path) -> bool:
    text = lock.read_text(encoding="utf-8", errors="replace")
    try:
        json.loads(text) if lock.name == "rwlock" else load(str(lock), COMPILED_LOCKFILE_SCHEMA)
    except (ValueError, DvcException):
        return "<<<<<<<" not in text  # else a merge's conflict, for a person to decide
    return False


if __name__ == "__main__":
    run(main)
