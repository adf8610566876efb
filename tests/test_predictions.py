"""What the theory predicts of a fit, and the best use of its logits: against integrals, simulations and actual fits."""

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.asymptotics.equations import Asymptotics, trials
from hdlogit.asymptotics.existence import OutsideTheory, existence_threshold
from hdlogit.asymptotics.logistic_normal import logit_of_probability, probability_and_slope
from hdlogit.asymptotics.planning import intercept_for, plan
from hdlogit.asymptotics.predictions import (
    bayes_cross_entropy,
    best_logits,
    best_ridge,
    corrected_logits,
    held_out_cross_entropy,
    predict,
)
from hdlogit.asymptotics.theory import solve
from tests.problems import fit, gaussian

Array = NDArray[np.float64]

# --- the logistic-normal integral and π(V)


@pytest.mark.parametrize("sd", [0.0, 0.3, 1.1, 7.99, 8.01, 15.0, 90.0])
def test_the_logistic_normal_integral_agrees_with_mpmath(sd: float) -> None:
    for mean in (0.0, 0.4, -3.0, -2.5 * sd - 1):

        def integrand(x: mpmath.mpf, mean: float = mean) -> mpmath.mpf:
            return mpmath.npdf(x) / (1 + mpmath.exp(-mean - sd * x))

        points = sorted({-20.0, *(np.clip(-mean / sd + np.array([-5, 0, 5]) / sd, -19, 19) if sd else [0]), 20.0})
        exact = float(mpmath.quad(integrand, points))
        probability, slope = probability_and_slope(mean, sd)
        assert float(probability) == pytest.approx(exact, rel=1e-9)
        nearby = probability_and_slope([mean - 1e-4, mean + 1e-4], sd)[0]
        assert float(slope) == pytest.approx(float(nearby[1] - nearby[0]) / 2e-4, rel=1e-6)


@pytest.mark.parametrize("sd", [0.0, 0.2, 1.1, 7.9, 8.1, 15.0, 80.0])
def test_the_spline_of_the_logit_is_accurate_odd_and_monotone(sd: float) -> None:
    mean = np.random.default_rng(0).normal(size=4000) * 2 * max(1.0, sd)
    exact = np.log(probability_and_slope(mean, sd)[0] / probability_and_slope(-mean, sd)[0])
    assert np.abs(logit_of_probability(mean, sd) - exact).max() < 1e-7
    assert np.array_equal(logit_of_probability(-mean, sd), -logit_of_probability(mean, sd))
    far = np.sort(np.concatenate([mean, [-1e4, 1e4, 1e5]]))
    assert (np.diff(logit_of_probability(far, sd)) > 0).all()


def test_the_best_prediction_is_the_probability_given_the_fitted_logit() -> None:
    a = solve(0.1, 3.0, 1.0)
    rng = np.random.default_rng(8)
    truth = 1.0 + 3.0 * rng.normal(size=2_000_000)
    fitted = a.b + a.alpha * (truth - 1.0) + a.s * rng.normal(size=truth.size)
    for v in (-6.0, 0.0, 4.0):
        near = np.abs(fitted - v) < 0.1
        assert expit(best_logits(a, v)) == pytest.approx(expit(truth[near]).mean(), abs=0.01)
    assert float(corrected_logits(a, a.b)) == pytest.approx(1.0)
    assert float(corrected_logits(a, a.b + a.alpha)) == pytest.approx(2.0)


# --- predictions


def test_predicted_cross_entropies_are_those_of_a_simulated_theory() -> None:
    a = solve(0.08, 4.0, -1.0)
    rng = np.random.default_rng(9)
    z = rng.normal(size=(2, 1_000_000))
    truth, new = -1.0 + 4.0 * z[0], a.b + a.alpha * 4.0 * z[0] + a.s * z[1]
    p, q = expit(truth), predict(a)

    def cross_entropy(logits: Array) -> float:
        return float((p * np.logaddexp(0, -logits) + (1 - p) * np.logaddexp(0, logits)).mean())

    assert q.bayes == pytest.approx(cross_entropy(truth), rel=0.005)
    assert q.held_out == pytest.approx(cross_entropy(new), rel=0.005)
    assert q.corrected == pytest.approx(cross_entropy(corrected_logits(a, new)), rel=0.005)
    assert q.best == pytest.approx(cross_entropy(best_logits(a, new)), rel=0.005)


@pytest.mark.parametrize(("ridge", "tilt"), [(0.0, 0.0), (0.01, 1.0)])
def test_predictions_meet_actual_fits(ridge: float, tilt: float) -> None:
    n, p, k, signal = 4000, 200, 5, 3.0
    problem = gaussian(1, n, p, k, signal, tilt)
    coefficients = fit(problem.factors, problem.responses, ridge)
    a = solve(p / n, signal, tilt, ridge=ridge)
    q = predict(a)
    logits = problem.factors @ coefficients[:-1] + coefficients[-1]
    training = np.logaddexp(0, np.where(problem.responses, -logits, logits)).mean()
    assert q.training == pytest.approx(training, rel=0.04)
    # For Gaussian factors the fresh logits of truth and fit are jointly normal: a theory's law, λ = 0.
    held_out, slopes, spreads = [], [], []
    for c in range(k):
        w, beta = coefficients[:-1, c], problem.observer[:-1, c]
        slopes.append(float(w @ beta) / signal**2)
        spreads.append(float(np.linalg.norm(w - slopes[-1] * beta)))
        law = Asymptotics(p / n, signal, tilt, ridge, 1.0, slopes[-1], spreads[-1], 0.0, float(coefficients[-1, c]))
        held_out.append(held_out_cross_entropy(law))
    assert a.alpha == pytest.approx(np.mean(slopes), rel=0.04)
    assert a.s == pytest.approx(np.mean(spreads), rel=0.05)
    assert a.b == pytest.approx(coefficients[-1].mean(), abs=0.12)
    assert q.held_out == pytest.approx(np.mean(held_out), rel=0.02)


def test_the_quadrature_integrates_the_law_of_the_trials() -> None:
    q = trials(solve(0.05, 5.0, 2.0))
    joint = q.response * q.dv
    assert joint.sum() == pytest.approx(1.0, abs=1e-9)
    assert joint[1].sum() == pytest.approx(float(probability_and_slope(2.0, 5.0)[0]), abs=1e-9)
    assert bayes_cross_entropy(0.0) == pytest.approx(np.log(2))
    assert bayes_cross_entropy(1e-3) == pytest.approx(np.log(2), abs=1e-6)


# --- ridge and planning


@pytest.mark.parametrize(("kappa", "signal", "intercept"), [(0.0256, 16.0, 0.0), (0.3, 2.0, 1.0), (2.0, 1.0, 0.0)])
def test_the_best_ridge_is_a_minimum(kappa: float, signal: float, intercept: float) -> None:
    best = best_ridge(kappa, signal, intercept)
    at = held_out_cross_entropy(solve(kappa, signal, intercept, ridge=best))
    for factor in (0.3, 0.8, 1.25, 3.0):
        assert held_out_cross_entropy(solve(kappa, signal, intercept, ridge=best * factor)) > at
    if kappa < existence_threshold(signal, intercept):
        assert at < predict(solve(kappa, signal, intercept)).held_out


def test_without_signal_the_best_ridge_is_strong() -> None:
    assert best_ridge(0.1, 0.0) == best_ridge(0.1, 0.005) > 100
    strong = solve(0.1, 0.0, ridge=best_ridge(0.1, 0.0))
    assert held_out_cross_entropy(strong) == pytest.approx(np.log(2), abs=1e-6)


def test_the_plan_says_what_the_theory_says() -> None:
    rows = plan(256, 16.0, 0.5, [2000, 4076, 10_000, 1_000_000])
    assert [row.exists for row in rows] == [False, True, True, True]
    assert rows[0].alpha is None
    assert rows[0].bayes == rows[3].bayes == bayes_cross_entropy(16.0)
    assert rows[2].alpha == pytest.approx(1.2316226, abs=1e-6)
    assert rows[2].weight_error == pytest.approx(np.hypot(0.2316226, 1.3827780 / 16), abs=1e-6)
    assert rows[2].corrected_weight_error == pytest.approx(1.3827780 / 16 / 1.2316226, abs=1e-6)
    coverages = [row.classical_coverage for row in rows[1:] if row.classical_coverage is not None]
    assert coverages == sorted(coverages)
    assert coverages[-1] > 0.94
    with pytest.raises(OutsideTheory, match="at least 1"):
        plan(256, 16.0, 0.5, [0])


def test_the_intercept_gives_the_base_rate() -> None:
    for rate, signal in ((0.5, 3.0), (0.03, 16.0), (0.999, 0.0), (0.2, 100.0)):
        intercept = intercept_for(rate, signal)
        assert float(probability_and_slope(intercept, signal)[0]) == pytest.approx(rate, rel=1e-8)
    with pytest.raises(OutsideTheory, match="base_rate is 1"):
        intercept_for(1.0, 3.0)
