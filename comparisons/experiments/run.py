"""Run the grid of experiments (grid.yaml) with DVC, and draw the results: `make experiments`.

Each runs in a temporary folder of DVC's (`dvc exp run --temp`), so the workspace is never touched, whatever
happens. Experiments that this commit already has are skipped: stop at any time, and go on with the same
command.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from comparisons.experiments import chart, results
from comparisons.experiments.results import Row, written
from comparisons.git import DVC, output, reason
from stages.files.documents import nearest, read_yaml, validate
from stages.files.errors import InputError, NoEstimateError, run

GRID = Path(__file__).with_name("grid.yaml")
DRAWINGS = Path("docs/experiments")

Values = Annotated[list[bool | int | float | str], Field(min_length=1)]


class Group(BaseModel):
    """Experiments that answer one question: every combination of `vary`, with `fix`; `draw` names metrics."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    fix: dict[str, Any] = {}
    vary: Annotated[dict[str, Values], Field(min_length=1)]
    draw: list[str] = []

    def experiments(self, name: str) -> dict[str, dict[str, Any]]:
        """Settings by name: group, first value, other values with their keys: sample-size-5000-seed-1974."""
        found = {}
        for values in itertools.product(*self.vary.values()):
            settings = dict(zip(self.vary, values, strict=True))
            words = [f"{key.rpartition('.')[2]}-{written(value)}" for key, value in settings.items()]
            parts = [name, written(values[0]), *words[1:]]
            found["-".join(parts).replace("_", "-")] = self.fix | settings
        return found


def read_grid(path: Path, parameters: Iterable[str]) -> dict[str, Group]:
    """The groups of the file by name; only `parameters` may be varied. Raises InputError."""
    groups = {str(name): validate(Group, body, f"{path}: {name}") for name, body in read_yaml(path).items()}
    for name, group in groups.items():
        for key in group.fix | group.vary:
            if key not in parameters:
                raise InputError(f"{path}: {name}: {key} is not a parameter; {nearest(key, parameters)}")
    return groups


def main() -> None:
    """Run what is missing, then draw; exit status 1 if an experiment failed, after all the others."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--grid", type=Path, default=GRID, help="the grid (default: grid.yaml beside this)")
    grid = options.parse_args().grid
    base, *rows = results.load()
    groups, there = read_grid(grid, base.params), {row.name: row.params for row in rows}
    wanted = dict[str, dict[str, Any]]()
    for name, group in groups.items():
        wanted |= group.experiments(name)
    # Of another experiment that has one of these names, DVC says that it is in the way.
    todo = {name: made for name, made in wanted.items() if {**there.get(name, {}), **made} != there.get(name)}
    print(f"{len(wanted)} experiments, {len(todo)} of them to run", flush=True)
    if todo:
        check_clean()
    without, failed = list[Row](), list[str]()
    for number, (name, settings) in enumerate(todo.items(), start=1):
        started = time.monotonic()
        status, message = perform(name, settings)
        outcome = f"failed: {message}" if status else "done"
        if status == NoEstimateError.status:  # a finding, though DVC does not keep it
            without.append(Row(name, base.params | settings, {"fit.converged": False}))
            outcome = "no estimate exists"
        elif status:
            failed.append(name)
        print(f"[{number}/{len(todo)}] {name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    failed += draw(groups, [*results.load(), *without])
    if failed:
        names = ", ".join(failed)
        raise InputError(f"failed: {names}; everything else is done, and the same command tries these again")


def draw(groups: Mapping[str, Group], rows: Sequence[Row]) -> list[str]:
    """Make the figure and the tables of every group that asks for them; return which of them failed."""
    failed = []
    for name, group in groups.items():
        names, parameter = group.experiments(name), next(iter(group.vary))
        if group.draw:
            try:
                members = [row for row in rows[1:] if row.name in names]
                chosen = results.choose([rows[0], *members], "*", parameter)
                chart.make(chosen, group.draw, parameter, DRAWINGS / name)
            except InputError as error:
                failed.append(f"the figure of {name} ({error})")
    return failed


def check_clean() -> None:
    """Raise InputError for uncommitted changes: experiments would include them, and not be the commit's."""
    changed = output("git", "diff", "--name-only", "HEAD", "--", ".", f":(exclude){DRAWINGS}").splitlines()
    if changed:
        names, undo = ", ".join(changed[:5]), "`git checkout . && dvc checkout`"
        raise InputError(f"the workspace has changes ({names}): commit them, or {undo} first")


def perform(name: str, settings: dict[str, Any]) -> tuple[int, str]:
    """Run one: the exit status of the stage that failed, or of DVC, or 0; and one line with the reason.

    Ctrl-C reaches DVC too, which then stops its stage, removes its folder and releases its locks.
    """
    command = [*DVC, "exp", "run", "--temp", "--name", name]
    for key, value in settings.items():
        command += ["--set-param", f"{key}={written(value)}"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        printed, _ = process.communicate()
    except KeyboardInterrupt:
        print("stopping; what is done stays, and the same command goes on from there", file=sys.stderr)
        process.communicate()
        raise
    of_stage = re.search(r"^ERROR: failed to reproduce .* exited with (\d+)$", printed, re.MULTILINE)
    return int(of_stage[1]) if of_stage else process.returncode, reason(printed)


if __name__ == "__main__":
    run(main)
