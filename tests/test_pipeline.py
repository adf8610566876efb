"""The pipeline: what runs when, what it depends on, and that its files are the same with and without DVC."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, STAGES, Project, run_here

PIPELINE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "params.yaml").read_text())

AFTER_TRAIN = ["train", "evaluate", "plot"]

# key -> (another value, the stages that must then run)
CHANGES: dict[str, tuple[object, list[str]]] = {
    "simulate.seed": (1, [*STAGES]),
    "simulate.n_factors": (5, [*STAGES]),
    "simulate.n_classes": (3, [*STAGES]),
    "simulate.n_trials": (301, [*STAGES]),
    "simulate.n_test_trials": (201, ["simulate", "evaluate", "plot"]),
    "simulate.weight_scale": (0.5, [*STAGES]),
    "simulate.guess_rate": (0.2, [*STAGES]),
    "simulate.lapse_rate": (0.2, [*STAGES]),
    "simulate.dtype": ("float32", [*STAGES]),
    "simulate.streams": ("notebook", [*STAGES]),
    "train.solver": ("exact", AFTER_TRAIN),
    "train.seed": (2, AFTER_TRAIN),
    "train.learning_rate": ("1e-2", AFTER_TRAIN),
    "train.beta1": (0.8, AFTER_TRAIN),
    "train.beta2": (0.99, AFTER_TRAIN),
    "train.amsgrad": (False, AFTER_TRAIN),
    "train.num_epochs": (4, AFTER_TRAIN),
    "train.batch_size": (100, AFTER_TRAIN),
    "train.ridge": (0.01, AFTER_TRAIN),
    "train.shrinkage": ("always", AFTER_TRAIN),
    "train.tolerance": ("1e-5", ["train", "plot"]),  # the same fit: only the page, which shows the parameters, is new
    "train.max_iterations": (100, ["train", "plot"]),
    "train.dtype": ("float32", AFTER_TRAIN),
    "train.device": ("auto", ["train", "plot"]),
    "evaluate.calibration_bins": (5, ["evaluate", "plot"]),
    "evaluate.interval_level": (0.9, ["evaluate", "plot"]),  # Adam's fit has no intervals,
    "evaluate.asymptotes": ("estimate", ["evaluate", "plot"]),  # and no rates
    "evaluate.guess_rate": (0.1, ["evaluate", "plot"]),
    "evaluate.lapse_rate": (0.1, ["evaluate", "plot"]),
    "evaluate.smooth": (["*"], ["evaluate", "plot"]),
    "evaluate.threshold_at": ([0.6], ["evaluate", "plot"]),
    "plot.class_index": (1, ["plot"]),
    "plot.dpi": (41, ["plot"]),
    "plot.formats": (["svg"], ["plot"]),
    "plot.axis": (["time (ms)", 20], ["plot"]),
    "plot.width": (3.4, ["plot"]),
}


def declared(stage: str, *kinds: str) -> list[str]:
    """The files and folders that dvc.yaml names for a stage below these keys, without its code."""
    names = [
        entry if isinstance(entry, str) else next(iter(entry)) for k in kinds for entry in PIPELINE[stage].get(k, [])
    ]
    return [name for name in names if name.startswith("data/")]


def contents(project: Project, names: list[str]) -> dict[str, bytes]:
    """Every file of these files and folders."""
    roots = [project.folder / name for name in names]
    files = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in files}


def must_run(project: Project, key: str) -> list[str]:
    """What DVC runs after a change of this key, as its rules are: stages of which a parameter or an input changed.

    Runs them, too, but for drawing figures again: nothing depends on them.
    """
    before = {stage: contents(project, declared(stage, "deps")) for stage in STAGES}
    ran = []
    for stage in STAGES:
        own = any(f"{key}.".startswith(f"{name}.") for name in PIPELINE[stage]["params"])
        if own or contents(project, declared(stage, "deps")) != before[stage]:
            ran.append(stage)
            if stage != "plot":
                run_here(stage)
    return ran


def test_the_table_of_changes_names_every_key() -> None:
    assert set(CHANGES) == {f"{section}.{key}" for section, keys in PARAMS.items() for key in keys}


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_key_touches_these_stages_and_no_others(key: str, results: Project) -> None:
    section, name = key.split(".")
    value, stages = CHANGES[key]
    also = {"solver": "exact"} if key in ("train.ridge", "train.shrinkage") else {}  # without which there are none
    results.set(**{section: {name: value, **also}})
    assert must_run(results, key) == stages


@pytest.mark.parametrize("key", ["plot.class_index", "plot.dpi"])
def test_a_changed_key_changes_the_figures_and_the_page(key: str, results: Project) -> None:
    before = contents(results, ["data/figures", "data/report.html"])
    section, name = key.split(".")
    results.set(**{section: {name: CHANGES[key][0]}})
    run_here("plot")
    after = contents(results, ["data/figures", "data/report.html"])
    assert {name for name in after if after[name] != before.get(name)} >= {
        "data/figures/weights.png",
        "data/report.html",
    }


def test_a_stage_depends_on_its_own_section_and_no_other_but_that_the_page_shows_all() -> None:
    assert {name: stage["params"] for name, stage in PIPELINE.items()} == {
        **{name: [name] for name in PARAMS},
        "plot": [*PARAMS],
    }


@pytest.mark.parametrize("solver", ["adam", "exact"])
def test_a_stage_reads_and_writes_the_files_that_are_declared_and_no_others(
    solver: str, project: Project, simulated: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set(train={"solver": solver, "ridge": "auto" if solver == "exact" else 0})
    project.data.mkdir()
    for stage in STAGES:
        alone = Project.small(tmp_path / stage)  # with no other files than those declared
        shutil.copy(project.params, alone.params)
        alone.data.mkdir()
        for name in declared(stage, "deps"):
            copy_over(project.folder / name, alone.folder / name)
        before = contents(alone, ["data"]).keys()
        monkeypatch.chdir(alone.folder)
        run_here(stage)
        outputs = declared(stage, "outs", "metrics")
        assert contents(alone, ["data"]).keys() - before == contents(alone, outputs).keys()
        for name in outputs:
            copy_over(alone.folder / name, project.folder / name)
    if solver == "adam":
        assert contents(project, ["data"]) == contents(simulated, ["data"])


def copy_over(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


# --- with DVC


def test_dvc_and_another_process_make_the_same_files(finished: Project, results: Project) -> None:
    names = [name for stage in STAGES for name in declared(stage, "outs", "metrics")]
    assert contents(finished, names) == contents(results, names)
    assert sorted(name for name in names if contents(finished, [name])) == sorted(names)


def stale(project: Project) -> list[str]:
    """The stages that `dvc status` finds out of date."""
    return [*json.loads(project.run("dvc", "status", "--json", "dvc.yaml").stdout)]


def test_an_edit_makes_those_stages_stale_that_use_the_code_and_none_when_it_is_taken_back(
    copy: Project, tmp_path: Path
) -> None:
    moved = Project(copy.folder.rename(tmp_path / "moved"))  # paths are relative, and the cache goes with them
    theory, locked = moved.folder / "hdlogit/asymptotics/theory.py", moved.folder / "requirements.lock"
    code, packages = theory.read_text(), locked.read_text()
    theory.write_text(code + "\n# an edit\n")
    assert stale(moved) == ["simulate", "train", "evaluate"]  # what is drawn stays the same
    theory.write_text(code)
    assert stale(moved) == []
    locked.write_text(packages.replace("\nscipy==", "\nscipy==9."))
    assert stale(moved) == [*STAGES]


def test_an_experiment_changes_what_it_says_and_shows_it(copy: Project) -> None:
    ran = copy.run("dvc", "exp", "run", "--name", "coarser", "-S", "evaluate.calibration_bins=2")
    assert ran.returncode == 0, ran.stderr
    assert "Running stage 'train'" not in ran.stdout
    changed = json.loads(copy.run("dvc", "metrics", "diff", "--json").stdout)["data/metrics.json"]
    assert [*changed] == ["test.calibration_error"]
    plots = copy.run("dvc", "plots", "diff", "--out", "plots")
    assert plots.returncode == 0, plots.stderr
    page = (copy.folder / "plots" / "index.html").read_text()
    for title in ("Training loss", "Recovered against true coefficients", "Calibration on held-out trials"):
        assert title in page


def test_one_goes_back_from_an_experiment_that_fails(copy: Project) -> None:
    before = contents(copy, ["data", "params.yaml", "dvc.lock"])
    failed = copy.run("dvc", "exp", "run", "-S", "train.learning_rate=-1")
    assert failed.returncode != 0
    [error] = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert error == "error: params.yaml: train.learning_rate = -1, but it must be greater than 0"
    went = copy.run("sh", "-c", "git checkout params.yaml && dvc repro dvc.yaml")
    assert went.returncode == 0, went.stderr
    assert copy.run("git", "status", "--porcelain").stdout == ""
    assert contents(copy, ["data", "params.yaml", "dvc.lock"]) == before
