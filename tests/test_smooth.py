"""Smooth kernels: against a plain optimiser, REML by brute force, refits without a trial, and known truths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit

from hdlogit.inference.sums import Refused
from hdlogit.smooth import Smooth, fit_smooth

Array = NDArray[np.float64]

FRAMES, LAGS, OTHER = range(8), [13, 12, 11, 10, 9], 8  # the lags stand in the file the other way round
KERNEL = np.array([0.0, 0.1, 0.4, 0.9, 0.8, 0.3, 0.0, -0.1])


def trials(n: int = 400, seed: int = 0) -> tuple[Array, NDArray[np.bool_], Array]:
    """Factors in units of 2 about 1, responses, and true weights."""
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=(n, 14)) + 1
    truth = np.concatenate([KERNEL, [-0.5], np.linspace(0.1, 0.5, 5)]) / 2
    return x, rng.random(n) < expit((x - 1) @ truth + 0.4), truth


def penalty(strengths: Array) -> Array:
    """Σ μ_F K_F (15, 15), from its definition by second differences."""
    total = np.zeros((15, 15))
    for family, strength in zip((FRAMES, LAGS), strengths, strict=True):
        for left, here, right in zip(family[:-2], family[1:-1], family[2:], strict=True):
            difference = np.zeros(15)
            difference[[left, here, right]] = 1, -2, 1
            total += strength * np.outer(difference, difference)
    return total


def direct(x: Array, y: NDArray[np.bool_], strengths: Array) -> tuple[Array, float, Array]:
    """Coefficients, mean loss with penalty, and its Hessian, by scipy."""
    design, k = np.column_stack([x, np.ones(len(x))]), penalty(strengths)

    def objective(beta: Array) -> tuple[float, Array]:
        z = design @ beta
        loss = np.logaddexp(0, np.where(y, -z, z)).mean() + 0.5 * beta @ k @ beta
        return float(loss), design.T @ (expit(z) - y) / len(x) + k @ beta

    beta = root(lambda beta: objective(beta)[1], np.zeros(15), tol=1e-12).x
    p = expit(design @ beta)
    return beta, objective(beta)[0], (design.T * (p * (1 - p))) @ design / len(x) + k


def restricted(x: Array, y: NDArray[np.bool_], log_strengths: Array) -> float:
    """The Laplace approximation of the restricted likelihood, up to a constant."""
    _, loss, hessian = direct(x, y, np.exp(log_strengths))
    return float(-len(x) * loss + (6 * log_strengths[0] + 3 * log_strengths[1] - np.linalg.slogdet(hessian)[1]) / 2)


@pytest.fixture(scope="module")
def smooth() -> Smooth:
    x, y, _ = trials()
    return fit_smooth(x, y, [FRAMES, LAGS])


def test_the_estimate_is_the_minimum_of_the_penalised_loss(smooth: Smooth) -> None:
    x, y, _ = trials()
    coefficients, _, hessian = direct(x, y, smooth.strengths)
    np.testing.assert_allclose(smooth.estimate, coefficients, atol=1e-6)
    effective = np.diag(np.eye(15) - np.linalg.solve(hessian, penalty(smooth.strengths)))
    np.testing.assert_allclose(smooth.effective, [effective[FRAMES].sum(), effective[LAGS].sum()], rtol=1e-5)


def test_no_strengths_on_a_grid_have_a_higher_restricted_likelihood(smooth: Smooth) -> None:
    x, y, _ = trials()
    best = np.log(smooth.strengths)
    highest = restricted(x, y, best)
    for step in product((-2.0, -0.1, 0.0, 0.1, 2.0), repeat=2):
        assert restricted(x, y, best + step) <= highest + 1e-5


def test_leave_one_out_logits_are_those_of_fits_without_the_trial(smooth: Smooth) -> None:
    x, y, _ = trials()
    for i in (0, 7, int(smooth.leave_one_out.argmax())):
        rest = np.arange(len(x)) != i
        coefficients, *_ = direct(x[rest], y[rest], smooth.strengths * len(x) / (len(x) - 1))
        assert smooth.leave_one_out[i] == pytest.approx(np.append(x[i], 1) @ coefficients, abs=0.02)


def test_units_offsets_and_order_do_not_matter(smooth: Smooth) -> None:
    x, y, _ = trials()
    unit = np.repeat([100.0, 0.3, 0.01], [8, 1, 5])
    other = fit_smooth((x * unit + 5)[:, ::-1], y, [[13 - j for j in LAGS[::-1]], [13 - j for j in FRAMES]])
    np.testing.assert_allclose(other.corrected[:-1][::-1] * unit, smooth.corrected[:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.diag(other.covariance)[-2::-1] * unit**2, np.diag(smooth.covariance)[:-1], rtol=1e-3)
    np.testing.assert_allclose(other.leave_one_out, smooth.leave_one_out, atol=1e-4)
    np.testing.assert_allclose(other.strengths[::-1] * [1e-4, 1e4], smooth.strengths, rtol=1e-2)


def test_a_straight_line_has_two_parameters_and_a_rough_kernel_all() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 12))
    line, rough = np.linspace(-0.3, 0.5, 12), np.resize([1.0, -1.0], 12)
    of_line, of_rough = (fit_smooth(x, rng.random(3000) < expit(x @ w), [range(12)]) for w in (line, rough))
    assert of_line.effective[0] == pytest.approx(2, abs=0.5)
    assert of_rough.effective[0] == pytest.approx(12, abs=0.5)


def test_bands_cover_across_a_smooth_function_beside_many_other_factors() -> None:
    rng = np.random.default_rng(4)
    t = np.linspace(-2, 2, 30)
    kernel = 0.6 * np.exp(-t * t) * np.cos(2 * t)
    covered, sizes = [], []
    for _ in range(12):
        truth = np.append(kernel, rng.normal(size=60) / 8)
        x = rng.normal(size=(300, 90))
        found = fit_smooth(x, rng.random(300) < expit(x @ truth), [range(30)])
        low, high = found.interval()[:-1].T
        covered.append((low < truth) & (truth < high))
        sizes.append([truth @ w[:-1] / (truth @ truth) for w in (found.estimate, found.corrected)])
    fitted, corrected = np.mean(sizes, axis=0)
    assert fitted > 1.3
    assert corrected == pytest.approx(1, abs=0.12)
    assert 0.9 < np.mean(covered) < 0.99


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ([[0, 1]], "three factors"),
        ([], "three factors"),
        ([[0, 1, 2], [2, 3, 4]], "one family"),
        ([[12, 13, 14]], "13"),
    ],
)
def test_impossible_families_are_refused(families: list[list[int]], message: str) -> None:
    x, y, _ = trials(50)
    with pytest.raises(ValueError, match=message):
        fit_smooth(x, y, families)


def test_trials_without_a_fit_are_refused_in_one_line() -> None:
    x, y, _ = trials(100)
    with pytest.raises(Refused, match="all alike"):
        fit_smooth(x, np.ones(100, bool), [FRAMES])
    with pytest.raises(Refused, match="separate"):
        fit_smooth(x, x[:, OTHER] > 1, [FRAMES, LAGS])
    repeated = x.copy()
    repeated[:, OTHER] = x[:, :8].sum(axis=1)
    with pytest.raises(Refused, match="repeat"):
        fit_smooth(repeated, y, [FRAMES, LAGS])
