"""The equations solved and inverted: published solutions, accuracy, and what must hold of any observer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from hdlogit.asymptotics.equations import STEP, Asymptotics, log_ratios
from hdlogit.asymptotics.existence import OutsideTheory, existence_threshold
from hdlogit.asymptotics.inverse import Dominant, NoSignal, observer_from_fit, without_signal
from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.asymptotics.predictions import classical_coverage, predict
from hdlogit.asymptotics.theory import solve
from hdlogit.exact import fit
from tests.problems import random_observer

Array = NDArray[np.float64]


def error(a: Asymptotics) -> float:
    """Relative error of (s, α, λ), and that of b in units of √(1 + η²), as half the quadrature step shows it.

    It is the step of Newton's method on the finer equations, with a derivative taken here.
    """

    def finer(x: Array) -> Array:
        s, alpha, lambda_ = (float(v) for v in np.exp(x[:3]))
        problem = (a.kappa, a.signal, a.intercept, a.ridge, a.shrinkage)
        return log_ratios(Asymptotics(*problem, alpha, s, lambda_, float(x[3] * np.hypot(1, a.eta))), STEP / 2)

    x = np.append(np.log([a.s, a.alpha, a.lambda_]), a.b / np.hypot(1, a.eta))
    jacobian = np.stack([(finer(x + e) - finer(x - e)) / 2e-5 for e in 1e-5 * np.eye(4)], axis=1)
    return float(np.abs(np.linalg.solve(jacobian, finer(x))).max())


# --- rates


@pytest.mark.parametrize(
    ("kappa", "signal", "intercept", "guess_rate", "lapse_rate"),
    [(0.30249, 15.71, 11.2545, 0.5, 0.1), (0.17475, 35.25, 4.0387, 0.0, 0.5), (0.11249, 16.488, 56.964, 0.5, 0.2)],
)
def test_extreme_observers_are_solved_by_way_of_weaker_ones(
    kappa: float, signal: float, intercept: float, guess_rate: float, lapse_rate: float
) -> None:
    a = solve(kappa, signal, intercept, guess_rate=guess_rate, lapse_rate=lapse_rate)
    assert np.abs(log_ratios(a, STEP / 2)).max() < 1e-4


RATES = [(0.1, 0.05, 2.0, 0.5), (0.5, 0.02, 3.0, 0.0), (0.02, 0.1, 5.0, -1.0)]  # guess, lapse, signal, intercept


@pytest.mark.parametrize(("guess_rate", "lapse_rate", "signal", "intercept"), RATES)
def test_the_plain_fit_to_an_observer_who_guesses_and_lapses_is_as_simulated(
    guess_rate: float, lapse_rate: float, signal: float, intercept: float
) -> None:
    n, p, k = 1600, 240, 30
    a = solve(p / n, signal, intercept, guess_rate=guess_rate, lapse_rate=lapse_rate)
    rng = np.random.default_rng(0)
    factors, weights = rng.normal(size=(n, p)), rng.normal(size=(p, k))
    weights *= signal / np.linalg.norm(weights, axis=0)
    yes = guess_rate + (1 - guess_rate - lapse_rate) * expit(factors @ weights + intercept)
    fitted = fit(factors, rng.random((n, k)) < yes)
    slope = (fitted.coefficients[:-1] * weights).sum(0) / signal**2
    noise = np.linalg.norm(fitted.coefficients[:-1] - slope * weights, axis=0)
    for found, expected in ((slope, a.alpha), (noise, a.s), (fitted.loss, predict(a).training)):
        assert found.mean() == pytest.approx(expected, rel=0.03)  # its standard error is about 0.01


@settings(max_examples=25)
@given(
    guess_rate=st.floats(0.01, 0.5),
    lapse_rate=st.floats(0, 0.4),
    signal=st.floats(0.1, 20),
    fraction=st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.97]),
)
def test_with_rates_the_equations_are_solved_up_to_97_percent_of_the_threshold(
    guess_rate: float, lapse_rate: float, signal: float, fraction: float
) -> None:
    kappa = fraction * existence_threshold(signal, 0.0, guess_rate, lapse_rate)
    a = solve(kappa, signal, guess_rate=guess_rate, lapse_rate=lapse_rate)
    assert np.abs(log_ratios(a)).max() < 1e-8
    assert a.alpha < solve(kappa, signal, 0.0).alpha if fraction < 0.5 else True
    mirrored = solve(kappa, signal, guess_rate=lapse_rate, lapse_rate=guess_rate)
    assert (mirrored.alpha, mirrored.b) == pytest.approx((a.alpha, -a.b), rel=1e-5, abs=1e-5)


# --- published values


@pytest.mark.parametrize(
    ("kappa", "signal", "intercept", "alpha", "lambda_", "sigma", "b", "digits"),
    [
        # Sur & Candès 2019
        (0.2, 5**0.5, 0.0, 1.4994, 3.0269, 4.7436, 0.0, 5e-5),
        # Zhao, Sur & Candès 2022, table 13
        (0.2, 5**0.5, 0.0, 1.50, 3.03, 4.75, 0.0, 0.01),
        (0.2, 5**0.5, 0.5, 1.51, 3.13, 4.84, 0.76, 0.01),
        (0.2, 5**0.5, 1.0, 1.56, 3.45, 5.16, 1.559, 0.01),
        (0.2, 5**0.5, 2.0, 1.83, 5.47, 7.01, 3.68, 0.01),
        (0.2, 5**0.5, 2.5, 2.31, 8.96, 10.0, 5.8, 0.02),
        # the vignette of glmhd
        (0.2, 2.1762, 0.5, 1.5, None, 4.74, None, 0.01),
        # this project, an independent program
        (0.0256, 16.0, 0.0, 1.2316226, 1.5593953, 8.6423625, 0.0, 5e-8),
    ],
)
def test_the_published_solutions_are_reproduced(
    kappa: float,
    signal: float,
    intercept: float,
    alpha: float,
    lambda_: float | None,
    sigma: float,
    b: float | None,
    digits: float,
) -> None:
    a = solve(kappa, signal, intercept)
    for found, published in ((a.alpha, alpha), (a.lambda_, lambda_), (_sigma(a), sigma), (a.b, b)):
        assert published is None or found == pytest.approx(published, abs=digits)


def test_the_published_shrunken_solution_is_reproduced() -> None:
    """brglm2's MDYPL, delta = 0.88."""
    a = solve(0.2, 5.0, shrinkage=0.12)
    assert (a.alpha, a.lambda_, _sigma(a)) == pytest.approx((0.565, 2.59, 2.54), abs=0.005)
    found = observer_from_fit(0.2, a.eta**2, a.b, shrinkage=0.12).theory
    assert (found.signal, found.alpha) == pytest.approx((5.0, a.alpha), rel=1e-6)


def test_the_published_inverse_is_reproduced() -> None:
    a = observer_from_fit(0.1, 8.881028475794636, 0.0).theory  # the tests of sloe-logistic
    assert (a.alpha, a.lambda_, a.s) == pytest.approx((1.174, 1.007, 1.086), abs=1e-3)


def _sigma(a: Asymptotics) -> float:
    """σ* = s/√κ, √n_trials times the sd of a fitted weight about α times the true one."""
    return float(a.s / np.sqrt(a.kappa))


def _likelihood_ratio_factor(a: Asymptotics) -> float:
    """s²/λ, which twice the log-likelihood ratio of true null weights is inflated by."""
    return a.s**2 / a.lambda_


def test_the_likelihood_ratio_factor_is_the_published_one() -> None:
    assert _likelihood_ratio_factor(solve(0.3, 0.0)) == pytest.approx(1.5, abs=0.05)  # Sur, Chen & Candès 2019
    assert _likelihood_ratio_factor(solve(1e-4, 1.0)) == pytest.approx(1.0, abs=1e-3)  # Wilks


# --- accuracy and robustness


def test_random_cases_up_to_the_threshold_are_solved_to_a_millionth() -> None:
    rng, errors = np.random.default_rng(4), []
    for case in range(300):
        signal, intercept = random_observer(rng)
        # Half of the cases within the hard tenth below 0.999 h, half anywhere down to 1e-4 h.
        fraction = rng.uniform(0.9, 0.999) if case % 2 else 0.999 * 10 ** rng.uniform(-4, 0)
        a = solve(fraction * existence_threshold(signal, intercept), signal, intercept)
        if case % 3 == 0:
            errors.append(error(a))
    assert max(errors) < 1e-6


def test_random_cases_with_ridge_and_shrinkage_are_solved() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        signal, kappa = float(10 ** rng.uniform(-2, 2)), float(10 ** rng.uniform(-3, 0.5))
        intercept = float(rng.uniform(-1, 1) * np.hypot(1.7, signal))
        a = solve(kappa, signal, intercept, ridge=float(kappa / max(signal, 0.1) ** 2 * 10 ** rng.uniform(-3, 3)))
        assert error(a) < 1e-6
        kappa = float(rng.uniform(0.01, 0.9))
        assert error(solve(kappa, signal, intercept, shrinkage=kappa / (1 + kappa))) < 1e-6


@pytest.mark.parametrize("intercept", [0.0, 0.7])
@pytest.mark.parametrize(("ridge", "shrinkage"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.2)])
def test_the_four_equations_hold_in_a_plain_two_dimensional_quadrature(
    intercept: float, ridge: float, shrinkage: float
) -> None:
    kappa, signal = 0.15, 1.5
    a = solve(kappa, signal, intercept, ridge=ridge, shrinkage=shrinkage)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    z1, z2 = np.meshgrid(nodes, nodes)
    mass = np.outer(weights, weights) / (2 * np.pi)
    truth, new = intercept + signal * z1, a.b + a.alpha * signal * z1 + a.s * z2
    sums, r = np.zeros(3), []
    for y in (0, 1):
        target = (1 - shrinkage) * y + shrinkage / 2
        low, high = new - a.lambda_, new + a.lambda_
        for _ in range(80):  # bisection for u + λ (σ(u) − y*) = V
            u = (low + high) / 2
            above = u + a.lambda_ * (expit(u) - target) > new
            low, high = np.where(above, low, u), np.where(above, u, high)
        curvature = a.lambda_ * expit(u) * expit(-u)
        p = mass * (expit(truth) if y else expit(-truth))
        r.append(new - u)
        sums += [(p * r[y] ** 2).sum(), (p * curvature / (1 + curvature)).sum(), (p * r[y]).sum()]
    third = (mass * (r[0] - r[1]) * expit(truth) * expit(-truth)).sum()
    assert sums[0] == pytest.approx(kappa * a.s**2, rel=1e-6)
    assert sums[1] == pytest.approx(kappa - a.lambda_ * ridge, rel=1e-6)
    assert third == pytest.approx(kappa * a.alpha, rel=1e-6)
    assert sums[2] == pytest.approx(0, abs=1e-7)


observers = st.tuples(
    st.floats(-2, 2).map(lambda x: 10**x), st.floats(-2, 2), st.floats(0.01, 0.98)
)  # γ, β0 in units of √(1.7² + γ²), κ/h


@settings(max_examples=40, deadline=None, derandomize=True)
@given(observers)
def test_weights_come_out_too_large_noisier_than_classical_and_symmetric_in_the_sign_of_the_intercept(
    observer: tuple[float, float, float],
) -> None:
    signal, tilt, fraction = observer
    intercept = tilt * float(np.hypot(1.7, signal))
    kappa = fraction * existence_threshold(signal, intercept)
    a, mirrored = solve(kappa, signal, intercept), solve(kappa, signal, -intercept)
    assert a.alpha > 1
    assert _likelihood_ratio_factor(a) > 1
    classical = 1 / float(probability_and_slope(intercept, signal)[1])  # σ*² for n → ∞ with p fixed
    assert _sigma(a) ** 2 > classical
    assert (mirrored.alpha, mirrored.s, mirrored.lambda_, -mirrored.b) == pytest.approx(
        (a.alpha, a.s, a.lambda_, a.b), rel=1e-7
    )
    p = predict(a)
    assert p.training < p.bayes < p.best < p.held_out
    assert p.best <= p.corrected
    assert p.classical_coverage < 0.95


@settings(max_examples=30, deadline=None, derandomize=True)
@given(observers)
def test_the_observer_is_found_back_from_its_fit(observer: tuple[float, float, float]) -> None:
    signal, tilt, fraction = max(observer[0], 0.1), *observer[1:]
    intercept = tilt * float(np.hypot(1.7, signal)) / 2
    a = solve(fraction * existence_threshold(signal, intercept), signal, intercept)
    back = observer_from_fit(a.kappa, a.eta**2, a.b).theory
    assert (back.signal, back.intercept) == pytest.approx((signal, intercept), rel=1e-5, abs=1e-6)
    assert (back.alpha, back.s, back.lambda_) == pytest.approx((a.alpha, a.s, a.lambda_), rel=1e-6)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.floats(0.05, 50), st.floats(-4, 1), st.floats(0.3, 3))
def test_ridge_shrinks(signal: float, log_kappa: float, more: float) -> None:
    kappa = 10 ** min(log_kappa, 0.7)
    ridge = kappa / signal**2 * more
    weak, strong = solve(kappa, signal, 0.3, ridge=ridge), solve(kappa, signal, 0.3, ridge=2 * ridge)
    assert strong.alpha < weak.alpha
    assert strong.s < weak.s


def test_few_factors_are_classical() -> None:
    a = solve(1e-6, 2.0, 1.0)
    information = float(probability_and_slope(1.0, 2.0)[1])
    assert (a.alpha, a.b, _sigma(a) ** 2) == pytest.approx((1.0, 1.0, 1 / information), rel=1e-5)
    assert classical_coverage(a) == pytest.approx(0.95, abs=1e-4)


def test_a_fit_without_signal_is_recognised() -> None:
    for intercept in (0.0, 1.5):
        null = solve(0.1, 0.0, intercept)
        assert without_signal(0.1, null.b).intercept == pytest.approx(intercept, abs=1e-6)
        with pytest.raises(NoSignal, match="no factor matters"):
            observer_from_fit(0.1, 0.99 * null.s**2, null.b)
        assert 0 < observer_from_fit(0.1, 1.001 * null.s**2, null.b).theory.signal < 0.2
    with pytest.raises(OutsideTheory, match="at most 100"):
        observer_from_fit(0.001, 1e6, 0.0)
    with pytest.raises(OutsideTheory, match="positive"):
        observer_from_fit(0.1, -1.0, 0.0)


def test_the_rounding_of_a_solution_does_not_show_in_its_sensitivity() -> None:
    """So tables with six digits are the same on any processor."""
    a = solve(0.1, 2.0, 0.5)
    for ulps in (-1, 1, 2, 3):
        other = replace(a, s=a.s * (1 + ulps * 2**-52), b=a.b * (1 - ulps * 2**-52))
        moved = observer_from_fit(0.1, other.eta**2, other.b, near=other)
        np.testing.assert_allclose(moved.change, observer_from_fit(0.1, a.eta**2, a.b, near=a).change, rtol=2e-9)


def test_the_inverse_and_its_sensitivity_hold_with_ridge() -> None:
    a = solve(0.5, 4.0, -1.0, ridge=0.02)
    back = observer_from_fit(0.5, a.eta**2, a.b, ridge=0.02).theory
    assert (back.signal, back.intercept) == pytest.approx((4.0, -1.0), rel=1e-6)
    more = solve(0.5, 4.0 * 1.0001, -1.0, ridge=0.02)  # forwards, against the derivative backwards
    found = observer_from_fit(0.5, a.eta**2, a.b, ridge=0.02)
    moved = found.change @ [2 * np.log(more.eta / a.eta), more.b - a.b]
    assert moved == pytest.approx([np.log(1.0001), np.log(more.alpha / a.alpha), 0.0], abs=1e-7)


@pytest.mark.parametrize(("kappa", "signal", "weight"), [(0.15, 0.6, 3.0), (0.05, 0.6, 4.0), (0.1, 1.5, 1.0)])
def test_a_dominant_factor_of_plus_and_minus_one_is_an_intercept_of_two_signs(
    kappa: float, signal: float, weight: float
) -> None:
    """Trials multiplied by the factor have a weight in the place of the intercept: the forward theory knows it."""
    forward = solve(kappa, signal, weight)
    side = Dominant(np.array([[1.0], [-1.0]]), np.array([0.5, 0.5]), np.array([forward.b]))
    found = observer_from_fit(kappa, forward.eta**2, 0.0, side)
    assert found.dominant == pytest.approx([weight], rel=1e-6)
    assert (found.theory.signal, found.theory.alpha) == pytest.approx((signal, forward.alpha), rel=1e-5)
    assert found.theory.intercept == pytest.approx(0.0, abs=1e-6)


def test_of_a_normal_factor_a_dominant_one_is_as_good_as_any() -> None:
    """Two thirds of a normal index in one factor, as 40 groups of alike trials: the same α and weights as without."""
    whole = solve(0.1, 2.0, 0.5)
    z = norm.ppf((np.arange(40) + 0.5) / 40)[:, None]
    z /= np.sqrt((z**2).mean())
    share = np.sqrt(8 / 3)  # of 2², 8/3 are the factor's
    factor = Dominant(z, np.full(40, 1 / 40), np.array([whole.alpha * share]))
    found = observer_from_fit(0.1, whole.alpha**2 * 4 / 3 + whole.s**2, whole.b, factor)
    assert found.theory.alpha == pytest.approx(whole.alpha, rel=0.01)
    assert found.dominant == pytest.approx([share], rel=0.01)
    assert found.theory.signal == pytest.approx(np.sqrt(4 / 3), rel=0.01)
