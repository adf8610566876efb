"""`python -m stages.check`: the experiment repeated by simulation, for a person."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from hdlogit.inference.check import expected_by_rank
from stages import check
from tests.conftest import Project, run_here

Refuses = Callable[..., str]
KINDS = "classical", "corrected"


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
    call(monkeypatch, "--repetitions", "60")
    printed = capsys.readouterr().out
    assert printed.count(": 60 repetitions of your experiment\n") == 2
    lines = [line.replace("±", " ").split() for line in printed.splitlines()]
    perfect = ["perfect", "1", "95", "95", f"{100 * expected_by_rank(30, 60)[0]:.1f}"]
    assert lines.count(perfect) == 2
    covered = {kind: [float(line[line.index(kind) + 3]) for line in lines if kind in line] for kind in KINDS}
    assert covered["corrected"] == pytest.approx([95, 95], abs=2)
    assert np.all(np.array(covered["classical"]) < np.array(covered["corrected"]) - 1)
    assert max(map(len, printed.splitlines())) <= 80


def test_a_study_elsewhere(
    fitted: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    call(monkeypatch, str(fitted.folder), "--repetitions", "4")
    assert "class 1: 4 repetitions" in capsys.readouterr().out
    assert not list(elsewhere.iterdir())


def test_what_cannot_be_checked_is_one_line(fitted: Project, monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    for arguments, message in {
        "nowhere": "No such file or directory: 'nowhere'",
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
