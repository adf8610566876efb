"""Run the grid of experiments (comparisons/grid.yaml) with DVC, and draw what came out: `make experiments`.

Each runs in a temporary folder of DVC's (`dvc exp run --temp`), so the workspace is never touched, whatever happens.
What this commit has already is skipped: stop at any time, and go on with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from comparisons import chart, results
from comparisons.grid import Experiment, Group, Value, flat, read_grid, same, written
from stages.errors import InputError, run

GRID = Path(__file__).with_name("grid.yaml")
DRAWINGS = Path("docs/experiments")
NO_ESTIMATE = "no maximum-likelihood estimate exists"  # as stages.exact says it


def main() -> None:
    """Run what is missing, then draw; exit status 1 if an experiment failed, after all the others."""
    arguments = parse()
    head = results.commit()
    groups = read_grid(arguments.grid, params_of(head))
    rows = {row.name: row for row in results.load()[1:]}
    todo = [(group, e) for group in groups for e in group.experiments if not is_there(e, rows.get(e.name))]
    print(f"{sum(len(group.experiments) for group in groups)} experiments, {len(todo)} of them to run", flush=True)
    if todo:
        check_clean()
    failed = []
    for number, (group, experiment) in enumerate(todo, start=1):
        started = time.monotonic()
        outcome = perform(group, experiment, head)
        seconds = time.monotonic() - started
        print(f"[{number}/{len(todo)}] {experiment.name}: {outcome or 'done'} ({seconds:.0f} s)", flush=True)
        if outcome not in (None, "no estimate exists"):
            failed.append(experiment.name)
    failed += draw(groups, arguments.out)
    if failed:
        raise InputError(
            f"failed: {', '.join(failed)}; everything else is done, and the same command tries these again"
        )


def draw(groups: Sequence[Group], out: Path) -> list[str]:
    """The figure and the tables of every group that asks for them; the names of the groups without."""
    (baseline, *rows), failed = results.load(), []
    for group in groups:
        names = {experiment.name for experiment in group.experiments}  # those of an older grid may be there, too
        members = [row for row in rows if row.name in names]
        if not group.metrics:
            continue
        try:
            if not members:
                raise InputError("none of its experiments has ended well")
            paths = chart.make([baseline, *members], group.metrics, group.parameter, "*", out / group.name)
            print(f"{group.name}: {', '.join(map(str, paths))}")
        except InputError as error:
            print(f"{group.name}: not drawn: {error}")
            failed.append(f"the figure of {group.name}")
    return failed


def params_of(revision: str) -> dict[str, Value]:
    """The parameters of a commit, flat."""
    shown = subprocess.run(["git", "show", f"{revision}:./params.yaml"], capture_output=True, text=True, check=False)
    document = yaml.safe_load(shown.stdout) if shown.returncode == 0 else None
    if not isinstance(document, dict):
        raise InputError("the last commit has no params.yaml here; run this from the folder that holds it")
    return flat(document)


def is_there(experiment: Experiment, row: results.Row | None) -> bool:
    """Whether the commit has this experiment. Raises InputError where it has another one of that name."""
    if row is None:
        return False
    if not same(experiment.settings, row.params):
        if row.no_estimate:
            return False  # an older finding: the new one takes its place
        raise InputError(
            f"{experiment.name} exists already with other parameters than {settings(experiment)}; "
            f"remove it with `dvc exp remove {experiment.name}`, or rename its group"
        )
    return True


def settings(experiment: Experiment) -> str:
    return " ".join(f"{key}={written(value)}" for key, value in experiment.settings.items())


def check_clean() -> None:
    """An experiment takes along what is changed but not committed: its results would not be the commit's."""
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){DRAWINGS}"]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5])
        raise InputError(f"the workspace has changes ({names}): commit them, or `git checkout . && dvc checkout` first")


def perform(group: Group, experiment: Experiment, head: str) -> str | None:
    """Run one; what is to be said of it, or None if it ended well."""
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", experiment.name]
    for key, value in experiment.settings.items():
        command += ["--set-param", f"{key}={written(value)}"]
    status, said = wait(command)
    if status == 0:
        return None
    errors = [line for line in said.splitlines() if line.lower().startswith("error: ")]
    if group.may_have_no_estimate and any(NO_ESTIMATE in line for line in errors):
        record(head, experiment.name, experiment.settings)
        return "no estimate exists"
    return f"failed: {errors[0].split(': ', 1)[1] if errors else f'exit {status}'}"


def record(head: str, name: str, found: Mapping[str, Value]) -> None:
    """Remember, beside DVC's own temporary files, that the settings allow no estimate: it need not be tried again."""
    folder = results.FINDINGS / head
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.partial"
    partial.write_text(json.dumps(dict(found)) + "\n")
    partial.replace(folder / f"{name}.json")


def wait(command: Sequence[str]) -> tuple[int, str]:
    """Run to the end, also when interrupted: DVC then stops its stage, removes its folder and gives back its locks.

    It gets a session of its own, so that a Ctrl-C reaches it once and from here, not twice.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # stages run `python`: this one
    process = subprocess.Popen(
        command,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate()
    except KeyboardInterrupt:
        print("stopping; what is done is kept, and the same command goes on from there", file=sys.stderr, flush=True)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
        raise
    return process.returncode, said


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m comparisons.experiments", description=__doc__)
    parser.add_argument("--grid", type=Path, default=GRID, help="the grid (default: comparisons/grid.yaml)")
    parser.add_argument("--out", type=Path, default=DRAWINGS, help=f"folder of figures and tables ({DRAWINGS})")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
