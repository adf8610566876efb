"""Every file that a stage or a command reads, damaged: it runs, or refuses in one line.

`python -m tests.torture.damage 5000` tries so many, and ends with counts; the same number tries the same damages.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from stages import terminal
from stages.files.errors import run
from tests.conftest import ROOT, STAGES, Project, run_here

COMMANDS = {  # with their arguments, in the folder of the study
    "plan": ["--study", "."],
    "predict": [".", "trials.csv", "--out", "predictions.csv"],
    "check": [".", "--repetitions", "2"],
    "summary": [],
}
STAGES_OF = {"simulated": STAGES, "study": ("prepare", *STAGES[1:])}
TARGETS = [(pipeline, stage) for pipeline, stages in STAGES_OF.items() for stage in stages]
TARGETS += [("study", command) for command in COMMANDS]


def make(folder: Path, *pipelines: str) -> None:
    """Pipelines, run, below `folder`."""
    for name in pipelines:
        project = Project.small(folder / name)
        simulated = {"n_trials": 120, "n_test_trials": 60, "n_factors": 3}
        project.set(simulate=simulated, train={"solver": "exact"}, plot={"dpi": 30, "class_index": 0})
        if name == "study":
            own_trials(project)
        with contextlib.chdir(project.folder), contextlib.redirect_stdout(io.StringIO()):
            run_here(*STAGES_OF[name])


def own_trials(project: Project) -> None:
    """With groups, factors by formula, and held-out trials."""
    rng, n = np.random.default_rng(0), 240
    table = pd.DataFrame({"contrast": rng.normal(size=n), "rule": rng.choice(["a", "b"], n), "day": np.arange(n) // 80})
    table["choice"] = np.where(table.contrast + rng.logistic(size=n) > 0, "right", "left")
    table.to_csv(project.folder / "trials.csv", index=False)
    params = yaml.safe_load(project.params.read_text())
    del params["simulate"]
    rat = yaml.safe_load((ROOT / "studies/rat/params.yaml").read_text())["prepare"]
    formula = "choice ~ contrast + rule + lag(choice, 1)"
    params["prepare"] = {**rat, "trials": "trials.csv", "formula": formula, "held_out": 0.2}
    project.params.write_text(yaml.safe_dump(params, sort_keys=False))


def inputs(stage: str, folder: Path) -> list[Path]:
    """The files that a stage reads here; of a command, all."""
    if stage in ("simulate", "prepare"):
        return [*folder.glob("*.*")]
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    deps = [*declared.get(stage, {"deps": ["data"]})["deps"], "data/trials.json", "params.yaml"]
    paths = [folder / name for name in deps if name.startswith(("data", "params.yaml"))]
    return sorted(file for path in paths for file in (path, *path.rglob("*.*")) if file.is_file())


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy, as the current folder."""
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(shutil.copytree(folder, Path(scratch, "copy")))
        with contextlib.chdir(here):
            yield here


def damaged(content: bytes, stream: random.Random) -> bytes:
    """Cut off, with a bit flipped (half of the time near the beginning, where headers are), or overwritten."""
    start = stream.randrange(min(len(content), stream.choice([256, len(content)])))
    flipped = bytes([content[start] ^ 1 << stream.randrange(8)])
    put, length = stream.choice([(flipped, 1), (stream.randbytes(16), 16), (b"", len(content))])
    return content[:start] + put + content[start + length :]


def attempt(folder: Path, pipeline: str, stage: str, stream: random.Random) -> str:
    """What came of one damage: "refused", "accepted", or else what is wrong."""
    with copied(folder / pipeline) as here:
        path = stream.choice(inputs(stage, here))
        path.write_bytes(damaged(path.read_bytes(), stream))
        with mock.patch.object(Figure, "savefig", lambda figure, path, **_: Path(path).touch()):  # saves time
            said, status = outcome(stage)
    if not status:
        return "accepted"
    refused = status == "traceback" or said.count("\n") != 1 or not said.startswith("error: ")
    return f"{path.name}: {said}" if refused else "refused"


def outcome(stage: str) -> tuple[str, object]:
    """What a stage reports on stderr, and its exit status; of what nobody foresaw the last line, and `traceback`."""
    main = importlib.import_module(f"stages.{stage}").main
    arguments = mock.patch.object(sys, "argv", [stage, *COMMANDS.get(stage, [])])
    quiet = contextlib.redirect_stdout(io.StringIO()), mock.patch.object(terminal.CONSOLE, "quiet", True)
    with contextlib.redirect_stderr(io.StringIO()) as errors, arguments, quiet[0], quiet[1]:
        try:
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # NumPy's, of NaN among factors
                run(main)
        except SystemExit as end:
            return errors.getvalue(), end.code
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return f"{error!r} at {place.filename}:{place.lineno}", "traceback"
    return errors.getvalue(), 0


def main() -> None:
    count, wrong = int(sys.argv[1]) if len(sys.argv) > 1 else 5000, 0
    with tempfile.TemporaryDirectory(prefix="damage-") as folder:
        make(Path(folder), *STAGES_OF)
        for number in range(count):
            pipeline, stage = TARGETS[number % len(TARGETS)]
            result = attempt(Path(folder), pipeline, stage, random.Random(number))
            if result not in ("refused", "accepted"):
                wrong += 1
                print(f"{number}  {pipeline}: {stage}: {result}", flush=True)
    print(f"{count} damages, {wrong} of them neither refused in one line nor harmless")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
