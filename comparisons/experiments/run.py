"""Run the grid of experiments (grid.yaml) with DVC, and draw the results: `make experiments`.

Each runs in a temporary folder of DVC's (`dvc exp run --temp`), so the workspace is never touched, whatever happens.
Experiments that this commit already has are skipped: stop at any time, and go on with the same command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from comparisons.commands import DVC, enter, environment, output, parser, reason
from comparisons.experiments import chart, results
from comparisons.experiments.grid import Experiment, Group, read_grid, same
from stages.files.errors import OUTCOME, InputError, NoEstimateError, run

GRID = Path(__file__).with_name("grid.yaml")
DRAWINGS = Path("docs/experiments")


def main() -> None:
    """Run what is missing, then draw; exit status 1 if an experiment failed, after all the others."""
    options = parser("experiments.run", __doc__)
    options.add_argument("--grid", type=Path, default=GRID, help="the grid (default: grid.yaml beside this module)")
    arguments = options.parse_args()
    enter(arguments.folder)
    head = results.full_name()
    base, *rows = results.load()
    groups, there = read_grid(arguments.grid, base.params), {row.name: row for row in rows}
    grid = [(group, experiment) for name, group in groups.items() for experiment in group.experiments(name)]
    todo = [(group, experiment) for group, experiment in grid if not is_there(experiment, there.get(experiment.name))]
    print(f"{len(grid)} experiments, {len(todo)} of them to run", flush=True)
    if todo:
        check_clean()
    failed = []
    for number, (group, experiment) in enumerate(todo, start=1):
        started = time.monotonic()
        status, message = perform(experiment)
        expected = status == NoEstimateError.status and group.may_have_no_estimate
        if expected:
            record(head, experiment)
        elif status != 0:
            failed.append(experiment.name)
        outcome = "no estimate exists" if expected else f"failed: {message}" if status else "done"
        print(f"[{number}/{len(todo)}] {experiment.name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    failed += draw(groups)
    if failed:
        raise InputError(
            f"failed: {', '.join(failed)}; everything else is done, and the same command tries these again"
        )


def draw(groups: Mapping[str, Group]) -> list[str]:
    """Make the figure and the tables of every group that asks for them; return which of them failed."""
    (baseline, *rows), failed = results.load(), []
    for name, group in groups.items():
        names = {experiment.name for experiment in group.experiments(name)}  # those of an older grid may be there, too
        members = [row for row in rows if row.name in names]
        if group.draw:
            try:
                paths = chart.make([baseline, *members], group.draw, group.parameter, "*", DRAWINGS / name)
                print(f"{name}: {', '.join(map(str, paths))}")
            except InputError as error:
                print(f"{name}: not drawn: {error}")
                failed.append(f"the figure of {name}")
    return failed


def is_there(experiment: Experiment, row: results.Row | None) -> bool:
    """Whether the commit has this experiment. Raises InputError if it has a different one of that name."""
    if row is None or same(experiment.settings, row.params):
        return row is not None
    if row.no_estimate:
        return False  # an older finding: the new one replaces it
    raise InputError(
        f"{experiment.name} exists already with other parameters than {' '.join(experiment.options)}; "
        f"remove it with `dvc exp remove {experiment.name}`, or rename its group"
    )


def check_clean() -> None:
    """Raise InputError for uncommitted changes: experiments would include them, and not be the commit's."""
    command = ("git", "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){DRAWINGS}")
    if changed := output(*command).splitlines():
        names = ", ".join(line[3:] for line in changed[:5])
        raise InputError(f"the workspace has changes ({names}): commit them, or `git checkout . && dvc checkout` first")


def perform(experiment: Experiment) -> tuple[int, str]:
    """Run one: exit status and, unless that is 0, one line with the reason, both from the stage that failed.

    DVC exits with a status of its own, so a stage writes its own to the file that $HDLOGIT_OUTCOME names. If there is
    none, DVC itself failed.
    """
    options = [option for setting in experiment.options for option in ("--set-param", setting)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.json"
        status, printed = wait(*DVC, "exp", "run", "--temp", "--name", experiment.name, *options, outcome=file)
        if status and file.exists():
            outcome = json.loads(file.read_text(encoding="utf-8"))
            return outcome["status"], outcome["message"]
        return status, reason(printed) if status else ""


def record(head: str, experiment: Experiment) -> None:
    """Record, beside DVC's own temporary files, that no estimate exists with these settings, so as not to try again."""
    folder = results.FINDINGS / head
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{experiment.name}.partial"
    partial.write_text(json.dumps(dict(experiment.settings)) + "\n")
    partial.replace(folder / f"{experiment.name}.json")


def wait(*command: str, outcome: Path) -> tuple[int, str]:
    """Run to the end, even when interrupted: DVC then stops its stage, removes its folder and releases its locks.

    It gets a session of its own, so that a Ctrl-C reaches it only once, from here.
    """
    process = subprocess.Popen(
        command,
        env=environment(**{OUTCOME: str(outcome)}),
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
    return process.returncode, printed


if __name__ == "__main__":
    run(main)
