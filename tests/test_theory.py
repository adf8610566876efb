import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from hdlogit.asymptotics.equations import STEP, Asymptotics, log_ratios, trials
from hdlogit.asymptotics.existence import OutsideTheory, existence_threshold
from hdlogit.asymptotics.inverse import NoSignal, sensitivity, signal_from_fit, without_signal
from hdlogit.asymptotics.logistic_normal import logit_of_probability, probability_and_slope
from hdlogit.asymptotics.planning import intercept_for, plan, smallest_n_trials
from hdlogit.asymptotics.predictions import (
    bayes_cross_entropy,
    best_logits,
    best_ridge,
    classical_coverage,
    debiased_logits,
    held_out_cross_entropy,
    predict,
)
from hdlogit.asymptotics.theory import solve
from tests.problems import fit, gaussian, random_observer

Array = NDArray[np.float64]


def error(a: Asymptotics) -> float:
    """Relative error of (s, α, λ), and that of b in units of √(1 + η²), as half the quadrature step shows it.

    It is the step that Newton's method would take on the finer equations, with a derivative taken here.
    """

    def finer(x: Array) -> Array:
        s, alpha, lambda_ = (float(v) for v in np.exp(x[:3]))
        problem = (a.kappa, a.signal, a.intercept, a.ridge, a.shrinkage)
        return log_ratios(Asymptotics(*problem, alpha, s, lambda_, float(x[3] * np.hypot(1, a.eta))), STEP / 2)

    x = np.append(np.log([a.s, a.alpha, a.lambda_]), a.b / np.hypot(1, a.eta))
    jacobian = np.stack([(finer(x + e) - finer(x - e)) / 2e-5 for e in 1e-5 * np.eye(4)], axis=1)
    return float(np.abs(np.linalg.solve(jacobian, finer(x))).max())


# --- published values


@pytest.mark.parametrize(
    ("kappa", "signal", "intercept", "alpha", "lambda_", "sigma", "b", "digits"),
    [
        (0.2, 5**0.5, 0.0, 1.4994, 3.0269, 4.7436, 0.0, 5e-5),  # Sur & Candès 2019
        (
            0.2,
            5**0.5,
            0.0,
            1.50,
            3.03,
            4.75,
            0.0,
            0.01,
        ),  # Zhao, Sur & Candès 2022, table 13, and the next four
        (0.2, 5**0.5, 0.5, 1.51, 3.13, 4.84, 0.76, 0.01),
        (0.2, 5**0.5, 1.0, 1.56, 3.45, 5.16, 1.559, 0.01),
        (0.2, 5**0.5, 2.0, 1.83, 5.47, 7.01, 3.68, 0.01),
        (0.2, 5**0.5, 2.5, 2.31, 8.96, 10.0, 5.8, 0.02),
        (0.2, 2.1762, 0.5, 1.5, None, 4.74, None, 0.01),  # the vignette of glmhd
        (
            0.0256,
            16.0,
            0.0,
            1.2316226,
            1.5593953,
            8.6423625,
            0.0,
            5e-8,
        ),  # this project, an independent program
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
    found = signal_from_fit(0.2, a.eta**2, a.b, shrinkage=0.12)
    assert (found.signal, found.alpha) == pytest.approx((5.0, a.alpha), rel=1e-6)


def test_the_published_inverse_is_reproduced() -> None:
    a = signal_from_fit(0.1, 8.881028475794636, 0.0)  # the tests of sloe-logistic
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


def test_random_cases_up_to_99_percent_of_the_threshold_are_solved_to_a_millionth() -> None:
    rng, errors = np.random.default_rng(4), []
    for case in range(300):
        signal, intercept = random_observer(rng)
        # Half of the cases within the hard tenth below 0.99 h, half anywhere down to 1e-4 h.
        fraction = rng.uniform(0.9, 0.99) if case % 2 else 0.99 * 10 ** rng.uniform(-4, 0)
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
    assert p.best <= p.debiased
    assert p.classical_coverage < 0.95


@settings(max_examples=30, deadline=None, derandomize=True)
@given(observers)
def test_the_observer_is_found_back_from_its_fit(observer: tuple[float, float, float]) -> None:
    signal, tilt, fraction = max(observer[0], 0.1), *observer[1:]
    intercept = tilt * float(np.hypot(1.7, signal)) / 2
    a = solve(fraction * existence_threshold(signal, intercept), signal, intercept)
    back = signal_from_fit(a.kappa, a.eta**2, a.b)
    assert (back.signal, back.intercept) == pytest.approx((signal, intercept), rel=1e-5, abs=1e-6)
    assert (back.alpha, back.s, back.lambda_) == pytest.approx((a.alpha, a.s, a.lambda_), rel=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(0, 60), st.floats(1.01, 1.5), st.floats(-1, 1))
def test_a_stronger_signal_or_a_tilt_leaves_less_room_for_an_estimate(signal: float, more: float, tilt: float) -> None:
    intercept = tilt * float(np.hypot(1.7, signal))
    h = existence_threshold(signal, intercept)
    assert h == pytest.approx(existence_threshold(signal, -intercept), rel=1e-9)
    assert existence_threshold((signal + 0.05) * more) < existence_threshold(signal)
    assert existence_threshold(signal, intercept * more + 0.05 * np.sign(tilt)) <= h <= 0.5 + 1e-12


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


def test_the_threshold_has_its_known_values() -> None:
    assert existence_threshold(0.0) == pytest.approx(0.5, abs=1e-12)
    assert existence_threshold(16.0) == pytest.approx(0.0628, abs=5e-5)
    assert smallest_n_trials(256, 16.0) == 4076
    # By the definition, with plain sums: E[(t0 Y + t1 XY − Z)₊²] at the best t.
    x, dx = np.linspace(-8, 8, 801, retstep=True)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * dx

    def objective(t: Array) -> float:
        total = 0.0
        for y in (-1, 1):
            excess = np.maximum(y * (t[0] + t[1] * x)[:, None] - x[None, :], 0) ** 2 @ density  # over Z
            total += float((density * expit(y * (0.5 + 2 * x))) @ excess)
        return total

    best = minimize(objective, [0.0, 0.0], method="Nelder-Mead").fun
    assert existence_threshold(2.0, 0.5) == pytest.approx(best, rel=1e-4)


def test_alpha_diverges_at_the_threshold_and_nothing_is_returned_beyond() -> None:
    h = existence_threshold(3.0, 1.0)
    assert solve(0.9999 * h, 3.0, 1.0).alpha > 100
    for beyond in (h, 1.01 * h, 0.9):
        with pytest.raises(OutsideTheory, match="no maximum-likelihood estimate exists"):
            solve(beyond, 3.0, 1.0)
    assert solve(2.0, 3.0, 1.0, ridge=0.01).residual < 1e-9


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.0, 1.0), {}, "kappa is 0"),
        ((-0.1, 1.0), {}, "kappa is -0.1"),
        ((float("nan"), 1.0), {}, "kappa is nan"),
        ((11.0, 1.0), {"ridge": 1.0}, "at most 10"),
        ((1.0, 1.0), {"shrinkage": 0.5}, "below 1"),
        ((0.1, -1.0), {}, "signal is -1"),
        ((0.1, 101.0), {}, "from 0 to 100"),
        ((0.1, float("inf")), {}, "signal is inf"),
        ((0.1, 1.0, float("nan")), {}, "intercept is nan"),
        ((0.1, 1.0, 30.0), {}, "rarer response"),
        ((0.1, 1.0), {"ridge": -1.0}, "ridge is -1"),
        ((0.1, 1.0), {"shrinkage": 1.0}, "shrinkage is 1"),
    ],
)
def test_outside_the_domain_one_line_says_why(
    arguments: tuple[float, ...], options: dict[str, float], message: str
) -> None:
    with pytest.raises(OutsideTheory, match=message) as caught:
        solve(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_fit_without_signal_is_recognised() -> None:
    for intercept in (0.0, 1.5):
        null = solve(0.1, 0.0, intercept)
        assert without_signal(0.1, null.b).intercept == pytest.approx(intercept, abs=1e-6)
        with pytest.raises(NoSignal, match="no factor matters"):
            signal_from_fit(0.1, 0.99 * null.s**2, null.b)
        assert 0 < signal_from_fit(0.1, 1.001 * null.s**2, null.b).signal < 0.2
    with pytest.raises(OutsideTheory, match="above 100"):
        signal_from_fit(0.001, 1e6, 0.0)
    with pytest.raises(OutsideTheory, match="positive"):
        signal_from_fit(0.1, -1.0, 0.0)


def test_the_inverse_and_its_sensitivity_hold_with_ridge() -> None:
    a = solve(0.5, 4.0, -1.0, ridge=0.02)
    back = signal_from_fit(0.5, a.eta**2, a.b, ridge=0.02)
    assert (back.signal, back.intercept) == pytest.approx((4.0, -1.0), rel=1e-6)
    more = solve(0.5, 4.0 * 1.0001, -1.0, ridge=0.02)  # forwards, against the derivative backwards
    moved = sensitivity(a) @ [2 * np.log(more.eta / a.eta), more.b - a.b]
    assert moved == pytest.approx([np.log(1.0001), 0.0], abs=1e-7)


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
    assert float(debiased_logits(a, a.b)) == pytest.approx(1.0)
    assert float(debiased_logits(a, a.b + a.alpha)) == pytest.approx(2.0)


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
    assert q.debiased == pytest.approx(cross_entropy(debiased_logits(a, new)), rel=0.005)
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
    assert rows[2].debiased_weight_error == pytest.approx(1.3827780 / 16 / 1.2316226, abs=1e-6)
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
