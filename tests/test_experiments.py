"""The grid of experiments, end to end with real git and DVC and a stage that does as its parameters ask; charts."""

from __future__ import annotations

import csv
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from dvc.utils.flatten import flatten
from matplotlib.figure import Figure

from comparisons.experiments import chart, results, show
from comparisons.experiments import run as runner
from comparisons.experiments.results import Row
from hdlogit.asymptotics.planning import plan
from stages.files.documents import read_yaml
from stages.files.errors import InputError
from tests.conftest import ROOT
from tests.revisions import Repository

PARAMS = flatten(read_yaml(ROOT / "params.yaml"))
STAGE = """
import json, time
from pathlib import Path
from stages.files.errors import InputError, NoEstimateError, run
from stages.files.documents import read_yaml

def main():
    train = read_yaml(Path("params.yaml"))["train"]
    if train["epochs"] < 0:
        raise InputError("params.yaml: train.epochs = -1")
    if train["solver"] == "exact":
        raise NoEstimateError("no estimate of class 0 exists")
    Path("started").touch()
    time.sleep(train["seconds"])
    Path("data").mkdir(exist_ok=True)
    Path("data/metrics.json").write_text(json.dumps({"test": {"loss": 1 / train["epochs"]}}))

run(main)
"""
PIPELINE = """
stages:
  train:
    cmd: python stage.py
    params: [train]
    deps: [stage.py]
    metrics:
      - data/metrics.json: {cache: false}
"""
GRID = """
solver:
  vary: {train.solver: [adam, exact]}
  draw: [test.loss]
bad:
  vary: {train.epochs: [-1]}
  draw: [test.loss]
"""
COMMAND = ["python", "-m", "comparisons.experiments.run", "--grid", ".git/grid.yaml"]  # which git does not see
Ran = tuple[Repository, subprocess.CompletedProcess[str]]


def run_grid(repository: Repository, text: str = GRID) -> subprocess.CompletedProcess[str]:
    repository.write(".git/grid.yaml", text)
    return repository.run(*COMMAND)


def changes(repository: Repository) -> list[str]:
    return repository.run("git", "status", "--porcelain").stdout.splitlines()


def names(repository: Repository) -> set[str]:
    return set(repository.run("dvc", "exp", "list", "--name-only").stdout.split())


@pytest.fixture(scope="module")
def untried(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository without experiments. Only to look at."""
    made = Repository(tmp_path_factory.mktemp("untried") / "repository")
    for name in ("config", ".gitignore"):
        made.write(f".dvc/{name}", (ROOT / ".dvc" / name).read_text())
    made.write("dvc.yaml", PIPELINE)
    made.write("stage.py", STAGE)
    made.write("params.yaml", "train: {solver: adam, epochs: 10, seconds: 0}\n")
    made.write(".gitignore", "/started\n")
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit()
    return made


@pytest.fixture(scope="module")
def ran(untried: Repository, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One whose grid has run: a good experiment, those without an estimate, a failing one. Only to look at."""
    repository = untried.copy(tmp_path_factory.mktemp("ran") / "repository")
    return repository, run_grid(repository)


def test_a_grid_runs_and_a_failing_experiment_does_not_stop_the_others(ran: Ran) -> None:
    repository, result = ran
    assert result.returncode == 1
    assert names(repository) == {"solver-adam"}
    assert "3 experiments, 3 of them to run" in result.stdout
    assert "solver-adam: done" in result.stdout
    assert "solver-exact: no estimate exists" in result.stdout
    assert "bad--1: failed: params.yaml: train.epochs = -1 (" in result.stdout
    assert result.stderr.startswith("error: failed: bad--1, the figure of bad (this commit has no experiments")
    assert len(result.stderr.splitlines()) == 1
    assert changes(repository) == ["?? docs/"]
    lines = (repository.folder / "docs/experiments/solver.md").read_text().splitlines()
    assert (repository.folder / "docs/experiments/solver.png").read_bytes().startswith(b"\x89PNG")
    assert [[cell.strip() for cell in line.split("|")[1:6]] for line in [lines[0], *lines[2:]]] == [
        ["train.solver", "metric", "seeds", "no estimate", "mean"],
        ["adam", "test.loss", "1", "-", "0.1"],
        ["exact", "test.loss", "1", "1", "-"],
    ]


def test_what_is_there_is_skipped_and_shown_and_of_the_folder_s_own_pipeline(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = ran[0].copy(tmp_path / "repository")
    result = run_grid(repository, "solver: {vary: {train.solver: [adam]}}")
    assert (result.returncode, result.stdout) == (0, "1 experiments, 0 of them to run\n")
    monkeypatch.chdir(repository.folder)
    head, study = repository.git("rev-parse", "HEAD"), "studies/a/params.yaml"
    repository.write(study, "train: {ridge: 1}\n")
    repository.git("add", study)
    other = repository.git("commit-tree", "-p", head, "-m", "of a study", repository.git("write-tree"))
    repository.git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/of-a-study", other)
    baseline, experiment = results.load()
    assert (baseline.name, experiment.name) == ("baseline", "solver-adam")
    assert experiment.params == {"train.solver": "adam", "train.epochs": 10, "train.seconds": 0}
    assert experiment.metrics == {"test.loss": 0.1}
    monkeypatch.chdir("studies/a")
    assert "of-a-study" in [row.name for row in results.load()]


def test_changes_that_are_not_committed_are_refused_and_so_is_where_nothing_was_run(
    untried: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = untried.copy(tmp_path / "repository")
    monkeypatch.chdir(repository.folder)
    with pytest.raises(InputError, match="make experiments"):
        results.choose(results.load(), "*", "train.epochs")
    with pytest.raises(InputError, match=r"`git rev-parse --verify nowhere.* failed: Needed a single revision"):
        results.load("nowhere")
    runner.check_clean()
    repository.write("params.yaml", "train: {solver: adam, epochs: 11, seconds: 0}\n")
    with pytest.raises(InputError, match=r"the workspace has changes \(params.yaml\): commit them"):
        runner.check_clean()


def test_interrupted_it_leaves_nothing_behind_and_can_go_on(untried: Repository, tmp_path: Path) -> None:
    repository = untried.copy(tmp_path / "repository")
    repository.write(".git/grid.yaml", "long: {vary: {train.seconds: [1000]}}")
    process = subprocess.Popen(
        [sys.executable, *COMMAND[1:]],
        cwd=repository.folder,
        env=repository.environment(PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not [*repository.folder.glob(".dvc/tmp/exps/standalone/*/started")]:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert "the same command goes on from there" in printed
    assert not changes(repository)
    assert not names(repository)
    assert not [*repository.folder.glob(".dvc/tmp/exps/standalone/tmp*")]
    locks = repository.folder / ".dvc/tmp/rwlock"
    assert not locks.exists() or locks.read_text() in ("", "{}")


def test_the_grid_of_this_project_is_valid_and_named_for_people() -> None:
    groups = runner.read_grid(runner.GRID, PARAMS)
    found = {experiment for name, group in groups.items() for experiment in group.experiments(name)}
    assert "sample-size-4500-seed-1974" in found
    assert all(re.fullmatch("[a-z0-9-]+(\\.[0-9]+)?", name) for name in found)  # then git takes it for a reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("a: {vary: {train.learning_rat: [1]}}", "the nearest is train.learning_rate"),
        ("a: {vary: {train.amsgrad: true}}", "vary.train.amsgrad = True, but it must be a valid list"),
        ("a: {very: {}}", "very is unknown; the nearest is vary"),
    ],
)
def test_a_wrong_grid_is_reported_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        runner.read_grid(path, PARAMS)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# --- tables and charts

SETTINGS: dict[str, Any] = {
    "simulate.seed": 1973,
    "simulate.n_trials": 10000,
    "simulate.n_factors": 256,
    "simulate.weight_scale": 1.0,
    "simulate.guess_rate": 0,
    "simulate.lapse_rate": 0,
    "train.solver": "exact",
    "train.ridge": 0,
    "train.shrinkage": 0,
}
BASE = Row("baseline", SETTINGS, {})


def row(name: str, metrics: dict[str, Any], **changes: Any) -> Row:
    return Row(name, SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}, metrics)


SIZES = [
    row("2000-1", {"fit.converged": False, "test.cross_entropy": 9.0}, simulate__n_trials=2000, simulate__seed=1),
    *(
        row(
            f"{n}-{seed}",
            {"test.cross_entropy": 1000 / n + seed / 100, "gone": None, "test.bayes_cross_entropy": 0.1},
            simulate__n_trials=n,
            simulate__seed=seed,
        )
        for n in (10000, 5000)
        for seed in (1, 2, 3)
    ),
]


def table(rows: Sequence[Row], metric: str, parameter: str) -> pd.DataFrame:
    return results.summary(results.points(rows, metric, parameter))


def test_seeds_are_averaged_and_where_a_class_has_no_estimate_the_others_are_survivors_and_no_mean() -> None:
    lines = table(SIZES, "test.cross_entropy", "simulate.n_trials")
    values = [1000 / 5000 + seed / 100 for seed in (1, 2, 3)]
    assert lines["value"].tolist() == [2000, 5000, 10000]
    assert lines["seeds"].tolist() == [1, 3, 3]
    assert np.isnan(lines["mean"][0])
    assert lines["no estimate"][0] == 1
    assert lines["mean"][1] == pytest.approx(sum(values) / 3)
    assert lines["sd"][1] == pytest.approx(statistics.stdev(values))


def test_what_experiments_differ_in_besides_makes_series() -> None:
    rows = [BASE] + [
        row(f"{solver}-{n}", {"m": 1.0}, train__solver=solver, simulate__n_trials=n)
        for solver in ("adam", "exact")
        for n in (10, 20)
    ]

    def series(glob: str, parameter: str) -> list[str]:
        return [*table(results.choose(rows, glob, parameter), "m", parameter)["series"]]

    assert series("*", "simulate.n_trials") == ["solver adam"] * 2 + ["solver exact"] * 2
    assert series("adam-*", "simulate.n_trials") == ["", ""]
    assert series("*-10", "train.solver") == ["", ""]


def test_equal_experiments_count_once() -> None:
    rows = [BASE, row("one", {"m": 1.0}), row("again", {"m": 2.0}), row("as a float", {"m": 3.0}, train__ridge=0.0)]
    lines = table(results.choose(rows, "*", "train.solver"), "m", "train.solver")
    assert (lines["seeds"].tolist(), lines["mean"].tolist()) == ([1], [1.0])


@pytest.mark.parametrize(
    ("metric", "parameter", "glob", "message"),
    [
        ("test.cross_entropi", "simulate.n_trials", "*", "the nearest is test.cross_entropy"),
        ("gone", "simulate.n_trials", "[15]*", "none of these experiments has a number for the metric gone"),
        ("test.cross_entropy", "simulate.n_trial", "*", "the nearest is simulate.n_trials"),
        ("test.cross_entropy", "simulate.n_trials", "500-*", "the nearest is 5000-"),
    ],
)
def test_what_does_not_exist_is_said_with_the_nearest_names(
    metric: str, parameter: str, glob: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        chart.make(results.choose([BASE, *SIZES], glob, parameter), [metric], parameter, tmp_path / "chart")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not [*tmp_path.iterdir()]


def test_the_theory_drawn_is_that_of_planning_and_only_of_maximum_likelihood(tmp_path: Path) -> None:
    chart.make(SIZES, ["test.cross_entropy"], "simulate.n_trials", tmp_path / "size")
    read = [*csv.DictReader((tmp_path / "size.csv").open())]
    expected = [line.held_out for line in plan(256, 16.0, 0.5, [2000, 5000, 10000])]
    assert [line["theory"] for line in read] == ["" if value is None else f"{value:.12g}" for value in expected]
    last = (tmp_path / "size.md").read_text().splitlines()[2]
    assert last.split()[1::2] == ["2000", "test.cross_entropy", "1", "1", *"-----"]
    assert chart.expected("test.brier", (256, 16.0), [10000]) is None
    assert chart.observer(SETTINGS | {"train.shrinkage": "auto"}) == (256, 16.0)  # of what has no estimate only
    for other in ({"train.solver": "adam"}, {"train.ridge": 0.1}, {"train.shrinkage": "always"}):
        assert chart.observer(SETTINGS | other) is None
    assert chart.observer(SETTINGS | {"simulate.lapse_rate": 0.02}) is None


@pytest.mark.parametrize("values", [[True, False], [0, 1e-4, "auto"], [0.001, 0.1], [0, 0.5], [7]])
def test_any_kind_of_parameter_is_drawn(values: list[Any], tmp_path: Path) -> None:
    rows = [row(f"e-{i}", {"m": 1.0 + i}, train__ridge=value) for i, value in enumerate(values)]
    chart.make(rows, ["m"], "train.ridge", tmp_path / "chart")
    assert matplotlib.image.imread(tmp_path / "chart.png").std() > 0.01
    read = csv.DictReader((tmp_path / "chart.csv").open())
    assert {line["train.ridge"] for line in read} == {*map(results.written, values)}


def points(values: dict[Any, dict[int, float]]) -> pd.DataFrame:
    lines = [("", value, seed, y) for value, each in values.items() for seed, y in each.items()]
    return pd.DataFrame(lines, columns=["series", "value", "seeds", "y"])


def test_the_points_of_a_seed_are_joined_as_its_trials_are_the_same() -> None:
    ax = Figure().subplots()
    chart.draw(ax, points({False: {1: 1.1, 2: 1.3, 3: 1.2}, True: {3: 1.15, 2: 1.25, 1: 1.0}}), theory=False)
    joined = {tuple(np.asarray(line.get_ydata())) for line in ax.lines if line.get_linestyle() == "-"}
    assert joined == {(1.1, 1.0), (1.3, 1.25), (1.2, 1.15)}
    assert [text.get_text() for text in ax.get_xticklabels()] == ["false", "true"]


def test_where_a_seed_has_no_estimate_there_is_a_cross_and_no_mean() -> None:
    ax = Figure().subplots()
    chart.draw(ax, points({9: {1: np.nan, 2: np.nan}, 99: {1: np.nan, 2: 3.0}, 999: {1: 1.5, 2: 1.0}}), theory=True)
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert not [line for line in ax.lines if line.get_marker() == "." and line.get_linestyle() != "None"]
    assert np.asarray(crosses.get_xdata()).tolist() == [9, 99]
    assert ax.get_xlim()[0] < 9
    means = next(line for line in ax.lines if (line.get_marker(), line.get_markersize()) == ("s", 5))
    np.testing.assert_array_equal(np.asarray(means.get_ydata(orig=False)), [np.nan, np.nan, 1.25])


def test_the_overview_has_the_numbers_that_matter_and_what_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"test.cross_entropy": 0.099463, "test.accuracy": 0.95858, "fit.iterations": 9}
    metrics |= {"test.calibration_slope": 0.754, "recovery.weight_slope": 1.122, "inference.coverage": 0.9512}
    show.overview([BASE, row("large", metrics, simulate__n_trials=20000), row("none", {}, train__solver="adam")], BASE)
    *_, large, none = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip())
    assert large == "0.09946 0.9586 0.754 1.122 0.9512 large simulate.n_trials=20000"
    assert none == "- - - - - none train.solver=adam"
    show.overview([row("study", {"loo.cross_entropy": 0.617, "loo.accuracy": 0.6732})], BASE)
    assert "0.617 0.6732 study" in " ".join(capsys.readouterr().out.split())
