"""The grid runner, end to end with real git and DVC in a small project."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from comparisons.experiments import grid, results
from comparisons.experiments import run as runner
from comparisons.tables import flatten
from stages.errors import InputError
from tests.conftest import ROOT, Project

PARAMS = flatten(yaml.safe_load((ROOT / "params.yaml").read_text()))

GRID = """
solver:
  fix: {simulate.n_trials: 2}
  vary: {train.solver: [adam, lbfgs]}
  may_have_no_estimate: true
  draw: [recovery.weight_slope, test.cross_entropy]
bad:
  vary: {simulate.n_trials: [-1]}
  draw: [test.cross_entropy]
"""


def grid_of(project: Project, text: str) -> list[str]:
    """Write a grid that git does not see; the command that runs it."""
    path = project.folder / ".git" / "grid.yaml"
    path.write_text(text)
    return ["python", "-m", "comparisons.experiments.run", "--grid", ".git/grid.yaml"]


def status(project: Project) -> str:
    return project.run("git", "status", "--porcelain", "--branch").stdout


def names(project: Project) -> set[str]:
    return set(project.run("dvc", "exp", "list", "--name-only").stdout.split())


@pytest.fixture(scope="module")
def ran(
    finished: Project, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """A project whose grid has run: a good experiment, one without an estimate, a failing one. Only to look at."""
    folder = tmp_path_factory.mktemp("experiments") / "project"
    project = Project(Path(shutil.copytree(finished.folder, folder, symlinks=True)))
    return project, project.run(*grid_of(project, GRID))


Ran = tuple[Project, subprocess.CompletedProcess[str]]


def test_a_grid_runs_and_a_failing_experiment_does_not_stop_the_others(ran: Ran) -> None:
    project, result = ran
    assert result.returncode == 1
    assert names(project) == {"solver-adam"}
    assert "solver-lbfgs: no estimate exists" in result.stdout
    assert "bad--1: failed: params.yaml: simulate.n_trials = -1" in result.stdout
    assert "bad: not drawn: this commit has no experiments" in result.stdout
    assert result.stderr.startswith("error: failed: bad--1, the figure of bad; everything else is done")
    assert len(result.stderr.splitlines()) == 1


def test_the_workspace_stays_as_it_was(ran: Ran, finished: Project) -> None:
    project, _ = ran
    changed = [line[3:] for line in status(project).splitlines()[1:]]
    assert [name for name in changed if not name.startswith("docs/experiments/")] == []
    for name in ("params.yaml", "dvc.lock", "data/metrics.json", "data/model.safetensors"):
        assert (project.folder / name).read_bytes() == (finished.folder / name).read_bytes()


def test_what_is_there_is_skipped_and_what_failed_is_tried_again(ran: Ran) -> None:
    project, first = ran
    result = project.run(*grid_of(project, GRID))
    assert "3 experiments, 3 of them to run" in first.stdout
    assert "3 experiments, 1 of them to run" in result.stdout
    assert "[1/1] bad--1: failed" in result.stdout
    assert result.returncode == 1


def test_the_table_of_a_group_says_where_no_estimate_exists(ran: Ran) -> None:
    folder = ran[0].folder / "docs" / "experiments"
    assert (folder / "solver.png").read_bytes().startswith(b"\x89PNG")
    lines = (folder / "solver.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:5]] for line in lines]
    assert cells[0] == ["train.solver", "metric", "seeds", "no estimate"]
    assert [(line[0], line[3]) for line in cells[2:4]] == [("adam", "-"), ("lbfgs", "1")]


def test_changes_that_are_not_committed_are_refused(copy: Project) -> None:
    copy.set(train={"num_epochs": 4})
    result = copy.run(*grid_of(copy, GRID))
    assert result.returncode == 1
    assert result.stderr.startswith("error: the workspace has changes (params.yaml): commit them")
    assert len(result.stderr.splitlines()) == 1
    assert not names(copy)


def test_an_experiment_of_that_name_with_other_parameters_is_not_taken_for_it() -> None:
    asked = grid.Experiment("ridge-1", {"train.ridge": 1})
    assert runner.is_there(asked, results.Row("ridge-1", {"train.ridge": 1.0}, {}))
    assert not runner.is_there(asked, results.Row("ridge-1", {"train.ridge": 2}, {}))
    assert not runner.is_there(asked, None)


def test_interrupted_it_leaves_nothing_behind_and_can_go_on(copy: Project) -> None:
    text = "long: {vary: {train.num_epochs: [1000000]}, draw: []}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        grid_of(copy, text),
        cwd=copy.folder,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not [*copy.folder.glob(".dvc/tmp/exps/standalone/*/data/.partial/train*")]:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "the same command goes on from there" in said
    assert len(status(copy).splitlines()) == 1
    assert not names(copy)
    assert not [*copy.folder.glob(".dvc/tmp/exps/standalone/tmp*")]
    assert (copy.folder / ".dvc/tmp/rwlock").read_text() in ("", "{}")


def test_the_grid_of_this_project_is_valid_and_named_for_people() -> None:
    groups = grid.read_grid(runner.GRID, PARAMS)
    names = {experiment.name for name, group in groups.items() for experiment in group.experiments(name)}
    assert "sample-size-4500-seed-1974" in names
    assert all(re.fullmatch("[a-z0-9-]+(\\.[0-9]+)?", name) for name in names)  # then git takes it for a reference


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not valid YAML"),
        ("a: {vary: {train.learning_rat: [1]}}", "the nearest is train.learning_rate"),
        ("a: {vary: {train.amsgrad: true}}", "vary.train.amsgrad = True, but it must be a list"),
        ("a: {vary: {train.amsgrad: []}}", "vary.train.amsgrad = []"),
        ("a: {very: {}}", "very is unknown; the nearest is vary"),
        ("a: {vary: {train.amsgrad: [true, true]}}", "would be called a-true"),
    ],
)
def test_a_wrong_grid_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        grid.read_grid(path, PARAMS)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "params", "equal"),
    [
        ({"x": 1e-5}, {"x": 0.00001}, True),
        ({"x": 0}, {"x": 0.0}, True),
        ({"x": "auto"}, {"x": "auto"}, True),
        ({"x": True}, {"x": 1}, False),
        ({"x": 1}, {}, False),
    ],
)
def test_settings_are_compared_as_they_are_meant(
    settings: dict[str, grid.Value], params: dict[str, grid.Value], equal: bool
) -> None:
    assert grid.same(settings, params) == equal


def test_outside_a_repository_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[Callable[[], None]], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "no commit of a git repository" in refuses(lambda: print(results.full_name()))
