"""`python -m stages.plan`: how many trials are needed, before any data exist."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from math import inf

import pytest

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import base_rate_for, intercept_for, n_trials_until
from hdlogit.asymptotics.theory import solve
from stages import plan
from tests.conftest import ROOT, Project


def test_planning_answers_before_any_data_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", "256", "--signal", "16", "--n-trials", "4000", "10000"])
    plan.main()
    shown = capsys.readouterr().out
    assert "from about 4076 trials on" in shown
    lines = {line[0]: line for line in (text.replace("|", " ").split() for text in shown.splitlines()) if line}
    assert lines["4000"][1] == "no"
    assert "1.232" in lines["10000"]  # too large by


@pytest.mark.parametrize(
    "arguments", ["256 --signal -1", "0 --signal 2", "9 --signal 2 --base-rate 1", "9 --signal 1e6", "9 --signal nan"]
)
def test_an_impossible_observer_is_refused(
    arguments: str, refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", *arguments.split()])
    refuses(plan.main)


def test_the_number_of_trials_found_is_the_one_at_which_the_goal_is_reached() -> None:
    n = n_trials_until(100, 2.0, 0.4, lambda line: (line.alpha or inf) <= 1.05)
    at, before = (solve(100 / m, 2.0, intercept_for(0.4, 2.0)).alpha for m in (n, round(n / 1.02)))
    assert at <= 1.05 < before
    with pytest.raises(OutsideTheory, match="not enough"):
        n_trials_until(10, 1.0, 0.5, lambda line: False)


def test_a_study_tells_how_many_more_trials_it_needs(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inference = project.data / "inference"
    inference.mkdir(parents=True)
    metrics = json.loads((ROOT / "docs/exact_metrics.json").read_text())
    metrics["theory"]["n_trials"] = 500
    (project.data / "metrics.json").write_text(json.dumps(metrics))
    (inference / "classes.csv").write_text("class,signal,intercept\nweak,0.5,0\nstrong,4,1\n")
    (inference / "coefficients.csv").write_text("class,factor\n" + "weak,x\n" * 40 + "weak,bias\n")
    monkeypatch.setattr(sys, "argv", ["plan", "--study", str(project.folder)])
    monkeypatch.chdir(project.folder.parent)
    plan.main()
    printed = " ".join(capsys.readouterr().out.split())
    base_rate = base_rate_for(1.0, 4.0)
    needed = n_trials_until(40, 4.0, base_rate, lambda line: (line.alpha or inf) <= 1.05)
    assert "500 trials of 40 factors. strong needs the most, for its signal of 4:" in printed
    assert f"{needed} trials, for weights at most 5 % too large: {needed - 500} more" in printed
    assert "trials, for classical 95 % intervals that cover 94 %: " in printed


@pytest.mark.parametrize("arguments", ["--signal 2", "22 --study .", "--study . --signal 2"])
def test_a_study_or_a_number_of_factors_is_named(arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", *arguments.split()])
    with pytest.raises(SystemExit):
        plan.main()


def test_a_study_that_was_not_run_is_refused(
    project: Project, refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", "--study", "."])
    assert "metrics.json is missing" in refuses(plan.main)
