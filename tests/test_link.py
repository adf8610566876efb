"""The link of fit and responses: against quadrature, a plain optimiser, and observers whose rates are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from hdlogit.inference.curve import psychometric_curve
from hdlogit.inference.likelihood import response
from hdlogit.inference.link import Link, fit_link, logistic_test, logistic_tests
from hdlogit.inference.predict import best_logits, predict

Array = NDArray[np.float64]
Trials = tuple[Array, float, Array, NDArray[np.bool_], Array]  # V, m, ν, responses, ζ

gains, intercepts, rates = st.floats(-3, 4), st.floats(-5, 5), st.floats(0, 0.45)


def draw(seed: int, n: int, gain: float, intercept: float, g: float, lapse: float, spread: float = 0.3) -> Trials:
    """Trials that are just as by the model of the link."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.5 * spread, spread, n)
    mean = np.sqrt(1 - noise**2) * rng.normal(size=n)
    true = mean + noise * rng.normal(size=n)
    responses = rng.random(n) < g + (1 - g - lapse) * expit(gain * true + intercept)
    return mean / 0.2, 0.2, noise, responses, true


def naive(trials: Trials, prior: float) -> tuple[Array, float]:
    """Most probable (log Γ, b, g, l) and its log-posterior: many Gauss-Hermite nodes and scipy, from two starts."""
    v, m, noise, y, _ = trials
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = weights / weights.sum()

    def cost(theta: Array) -> float:
        logit = np.exp(theta[0]) * (m * v[:, None] + noise[:, None] * nodes) + theta[1]
        near, far = np.where(y, theta[2], theta[3]), np.where(y, theta[3], theta[2])
        p = near + (1 - near - far) * (expit(np.where(y, 1, -1)[:, None] * logit) @ weights)
        return -float(np.log(p).sum() + prior * np.log1p(-theta[2:]).sum())

    bounds = [(-2, 3.5), (-9, 9), (0, 0.49), (0, 0.49)]
    options = {"ftol": 1e-14, "gtol": 1e-7}
    starts = (np.array([s, 0.0, 0.03, 0.03]) for s in (0.0, 1.5))
    results = [minimize(cost, start, bounds=bounds, method="L-BFGS-B", options=options) for start in starts]
    best = min(results, key=lambda r: float(r.fun))
    return best.x, -float(best.fun)


# --- the likelihood


@given(gains, intercepts, rates, rates, st.floats(-3, 3), st.floats(0, 2))
@settings(max_examples=25, deadline=None)
def test_the_response_is_that_of_adaptive_quadrature(
    log_gain: float, b: float, g: float, lapse: float, mean: float, noise: float
) -> None:
    theta = np.array([log_gain, b, g, lapse])
    yes, no, _ = response(theta[None], np.array([mean]), np.array([noise]))
    gain = np.exp(log_gain)
    bend = (-b / gain - mean) / max(noise, 1e-9)
    points = sorted({float(np.clip(bend, -11, 11)), 0.0})

    def expected(side: float) -> float:
        def integrand(z: float) -> float:
            return float(expit(side * (gain * (mean + noise * z) + b)) * norm.pdf(z))

        return float(quad(integrand, -12, 12, points=points, limit=200, epsabs=1e-13)[0])

    assert yes[0, 0] == pytest.approx(g + (1 - g - lapse) * expected(1), abs=2e-7)
    assert no[0, 0] == pytest.approx(lapse + (1 - g - lapse) * expected(-1), abs=2e-7)


def test_improbable_responses_keep_their_digits() -> None:
    theta = np.array([[0.0, -40.0, 0.0, 0.0]])
    yes, no, _ = response(theta, np.array([0.0]), np.array([0.8]))
    assert yes[0, 0] == pytest.approx(np.exp(-40 + 0.8**2 / 2), rel=1e-6)  # the tail of a log-normal
    assert no[0, 0] == 1
    assert np.isfinite(response(np.array([[4.6, 500.0, 0.0, 0.0]]), np.array([9.0]), np.array([3.0]))[2]).all()


@given(gains, intercepts, rates, rates)
@settings(max_examples=20, deadline=None)
def test_the_derivative_is_that_of_finite_differences(log_gain: float, b: float, g: float, lapse: float) -> None:
    mean, noise = np.array([-1.0, 0.2, 2.0]), np.array([0.1, 0.5, 1.0])
    theta = np.array([log_gain, b, g, lapse])
    derivative = response(theta[None], mean, noise)[2][:, 0]
    for k, step in enumerate(1e-5 * np.eye(4)):
        high, low = (response((theta + side * step)[None], mean, noise)[0][0] for side in (1, -1))
        assert derivative[k] == pytest.approx((high - low) / 2e-5, abs=1e-6)


# --- the fit


@pytest.mark.parametrize(
    ("gain", "g", "lapse"), [(3.0, 0.05, 0.1), (3.0, 0.0, 0.0), (8.0, 0.02, 0.02), (1.0, 0.1, 0.0)]
)
def test_the_fit_is_that_of_a_plain_optimiser(gain: float, g: float, lapse: float) -> None:
    trials = draw(1, 1000, gain, 0.5, g, lapse)
    link = fit_link(*trials[:4])
    theta, value = naive(trials, 9.0)
    posterior = link.log_likelihood + 9 * np.log1p(-np.array([link.guess_rate, link.lapse_rate])).sum()
    assert posterior == pytest.approx(value, abs=1e-5)
    assert link.parameters == pytest.approx(theta, abs=2e-3)


def test_rates_of_zero_leave_two_parameters_and_their_information() -> None:
    trials = draw(2, 2000, 2.0, -0.5, 0.0, 0.0)
    link = fit_link(*trials[:4], guess_rate=0.0, lapse_rate=0.0)
    assert (link.guess_rate, link.lapse_rate) == (0, 0)
    assert not link.covariance[2:].any()
    assert not link.covariance[:, 2:].any()
    mean, noise = trials[1] * trials[0], trials[2]
    yes, no, d = response(link.parameters[None], mean, noise)
    scores = d[:2, 0] * np.where(trials[3], 1 / yes[0], -1 / no[0])  # (2, n)
    assert scores.sum(axis=1) == pytest.approx([0, 0], abs=1e-3)
    expected = (d[:2, 0] / (yes[0] * no[0])) @ d[:2, 0].T
    assert link.covariance[:2, :2] == pytest.approx(np.linalg.inv(expected), rel=0.15, abs=2e-4)


def test_rates_and_slope_are_recovered_and_errors_are_honest() -> None:
    """Scores of 40 observers, who all have the rates .05 and .1, in units of the errors that are claimed."""
    truth = np.array([np.log(3.0), 0.5, 0.05, 0.1])
    links = [fit_link(*draw(seed, 3000, 3.0, 0.5, 0.05, 0.1)[:4]) for seed in range(40)]
    z = np.array([(link.parameters - truth) / link.errors for link in links])
    assert all(link.reason is None for link in links)
    assert np.abs(z.mean(axis=0)).max() < 0.6
    assert z.std(axis=0) == pytest.approx(np.ones(4), abs=0.35)


def test_a_guess_rate_of_a_half_is_that_of_two_alternatives() -> None:
    trials = draw(3, 5000, 4.0, 0.0, 0.5, 0.03)
    link = fit_link(*trials[:4], guess_rate=0.5)
    assert link.guess_rate == 0.5
    assert not link.covariance[2].any()
    assert link.lapse_rate == pytest.approx(0.03, abs=4 * link.errors[3])
    assert link.gain == pytest.approx(4, rel=4 * link.errors[0])


def test_more_trials_than_are_used_are_thinned() -> None:
    trials = draw(4, 250_000, 3.0, 0.0, 0.02, 0.02)
    thin = [x[::3] if isinstance(x, np.ndarray) else x for x in trials]
    many, few = fit_link(*trials[:4]), fit_link(*thin[:4])  # type: ignore[arg-type]
    assert many.parameters == pytest.approx(few.parameters, abs=1e-12)


@pytest.mark.parametrize("separable", [True, False])
def test_what_is_not_determined_is_said(separable: bool) -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=300)
    responses = v > 0 if separable else rng.random(300) < 0.5
    link = fit_link(v, 1.0, 0.0, responses)
    assert link.reason is not None
    assert "not determined" in link.reason
    assert np.isfinite(link.covariance).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(20))
def test_wild_trials_give_finite_answers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.choice([2, 5, 60]))
    v = [rng.standard_t(1.2, n), np.round(rng.normal(size=n)), np.ones(n)][seed % 3] * 10 ** rng.uniform(-3, 3)
    noise, responses = rng.choice([0.0, 0.3, 5.0]) * rng.random(n), rng.random(n) < expit(10 ** rng.uniform(-2, 2) * v)
    responses[:2] = True, False
    link = fit_link(v, 1.0, noise, responses, guess_rate=[None, 0.0, 0.5][seed % 3])
    assert np.isfinite(link.parameters).all()
    assert np.isfinite(link.errors).all()
    assert np.isfinite(predict(v, 1.0, noise, link)).all()


def test_invalid_arguments_are_refused() -> None:
    v, y = np.linspace(-1, 1, 10), np.arange(10) % 2 == 0
    for arguments, message in (
        ((v, 1.0, 0.1, y[:9]), r"both must be \(n,\)"),
        ((v, 1.0, 0.1, np.ones(10, bool)), "alike"),
        ((v, 1.0, 0.1, 2.0 * y), "True or False"),
        ((v, 1.0, -0.1, y), "noise"),
        ((v * np.nan, 1.0, 0.1, y), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_link(*arguments)
    with pytest.raises(ValueError, match="guess_rate is"):
        fit_link(v, 1.0, 0.1, y, guess_rate=0.7)
    with pytest.raises(ValueError, match="sum"):
        fit_link(v, 1.0, 0.1, y, guess_rate=0.5, lapse_rate=0.5)


# --- the test of the logistic function


def test_the_test_finds_lapses_and_leaves_logistic_observers_alone() -> None:
    logistic = [logistic_test(*draw(seed, 800, 3.0, 0.0, 0.0, 0.0)[:4]).p_value for seed in range(8)]
    assert np.mean(np.array(logistic) <= 0.05) <= 0.25
    assert np.median(logistic) > 0.2
    lapsing = logistic_test(*draw(0, 2000, 4.0, 0.0, 0.05, 0.05)[:4])
    assert lapsing.p_value < 0.01
    trials = draw(7, 800, 3.0, 0.0, 0.0, 0.0)
    assert logistic_test(*trials[:4]) == logistic_test(*trials[:4])  # seeded


def test_a_p_value_is_as_small_as_ten_classes_need() -> None:
    """Samples tell no less than 1/401, so a statistic that is beyond that is told by its bound."""
    tests = [logistic_test(*draw(seed, 800, 4.0, 0.0, 0.06, 0.0)[:4]) for seed in range(12)]
    beyond = [test for test in tests if test.statistic > 2 * np.log(401)]
    assert any(test.statistic < 20 for test in beyond)
    assert all(test.p_value < 1 / 400 for test in beyond)
    assert all(test.p_value >= 1 / 401 for test in tests if test not in beyond)


def test_many_observers_at_once_have_the_tests_of_each_alone() -> None:
    many = [draw(seed, n, 3.0, 0.5, guess, 0.0)[:4] for seed, n, guess in ((1, 400, 0.0), (2, 800, 0.0), (3, 600, 0.1))]
    together, alone = logistic_tests(many), [logistic_test(*one) for one in many]
    for key in ("statistic", "p_value"):
        np.testing.assert_allclose([getattr(t, key) for t in together], [getattr(t, key) for t in alone], atol=1e-6)
    assert logistic_tests([]) == []


def test_with_a_known_guess_rate_a_half_the_test_is_of_what_is_above_it() -> None:
    """Two alternatives: guesses at 1/2 are no surprise, lapses are."""
    guessing = [logistic_test(*draw(seed, 1500, 3.0, 0.0, 0.5, 0.0)[:4], guess_rate=0.5) for seed in range(6)]
    assert sum(test.p_value < 0.05 for test in guessing) <= 1
    assert any(test.statistic > 0 for test in guessing)
    assert logistic_test(*draw(0, 3000, 4.0, 0.0, 0.5, 0.1)[:4], guess_rate=0.5).p_value < 0.01
    assert logistic_test(*draw(0, 1500, 3.0, 0.0, 0.5, 0.0)[:4]).p_value < 0.01


def test_the_statistic_is_twice_the_gain_in_log_likelihood() -> None:
    trials = draw(8, 1500, 4.0, 0.0, 0.05, 0.05)
    _, free = naive(trials, 0.0)
    null = fit_link(*trials[:4], guess_rate=0.0, lapse_rate=0.0)
    assert logistic_test(*trials[:4]).statistic == pytest.approx(2 * (free - null.log_likelihood), rel=0.1)


# --- predictions


def test_intervals_of_new_trials_cover_the_true_probability() -> None:
    covered, losses = [], []
    for seed in range(20):
        link = fit_link(*draw(seed, 1000, 3.0, 0.5, 0.05, 0.1)[:4])
        v, m, noise, responses, true = draw(1000 + seed, 2000, 3.0, 0.5, 0.05, 0.1)
        p = 0.05 + 0.85 * expit(3 * true + 0.5)
        found = predict(v, m, noise, link)
        covered.append(np.mean((found.low <= p) & (p <= found.high)))
        losses.append(np.mean(np.where(responses, found.probability, 1 - found.probability)))
        assert ((found.low >= 0) & (found.high <= 1) & (found.low <= found.high)).all()
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_best_logits_are_those_of_the_best_probability() -> None:
    link = Link(3.0, 0.2, 0.02, 0.0, np.zeros((4, 4)), 0.0)
    v = np.linspace(-20, 20, 41)
    logits = best_logits(v, 1.0, 0.3, link)
    assert expit(logits) == pytest.approx(predict(v, 1.0, 0.3, link).probability, abs=1e-14)
    assert logits[-1] == pytest.approx(60.2 - np.log(0.98) - 0.9**2 / 2, abs=1e-6)  # far beyond 1 − p = 1e-16


def test_known_parts_of_the_covariance_are_not_counted_twice() -> None:
    covariance = np.diag([0.01, 0.02, 0.0, 0.0])
    link = Link(2.0, 0.0, 0.0, 0.0, covariance, 0.0)
    v = np.linspace(-2, 2, 9)
    once = predict(v, 1.0, 0.1, link, overlap=covariance[:2, :2])
    none = predict(v, 1.0, 0.1, Link(2.0, 0.0, 0.0, 0.0, np.zeros((4, 4)), 0.0))
    assert once.low == pytest.approx(none.low, abs=1e-12)
    assert once.high == pytest.approx(expit(2 * v + 2 * 0.1 * norm.ppf(0.975)), abs=1e-12)


# --- the curve


def test_the_curve_runs_through_the_binned_responses() -> None:
    trials = draw(5, 20_000, 3.0, 0.3, 0.05, 0.1)
    link = fit_link(*trials[:4])
    logistic = fit_link(*trials[:4], guess_rate=0.0, lapse_rate=0.0)
    curve = psychometric_curve(*trials[:4], link, logistic)
    assert curve.trials.sum() == 20_000
    fitted = np.interp(curve.index, curve.grid, curve.fitted)
    assert np.mean((curve.low <= fitted) & (fitted <= curve.high)) >= 0.8
    beside = np.interp(curve.index, curve.grid, curve.logistic)
    assert np.abs(beside - curve.observed).max() > 2 * np.abs(fitted - curve.observed).max()
    assert curve.function[0] == pytest.approx(link.guess_rate, abs=0.01)
