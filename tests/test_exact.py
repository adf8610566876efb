"""The exact fit against scikit-learn, autograd, an independent linear programme, and what must hold."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from hdlogit.exact import fit, sample
from hdlogit.exact.objective import largest_gradient

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

quick = settings(derandomize=True, deadline=None, max_examples=15)


def problem(
    seed: int, n_trials: int, n_factors: int, n_classes: int, size: float = 2.0, bias: float = 0.0
) -> tuple[Array, Bools]:
    """Gaussian factors, logits of standard deviation `size`."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_trials, n_factors))
    weights = rng.standard_normal((n_factors, n_classes)) * size / n_factors**0.5
    responses = rng.random((n_trials, n_classes)) < expit(factors @ weights + bias)
    return factors, responses


def gradient(factors: Array, responses: Bools, coefficients: Array, ridge: float) -> Array:
    """Of the sum over classes of each class's objective, by autograd: (n_factors + 1, n_classes)."""
    w = torch.tensor(coefficients, dtype=torch.float64, requires_grad=True)
    x, y = torch.from_numpy(factors).double(), torch.from_numpy(responses).double()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(x @ w[:-1] + w[-1], y, reduction="none")
    (losses.mean(0).sum() + ridge / 2 * w[:-1].square().sum()).backward()  # type: ignore[no-untyped-call]  # torch
    assert w.grad is not None
    return w.grad.numpy()


# --- the estimate ----------------------------------------------------------------------------------------


@quick
@given(
    seed=st.integers(0, 10**6),
    n_trials=st.integers(300, 1000),
    n_factors=st.integers(1, 12),
    n_classes=st.integers(1, 4),
    size=st.floats(0.1, 4),
    bias=st.floats(-1.5, 1.5),
    ridge=st.sampled_from([0.0, 1e-4, 1e-2, 1.0]),
)
def test_agrees_with_scikit_learn(
    seed: int, n_trials: int, n_factors: int, n_classes: int, size: float, bias: float, ridge: float
) -> None:
    factors, responses = problem(seed, n_trials, n_factors, n_classes, size, bias)
    found = fit(factors, responses, ridge=ridge, tolerance=1e-9)
    C = 1 / (n_trials * ridge) if ridge else np.inf
    for k in range(n_classes):
        peer = LogisticRegression(C=C, tol=1e-10, max_iter=1000, solver="newton-cholesky")
        peer.fit(factors, responses[:, k])
        theirs = np.append(peer.coef_[0], peer.intercept_)
        np.testing.assert_allclose(found.coefficients[:, k], theirs, rtol=1e-4, atol=1e-5)


@quick
@given(seed=st.integers(0, 10**6), size=st.floats(0.5, 6), ridge=st.sampled_from([0.0, 1e-3, 0.3]))
def test_reports_the_gradient_and_loss_that_autograd_finds(seed: int, size: float, ridge: float) -> None:
    factors, responses = problem(seed, 500, 6, 3, size)
    found = fit(factors, responses, ridge=ridge)
    assert np.abs(gradient(factors, responses, found.coefficients, ridge)).max() <= 1.1e-6
    assert (found.max_gradient <= 1e-6).all()
    logits = factors @ found.coefficients[:-1] + found.coefficients[-1]
    loss = np.logaddexp(0, np.where(responses, -logits, logits))
    np.testing.assert_allclose(found.loss, loss.mean(0), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_a_polished_fit_is_right_to_double_precision(ridge: float) -> None:
    """Against Newton's method with gradients in extended precision. An easy class, a hard one, and one without any."""
    factors, responses = problem(3, 600, 60, 3, size=3)
    responses[:, 0] = factors[:, 0] > np.linspace(-3, 3, 600)
    responses[:, 1] = factors[:, 1] > 0.5
    found = fit(factors, responses, ridge, polish=True)
    assert found.converged.tolist() == [True, ridge > 0, True]
    x = np.column_stack([factors, np.ones(600)]).astype(np.longdouble)
    for k in (0, 2):
        w, penalty = found.coefficients[:, k].astype(np.longdouble), ridge * (np.arange(61) < 60)
        for _ in range(3):
            p = 1 / (1 + np.exp(-x @ w))
            hessian = (x.T * (p * (1 - p))) @ x / 600 + np.diag(penalty)
            gradient = x.T @ (p - responses[:, k]) / 600 + penalty * w
            w -= np.linalg.solve(hessian.astype(float), gradient.astype(float))
        np.testing.assert_allclose(found.coefficients[:, k], w.astype(float), rtol=0, atol=1e-12)


def notebook() -> tuple[Array, Bools]:
    weights = np.random.RandomState(1973).randn(257, 10)
    stream = np.random.RandomState(1973)
    factors = stream.randn(10_000, 256)
    responses = expit(factors @ weights[:-1] + weights[-1]) > stream.rand(10_000, 10)
    return factors, responses


def test_reaches_the_published_optimum_of_the_notebook() -> None:
    found = fit(*notebook())
    assert float(found.loss.mean()) == pytest.approx(0.0649467, abs=5e-8)
    assert float(found.max_gradient.max()) <= 1e-6


# --- invariances -----------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 10**6))
def test_order_of_trials_and_of_classes_does_not_matter(seed: int) -> None:
    factors, responses = problem(seed, 400, 5, 4)
    found = fit(factors, responses, tolerance=1e-10).coefficients
    rng = np.random.default_rng(seed)
    trials, classes = rng.permutation(400), rng.permutation(4)
    shuffled = fit(factors[trials], responses[trials][:, classes], tolerance=1e-10).coefficients
    np.testing.assert_allclose(shuffled, found[:, classes], rtol=1e-6, atol=1e-7)


def test_a_class_is_fitted_as_if_it_were_alone() -> None:
    factors, easy = problem(2, 600, 8, 3, size=0.5)
    _, hard = problem(2, 600, 8, 1, size=6)
    responses = np.column_stack([easy, hard])
    together = fit(factors, responses, tolerance=1e-10)
    for k in range(4):
        alone = fit(factors, responses[:, [k]], tolerance=1e-10)
        np.testing.assert_allclose(together.coefficients[:, [k]], alone.coefficients, rtol=1e-6, atol=1e-7)


@quick
@given(seed=st.integers(0, 10**6), shift=st.floats(-30, 30))
def test_without_ridge_an_affine_change_of_factors_changes_no_logit(seed: int, shift: float) -> None:
    factors, responses = problem(seed, 500, 4, 2)
    rng = np.random.default_rng(seed)
    change = rng.standard_normal((4, 4)) + 4 * np.eye(4)
    changed = factors @ change + shift
    one, other = (fit(x, responses, tolerance=1e-9).coefficients for x in (factors, changed))
    logits = factors @ one[:-1] + one[-1]
    np.testing.assert_allclose(changed @ other[:-1] + other[-1], logits, rtol=1e-4, atol=1e-4)


def test_the_bias_is_not_penalised() -> None:
    factors, responses = problem(3, 1000, 3, 2, bias=2.0)
    found = fit(factors, responses, ridge=1e6, tolerance=1e-9).coefficients
    np.testing.assert_allclose(found[-1], logit(responses.mean(0)), rtol=1e-5, atol=1e-5)
    assert np.abs(found[:-1]).max() < 1e-5


# --- difficult factors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e8])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_bad_scales_converge(condition: float, ridge: float) -> None:
    factors, responses = problem(4, 1000, 8, 2)
    scales = np.geomspace(1, 1 / condition, 8)
    found = fit(factors * scales, responses, ridge=ridge)
    assert np.abs(gradient(factors * scales, responses, found.coefficients, ridge)).max() <= 1e-6
    if ridge == 0:
        plain = fit(factors, responses, tolerance=1e-8)
        np.testing.assert_allclose(
            found.coefficients[:-1] * scales[:, None], plain.coefficients[:-1], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_nearly_dependent_factors_converge(gap: float) -> None:
    factors, responses = problem(5, 1000, 6, 2)
    factors[:, 1] = factors[:, 0] + gap * factors[:, 1]
    found = fit(factors, responses)
    assert np.abs(gradient(factors, responses, found.coefficients, 0)).max() <= 1e-6


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_duplicated_factors_share_the_weight(ridge: float) -> None:
    factors, responses = problem(6, 1000, 4, 2)
    doubled = np.column_stack([factors, factors[:, 0]])
    found = fit(doubled, responses, ridge=ridge, tolerance=1e-9)
    np.testing.assert_allclose(found.coefficients[0], found.coefficients[4], rtol=1e-6, atol=1e-6)
    if ridge == 0:
        single = fit(factors, responses, tolerance=1e-9).coefficients
        np.testing.assert_allclose(found.coefficients[0] * 2, single[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_factor_is_left_to_the_bias(value: float, ridge: float) -> None:
    factors, responses = problem(7, 1000, 4, 2)
    widened = np.column_stack([factors, np.full(1000, value)])
    found = fit(widened, responses, ridge=ridge, tolerance=1e-6)
    plain = fit(factors, responses, ridge=ridge, tolerance=1e-9)
    assert (found.coefficients[4] == 0).all()
    np.testing.assert_allclose(found.coefficients[[0, 1, 2, 3, 5]], plain.coefficients, rtol=1e-4, atol=1e-4)


# --- the estimate's existence ----------------------------------------------------------------------------


def separable(factors: np.ndarray, responses: np.ndarray) -> bool:
    """Independently: is there d with s x·d >= 0 everywhere and a positive sum? (Konis, 2007)"""
    signed = np.hstack([factors, np.ones((len(factors), 1))]) * (2 * responses - 1)[:, None]
    found = linprog(-signed.sum(0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    return bool(-found.fun > 1e-6)


def test_near_the_boundary_every_class_is_decided() -> None:
    rng = np.random.default_rng(1)
    factors, weights = rng.normal(size=(430, 25)), 5 * rng.normal(size=(25, 40))  # existence threshold: some 440 trials
    responses = rng.random((430, 40)) < expit(factors @ weights)
    found = fit(factors, responses)
    assert 5 < found.converged.sum() < 35
    expected = [not separable(factors, y) for y in responses.T]
    assert found.converged.tolist() == expected
    assert all("nearly" not in (reason or "") for reason in found.reasons)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), n_trials=st.integers(4, 24), n_factors=st.integers(1, 3), size=st.floats(0, 8))
def test_no_estimate_exists_exactly_where_a_linear_programme_says_so(
    seed: int, n_trials: int, n_factors: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.integers(-2, 3, (n_trials, n_factors)).astype(float)  # few values: ties, quasi-separation
    responses = rng.random((n_trials, 2)) < expit(size * factors[:, :1])
    found = fit(factors, responses)
    without = [reason is not None for reason in found.reasons]
    assert without == [separable(factors, y) for y in responses.T]
    assert (np.isnan(found.coefficients).any(axis=0) == without).all()
    assert (np.isnan(found.loss) == without).all()


@pytest.mark.parametrize("overlap", [-1e-2, -1e-4, 1e-4, 1e-2])
def test_both_sides_of_the_boundary(overlap: float) -> None:
    """One factor, in order but for one pair of trials that overlaps, or just does not."""
    x = np.concatenate([np.linspace(-2, -1, 20), np.linspace(1, 2, 20), [overlap / 2, -overlap / 2]])
    y = np.concatenate([x[:40] > 0, [False, True]])
    found = fit(x[:, None], y[:, None])
    assert found.converged.tolist() == [overlap > 0]
    if overlap < 0:
        assert found.separating == [[0]]
        assert "separate" in str(found.reasons[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_large_problem_on_both_sides_of_the_boundary(seed: int) -> None:
    """One trial decides: with it on its own side of the plane through the others' gap, or on the other."""
    rng = np.random.default_rng(seed)
    factors, direction = rng.standard_normal((2000, 30)), rng.standard_normal(30)
    margins = factors @ direction
    responses = (margins > 0)[:, None]
    assert fit(factors, responses).reasons[0] is not None
    responses[np.argsort(np.abs(margins))[:40:8]] ^= True
    assert fit(factors, responses).converged.all() == (not separable(factors, responses[:, 0]))


def test_quasi_separation_names_the_factor() -> None:
    """Five trials have a factor that the others lack, all of them yes: the likelihood has a supremum, no maximum."""
    factors, responses = problem(20, 2000, 6, 3)
    factors[:, 4] = 0
    factors[::400, 4] = 1
    responses[::400, 1] = True
    responses[::400, ::2] = [[True, False]] * 3 + [[False, True]] * 2
    found = fit(factors, responses)
    assert found.converged.tolist() == [True, False, True]
    assert found.separating == [None, [4], None]
    assert fit(factors, responses, ridge=1e-3).converged.all()


def test_quasi_separation_is_noticed_where_a_response_is_rare() -> None:
    condition = np.tile([0.0, 1.0], 48)
    responses = np.ones(96, np.bool_)
    responses[[7, 17, 31, 45, 61, 81, 89]] = False  # all errors in one of two conditions
    found = fit(condition[:, None], responses[:, None])
    assert "separate" in (found.reasons[0] or "")
    assert found.separating == [[0]]


def test_trials_on_both_sides_at_the_boundary_are_quasi_separation() -> None:
    x, y = np.array([-2.0, -1, 0, 0, 1, 2])[:, None], np.array([0, 0, 0, 1, 1, 1], dtype=bool)[:, None]
    assert fit(x, y).separating == [[0]]
    assert fit(x, y, ridge=1e-3).converged.all()


def test_a_class_without_an_estimate_does_not_take_the_others_with_it() -> None:
    factors, responses = problem(10, 300, 3, 4)
    responses[:, 1] = True
    responses[:, 3] = factors[:, 0] > 0.3
    found = fit(factors, responses)
    assert found.converged.tolist() == [True, False, True, False]
    assert "all alike" in str(found.reasons[1])
    assert found.separating == [None, None, None, [0]]
    alone = fit(factors, responses[:, [0, 2]])
    np.testing.assert_allclose(found.coefficients[:, [0, 2]], alone.coefficients, rtol=1e-4, atol=1e-5)
    assert fit(factors, responses, ridge=1e-3).converged.tolist() == [True, False, True, True]  # no bias is best


@pytest.mark.parametrize(("gap", "seed"), [(1e-6, 0), (1e-6, 1), (3e-6, 1), (1e-5, 2)])
def test_where_a_difference_of_nearly_equal_factors_separates_nothing_is_returned(gap: float, seed: int) -> None:
    """b - a is 0 but in five trials, where it has the sign of the response: rounding must not pass for variation."""
    rng = np.random.default_rng(seed)
    a, yes = rng.standard_normal(500), rng.random(500) < 0.5
    b = a.copy()
    b[:5] += gap * (2 * yes[:5] - 1)
    found = fit(np.column_stack([a, b]), yes[:, None])
    assert not found.converged.any()


def test_soft_responses_between_0_and_1_separate_nothing() -> None:
    """A soft response stands for a yes and a no: shrunk responses always have an estimate, as statsmodels finds it."""
    rng = np.random.default_rng(21)
    factors = rng.standard_normal((60, 4))
    responses = (factors[:, :1] > 0).astype(float)
    assert not fit(factors, responses).converged.any()
    shrunk = 0.9 * responses + 0.05
    found = fit(factors, shrunk, tolerance=1e-9)
    peer = sm.GLM(shrunk[:, 0], sm.add_constant(factors), family=sm.families.Binomial()).fit(tol=1e-12)
    np.testing.assert_allclose(np.roll(found.coefficients[:, 0], 1), peer.params, rtol=1e-6, atol=1e-7)


def test_shrinkage_is_of_classes_without_an_estimate_or_of_all() -> None:
    factors, responses = problem(27, 300, 4, 3)
    responses[:, 1] = factors[:, 2] > 0
    found, always = (fit(factors, responses, tolerance=1e-9, shrinkage=how) for how in ("auto", "always"))
    softness = 4 / 304
    soft = fit(factors, responses * (1 - softness) + softness / 2, tolerance=1e-9).coefficients
    np.testing.assert_allclose(found.shrinkage, [0, softness, 0])
    np.testing.assert_allclose(always.shrinkage, softness)
    np.testing.assert_allclose(always.coefficients, soft, atol=1e-7)
    np.testing.assert_allclose(found.coefficients[:, 1], soft[:, 1], atol=1e-6)
    as_they_are = fit(factors, responses[:, [0, 2]], tolerance=1e-9).coefficients
    np.testing.assert_allclose(found.coefficients[:, [0, 2]], as_they_are, atol=1e-6)
    assert found.converged.all()
    assert found.separating == [None, [2], None]


# --- values that are far from ordinary -------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e4, 1e10])
def test_one_huge_value_is_only_an_outlier(value: float) -> None:
    factors, responses = problem(22, 300, 3, 2)
    factors[17, 1] = value
    found, others = fit(factors, responses), np.arange(300) != 17
    assert found.converged.all()
    free = fit(factors[others], responses[others]).coefficients  # of a class that says yes to the outlier anyway
    says_yes = (free[1] > 0) == responses[17]
    assert says_yes.tolist() == [False, True]
    np.testing.assert_allclose(found.coefficients[:, says_yes], free[:, says_yes], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found.coefficients[1] * value > 0, responses[17])
    with_none = fit(factors[others][:, [0, 2]], responses[others]).coefficients  # elsewhere it forbids any weight
    np.testing.assert_allclose(found.coefficients[[0, 2, 3], 0], with_none[:, 0], rtol=0, atol=1e-2)


@pytest.mark.parametrize("value", [1e4, 1e10])
def test_a_huge_value_in_a_factor_that_is_there_twice_is_only_an_outlier(value: float) -> None:
    factors, responses = problem(22, 300, 4, 3)
    factors[17, 1] = value
    found, single = fit(np.column_stack([factors, factors[:, 1]]), responses), fit(factors, responses)
    assert found.converged.all()
    assert single.converged.all()
    np.testing.assert_allclose(found.loss, single.loss, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("seed", "value"), [(22, 1e2), (22, 1e6), (22, 1e10), (22, 1e12), (28, 1e10), (35, 1e9), (178, 1e9)]
)
def test_a_copy_of_a_factor_but_for_one_value_separates_that_trial(seed: int, value: float) -> None:
    factors, responses = problem(seed, 300, 3, 2)
    copy = factors[:, 1].copy()
    factors[17, 1], copy[17] = value, 0
    assert all(reason and "separate" in reason for reason in fit(np.column_stack([factors, copy]), responses).reasons)


def test_a_copy_of_a_factor_that_hardly_differs_in_one_trial_separates_that_trial() -> None:
    """As nearly dependent as single precision takes: rounding must not prove that the estimates exist."""
    rng = np.random.default_rng(18)
    for n_trials, change in itertools.product((300, 1000), (1.02e-2, 1.4e-2)):
        factors = rng.standard_normal((n_trials, 3))
        copy = factors[:, :1].copy()
        copy[7] += change * n_trials**0.5
        responses = rng.random((n_trials, 8)) < expit(factors @ rng.standard_normal((3, 8)))
        found = fit(np.hstack([factors, copy]), responses)
        assert all(reason and "separate" in reason for reason in found.reasons)


def test_large_dummies_for_all_groups_have_an_estimate() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        factors = 1e5 * np.eye(3)[rng.integers(3, size=300)] + rng.standard_normal((300, 3))
        found = fit(factors, rng.random((300, 1)) < 0.5)
        assert found.converged.all()


@pytest.mark.parametrize("seed", [375, 378, 381])
def test_small_units_with_offsets_beside_a_dummy_for_every_group_end_with_an_answer(seed: int) -> None:
    stream = np.random.default_rng(seed)
    factors = np.column_stack([stream.standard_normal((400, 4)), np.eye(4)[stream.integers(0, 4, 400)]])
    factors = factors * 10.0 ** stream.integers(-6, 7, 8) + 1e3 * (stream.random(8) < 0.5)
    found = fit(factors, stream.random((400, 1)) < 0.5)
    assert found.converged.all()
    assert np.isfinite(found.coefficients).all()


@pytest.mark.parametrize("value", [1e3, 1e8])
def test_an_outlier_that_few_trials_do_not_show_does_no_harm_to_dependent_factors(value: float) -> None:
    factors, responses = problem(25, 20_000, 5, 2)
    factors[4321, 3] = value
    found = fit(np.column_stack([factors, factors[:, 0] + factors[:, 1], np.ones(20_000)]), responses)
    assert found.converged.all()
    np.testing.assert_allclose(found.loss, fit(factors, responses).loss, rtol=0, atol=1e-9)


@pytest.mark.parametrize("value", [1e4, 1e8])
def test_an_outlier_that_no_sample_has_is_only_an_outlier(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LOGITS", 2**12)
    assert 5 not in sample.sampled_rows(7000, 2**11)
    factors, responses = problem(22, 7000, 3, 2)
    factors[5, 2] = value
    found = fit(factors, responses)
    assert found.converged.all()
    assert (largest_gradient(factors, responses, found.coefficients) < 3e-6).all()


def test_a_unix_time_is_a_factor_like_any_other() -> None:
    factors, responses = problem(23, 2000, 3, 2)
    times = factors.copy()
    times[:, 1] = 1.7e9 + 1e5 * factors[:, 1]
    found, plain = fit(times, responses), fit(factors, responses)
    assert found.converged.all()
    np.testing.assert_allclose(found.coefficients[1] * 1e5, plain.coefficients[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_factors_of_any_scale(scale: float) -> None:
    factors, responses = problem(24, 500, 3, 2)
    found, plain = fit(factors * scale, responses), fit(factors, responses)
    assert found.converged.all()
    np.testing.assert_allclose(found.coefficients[:-1] * scale, plain.coefficients[:-1], rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="factor 0 has a standard deviation of"):
        fit(factors * scale**2, responses)


# --- the interface ---------------------------------------------------------------------------------------


def test_tiny_problem_against_mpmath() -> None:
    x, y = [-1.5, -0.5, 0.25, 0.5, 2.0], [0, 1, 0, 1, 1]
    mpmath.mp.dps = 30

    def score(w: Any, b: Any) -> list[Any]:
        residuals = [1 / (1 + mpmath.exp(-(w * a + b))) - c for a, c in zip(x, y, strict=True)]
        return [mpmath.fsum(r * a for r, a in zip(residuals, x, strict=True)), mpmath.fsum(residuals)]

    exact = [float(value) for value in mpmath.findroot(score, (1, 0))]
    found = fit(np.array(x)[:, None], np.array(y, dtype=bool)[:, None], tolerance=1e-12)
    np.testing.assert_allclose(found.coefficients[:, 0], exact, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_or_tensors_in_arrays_out(dtype: type) -> None:
    factors, responses = problem(25, 300, 3, 2)
    x: Array = factors.astype(dtype)
    arrays, tensors = fit(x, responses), fit(torch.from_numpy(x), torch.from_numpy(responses))  # type: ignore[arg-type]
    assert arrays.coefficients.dtype == np.float64
    np.testing.assert_array_equal(arrays.coefficients, tensors.coefficients)


def test_many_trials_are_fitted_by_way_of_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More logits than are kept. The factors stay where they are, memory-mapped, and are not changed."""
    monkeypatch.setattr(sample, "LOGITS", 2**14)
    factors, responses = problem(12, 13_000, 3, 4, size=3)
    np.save(tmp_path / "factors.npy", factors)
    found = fit(np.load(tmp_path / "factors.npy", mmap_mode="r"), responses, tolerance=1e-8)
    assert found.converged.all()
    assert (largest_gradient(factors, responses, found.coefficients) <= 1.1e-8).all()


def test_a_sample_that_misleads_is_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some trials are ten times as far out as the others, and few of them are in the sample."""
    monkeypatch.setattr(sample, "LOGITS", 2**14)
    factors, responses = problem(13, 13_000, 4, 4)
    factors[::1000] *= 10
    found = fit(factors, responses)
    assert found.converged.all()
    assert (largest_gradient(factors, responses, found.coefficients) <= 1.1e-6).all()


def test_too_few_iterations_are_told() -> None:
    found = fit(*problem(16, 500, 10, 2, size=4), max_iterations=2)
    assert not found.converged.any()
    assert all("not converged, max |gradient| is" in str(r) and "after 2 iterations" in str(r) for r in found.reasons)
    assert (found.max_gradient > 1e-6).all()


@pytest.mark.parametrize("most", [1, 4, 9, 13])
def test_no_class_takes_more_iterations_than_are_allowed(most: int) -> None:
    """And one that has come to its minimum has converged, however few are left for the proof."""
    factors, responses = problem(30, 400, 20, 3)
    found = fit(factors, responses, max_iterations=most)
    assert (found.iterations <= most).all()
    assert (found.converged == (found.max_gradient <= 1e-6)).all()


def test_an_unreachable_tolerance_is_told() -> None:
    few, many = (fit(*problem(17, 300, 5, 1), tolerance=1e-30, max_iterations=most) for most in (40, 10_000))
    assert not few.converged.any()
    assert str(many.reasons[0]).endswith("iterations; it needs a larger tolerance")


def test_progress_is_reported() -> None:
    seen: list[tuple[int, float]] = []
    found = fit(*problem(18, 500, 5, 2), progress=lambda iteration, left: seen.append((iteration, left)))
    assert [iteration for iteration, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) >= int(found.iterations.max())
    assert seen[0][1] > seen[-1][1]


@quick
@given(seed=st.integers(0, 10**6))
def test_largest_gradient_is_that_of_autograd_anywhere(seed: int) -> None:
    factors, responses = problem(seed, 70, 5, 3)
    anywhere = np.random.default_rng(seed).standard_normal((6, 3)) * 10
    wanted = np.abs(gradient(factors, responses, anywhere, 0)).max(0)
    np.testing.assert_allclose(largest_gradient(factors, responses, anywhere), wanted, rtol=1e-10, atol=1e-12)


def test_a_factor_that_is_not_finite_is_named() -> None:
    factors, responses = problem(26, 3000, 4, 1)
    for value in (np.nan, np.inf, -np.inf):
        factors[2345, 2] = value
        with pytest.raises(ValueError, match=f"trial 2345, factor 2 is {value}"):
            fit(factors, responses)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"responses": np.zeros((5, 2), bool)}, "n_trials"),
        ({"responses": np.zeros(4, bool)}, "n_trials"),
        ({"responses": np.zeros((4, 2), int)}, "bool"),
        ({"responses": np.full((4, 2), 1.5)}, "1.5"),
        ({"responses": np.full((4, 2), np.nan)}, "nan"),
        ({"factors": np.zeros((4, 3), int)}, "float64 or float32"),
        ({"factors": np.zeros((4, 0))}, "none of these 0"),
        ({"ridge": -1.0}, "ridge"),
        ({"ridge": float("nan")}, "ridge"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_refuses_what_does_not_fit_together(change: dict[str, Any], message: str) -> None:
    arguments = {"factors": np.zeros((4, 3)), "responses": np.zeros((4, 2), bool)}
    with pytest.raises(ValueError, match=message):
        fit(**(arguments | change))
