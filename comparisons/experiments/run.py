"""Run the grid of experiments (grid.yaml) with DVC, and draw the results: `make experiments`.

Each runs in a temporary folder of DVC's (`dvc exp run --temp`), so the workspace is never touched, whatever
happens. Experiments that this commit already has are skipped: stop at any time, and go on with the same command.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from comparisons.commands import DVC, enter, output, parser, reason
from comparisons.experiments import chart, results
from comparisons.experiments.grid import Experiment, Group, read_grid, written
from stages.files.errors import InputError, NoEstimateError, run

GRID = Path(__file__).with_name("grid.yaml")
DRAWINGS = Path("docs/experiments")


def main() -> None:
    """Run what is missing, then draw; exit status 1 if an experiment failed, after all the others."""
    options = parser("experiments.run", __doc__)
    options.add_argument("--grid", type=Path, default=GRID, help="the grid (default: grid.yaml beside this)")
    arguments = options.parse_args()
    enter(arguments.folder)
    base, *rows = results.load()
    groups, there = read_grid(arguments.grid, base.params), {row.name: row for row in rows}
    grid = [experiment for name, group in groups.items() for experiment in group.experiments(name)]
    todo = [experiment for experiment in grid if not is_there(experiment, there.get(experiment.name))]
    print(f"{len(grid)} experiments, {len(todo)} of them to run", flush=True)
    if todo:
        check_clean()
    failed = []
    for number, experiment in enumerate(todo, start=1):
        started = time.monotonic()
        status, message = perform(experiment)
        outcome = f"failed: {message}" if status else "done"
        if status == NoEstimateError.status:  # a finding
            results.record_no_estimate(experiment)
            outcome = "no estimate exists"
        elif status:
            failed.append(experiment.name)
        seconds = time.monotonic() - started
        print(f"[{number}/{len(todo)}] {experiment.name}: {outcome} ({seconds:.0f} s)", flush=True)
    failed += draw(groups)
    if failed:
        names = ", ".join(failed)
        raise InputError(f"failed: {names}; everything else is done, and the same command tries these again")


def draw(groups: Mapping[str, Group]) -> list[str]:
    """Make the figure and the tables of every group that asks for them; return which of them failed."""
    (baseline, *rows), failed = results.load(), []
    for name, group in groups.items():
        names = {experiment.name for experiment in group.experiments(name)}
        members = [row for row in rows if row.name in names]
        if group.draw:
            try:
                parameter = next(iter(group.vary))
                paths = chart.make([baseline, *members], group.draw, parameter, "*", DRAWINGS / name)
                print(f"{name}: {', '.join(map(str, paths))}")
            except InputError as error:
                print(f"{name}: not drawn: {error}")
                failed.append(f"the figure of {name}")
    return failed


def is_there(experiment: Experiment, row: results.Row | None) -> bool:
    """Whether the row is this experiment. (If another one has its name, DVC refuses to run it.)"""
    settings = experiment.settings.items()
    return row is not None and all(written(row.params.get(key)) == written(value) for key, value in settings)


def check_clean() -> None:
    """Raise InputError for uncommitted changes: experiments would include them, and not be the commit's."""
    changed = output("git", "diff", "--name-only", "HEAD", "--", ".", f":(exclude){DRAWINGS}").splitlines()
    if changed:
        names = ", ".join(changed[:5])
        undo = "`git checkout . && dvc checkout`"
        raise InputError(f"the workspace has changes ({names}): commit them, or {undo} first")


def perform(experiment: Experiment) -> tuple[int, str]:
    """Run one: the exit status of the stage that failed, or of DVC, or 0; and one line with the reason.

    Even when interrupted it runs to the end: DVC then stops its stage, removes its folder and releases its
    locks. It gets a session of its own, so that a Ctrl-C reaches it only once, from here.
    """
    command = [*DVC, "exp", "run", "--temp", "--name", experiment.name]
    for key, value in experiment.settings.items():
        command += ["--set-param", f"{key}={written(value)}"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate()
    except KeyboardInterrupt:
        print("stopping; what is done stays, and the same command goes on from there", file=sys.stderr, flush=True)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
        raise
    of_stage = re.search(r"^ERROR: failed to reproduce .* exited with (\d+)$", printed, re.MULTILINE)
    return int(of_stage[1]) if of_stage else process.returncode, reason(printed)


if __name__ == "__main__":
    run(main)
