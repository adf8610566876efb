"""`python -m stages.plan`: how many trials are needed, before any data exist."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from hdlogit.asymptotics import planning as theory
from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, base_rate_for, inflation_for, intercept_for, n_trials_until, signal_for
from hdlogit.asymptotics.theory import solve
from hdlogit.exact import fit
from hdlogit.inference import ClassInference
from stages import plan
from stages.tables.planning import goal_table
from tests.conftest import Project
from tests.inferred import inferred


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
    "arguments",
    [
        "256 --signal -1",
        "0 --signal 2",
        "9 --signal 2 --base-rate 1",
        "9 --signal 1e6",
        "9 --signal nan",
        "9 --signal 2 --guess-rate 0.6 --lapse-rate 0.4",
        "9 --signal 2 --guess-rate 0.5 --base-rate 0.4",
    ],
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


def write_study(
    project: Project, monkeypatch: pytest.MonkeyPatch, **classes: tuple[float, float, float, float, float]
) -> None:
    """500 trials of 40 factors, as `evaluate` leaves them; of each class signal, intercept, rates, inflation."""
    results = {}
    for name, (signal, intercept, guess_rate, lapse_rate, inflation) in classes.items():
        nothing = ClassInference.refused("", 40)
        theory = replace(nothing.theory, kappa=40 / 500, signal=signal, intercept=intercept)
        link = replace(nothing.link, gain=signal, guess_rate=guess_rate, lapse_rate=lapse_rate)
        results[name] = replace(nothing, theory=theory, link=link, inflation=inflation)
    project.set(train={"solver": "exact"})
    monkeypatch.setattr(plan, "read_finished", lambda: (None, results, None))


def of_study(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `plan --study` prints, in one line."""
    monkeypatch.setattr(sys, "argv", ["plan", "--study", str(project.folder)])
    plan.main()
    return " ".join(capsys.readouterr().out.split())


def test_a_study_tells_how_many_more_trials_it_needs(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(project, monkeypatch, weak=(0.5, 0, 0, 0, 1), strong=(4, 1, 0, 0, 4))
    monkeypatch.setattr(sys, "argv", ["plan", "--study", str(project.folder)])
    monkeypatch.chdir(project.folder.parent)
    printed = of_study(project, monkeypatch, capsys)
    base_rate = base_rate_for(1.0, 4.0)
    needed = n_trials_until(40, 4.0, base_rate, lambda line: (line.alpha or inf) <= 1.05)
    assert "500 trials of 40 factors. Needed for strong, with its signal of 4:" in printed
    assert f"for weights that are right to 5 % {needed} {needed - 500} " in printed
    assert "for classical 95 % intervals that cover 94 % " in printed
    uncorrelated = n_trials_until(40, 4.0, base_rate, lambda line: (line.corrected_weight_error or inf) <= 0.1)
    needed = n_trials_until(40, 4.0, base_rate, lambda line: (line.corrected_weight_error or inf) <= 0.1, inflation=4)
    assert needed > 3 * uncorrelated
    assert f"for corrected weights whose error is 10 % {needed} {needed - 500} " in printed
    for line in theory.plan(40, 4.0, base_rate, [500, 1000]):
        shown = f"{line.alpha:.3f}" if line.exists else "no fit"
        assert f" {line.n_trials} {shown} " in printed


def test_with_guesses_and_lapses_only_corrected_weights_become_right(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(project, monkeypatch, correct=(2, 0, 0.5, 0.02, 1))
    printed = of_study(project, monkeypatch, capsys)
    assert "for weights that are right to 5 % no number is enough no number is enough " in printed
    base_rate = base_rate_for(0.0, 2.0, 0.5, 0.02)
    needed = n_trials_until(40, 2.0, base_rate, lambda line: (line.corrected_weight_error or inf) <= 0.1, 0.5, 0.02)
    assert f"for corrected weights whose error is 10 % {needed} {needed - 500} " in printed


def test_trials_for_a_smaller_error_are_counted_from_the_errors_that_a_study_has() -> None:
    """As of fits with rates, whose errors are larger than theory has them, and in whatever units."""
    nothing = ClassInference.refused("", 2)
    study = replace(
        nothing,
        theory=replace(nothing.theory, kappa=2 / 800, signal=4.8, intercept=0.0),
        link=replace(nothing.link, gain=4.8, guess_rate=0.5, lapse_rate=0.03),
        scale=np.array([2.0, 0.5]),
        corrected=np.array([1.5, -8.0, 0.0]),  # per sd 3 and -4
        covariance=np.diag([0.25, 4.0, 1.0, 1.0, 1.0]),  # errors per sd 1 and 1
        inflation=1.0,
    )
    *_, error = goal_table({"correct": study}, 800, 0).n_trials
    assert error == pytest.approx(800 * 2 / 25 / 0.1**2)


def test_without_a_signal_nothing_tells_how_many_trials_are_needed(
    project: Project, monkeypatch: pytest.MonkeyPatch, refuses: Callable[..., str]
) -> None:
    write_study(project, monkeypatch, none=(0, 0, 0, 0, 1))
    monkeypatch.setattr(sys, "argv", ["plan", "--study", str(project.folder)])
    assert "nothing tells how many are needed" in refuses(plan.main)


def test_guesses_and_lapses_make_weights_small_however_many_trials_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "40 --signal 3 --guess-rate 0.5 --lapse-rate 0.02 --n-trials 1000000"
    monkeypatch.setattr(sys, "argv", ["plan", *arguments.split()])
    plan.main()
    printed = capsys.readouterr().out
    z = np.linspace(-8, 8, 4001)  # the logistic curve through that one, by least Kullback-Leibler divergence
    density, p = np.exp(-z * z / 2), 0.5 + 0.48 * expit(3 * z)
    nearest = minimize(lambda t: density @ (np.logaddexp(0, t[0] + t[1] * z) - p * (t[0] + t[1] * z)), [0, 1]).x
    line = next(line for line in printed.splitlines() if "1000000" in line)
    assert float(line.split()[1]) == pytest.approx(nearest[1] / 3, abs=0.001)


def test_correlated_factors_make_errors_as_much_larger_as_the_plan_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    p, n, k = 40, 2000, 10
    correlation = 0.8 ** abs(np.subtract.outer(np.arange(p), np.arange(p)))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, p)) @ np.linalg.cholesky(correlation).T
    weights = rng.standard_normal((p, k))
    weights *= 2 / np.sqrt(np.einsum("jk,jl,lk->k", weights, correlation, weights))
    y = rng.random((n, k)) < expit(x @ weights)
    classes = inferred(x, y, fit(x, y).coefficients)
    inflation = np.diag(np.linalg.inv(correlation)).mean()
    assert [c.inflation for c in classes] == pytest.approx([inflation] * k, rel=0.05)
    errors = np.stack([c.corrected[:-1] for c in classes], axis=1) - weights
    shown = np.sqrt((errors**2).mean() / (weights**2).mean())
    [alone], [together] = (theory.plan(p, 2.0, 0.5, [n], inflation=i) for i in (1.0, inflation))
    assert together.corrected_weight_error == pytest.approx(shown, rel=0.15)
    assert alone.corrected_weight_error is not None
    assert alone.corrected_weight_error < 0.6 * shown


def test_a_correlation_of_all_pairs_is_planned_for(
    refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for r in (-0.1, 0.0, 0.7):
        pairs = np.full((8, 8), r) + (1 - r) * np.eye(8)
        assert inflation_for(r, 8) == pytest.approx(np.linalg.inv(pairs)[0, 0])
    assert inflation_for(0.5, 1) == 1
    monkeypatch.setattr(sys, "argv", ["plan", "8", "--signal", "2", "--correlation", "0.7", "--n-trials", "500"])
    plan.main()
    shown = capsys.readouterr().out
    [line] = theory.plan(8, 2.0, 0.5, [500], inflation=inflation_for(0.7, 8))
    assert f"{line.corrected_weight_error:.3f}" in shown
    assert "uncorrelated unless --correlation" in shown
    monkeypatch.setattr(sys, "argv", ["plan", "8", "--signal", "2", "--correlation", "1"])
    assert "correlation is 1: that of all pairs of 8 factors lies between -0.143 and 1" in refuses(plan.main)


@pytest.mark.parametrize(
    "arguments", ["--signal 2", "--study . --correlation 0.5", "22 --study .", "--study . --signal 2"]
)
def test_a_study_or_a_number_of_factors_is_named(arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", *arguments.split()])
    with pytest.raises(SystemExit):
        plan.main()


def test_a_study_that_was_not_run_is_refused(
    project: Project, refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set(train={"solver": "exact"})
    monkeypatch.setattr(sys, "argv", ["plan", "--study", "."])
    assert "`dvc repro`" in refuses(plan.main)


@pytest.mark.parametrize(("guess_rate", "lapse_rate"), [(0.0, 0.0), (0.5, 0.0), (0.1, 0.05)])
def test_with_rates_signal_and_intercept_are_those_of_the_accuracy_and_the_base_rate(
    guess_rate: float, lapse_rate: float
) -> None:
    rates = guess_rate, lapse_rate
    z = np.linspace(-9, 9, 180_001)
    density = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    for signal, intercept in ((0.5, -1.0), (4.0, 0.0), (16.0, 2.0)):
        yes = guess_rate + (1 - guess_rate - lapse_rate) / (1 + np.exp(-intercept - signal * z))
        assert base_rate_for(intercept, signal, *rates) == pytest.approx(yes @ density, abs=1e-8)
        assert intercept_for(yes @ density, signal, *rates) == pytest.approx(intercept, abs=1e-5)
        yes = guess_rate + (1 - guess_rate - lapse_rate) / (1 + np.exp(-signal * z))
        if guess_rate < 0.5:
            assert signal_for(np.maximum(yes, 1 - yes) @ density, *rates) == pytest.approx(signal, rel=1e-4)


def test_with_rates_the_number_of_trials_is_the_one_at_which_the_goal_is_reached() -> None:
    rates, base_rate = (0.02, 0.01), 0.5

    def good(line: Plan) -> bool:
        return line.exists and (line.alpha or inf) <= 1.05

    n = n_trials_until(50, 2.0, base_rate, good, *rates)
    at, before = theory.plan(50, 2.0, base_rate, [n, round(n / 1.02)], *rates)
    assert good(at)
    assert not good(before)
