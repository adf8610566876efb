"""Fail unless dvc.lock, data/metrics.json and the pictures in docs/ are those of the committed code.

1. No stage is out of date. DVC has no exit status for that: `dvc status` lists what is modified, and what is
   merely absent from this machine. (`dvc repro --dry --allow-missing` fails if an input of a stale stage is.)
2. `dvc repro` gives the committed lock and metrics.
3. The pictures in docs/ that are figures of the pipeline are its figures.

`python -m comparisons.ci.lock`; exit status 0 if so, 1 if not, 2 if that could not be decided.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from comparisons.ci import pictures
from comparisons.commands import DVC, enter, finish, output, parser
from stages.files.errors import InputError

ABSENT = {"deleted", "not in cache"}  # what `dvc status` calls a file that is not on this machine
FILES = ("dvc.lock", "data/metrics.json")


def stale() -> list[str]:
    """The stages whose command, parameters, inputs or outputs differ from the lock, in their order."""
    status = json.loads(output(*DVC, "status", "--json", "dvc.yaml"))
    return [stage for stage, reasons in status.items() if not ABSENT.issuperset(states(reasons))]


def states(reasons: Any) -> Iterator[str]:
    """The leaves of one stage's part of `dvc status --json`: "modified", "deleted", "changed command", …"""
    if isinstance(reasons, str):
        yield reasons
    else:
        for reason in reasons.values() if isinstance(reasons, dict) else reasons:
            yield from states(reason)


def main(arguments: Sequence[str] | None = None) -> int:
    enter(parser("ci.lock", __doc__).parse_args(arguments).folder)
    if would_run := stale():
        names = ", ".join(would_run)
        print(f"dvc.lock is stale: `dvc repro` would run {names}. Run it and commit dvc.lock and data/.")
        return 1
    if subprocess.run([*DVC, "repro"], check=False).returncode != 0:
        raise InputError("`dvc repro` failed, as it says above")
    output("git", "rev-parse", "HEAD:./dvc.lock")  # it must be committed
    changed = output("git", "diff", "--relative", "--name-only", "HEAD", "--", *FILES).splitlines()
    if wrong := [*changed, *pictures.outdated()]:
        subprocess.run(["git", "--no-pager", "diff", "HEAD", "--", *FILES], check=False)
        names = ", ".join(wrong)
        print(f"not what the committed code gives: {names}. Run `make repro docs` and commit them.")
        return 1
    names = ", ".join(path.stem for path in pictures.copies()) or "none"
    print(f"{', '.join(FILES)} and the pictures in docs/ ({names}) are those of the committed code.")
    return 0


if __name__ == "__main__":
    finish(main)
