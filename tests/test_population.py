"""The population of observers: against the whole likelihood, a published meta-analysis, and simulated truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import block_diag, null_space
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import multivariate_normal

from hdlogit import fit, infer, population
from hdlogit.inference import ClassInference
from hdlogit.observers.random_effects import random_effects

Array = NDArray[np.float64]

# Vaccination against tuberculosis, 13 trials (Colditz et al., JAMA 1994): vaccinated with and without the disease,
# and the same of those who were not vaccinated.
BCG = np.array(
    [
        *[(4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761)],
        *[(180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232)],
        *[(17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825)],
    ],
    np.float64,
)


def observer(x: Array, y: NDArray[np.bool_]) -> ClassInference:
    found = fit(x, y[:, None], polish=True, shrinkage="auto")
    return infer(x, y[:, None], found.coefficients, shrinkage=float(found.shrinkage[0]))[0]


@cache
def trials(k: int = 5, n: int = 200, p: int = 6) -> tuple[Array, list[tuple[Array, NDArray[np.bool_]]]]:
    """Weights of the population, and of each observer factors and responses."""
    rng = np.random.default_rng(7)
    weights = rng.normal(size=p)
    weights *= 1.5 / np.linalg.norm(weights)
    xs = [rng.normal(size=(n + 50 * i, p)) for i in range(k)]
    return weights, [(x, rng.random(len(x)) < expit(x @ (weights + 0.3 * rng.normal(size=p)))) for x in xs]


@cache
def observers() -> list[ClassInference]:
    return [observer(x, y) for x, y in trials()[1]]


def test_one_factor_is_the_textbooks_meta_analysis() -> None:
    """REML and Hartung-Knapp of log relative risks, as metafor's documentation prints them."""
    a, b, c, d = BCG.T
    y, v = np.log(a / (a + b) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    found = random_effects(y[:, None], v[:, None, None], np.zeros(1, np.intp))
    assert found.mean[0] == pytest.approx(-0.7145, abs=5e-5)
    assert found.tau_squared[0] == pytest.approx(0.3132, abs=5e-5)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(0.1798, abs=5e-5)
    w = 1 / (v + found.tau_squared[0])
    q = w @ (y - w @ y / w.sum()) ** 2 / 12
    assert found.adjustment[0] == pytest.approx(q, rel=1e-9)
    assert found.error[0] == pytest.approx(0.1808, abs=5e-5)


@pytest.mark.parametrize("groups", [[0, 1, 2], [0, 0, 1]])
def test_reml_is_the_maximum_of_the_likelihood_of_all_contrasts(groups: list[int]) -> None:
    rng, (k, p) = np.random.default_rng(3), (7, 3)
    roots = rng.normal(size=(k, p, p))
    v = roots @ roots.transpose(0, 2, 1) / 4 + 0.2 * np.eye(p)
    b = np.array([rng.multivariate_normal([1, 0, -1], one + np.diag([1, 0.5, 2])) for one in v])
    g = np.array(groups, np.intp)
    contrasts = null_space(np.tile(np.eye(p), (k, 1)).T)  # of the k p estimates, free of the means
    y = contrasts.T @ b.ravel()

    def loss(log_tau: Array) -> float:
        whole = block_diag(*(one + np.diag(np.exp(log_tau)[g]) for one in v))
        return -float(multivariate_normal.logpdf(y, cov=contrasts.T @ whole @ contrasts))

    expected = minimize(loss, np.zeros(g.max() + 1), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    found = random_effects(b, v, g)
    np.testing.assert_allclose(found.tau_squared, np.exp(expected.x)[g], rtol=1e-4)
    w = np.linalg.inv(v + np.diag(found.tau_squared))
    np.testing.assert_allclose(found.mean, np.linalg.solve(w.sum(axis=0), np.einsum("kij,kj->i", w, b)))


def test_intervals_cover_if_variances_are_known_and_unequal() -> None:
    rng, hits = np.random.default_rng(5), []
    for _ in range(150):
        v = rng.uniform(0.1, 2, (5, 4))
        b = rng.normal(size=v.shape) * np.sqrt(v + np.array([0, 1, 0, 1]))
        found = random_effects(b, v[:, :, None] * np.eye(4), np.array([0, 1, 0, 1]))
        hits.append(np.abs(found.mean) < 2.776 * found.error)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("pooled", [True, False])
def test_the_answer_does_not_depend_on_units_or_on_the_order_of_observers(pooled: bool) -> None:
    units = np.array([1e3, 1e-2, 1, 5, 0.1, 40])
    there = population([observer(x * units, y) for x, y in trials()[1]][::-1], pooled=pooled)
    here = population(observers(), pooled=pooled)
    np.testing.assert_allclose(there.mean * units, here.mean, rtol=1e-4)
    np.testing.assert_allclose(there.error * units, here.error, rtol=1e-4)
    np.testing.assert_allclose(there.shrunk[::-1] * units, here.shrunk, rtol=1e-3)
    np.testing.assert_allclose(there.heterogeneity, here.heterogeneity, rtol=1e-6)
    assert there.families["all"].p_value == pytest.approx(here.families["all"].p_value, rel=1e-3)


def test_what_a_population_says() -> None:
    names = ["signal", *(f"frame{j}" for j in range(5))]
    found = population(observers(), names, {"frames": names[1:], "signal": [0]})
    low, high = found.interval()
    truth, _ = trials()
    assert ((low < truth) & (truth < high)).sum() >= 5
    assert ((found.p_values() < 0.05) == ((low > 0) | (high < 0))).all()
    assert len(set(found.tau[1:].round(1))) < 5  # of a family, in units that hardly differ
    closer = np.abs(found.shrunk - found.mean) < np.abs(found.estimates - found.mean)
    assert closer.mean() > 0.9
    t, p_value = found.mean[0] / found.error[0], found.p_values()[0]
    assert found.families["signal"].p_value == pytest.approx(p_value, rel=1e-6)
    assert found.families["signal"].statistic == pytest.approx(t**2)
    assert found.families["frames"].p_value < 0.01
    assert ((found.i_squared >= 0) & (found.i_squared < 1)).all()


def test_observers_who_tell_nothing_are_named_and_change_nothing() -> None:
    refused = ClassInference.refused("it has no estimate", 6)
    found, without = population([*observers()[:3], refused]), population(observers()[:3])
    np.testing.assert_allclose(found.mean, without.mean)
    np.testing.assert_allclose(found.error, without.error)
    np.testing.assert_allclose(found.shrunk[3], found.mean)
    assert np.isnan(found.estimates[3]).all()


def test_a_weight_without_estimate_is_told_by_the_other_observers() -> None:
    """The first observer always says yes where the last factor, a rare dummy, is 1."""
    rng, results = np.random.default_rng(9), []
    for i in range(4):
        x = np.column_stack([rng.normal(size=(300, 2)), rng.random(300) < 0.1])
        y = rng.random(300) < expit(x @ [1.0, -0.5, 0.5])
        results.append(observer(x, y | (x[:, 2] > 0) if i == 0 else y))
    found = population(results, ["a", "b", "rare"])
    assert np.isnan(found.estimates[0]).tolist() == [False, False, True]
    assert found.df.tolist() == [3, 3, 2]
    low, high = found.interval()
    truth = np.array([1.0, -0.5, 0.5])
    assert ((low < truth) & (truth < high)).all()
    only_one = population([results[0], replace(results[1], reason="left out"), results[2]])
    assert np.isnan(only_one.mean).tolist() == [False, False, True]


def test_observers_with_weak_weights_do_not_draw_the_mean_towards_zero() -> None:
    """As weighting by their own precision does, of which H⁻¹ is largest along their own weights."""
    truth, data = trials(12, 150, 20)
    results = [observer(x, y) for x, y in data]
    b = np.stack([c.corrected[:-1] for c in results])
    own = random_effects(b, np.stack([c.covariance[:20, :20] for c in results]), np.zeros(20, np.intp))
    plain, weighted, by_own = (
        w @ truth / (truth @ truth) for w in (b.mean(axis=0), population(results).mean, own.mean)
    )
    assert weighted == pytest.approx(plain, abs=0.05)
    assert by_own < 0.9 * plain


def test_impossible_questions_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="needs two observers with an inference; there are 1"):
        population(observers()[:1])
    with pytest.raises(ValueError, match="observers must have the same factors"):
        population([*observers(), ClassInference.refused("no", 5)])
    with pytest.raises(ValueError, match="2 names for 6 factors"):
        population(observers(), ["a", "b"])
    for family in (["nine"], [6]):
        with pytest.raises(ValueError, match=f"unknown factors: {family[0]}"):
            population(observers(), families={"f": family})
