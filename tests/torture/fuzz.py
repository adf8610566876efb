"""Every file that a stage or a command reads, damaged: it is refused in one line, or gives what the file now says.

`python -m tests.torture.fuzz 5000` tries so many, and ends with counts; the same number tries the same damages.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from matplotlib.figure import Figure

from stages import terminal
from stages.files.errors import run
from tests.conftest import ROOT, STAGES, Project, run_here
from tests.torture.damage import damage
from tests.torture.oracle import well_formed

PIPELINES: dict[str, dict[str, Any]] = {  # name -> section train
    "adam": {"solver": "adam", "num_epochs": 3, "batch_size": 64, "device": "cpu"},
    "exact": {"solver": "exact", "ridge": "auto"},
    "study": {"solver": "exact"},
}
FORMATS = ("csv", "tsv", "txt", "parquet", "feather", "arrow", "arrows", "npy", "npz")
COMMANDS = {  # and their arguments, in the folder of the study; all others take none
    "plan": ["--study", "."],
    "predict": [".", "trials.csv", "--out", "predictions.csv"],
    "check": [".", "--repetitions", "2"],
}
TRIALS = ("train/factors.npy", "train/responses.npy")
FIT = (*TRIALS, "test/factors.npy", "test/responses.npy", "model.safetensors")
TRUTH = ("observer.npy", "observer_rates.npy")
TABLES = ("metrics.json", "loss.csv", "coefficients.csv", "calibration.csv", "trajectory.csv", "histogram.csv")
INFERRED = ("coefficients", "classes", "curve", "curve_bins", "map", "planning", "calibration_best")


@dataclass(frozen=True)
class Target:
    """A stage or a command in the folder of a pipeline, and a file that it reads."""

    pipeline: str
    stage: str
    file: str

    def __str__(self) -> str:
        return f"{self.pipeline}: {self.stage} reads {self.file}"


def targets() -> list[Target]:
    """All of them. A pipeline reads what the others do, too; it stands where it is the cheapest."""
    found = [Target("adam", stage, "params.yaml") for stage in STAGES if stage != "plot"]
    found += [Target("adam", "train", f"data/{name}") for name in TRIALS]
    found += [Target("adam", "evaluate", f"data/{name}") for name in (*FIT, *TRUTH, "checkpoints/*0.safetensors")]
    found += [Target("exact", "evaluate", f"data/{name}") for name in FIT]
    found += [Target("exact", "train", f"data/{name}") for name in TRIALS]
    found += [Target("study", "prepare", f"trials.{kind}") for kind in FORMATS]
    found += [Target("study", "prepare", "params.yaml")]
    found += [Target("study", "evaluate", f"data/{name}") for name in ("trials.json", "train/groups.npy")]
    found += [Target("adam", "plot", f"data/{name}") for name in TABLES]
    found += [Target("exact", "plot", f"data/{name}") for name in ("metrics.json", "coefficients.csv")]
    found += [Target("exact", "plot", f"data/inference/{name}.csv") for name in INFERRED]
    found += [Target("study", "plot", f"data/{name}") for name in ("metrics.json", "inference/replication.csv")]
    found += [Target("exact", "summary", f"data/{name}") for name in ("metrics.json", "inference/answer.txt")]
    return found + others()


def others() -> list[Target]:
    """What only own trials have, and what commands read."""
    trained = ("train/factors.npy", "train/responses.npy", "model.safetensors", "trials.json")
    found = [Target("study", stage, "data/trials.json") for stage in ("train", "plot")]
    found += [Target("study", "summary", name) for name in ("dvc.lock", "params.yaml")]
    tables = ("metrics.json", "inference/classes.csv", "inference/coefficients.csv")
    found += [Target("study", "plan", f"data/{name}") for name in tables]
    found += [Target("study", command, f"data/{name}") for command in ("predict", "check") for name in trained]
    found += [Target("study", "predict", "trials.csv")]
    return found


# --- the undamaged pipelines


def make(folder: Path) -> None:
    """All pipelines, run, below `folder`."""
    for name, train in PIPELINES.items():
        project = Project.small(folder / name)
        simulated = {"n_trials": 120, "n_test_trials": 60, "n_factors": 3}
        project.set(simulate=simulated, train={"device": "cpu", **train}, plot={"dpi": 30, "class_index": 0})
        if name == "study":
            own_trials(project)
        with contextlib.chdir(project.folder), contextlib.redirect_stdout(io.StringIO()):
            run_here("prepare" if name == "study" else "simulate", *STAGES[1:])
    params = yaml.safe_load((folder / "study/params.yaml").read_text())
    lock = {"stages": {"evaluate": {"cmd": "python -m stages.evaluate", "params": {"params.yaml": params}}}}
    (folder / "study/dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def own_trials(project: Project) -> None:
    """In every format; with groups, factors by formula, and held-out trials."""
    rng, n = np.random.default_rng(0), 240
    table = pd.DataFrame({"contrast": rng.normal(size=n), "rule": rng.choice(["a", "b"], n), "day": np.arange(n) // 80})
    table["choice"] = np.where(table.contrast + rng.logistic(size=n) > 0, "right", "left")
    for ending, delimiter in (("csv", ","), ("tsv", "\t"), ("txt", ";")):
        table.to_csv(project.folder / f"trials.{ending}", index=False, sep=delimiter)
    table.to_parquet(project.folder / "trials.parquet")
    for ending in ("feather", "arrow"):
        table.to_feather(project.folder / f"trials.{ending}")
    columns = pa.Table.from_pandas(table)
    with pa.ipc.new_stream(project.folder / "trials.arrows", columns.schema) as stream:
        stream.write_table(columns)
    arrays: dict[str, Any] = {name: np.asarray(table[name].tolist()) for name in table}
    np.savez(project.folder / "trials.npz", **arrays)
    fields = [(name, array.dtype) for name, array in arrays.items()]
    np.save(project.folder / "trials.npy", np.rec.fromarrays([*arrays.values()], dtype=fields))
    params = yaml.safe_load(project.params.read_text())
    del params["simulate"]
    rat = yaml.safe_load((ROOT / "studies/rat/params.yaml").read_text())["prepare"]
    formula = "choice ~ contrast + rule + lag(choice, 1)"
    params["prepare"] = {**rat, "trials": "trials.csv", "formula": formula, "held_out": 0.2}
    project.params.write_text(yaml.safe_dump(params, sort_keys=False))


# --- one damage


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy by hard links, as the current folder: no stage changes a file in place."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        here = Path(shutil.copytree(folder, Path(scratch, "copy"), copy_function=os.link))
        with contextlib.chdir(here):
            yield here


def attempt(folder: Path, target: Target, stream: random.Random) -> str:
    """What came of one damage: "refused", "accepted", or else what is wrong."""
    with copied(folder / target.pipeline) as here:
        path = next(here.glob(target.file))
        if target.stage == "prepare" and target.file.startswith("trials."):
            project = Project(here)
            project.params.write_bytes(take(project.params).replace(b"trials.csv", target.file.encode()))
        before = path.read_bytes()
        damage(path, stream)
        with contextlib.nullcontext() if stream.random() < 0.1 else mock.patch.object(Figure, "savefig"):
            said, status = outcome(target.stage)  # to save figures costs most of the time
        if status is None:
            return f"traceback: {said}"
        lines = said.splitlines()
        if status:
            whole = len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable()
            return "refused" if whole else f"not one line: {said[:200]}"
        if lines:
            return f"noise: {said[:200]}"
        parts = (target.stage, path.name) == ("plot", "trials.json")  # of which it reads a part
        wrong = "" if parts else well_formed(path, before)
        return f"silent: {wrong}" if wrong else "accepted"


def take(path: Path) -> bytes:
    """The content of a file that is then removed: it may be a hard link."""
    content = path.read_bytes()
    path.unlink()
    return content


def outcome(stage: str) -> tuple[str, object]:
    """What a stage reports on stderr, and its exit status; of what nobody foresaw the last lines, and None."""
    main = importlib.import_module(f"stages.{stage}").main
    arguments = mock.patch.object(sys, "argv", [stage, *COMMANDS.get(stage, [])])
    quiet = contextlib.redirect_stdout(io.StringIO()), mock.patch.object(terminal.CONSOLE, "quiet", True)
    with contextlib.redirect_stderr(io.StringIO()) as errors, arguments, quiet[0], quiet[1]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                run(main)
        except SystemExit as end:
            return errors.getvalue(), end.code
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {error} at {place.filename.split('/')[-1]}:{place.lineno}", None
    return errors.getvalue(), 0


def tried(folder: Path, chosen: list[Target], count: int, seed: int = 0) -> Iterator[tuple[Target, int, str]]:
    """Damage after damage, target after target."""
    for number in range(count):
        target = chosen[number % len(chosen)]
        yield target, number, attempt(folder, target, random.Random(f"{seed} {number}"))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    chosen = [target for target in targets() if not sys.argv[2:] or sys.argv[2] in str(target)]
    counts, wrong = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        make(folder)
        for target, number, found in tried(folder, chosen, count):
            counts[found.split(":")[0]] += 1
            if found not in ("refused", "accepted"):
                wrong.append(found)
                print(f"{number}  {target}  {found}", flush=True)
    print(f"{count} damages of {len(chosen)} inputs: {dict(counts)}; {len(wrong)} are wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
