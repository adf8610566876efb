"""The link of fit and responses: against quadrature, a plain optimiser, and observers whose rates are known."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from hdlogit.inference.curve import psychometric_curve
from hdlogit.inference.index import law_of_index
from hdlogit.inference.link import Link, asymmetry_test, fit_link, logistic_test
from hdlogit.inference.observer import Block, Posterior

Array = NDArray[np.float64]
Trials = tuple[Array, Array, NDArray[np.bool_], Array]  # V, s, responses, U

gains, intercepts, rates = st.floats(-3, 4), st.floats(-5, 5), st.floats(0, 0.45)


def draw(seed: int, n: int, gain: float, intercept: float, g: float, lapse: float, spread: float = 0.3) -> Trials:
    """Trials that are just as by the model of the link, of a normal index of sd 1."""
    rng = np.random.default_rng(seed)
    noise, true = rng.uniform(0.5 * spread, spread, n), rng.normal(size=n)
    responses = rng.random(n) < g + (1 - g - lapse) * expit(gain * true + intercept)
    return true + noise * rng.normal(size=n), noise, responses, true


def parameters(link: Link) -> Array:
    """(log Γ, b, g, l)."""
    return np.array([np.log(link.gain), link.intercept, link.guess_rate, link.lapse_rate])


def naive(trials: Trials, prior: float, highest_rate: float = 0.49) -> tuple[Array, float]:
    """Most probable (log Γ, b, g, l) and its log-posterior if the index is known to be normal of sd 1: many
    Gauss-Hermite nodes and scipy, from two starts.
    """
    v, s, y, _ = trials
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = weights / weights.sum()
    index = (v / (1 + s**2))[:, None] + (s / np.sqrt(1 + s**2))[:, None] * nodes

    def cost(theta: Array) -> float:
        logit = np.exp(theta[0]) * index + theta[1]
        near, far = np.where(y, theta[2], theta[3]), np.where(y, theta[3], theta[2])
        p = near + (1 - near - far) * (expit(np.where(y, 1, -1)[:, None] * logit) @ weights)
        return -float(np.log(p).sum() + prior * np.log1p(-theta[2:]).sum())

    bounds = [(-2, 3.5), (-9, 9), (0, highest_rate), (0, highest_rate)]
    options = {"ftol": 1e-14, "gtol": 1e-7}
    rate = min(0.03, highest_rate)
    starts = (np.array([s, 0.0, rate, rate]) for s in (0.0, 1.5))
    results = [minimize(cost, start, bounds=bounds, method="L-BFGS-B", options=options) for start in starts]
    best = min(results, key=lambda r: float(r.fun))
    return best.x, -float(best.fun)


# --- the law of the index


def test_the_law_of_a_normal_index_stays_normal() -> None:
    v, s, y, _ = draw(1, 5000, 1.0, 0.0, 0.0, 0.0, spread=0.6)
    law, _ = law_of_index(v, s, y)
    mean = law.mass @ law.points
    assert (mean, law.sd) == pytest.approx((0.0, 1.0), abs=0.05)
    cumulated = np.interp([-1.5, -0.5, 0.5, 1.5], law.points, np.cumsum(law.mass))
    assert cumulated == pytest.approx(norm.cdf([-1.5, -0.5, 0.5, 1.5]), abs=0.06)


def test_the_law_of_an_index_of_two_values_has_two_steps() -> None:
    rng = np.random.default_rng(0)
    true = rng.choice([-2.0, 1.0], 4000, p=[0.25, 0.75])
    law, _ = law_of_index(true + 0.5 * rng.normal(size=4000), 0.5, true > 0)
    near = [law.mass[np.abs(law.points - value) < 0.35].sum() for value in (-2.0, 1.0)]
    assert near == pytest.approx([0.25, 0.75], abs=0.05)


def test_a_few_trials_that_are_known_badly_hardly_move_the_law() -> None:
    v, s, y, _ = draw(2, 3000, 1.0, 0.0, 0.0, 0.0)
    far = np.full(30, 40.0)
    law, _ = law_of_index(np.append(v, far), np.append(s, far), np.append(y, far > 0))
    assert law.sd == pytest.approx(law_of_index(v, s, y)[0].sd, rel=0.05)


# --- the likelihood


@pytest.mark.parametrize("averaged", [False, True])
def test_derivatives_of_the_likelihood_are_its_differences(averaged: bool) -> None:
    rng = np.random.default_rng(3)
    t, n = np.column_stack([rng.normal(size=(12, 2)), np.ones(12)]), rng.integers(1, 9, 12).astype(float)
    average = rng.dirichlet(np.ones(12), 12) if averaged else None
    blocks = [Block(t[:12], np.floor(n * rng.random(12)), n, average)]
    posterior = Posterior(lambda: blocks, np.diag([0.3, 0.2, 0.1]), (None, None))
    theta, step = np.array([0.8, -1.2, 0.3, 0.05, 0.1]), 1e-5 * np.eye(5)
    here, there, back = posterior.evaluate(theta), *([posterior.evaluate(theta + s * e) for e in step] for s in (1, -1))
    slopes = [(a.value - b.value) / 2e-5 for a, b in zip(there, back, strict=True)]
    bends = [(b.gradient - a.gradient) / 2e-5 for a, b in zip(there, back, strict=True)]
    assert here.gradient == pytest.approx(slopes, rel=1e-6)
    assert here.hessian == pytest.approx(np.array(bends), rel=1e-5, abs=1e-6)


# --- the fit


@pytest.mark.parametrize(
    ("gain", "g", "lapse"), [(3.0, 0.05, 0.1), (3.0, 0.0, 0.0), (8.0, 0.02, 0.02), (1.0, 0.1, 0.0)]
)
def test_the_fit_is_that_of_a_plain_optimiser_that_knows_the_law(gain: float, g: float, lapse: float) -> None:
    trials = draw(1, 2000, gain, 0.5, g, lapse)
    link = fit_link(*trials[:3])
    theta, _ = naive(trials, 9.0)
    assert np.abs(parameters(link) - theta).max() < 0.35 * link.errors.max()


def test_rates_of_zero_are_kept() -> None:
    link = fit_link(*draw(2, 2000, 2.0, -0.5, 0.0, 0.0)[:3], (0.0, 0.0))
    assert (link.guess_rate, link.lapse_rate) == (0, 0)
    assert not link.covariance[2:].any()
    assert not link.covariance[:, 2:].any()
    assert parameters(link)[:2] == pytest.approx([np.log(2), -0.5], abs=3 * link.errors[0])


def test_rates_and_slope_are_recovered_and_errors_are_honest() -> None:
    """Scores of 40 observers, who all have the rates .05 and .1, in units of the errors that are claimed."""
    truth = np.array([np.log(3.0), 0.5, 0.05, 0.1])
    links = [fit_link(*draw(seed, 3000, 3.0, 0.5, 0.05, 0.1)[:3]) for seed in range(40)]
    z = np.array([(parameters(link) - truth) / link.errors for link in links])
    assert all(link.reason is None for link in links)
    assert np.abs(z.mean(axis=0)).max() < 0.6
    assert z.std(axis=0) == pytest.approx(np.ones(4), abs=0.35)


def test_a_guess_rate_of_a_half_is_that_of_two_alternatives() -> None:
    trials = draw(3, 5000, 4.0, 0.0, 0.5, 0.03)
    link = fit_link(*trials[:3], (0.5, None))
    assert link.guess_rate == 0.5
    assert not link.covariance[2].any()
    assert link.lapse_rate == pytest.approx(0.03, abs=4 * link.errors[3])
    assert link.gain == pytest.approx(4, rel=4 * link.errors[0])


@pytest.mark.parametrize("separable", [True, False])
def test_what_is_not_determined_is_said(separable: bool) -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=300)
    responses = v > 0 if separable else rng.random(300) < 0.5
    link = fit_link(v, 0.0, responses)
    assert link.reason is not None
    assert "not determined" in link.reason
    assert np.isfinite(link.covariance).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_step_between_two_points_of_the_law_is_no_slope(seed: int) -> None:
    """Half a yes, where the guess rate is said to be a half: seed 1 finds such a step, of a tiny error."""
    rng = np.random.default_rng(seed)
    u, noise = rng.normal(size=(2, 300))
    v, responses = u + 0.7 * noise, rng.random(300) < expit(0.7 * u)
    link = fit_link(v - v.mean(), 0.7, responses, (0.5, 0.0))
    assert "not determined" in str(link.reason)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(20))
def test_wild_trials_give_finite_answers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.choice([2, 5, 60]))
    v = [rng.standard_t(1.2, n), np.round(rng.normal(size=n)), np.ones(n)][seed % 3] * 10 ** rng.uniform(-3, 3)
    noise, responses = rng.choice([0.0, 0.3, 5.0]) * rng.random(n), rng.random(n) < expit(10 ** rng.uniform(-2, 2) * v)
    responses[:2] = True, False
    link = fit_link(v, noise, responses, ([None, 0.0, 0.5][seed % 3], None))
    assert np.isfinite(parameters(link)).all()
    assert np.isfinite(link.errors).all()


# --- the test of the logistic function


def test_the_test_finds_lapses_and_leaves_logistic_observers_alone() -> None:
    logistic = [logistic_test(*draw(seed, 800, 3.0, 0.0, 0.0, 0.0)[:3]).p_value for seed in range(8)]
    assert np.mean(np.array(logistic) <= 0.05) <= 0.25
    assert np.median(logistic) > 0.2
    lapsing = logistic_test(*draw(0, 2000, 4.0, 0.0, 0.05, 0.05)[:3])
    assert lapsing.p_value < 0.01
    trials = draw(7, 800, 3.0, 0.0, 0.0, 0.0)
    assert logistic_test(*trials[:3]) == logistic_test(*trials[:3])  # seeded


def test_a_p_value_is_as_small_as_ten_classes_need() -> None:
    """Samples tell no less than 1/401, so a statistic that is beyond that is told by its bound."""
    tests = [logistic_test(*draw(seed, 800, 4.0, 0.0, 0.06, 0.0)[:3]) for seed in range(12)]
    beyond = [test for test in tests if test.statistic > 2 * np.log(401)]
    assert any(test.statistic < 20 for test in beyond)
    assert all(test.p_value < 1 / 400 for test in beyond)
    assert all(test.p_value >= 1 / 401 for test in tests if test not in beyond)


def test_with_a_known_guess_rate_a_half_the_test_is_of_what_is_above_it() -> None:
    """Two alternatives: guesses at 1/2 are no surprise, lapses are."""
    guessing = [logistic_test(*draw(seed, 1500, 3.0, 0.0, 0.5, 0.0)[:3], (0.5, 0.0)) for seed in range(6)]
    assert sum(test.p_value < 0.05 for test in guessing) <= 1
    assert any(test.statistic > 0 for test in guessing)
    assert logistic_test(*draw(0, 3000, 4.0, 0.0, 0.5, 0.1)[:3], (0.5, 0.0)).p_value < 0.01
    assert logistic_test(*draw(0, 1500, 3.0, 0.0, 0.5, 0.0)[:3]).p_value < 0.01


def test_the_statistic_is_twice_the_gain_in_log_likelihood() -> None:
    trials = draw(8, 1500, 4.0, 0.0, 0.05, 0.05)
    (_, free), (_, null) = naive(trials, 0.0), naive(trials, 0.0, 0.0)
    assert logistic_test(*trials[:3]).statistic == pytest.approx(2 * (free - null), rel=0.1)


# --- the curve


def test_the_curve_runs_through_the_binned_responses() -> None:
    trials = draw(5, 20_000, 3.0, 0.3, 0.05, 0.1)
    link = fit_link(*trials[:3])
    curve = psychometric_curve(*trials[:3], link)
    assert curve.trials.sum() == 20_000
    fitted = np.interp(curve.index, curve.grid, curve.fitted)
    assert np.mean((curve.low <= fitted) & (fitted <= curve.high)) >= 0.8
    beside = np.interp(curve.index, curve.grid, curve.logistic)
    assert np.abs(beside - curve.observed).max() > 2 * np.abs(fitted - curve.observed).max()
    assert curve.function[0] == pytest.approx(link.guess_rate, abs=0.01)


def test_asymmetry_is_the_textbook_s_score_of_the_squared_index() -> None:
    """Rao's, by statsmodels, where the index is known without noise; with a guess rate it is seen, too."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=2000)
    y = rng.random(2000) < -np.expm1(-np.exp(z))
    null = sm.GLM(y.astype(float), sm.add_constant(z), family=sm.families.Binomial()).fit()
    textbook = null.score_test(exog_extra=z[:, None] ** 2)
    statistic, p = asymmetry_test(z, 1e-3, y, (0.0, 0.0))
    assert statistic == pytest.approx(textbook[0], rel=0.05)
    assert p == pytest.approx(textbook[1], rel=0.2)
    guessing = rng.random(2000) < 0.2 + 0.8 * expit(3 * z)
    assert asymmetry_test(z, 1e-3, guessing, (0.0, 0.0))[1] < 1e-6
    assert asymmetry_test(z, 1e-3, guessing, (None, None))[1] > 0.05  # which guesses explain
