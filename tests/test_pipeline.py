"""The pipeline as a whole, with real DVC: what runs when, what it depends on, and that it is reproducible."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Project, new_project

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
PARAMS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "params.yaml").read_text())

EVERYTHING = ["simulate", "train", "evaluate", "plot"]
AFTER_TRAIN = ["train", "evaluate", "plot"]

# key -> (another value, the stages that must then run)
CHANGES: dict[str, tuple[object, list[str]]] = {
    "simulate.seed": (1, EVERYTHING),
    "simulate.n_factors": (5, EVERYTHING),
    "simulate.n_classes": (3, EVERYTHING),
    "simulate.n_trials": (301, EVERYTHING),
    "simulate.n_test_trials": (201, ["simulate", "evaluate", "plot"]),
    "simulate.weight_scale": (0.5, EVERYTHING),
    "simulate.dtype": ("float32", ["simulate", "train", "evaluate"]),  # to six digits the same fit, so the same figures
    "simulate.streams": ("notebook", EVERYTHING),
    "train.solver": ("lbfgs", AFTER_TRAIN),
    "train.seed": (2, AFTER_TRAIN),
    "train.learning_rate": ("1e-2", AFTER_TRAIN),
    "train.beta1": (0.8, AFTER_TRAIN),
    "train.beta2": (0.99, AFTER_TRAIN),
    "train.amsgrad": (False, AFTER_TRAIN),
    "train.num_epochs": (4, AFTER_TRAIN),
    "train.batch_size": (100, AFTER_TRAIN),
    "train.ridge": (0.01, AFTER_TRAIN),
    "train.tolerance": ("1e-5", ["train"]),  # the same fit, so what reads it has nothing new to read
    "train.max_iterations": (100, ["train"]),
    "train.dtype": ("float32", AFTER_TRAIN),
    "train.device": ("auto", ["train"]),
    "evaluate.calibration_bins": (5, ["evaluate", "plot"]),
    "evaluate.histogram_bins": (5, ["evaluate", "plot"]),
    "evaluate.interval_level": (0.9, ["evaluate"]),  # Adam's fit has no intervals
    "plot.class_index": (1, ["plot"]),
    "plot.dpi": (41, ["plot"]),
}
NEEDED = {"train.ridge": {"solver": "lbfgs"}}  # what must be changed along with a key
ALIKE = {  # with these DVC does what it does with others of their section: enough that their stage heeds them
    *("simulate.n_classes", "simulate.n_trials", "simulate.weight_scale", "simulate.streams"),
    *("train.seed", "train.beta1", "train.beta2", "train.amsgrad", "train.num_epochs", "train.batch_size"),
    *("train.dtype", "evaluate.histogram_bins", "plot.dpi"),
}


def test_the_table_of_changes_names_every_key() -> None:
    assert set(CHANGES) == {f"{section}.{key}" for section, keys in PARAMS.items() for key in keys}


def test_a_stage_is_run_again_for_any_key_of_its_section_and_no_other() -> None:
    assert {name: stage["params"] for name, stage in PIPELINE["stages"].items()} == {name: [name] for name in PARAMS}


@pytest.mark.parametrize("key", sorted(ALIKE))
def test_a_changed_key_changes_what_its_stage_writes(key: str, copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    section, name = key.split(".")

    def written() -> dict[Path, bytes]:
        outputs = [copy.data, *(copy.folder / out for out in ("data/train", "data/checkpoints", "data/figures"))]
        return {path: path.read_bytes() for folder in outputs for path in folder.iterdir() if path.is_file()}

    before = written()
    monkeypatch.chdir(copy.folder)
    copy.set(**{section: {name: CHANGES[key][0]}})
    importlib.import_module(f"stages.{section}").main()
    assert written() != before


@pytest.mark.parametrize("key", [key for key in CHANGES if key not in ALIKE])
def test_a_changed_key_runs_only_what_it_touches_and_changed_back_runs_nothing(key: str, copy: Project) -> None:
    section, name = key.split(".")
    value, stages = CHANGES[key]
    before, lock = copy.params.read_text(), (copy.folder / "dvc.lock").read_text()
    copy.set(**{section: {name: value, **NEEDED.get(key, {})}})
    assert copy.repro() == stages
    copy.params.write_text(before)
    assert copy.repro() == []  # all of it is in the run-cache
    assert (copy.folder / "dvc.lock").read_text() == lock


def test_nothing_runs_twice(copy: Project) -> None:
    assert copy.repro() == []
    assert copy.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


def imports(module: str, seen: set[str]) -> set[str]:
    """Modules of ours that `module` imports, directly or not, itself included."""
    if module in seen:
        return seen
    seen.add(module)
    for node in ast.walk(ast.parse((ROOT / "stages" / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "stages":
            found = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""]
        elif isinstance(node, ast.Import):
            found = [name.name for name in node.names]
        else:
            continue
        for name in found:
            name = name.removeprefix("stages.")
            if (ROOT / "stages" / f"{name}.py").exists():
                imports(name, seen)
    return seen


@pytest.mark.parametrize("stage", EVERYTHING)
def test_a_stage_depends_on_every_module_of_ours_that_it_imports(stage: str) -> None:
    declared = {name for name in PIPELINE["stages"][stage]["deps"] if name.startswith("stages/")}
    assert declared == {f"stages/{module}.py" for module in imports(stage, set())}


@pytest.mark.parametrize("stage", EVERYTHING)
def test_a_stage_reads_exactly_its_own_section(stage: str) -> None:
    assert PIPELINE["stages"][stage]["params"] == [stage]
    (reads,) = [
        node.args[0].id
        for node in ast.walk(ast.parse((ROOT / "stages" / f"{stage}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read"
        if isinstance(node.args[0], ast.Name)
    ]
    assert reads.lower() == stage


@pytest.mark.parametrize(
    ("stage", "package"),
    [(stage, "torch") for stage in EVERYTHING if stage != "train"] + [(stage, "scipy") for stage in EVERYTHING],
)
def test_a_stage_pays_only_for_the_packages_it_needs(stage: str, package: str, project: Project) -> None:
    loaded = project.run("python", "-c", f"import sys, stages.{stage}; print('{package}' in sys.modules)")
    assert loaded.stdout == "False\n"


def test_two_runs_from_nothing_give_the_same_lock(finished: Project, tmp_path: Path) -> None:
    again = new_project(tmp_path / "again")
    assert again.repro() == EVERYTHING
    assert (again.folder / "dvc.lock").read_text() == (finished.folder / "dvc.lock").read_text()


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
        {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"},
        {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"},
    ],
    ids=["one thread", "two threads", "AVX2", "SSE"],
)
def test_threads_and_instruction_sets_do_not_change_the_metrics(
    environment: dict[str, str], finished: Project, project: Project
) -> None:
    for stage in ("simulate", "train", "evaluate"):
        assert project.stage(stage, **environment).returncode == 0
    assert (project.data / "metrics.json").read_text() == (finished.data / "metrics.json").read_text()


def test_an_experiment_changes_what_it_says_and_shows_it(copy: Project) -> None:
    ran = copy.run("dvc", "exp", "run", "--name", "slower", "-S", "train.learning_rate=1e-5")
    assert ran.returncode == 0, ran.stderr
    assert "Running stage 'simulate'" not in ran.stdout
    shown = json.loads(copy.run("dvc", "params", "diff", "--json").stdout)
    assert shown["params.yaml"]["train.learning_rate"]["new"] in (1e-5, "1e-5")
    changed = json.loads(copy.run("dvc", "metrics", "diff", "--json").stdout)["data/metrics.json"]
    assert changed["train.cross_entropy"]["diff"] > 0
    plots = copy.run("dvc", "plots", "diff", "--out", "plots")
    assert plots.returncode == 0, plots.stderr
    page = (copy.folder / "plots" / "index.html").read_text()
    for title in ("Training loss", "Recovered against true coefficients", "Calibration on held-out trials"):
        assert title in page


def test_no_stage_knows_another_folder_than_its_own(copy: Project, tmp_path: Path) -> None:
    """The pipeline's paths are relative: the folder may be moved, and its cache goes with it."""
    moved = tmp_path / "moved"
    copy.folder.rename(moved)
    assert Project(moved).repro() == []
