"""`python -m stages.check`: the experiment repeated by simulation, for a person."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from hdlogit.inference.check import expected_by_rank
from stages import check
from tests.conftest import Project, run_here

Refuses = Callable[..., str]


@pytest.fixture
def fitted(project: Project) -> Project:
    """30 factors, 400 trials, 2 classes, fitted exactly."""
    project.set(
        simulate={"n_factors": 30, "n_trials": 400, "weight_scale": 0.35},
        train={"solver": "exact", "shrinkage": "auto"},
    )
    run_here("simulate", "train", "evaluate")
    return project


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["check", *arguments])
    check.main()


def test_corrected_intervals_cover_and_classical_ones_do_not(
    fitted: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--repetitions", "60", "--out", "out")
    printed = capsys.readouterr().out
    assert printed.count("in 60 repetitions of your experiment, ") == 2
    assert f"(chance alone: {100 * expected_by_rank(30, 60)[0]:.1f} %)" in printed
    table = pd.read_csv("out/coverage.csv")
    assert len(table) == 60
    by_class = table.groupby("class")[["classical", "corrected"]].mean()
    for name, row in by_class.iterrows():
        assert f"class {name}: in 60 repetitions of your experiment, {100 * row.corrected:.1f} %" in printed
    assert by_class.corrected.to_numpy() == pytest.approx(0.95, abs=0.02)
    assert (by_class.classical < by_class.corrected - 0.01).all()
    assert {path.name for path in Path("out").iterdir()} == {"coverage.csv"}
    assert max(map(len, printed.splitlines()[2:])) <= 80  # the table; the sentences are as long as they are


def test_one_class_of_a_study_elsewhere(
    fitted: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    call(monkeypatch, str(fitted.folder), "--class", "1", "--repetitions", "4")
    printed = capsys.readouterr().out
    assert "class 1: in 4 repetitions" in printed
    assert "class 0" not in printed
    assert not list(elsewhere.iterdir())


def test_what_cannot_be_checked_is_one_line(fitted: Project, monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    Path("there").mkdir()
    for arguments, message in {
        "--out there": "there exists already",
        "--class 7": "no such class has an inference",
        "nowhere": "holds no params.yaml",
        "--repetitions 1": "it must be at least 2",
    }.items():
        monkeypatch.setattr(sys, "argv", ["check", *arguments.split()])
        assert message in refuses(check.main)
    fitted.set(train={"solver": "adam", "shrinkage": 0})
    run_here("train", "evaluate")
    assert "train.solver: exact" in refuses(lambda: call(monkeypatch))


def test_ranks_by_chance_are_those_of_drawn_coverages() -> None:
    ranks = expected_by_rank(10, 200)
    drawn = np.sort(np.random.default_rng(5).binomial(200, 0.95, (5000, 10)), axis=1).mean(axis=0) / 200
    np.testing.assert_allclose(ranks, drawn, atol=0.003)
    below = binom.cdf(np.arange(200), 200, 0.95)
    assert ranks[0] == pytest.approx(((1 - below) ** 10).sum() / 200, abs=0.002)  # E[min] = Σ P(min > k)
