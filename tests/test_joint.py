"""Weights, bias and rates fitted together: against a plain optimiser, and where the plain fit has a wrong direction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from hdlogit.inference.joint import JointFit, fit_joint
from hdlogit.inference.link import fit_link
from tests.problems import fit

Array = NDArray[np.float64]


def and_its_square(seed: int, n: int = 2000) -> tuple[Array, NDArray[np.bool_], Array]:
    """Factors u, u², which does not matter, and another, of an observer who lapses in 10 % of the trials."""
    rng = np.random.default_rng(seed)
    u, truth = rng.normal(size=n), np.array([3.0, 0.0, 1.0, 0.0])
    x = np.column_stack([u, u * u, rng.normal(size=n)])
    return x, rng.random(n) < 0.9 * expit(x @ truth[:-1] + truth[-1]), truth


def joint(x: Array, y: NDArray[np.bool_], coefficients: Array, **fixed: float) -> JointFit:
    logits = x @ coefficients[:-1] + coefficients[-1]
    link = fit_link((logits - logits.mean()) / logits.std(), 1.0, 0.0, y, **fixed)
    return fit_joint(x, y, coefficients, link, link.gain / float(logits.std()), **fixed)


def test_the_joint_fit_is_the_most_probable_one() -> None:
    x, y, _ = and_its_square(0)
    found = joint(x, y, fit(x, y[:, None])[:, 0])
    sd = x.std(axis=0)

    def cost(theta: Array) -> float:
        *w, b, g, lapse = theta
        p = g + (1 - g - lapse) * expit(x @ w + b)
        prior = 9 * np.log1p(-theta[-2:]).sum() - ((w * sd) ** 2).sum() / 50
        return -float(np.log(np.where(y, p, 1 - p)).sum() + prior)

    start = np.concatenate([found.coefficients, [found.guess_rate, found.lapse_rate]])
    bounds = [(None, None)] * 4 + [(0.0, 0.49)] * 2
    best = minimize(cost, start + 0.02, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-8})
    assert cost(start) == pytest.approx(best.fun, abs=1e-5)
    assert start == pytest.approx(best.x, abs=0.01)


def test_the_joint_fit_has_the_direction_that_the_plain_fit_misses() -> None:
    plain, joint_, z, directions, covered = [], [], [], [], []
    for seed in range(15):
        x, y, truth = and_its_square(seed)
        coefficients = fit(x, y[:, None])[:, 0]
        found = joint(x, y, coefficients)
        plain.append(coefficients[1] / coefficients[0])
        joint_.append(found.coefficients[1] / found.coefficients[0])
        directions.append(found.direction_p_value)
        estimates = np.append(found.coefficients, [found.guess_rate, found.lapse_rate])
        z.append((estimates - [*truth, 0.0, 0.1]) / found.errors)
        fresh = and_its_square(1000 + seed)[0]
        p, new = 0.9 * expit(fresh @ truth[:-1] + truth[-1]), found.predict(fresh)
        covered.append(np.mean((new.low <= p) & (p <= new.high)))
    assert np.median(plain) < -0.15  # 0 in truth
    assert np.median(joint_) == pytest.approx(0, abs=0.03)
    assert np.median(directions) < 0.01
    assert np.mean(np.abs(z) < 1.96) >= 0.92
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_directions_of_gaussian_factors_agree() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(10):
        x = rng.normal(size=(1000, 4))
        y = rng.random(1000) < 0.05 + 0.9 * expit(x @ [1.0, -1.0, 1.0, 0.0])
        p_values.append(joint(x, y, fit(x, y[:, None])[:, 0]).direction_p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.2


def test_without_asymptotes_the_joint_fit_is_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, 0.0]
    y = rng.random(2000) < expit(x[:, 0] + 0.1 * (x[:, 1] - 100))
    coefficients = fit(x, y[:, None])[:, 0]
    found = joint(x, y, coefficients, guess_rate=0.0, lapse_rate=0.0)
    assert found.coefficients == pytest.approx(coefficients, rel=2e-3, abs=2e-3)
    design = np.column_stack([x, np.ones(2000)])
    p = expit(design @ coefficients)
    classical = np.sqrt(np.diag(np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)))
    assert found.errors == pytest.approx([*classical, 0, 0], rel=0.1)
