"""Run the grid of experiments (grid.yaml) with DVC, and draw the results: `make experiments`.

Each runs in a temporary folder of DVC's (`dvc exp run --temp`), so the workspace is never touched, whatever
happens. Experiments that this commit already has are skipped: stop at any time, and go on with the same
command.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from comparisons.experiments import chart
from comparisons.experiments.chart import SEED, written
from comparisons.git import DVC, Outcome, experiments, output, reason
from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError, NoEstimateError, run

GRID = Path("comparisons/experiments/grid.yaml")
DRAWINGS = Path("docs/experiments")


class Group(BaseModel):
    """Experiments that answer one question: a parameter at several values, each for several seeds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    parameter: str
    values: Annotated[list[bool | int | float | str], Field(min_length=1)]
    seeds: list[int] = []  # of the simulation; without any, that of params.yaml
    fix: dict[str, Any] = {}  # other parameters, alike in all

    def experiments(self, name: str) -> dict[str, dict[str, Any]]:
        """Settings by name: group, value, seed, as in sample-size-5000-seed-1974."""
        settings = dict[str, dict[str, Any]]()
        for value in self.values:
            one = {**self.fix, self.parameter: value}
            called = f"{name}-{written(value)}".replace("_", "-")
            settings |= {f"{called}-seed-{seed}": {**one, SEED: seed} for seed in self.seeds} or {called: one}
        return settings


def read_grid() -> dict[str, Group]:
    """The groups of the grid by name. Raises InputError."""
    return {str(name): validate(Group, body, f"{GRID}: {name}") for name, body in read_yaml(GRID).items()}


def main() -> None:
    """Run what is missing, then draw; exit status 1 if an experiment failed, after all the others."""
    groups = {name: (group, group.experiments(name)) for name, group in read_grid().items()}
    check_clean()
    there = experiments()
    wanted = {name: made for _, members in groups.values() for name, made in members.items()}
    todo = [name for name in wanted if name not in there]
    print(f"{len(wanted)} experiments, {len(todo)} of them to run", flush=True)
    base, without, failed = there["baseline"].params, dict[str, Outcome](), list[str]()
    for number, name in enumerate(todo, start=1):
        started = time.monotonic()
        status, message = perform(name, wanted[name])
        end = f"failed: {message}" if status else "done"
        if status == NoEstimateError.status:  # a result, though DVC does not keep it
            without[name], end = Outcome(base | wanted[name], {}), "no estimate exists"
        elif status:
            failed.append(name)
        print(f"[{number}/{len(todo)}] {name}: {end} ({time.monotonic() - started:.0f} s)", flush=True)
    outcomes = experiments() | without
    for name, (group, members) in groups.items():
        if not {*members} & {*failed}:
            chart.make(DRAWINGS / name, group.parameter, [outcomes[each] for each in members])
    if failed:
        raise InputError(f"failed: {', '.join(failed)}; their groups are not drawn, and `make experiments` tries again")


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
    command += [f"--set-param={key}={written(value)}" for key, value in settings.items()]
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
