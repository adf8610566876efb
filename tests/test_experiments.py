"""The grid runner, end to end with real git and DVC, and a stage that does what its parameters ask."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.utils.flatten import flatten

from comparisons.experiments import grid, results
from comparisons.experiments import run as runner
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
Ran = tuple[Repository, subprocess.CompletedProcess[str]]


def run_grid(repository: Repository, text: str = GRID) -> subprocess.CompletedProcess[str]:
    return repository.run(*command(repository, text), PYTHONPATH=str(ROOT))


def command(repository: Repository, text: str) -> list[str]:
    """What runs a grid that git does not see."""
    repository.write(".git/grid.yaml", text)
    return ["python", "-m", "comparisons.experiments.run", "--grid", ".git/grid.yaml"]


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
    assert "solver-adam: done" in result.stdout
    assert "solver-exact: no estimate exists" in result.stdout
    assert "bad--1: failed: params.yaml: train.epochs = -1 (" in result.stdout
    assert "bad: not drawn: this commit has no experiments" in result.stdout
    assert result.stderr.startswith("error: failed: bad--1, the figure of bad; everything else is done")
    assert len(result.stderr.splitlines()) == 1
    assert changes(repository) == ["?? docs/"]


def test_what_is_there_is_skipped_and_what_failed_is_tried_again(ran: Ran) -> None:
    repository, first = ran
    result = run_grid(repository)
    assert "3 experiments, 3 of them to run" in first.stdout
    assert "3 experiments, 1 of them to run" in result.stdout
    assert "[1/1] bad--1: failed" in result.stdout
    assert result.returncode == 1


def test_the_table_of_a_group_says_where_no_estimate_exists(ran: Ran) -> None:
    folder = ran[0].folder / "docs" / "experiments"
    assert (folder / "solver.png").read_bytes().startswith(b"\x89PNG")
    cells = [
        [cell.strip() for cell in line.split("|")[1:5]] for line in (folder / "solver.md").read_text().splitlines()
    ]
    assert [cells[0], *cells[2:]] == [
        ["train.solver", "seeds", "no estimate", "mean"],
        ["adam", "1", "-", "0.1"],
        ["exact", "1", "1", "-"],
    ]


def test_changes_that_are_not_committed_are_refused(
    untried: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = untried.copy(tmp_path / "repository")
    monkeypatch.chdir(repository.folder)
    runner.check_clean()
    repository.write("params.yaml", "train: {solver: adam, epochs: 11, seconds: 0}\n")
    with pytest.raises(InputError, match=r"the workspace has changes \(params.yaml\): commit them"):
        runner.check_clean()


@pytest.mark.parametrize(
    ("settings", "params", "there"),
    [
        ({"x": 1e-5}, {"x": 0.00001}, True),
        ({"x": 0}, {"x": 0.0}, True),
        ({"x": "auto"}, {"x": "auto", "y": 1}, True),
        ({"x": True}, {"x": 1}, False),
        ({"x": 1}, {}, False),
    ],
)
def test_an_experiment_of_that_name_with_other_parameters_is_not_taken_for_it(
    settings: dict[str, grid.Value], params: dict[str, grid.Value], there: bool
) -> None:
    assert runner.is_there(grid.Experiment("a", settings), results.Row("a", params, {})) == there
    assert not runner.is_there(grid.Experiment("a", settings), None)


def test_interrupted_it_leaves_nothing_behind_and_can_go_on(untried: Repository, tmp_path: Path) -> None:
    repository = untried.copy(tmp_path / "repository")
    _, *arguments = command(repository, "long: {vary: {train.seconds: [1000]}}")
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=repository.folder,
        env=repository.environment(PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not [*repository.folder.glob(".dvc/tmp/exps/standalone/*/started")]:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
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
    groups = grid.read_grid(runner.GRID, PARAMS)
    names = {experiment.name for name, group in groups.items() for experiment in group.experiments(name)}
    assert "sample-size-4500-seed-1974" in names
    assert all(re.fullmatch("[a-z0-9-]+(\\.[0-9]+)?", name) for name in names)  # then git takes it for a reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("a: {vary: {train.learning_rat: [1]}}", "the nearest is train.learning_rate"),
        ("a: {vary: {train.amsgrad: true}}", "vary.train.amsgrad = True, but it must be a valid list"),
        ("a: {vary: {train.amsgrad: []}}", "vary.train.amsgrad = []"),
        ("a: {very: {}}", "very is unknown; the nearest is vary"),
    ],
)
def test_a_wrong_grid_is_reported_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        grid.read_grid(path, PARAMS)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_outside_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="HEAD is no commit of a git repository"):
        results.load()
