"""The grid of experiments, end to end with real git and DVC and a stage that does as its parameters ask; charts."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from dvc.utils.flatten import flatten
from matplotlib.figure import Figure

from comparisons.experiments import chart, show
from comparisons.experiments import run as runner
from comparisons.git import Outcome, experiments
from hdlogit.asymptotics.planning import plan
from stages.files.documents import read_yaml
from tests.conftest import ROOT
from tests.revisions import Repository

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
    of_test = {"cross_entropy": 1 / train["epochs"], "bayes_cross_entropy": 0.01}
    Path("data/metrics.json").write_text(json.dumps({"test": of_test, "recovery": {"weight_slope": 1.5}}))

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
solver: {parameter: train.solver, values: [adam, exact]}
bad: {parameter: train.epochs, values: [-1]}
"""
COMMAND = ["python", "-m", "comparisons.experiments.run"]
Ran = tuple[Repository, subprocess.CompletedProcess[str]]


def with_grid(repository: Repository, text: str) -> Repository:
    repository.write(str(runner.GRID), text)
    repository.commit()
    return repository


def changes(repository: Repository) -> list[str]:
    return repository.run("git", "status", "--porcelain").stdout.splitlines()


@pytest.fixture(scope="module")
def untried(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository without experiments. Only to look at."""
    made = Repository(tmp_path_factory.mktemp("untried") / "repository")
    for name in ("config", ".gitignore"):
        made.write(f".dvc/{name}", (ROOT / ".dvc" / name).read_text())
    made.write("dvc.yaml", PIPELINE)
    made.write("stage.py", STAGE)
    made.write("params.yaml", "simulate: {seed: 1}\ntrain: {solver: adam, epochs: 10, seconds: 0}\n")
    made.write(".gitignore", "/started\n")
    made.git("init", "--quiet", "--initial-branch", "main")
    return with_grid(made, GRID)


@pytest.fixture(scope="module")
def ran(untried: Repository, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One whose grid has run: a good experiment, one without an estimate, a failing one. Only to look at."""
    repository = untried.copy(tmp_path_factory.mktemp("ran") / "repository")
    return repository, repository.run(*COMMAND)


def test_a_grid_runs_and_a_failing_experiment_does_not_stop_the_others(ran: Ran) -> None:
    repository, result = ran
    assert result.returncode == 1
    assert "3 experiments, 3 of them to run" in result.stdout
    assert "solver-adam: done" in result.stdout
    assert "solver-exact: no estimate exists" in result.stdout
    assert "bad--1: failed: params.yaml: train.epochs = -1 (" in result.stdout
    assert result.stderr.startswith("error: failed: bad--1; their groups are not drawn")
    assert len(result.stderr.splitlines()) == 1
    assert changes(repository) == ["?? docs/"]
    assert {path.name for path in (repository.folder / "docs/experiments").iterdir()} == {"solver.md", "solver.png"}
    lines = (repository.folder / "docs/experiments/solver.md").read_text().splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:6]] for line in [lines[0], *lines[4:]]] == [
        ["train.solver", "metric", "seeds", "no estimate", "mean"],
        ["adam", "test.cross_entropy", "1", "-", "0.1"],
        ["exact", "test.cross_entropy", "1", "1", "-"],
    ]


def test_what_is_there_is_shown_and_only_of_the_folder_s_own_pipeline(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = ran[0].copy(tmp_path / "repository")
    monkeypatch.chdir(repository.folder)
    head, study = repository.git("rev-parse", "HEAD"), "studies/a/params.yaml"
    repository.write(study, "train: {ridge: 1}\n")
    repository.git("add", study)
    other = repository.git("commit-tree", "-p", head, "-m", "of a study", repository.git("write-tree"))
    repository.git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/of-a-study", other)
    there = experiments()
    assert [*there] == ["baseline", "solver-adam"]
    params = {"simulate.seed": 1, "train.solver": "adam", "train.epochs": 10, "train.seconds": 0}
    assert there["solver-adam"].params == params
    assert there["solver-adam"].metrics["test.cross_entropy"] == 0.1
    monkeypatch.chdir("studies/a")
    assert "of-a-study" in experiments()


def test_changes_that_are_not_committed_are_refused(
    untried: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[..., str]
) -> None:
    repository = untried.copy(tmp_path / "repository")
    monkeypatch.chdir(repository.folder)
    runner.check_clean()
    repository.write("docs/experiments/solver.md", "drawn")
    repository.write("params.yaml", "train: {solver: adam, epochs: 11, seconds: 0}\n")
    assert refuses(runner.main).startswith("error: the workspace has changes (params.yaml): commit them")


def test_interrupted_it_leaves_nothing_behind_and_can_go_on(untried: Repository, tmp_path: Path) -> None:
    repository = untried.copy(tmp_path / "repository")
    with_grid(repository, "long: {parameter: train.seconds, values: [1000]}")
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
    assert not repository.git("for-each-ref", "refs/exps/*/*/long*")
    assert not [*repository.folder.glob(".dvc/tmp/exps/standalone/tmp*")]
    locks = repository.folder / ".dvc/tmp/rwlock"
    assert not locks.exists() or locks.read_text() in ("", "{}")


def test_the_grid_of_this_project_is_valid_and_named_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    members = {name: one for group, each in runner.read_grid().items() for name, one in each.experiments(group).items()}
    assert {*members} >= {"sample-size-4500-seed-1974", "ridge-auto", "amsgrad-false-seed-1975"}
    assert all(re.fullmatch("[a-z0-9-]+(\\.[0-9]+)?", name) for name in members)  # then git takes it for a reference
    assert {key for one in members.values() for key in one} < flatten(read_yaml(ROOT / "params.yaml")).keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("a: {parameter: train.amsgrad, values: true}", "values = True, but it must be a valid list"),
        ("a: {parametre: train.amsgrad, values: [true]}", "parametre is unknown; the nearest is parameter"),
    ],
)
def test_a_wrong_grid_is_reported_in_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runner.GRID.parent.mkdir(parents=True)
    runner.GRID.write_text(text)
    assert message in refuses(runner.read_grid)


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


def fit(entropy: float, *, converged: bool = True, **changes: Any) -> Outcome:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    metrics = {"test.cross_entropy": entropy, "recovery.weight_slope": 1.2, "test.bayes_cross_entropy": 0.1}
    return Outcome(settings, {**metrics, "fit.converged": converged})


SIZES = [
    fit(9.0, converged=False, simulate__n_trials=2000, simulate__seed=1),
    *(
        fit(1000 / n + seed / 100, simulate__n_trials=n, simulate__seed=seed)
        for n in (5000, 10000)
        for seed in (1, 2, 3)
    ),
]


def test_the_table_has_means_over_seeds_and_theory_but_none_of_survivors(tmp_path: Path) -> None:
    chart.make(tmp_path / "size", "simulate.n_trials", SIZES)
    assert matplotlib.image.imread(tmp_path / "size.png").std() > 0.01
    heads, _, *lines = (tmp_path / "size.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (heads, *lines)]
    table = pd.DataFrame(rows[1:], columns=rows[0]).loc[3:]
    assert table["metric"].tolist() == ["test.cross_entropy"] * 3
    assert table["simulate.n_trials"].tolist() == ["2000", "5000", "10000"]
    assert table["seeds"].tolist() == ["1", "3", "3"]
    assert table["no estimate"].tolist() == ["1", "-", "-"]
    values = [1000 / 5000 + seed / 100 for seed in (1, 2, 3)]
    numbers = f"{statistics.mean(values):.4g}", f"{statistics.stdev(values):.4g}", "0.21", "0.23"
    assert tuple(table.loc[4, ["mean", "sd", "lowest", "highest"]]) == numbers
    assert table.loc[3, "mean"] == table.loc[3, "lowest"] == "-"
    expected = [line.held_out for line in plan(256, 16.0, 0.5, [2000, 5000, 10000])]
    assert [*table["theory"]] == ["-" if value is None else f"{value:.4g}" for value in expected]


def test_the_theory_is_only_of_maximum_likelihood() -> None:
    assert chart.observer_of(SETTINGS | {"train.shrinkage": "auto"}) == (256, 16.0)  # of what has no estimate only
    others: tuple[dict[str, Any], ...] = (
        {"train.solver": "adam"},
        {"train.ridge": 0.1},
        {"train.shrinkage": "always"},
        {"simulate.lapse_rate": 0.02},
    )
    assert [chart.observer_of(SETTINGS | other) for other in others] == [None] * 4


@pytest.mark.parametrize("values", [[True, False], [0, 1e-4, "auto"], [0.001, 0.1], [7]])
def test_any_kind_of_parameter_is_drawn(values: list[Any], tmp_path: Path) -> None:
    chart.make(tmp_path / "chart", "train.ridge", [fit(1.0 + i, train__ridge=v) for i, v in enumerate(values)])
    assert matplotlib.image.imread(tmp_path / "chart.png").std() > 0.01
    _, _, *lines = (tmp_path / "chart.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines] == 2 * [*map(chart.written, values)]


def points(values: dict[Any, dict[int, float]]) -> pd.DataFrame:
    lines = [(value, seed, i, y) for i, (value, each) in enumerate(values.items()) for seed, y in each.items()]
    return pd.DataFrame(lines, columns=["value", "seed", "at", "y"])


def test_the_points_of_a_seed_are_joined_as_its_trials_are_the_same() -> None:
    ax, drawn = Figure().subplots(), points({False: {1: 1.1, 2: 1.3, 3: 1.2}, True: {3: 1.15, 2: 1.25, 1: 1.0}})
    chart.draw(ax, drawn, "y", chart.over_seeds(drawn, "y"), joined=True)
    joined = {tuple(np.asarray(line.get_ydata())) for line in ax.lines if line.get_linestyle() == "-"}
    assert joined == {(1.1, 1.0), (1.3, 1.25), (1.2, 1.15)}


def test_where_a_seed_has_no_estimate_there_is_a_cross_and_no_mean() -> None:
    ax, drawn = Figure().subplots(), points({9: {1: np.nan, 2: np.nan}, 99: {1: np.nan, 2: 3.0}, 999: {1: 1.5, 2: 1.0}})
    chart.draw(ax, drawn, "y", chart.over_seeds(drawn, "y"), joined=False)
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert np.asarray(crosses.get_xdata()).tolist() == [0, 1]
    assert ax.get_xlim()[0] < 0
    means = next(line for line in ax.lines if (line.get_marker(), line.get_markersize()) == ("s", 5))
    np.testing.assert_array_equal(np.asarray(means.get_ydata(orig=False)), [np.nan, np.nan, 1.25])


def test_the_overview_has_the_numbers_that_matter_and_what_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"test.cross_entropy": 0.099463, "test.accuracy": 0.95858, "fit.iterations": 9}
    metrics |= {"test.calibration_slope": 0.754, "recovery.weight_slope": 1.122, "inference.coverage": 0.9512}
    base = Outcome(SETTINGS, {})
    large, none = Outcome(SETTINGS | {"simulate.n_trials": 20000}, metrics), Outcome({"train.solver": "adam"}, {})
    show.overview({"baseline": base, "large": large, "none": none})
    *_, first, second = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip())
    assert first == "0.09946 0.9586 0.754 1.122 0.9512 large simulate.n_trials=20000"
    assert second == "- - - - - none train.solver=adam"
    show.overview({"baseline": base, "study": Outcome(SETTINGS, {"loo.cross_entropy": 0.617, "loo.accuracy": 0.6732})})
    assert "0.617 0.6732 study" in " ".join(capsys.readouterr().out.split())
