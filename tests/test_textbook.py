"""No answer worse than the textbook's: few or weak factors, one that carries the index, trials that are separated."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import binom

from hdlogit.exact import fit
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.curve import psychometric_curve
from hdlogit.inference.link import logistic_test
from tests.inferred import covered, inferred

Array = NDArray[np.float64]


def repeated(x: Array, weights: Array, bias: float, repetitions: int, seed: int = 7) -> list[ClassInference]:
    """Inferences of as many sets of responses to the same trials, without those that have no estimate."""
    y = np.random.default_rng(seed).random((len(x), repetitions)) < expit(x @ weights + bias)[:, None]
    found = fit(x, y)
    exist = np.array([reason is None for reason in found.reasons])
    return inferred(x, y[:, exist], found.coefficients[:, exist])


# --- few factors


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
@pytest.mark.parametrize("weight", [0.0, 0.15])
def test_intervals_of_one_weak_factor_are_no_narrower_than_the_textbooks(kind: str, weight: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)) if kind == "normal" else np.exp(0.8 * rng.normal(size=(500, 1)))
    classes = repeated(x, np.array([weight]), 0.0, 80)
    low, high = binom.interval(0.999, 80, 0.95)
    assert low <= 80 * covered(classes, np.array([[weight], [0.0]]))[0].mean() <= high
    assert all(c.corrected_error[0] * c.theory.alpha > 0.97 * c.null_error[0] for c in classes)


@pytest.mark.parametrize("factors", [1, 3, 40])
def test_an_interval_excludes_zero_just_where_its_p_value_says_so(factors: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, factors))
    for c in repeated(x, np.full(factors, 0.3 / np.sqrt(factors)), 0.0, 40):
        for level in (0.9, 0.95, 0.999):
            low, high = c.interval(level)
            assert (((low > 0) | (high < 0)) == (c.p_values() < 1 - level))[:-1].all()


def test_intervals_are_where_the_statistic_of_every_value_is_that_of_the_level() -> None:
    """Fieller's condition, from the covariance that the result reports."""
    rng = np.random.default_rng(2)
    [c] = repeated(rng.normal(size=(400, 60)), np.full(60, 0.3), 0.2, 1)
    null, b = c.null_error / c.theory.alpha, c.stretch
    w, error = c.corrected[:-1], c.corrected_error[:-1]
    shared = (null**2 + b * w**2 - error**2) / (2 * w)  # covariance of weight and log α̂
    for end in c.interval(0.95):
        value = end[:-1]
        variance = null**2 - 2 * shared * value + b * value**2
        assert (w - value) ** 2 == pytest.approx(ndtri(0.975) ** 2 * variance, rel=1e-6)


# --- one factor that carries the index


@pytest.mark.parametrize("kind", ["two values", "exponential", "two factors of two values"])
def test_a_factor_that_carries_the_index_and_is_not_normal_is_covered(kind: str) -> None:
    """Its equations take it as it is: with those of a normal index it was covered by 0.4, and all weights 10 to 25 %
    too large.
    """
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1000, 120))
    chosen = [0, 1] if kind == "two factors of two values" else [0]
    x[:, chosen] = (
        rng.exponential(size=(1000, 1)) - 1 if kind == "exponential" else rng.choice([-1.0, 1.0], (1000, len(chosen)))
    )
    weights = np.where(np.isin(np.arange(120), chosen), 2.5 / len(chosen), 1.2 * rng.normal(size=120) / np.sqrt(119))
    classes = repeated(x, weights, 0.0, 40)
    truth = np.append(weights, 0.0)[:, None]
    inside = covered(classes, truth)
    assert inside[chosen].mean() >= 0.85
    assert inside[:-1].mean() == pytest.approx(0.95, abs=0.015)
    spread = x.T @ (x @ weights)
    slopes = [c.corrected[:-1] @ spread / (weights @ spread) for c in classes]
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.035)
    assert all(chosen[0] in c.dominant for c in classes)
    new = rng.normal(size=(300, 120))
    new[:, chosen] = x[:300, chosen]
    p = expit(new @ weights)
    within = [np.mean((low <= p) & (p <= high)) for _, low, high in (c.predict(new) for c in classes)]
    assert np.mean(within) == pytest.approx(0.95, abs=0.03)


# --- few conditions


@pytest.mark.parametrize(("n", "yes"), [(100, (0.2, 0.6)), (2000, (0.3, 0.5)), (5000, (0.02, 0.97))])
def test_two_conditions_follow_any_function(n: int, yes: tuple[float, float]) -> None:
    x = np.arange(n)[:, None] % 2.0
    y = np.random.default_rng(4).random((n, 20)) < np.where(x == 0, *yes)
    tests = [logistic_test(*c.index, y[:, k]) for k, c in enumerate(inferred(x, y, fit(x, y).coefficients))]
    assert [test.p_value for test in tests] == [1.0] * 20


def test_a_saturated_model_follows_any_function_and_constant_stimuli_are_tested_at_their_level() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 2, 600), rng.integers(0, 3, 600)
    cells = np.column_stack([a, b == 1, b == 2, a * (b == 1), a * (b == 2)]).astype(float)
    stimuli = np.repeat(np.linspace(-2, 2, 5), 80)[:, None]
    for x, weights, most in ((cells, np.array([1.0, 0.5, -0.5, 0.3, 0.8]), 0), (stimuli, np.array([1.5]), 6)):
        y = rng.random((len(x), 40)) < expit(x @ weights)[:, None]
        classes = inferred(x, y, fit(x, y).coefficients)
        assert sum(logistic_test(*c.index, y[:, k]).p_value < 0.05 for k, c in enumerate(classes)) <= most


# --- separated trials


def separated(seed: int, n: int = 240) -> tuple[Array, NDArray[np.bool_], ClassInference]:
    """Factors: one normal, and two of three levels, of which the last is always a yes."""
    rng = np.random.default_rng(seed)
    level = rng.choice(3, n, p=[0.5, 0.45, 0.05])
    x = np.column_stack([rng.normal(size=n), level == 1, level == 2]).astype(float)
    y = (rng.random(n) < expit(x[:, 0] + 0.5 * x[:, 1])) | (level == 2)
    shrinkage = 3 / (n + 3)
    soft = (1 - shrinkage) * y + shrinkage / 2
    [found] = infer(x, y[:, None], fit(x, soft[:, None]).coefficients, shrinkage=shrinkage)
    assert not found.reason
    return x, y, found


def test_factors_outside_of_a_separating_level_are_what_the_other_trials_tell() -> None:
    x, y, found = separated(0)
    left = x[:, 2] == 0
    [others] = inferred(x[left][:, :2], y[left, None], fit(x[left][:, :2], y[left, None]).coefficients)
    kept = [0, 1, 3]
    assert found.corrected[kept] == pytest.approx(others.corrected, rel=1e-6)
    assert found.corrected_error[kept] == pytest.approx(others.corrected_error, rel=1e-6)
    assert found.p_values()[kept] == pytest.approx(others.p_values(), rel=1e-5)
    for ours, theirs in zip(found.interval(), others.interval(), strict=True):
        assert ours[kept] == pytest.approx(theirs, rel=1e-6)
    assert found.note is not None
    assert "factor 2 separates" in found.note
    assert "-" not in found.note.split("times")[0]


def test_a_weight_along_a_separating_level_has_no_upper_bound_and_a_score_test() -> None:
    x, y, found = separated(1)
    low, high = found.interval()
    assert (found.corrected[2], high[2]) == (np.inf, np.inf)
    without = sm.Logit(y.astype(float), sm.add_constant(x[:, :2])).fit(disp=False)
    residual, curvature = y - without.predict(), without.predict() * (1 - without.predict())
    design = sm.add_constant(x[:, :2])
    outside = x[:, 2] - design @ np.linalg.solve((design.T * curvature) @ design, design.T @ (curvature * x[:, 2]))
    left = x[:, 2] == 0
    [others] = inferred(x[left][:, :2], y[left, None], fit(x[left][:, :2], y[left, None]).coefficients)
    z = x[:, 2] @ residual / np.sqrt((others.null_error[0] / others.classical_error[0]) ** 2 * (curvature @ outside**2))
    assert found.z[2] == pytest.approx(z, rel=1e-4)
    assert 0 < low[2] < 3
    assert np.isfinite(found.predict(x[:5])).all()


def test_with_a_separating_level_others_are_covered() -> None:
    truth = np.array([1.0, 0.5, np.nan, 0.0])
    inside = []
    for seed in range(40):
        low, high = separated(seed)[2].interval()
        inside.append(((low < truth) & (truth < high))[[0, 1, 3]])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.04)


def test_a_factor_that_separates_all_trials_leaves_the_others_unknown() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(200, 4))
    y = x[:, :1] > 0
    shrinkage = 4 / 204
    [found] = infer(x, y, fit(x, (1 - shrinkage) * y + shrinkage / 2).coefficients, shrinkage=shrinkage)
    assert not found.reason
    low, high = found.interval()
    assert low[0] > 0
    assert (low[1:4] == -np.inf).all()
    assert (high[:4] == np.inf).all()
    assert found.p_values()[1:4] == pytest.approx(np.ones(3))


def test_which_level_is_the_reference_does_not_matter() -> None:
    """The rare one, a separating one, or the third: their differences are the same, those that are determined."""
    rng = np.random.default_rng(8)
    level, z = rng.choice(3, 300, p=[0.3, 0.6, 0.1]), rng.normal(size=300)
    y = (rng.random(300) < expit(z + level)) | (level == 2)
    weights, errors = [], []
    for reference in range(3):
        x = np.column_stack([z, *(level == other for other in range(3) if other != reference)]).astype(float)
        soft = 0.99 * y + 0.005
        [found] = infer(x, y[:, None], fit(x, soft[:, None]).coefficients, shrinkage=0.01)
        assert not found.reason
        weights.append(found.corrected[0])
        errors.append(found.corrected_error[0])
    assert weights == pytest.approx([weights[0]] * 3, rel=1e-6)
    assert errors == pytest.approx([errors[0]] * 3, rel=1e-6)


@pytest.mark.parametrize("seed", [26, 3, 11])
def test_an_exact_tie_has_a_centred_interval(seed: int) -> None:
    x = np.repeat([-1.0, 1.0], 30)[:, None]
    y = np.tile([0, 1], 30)[np.random.default_rng(seed).permutation(60)].reshape(2, 30)
    y[1] = np.random.default_rng(seed).permutation(y[0])  # as many of each in both conditions
    y = y.ravel()[:, None].astype(bool)
    [c] = inferred(x, y, fit(x, y).coefficients)
    low, high = c.interval()
    assert low[0] == pytest.approx(-high[0], rel=1e-6)
    assert c.p_values()[0] == pytest.approx(1.0)


def test_the_curve_of_few_stimuli_is_the_fraction_of_yes_at_each() -> None:
    x = np.repeat(np.linspace(-2, 2, 5), 80)[:, None]
    y = np.random.default_rng(0).random((400, 1)) < expit(x)
    [c] = inferred(x, y, fit(x, y).coefficients)
    curve = psychometric_curve(*c.index, y[:, 0], c.link)
    assert curve.observed == pytest.approx(y.reshape(5, 80).mean(axis=1))


def test_the_curve_of_conditions_runs_through_the_fraction_of_yes_in_each() -> None:
    """d′ 1 and 2 in two conditions: two factors and their product, which fit all four fractions."""
    rng = np.random.default_rng(0)
    signal, cue = rng.random((2, 600)) < 0.5
    x = np.stack([signal, cue, signal & cue], axis=1).astype(float)
    y = (rng.normal(size=600) + signal * (1 + cue) > 0.5 + 0.5 * cue)[:, None]
    [c] = inferred(x, y, fit(x, y).coefficients)
    curve = psychometric_curve(*c.index, y[:, 0], c.link)
    assert np.interp(curve.index, curve.grid, curve.fitted) == pytest.approx(curve.observed, abs=0.03)


@pytest.mark.parametrize("how", ["shrinkage", "default"])
def test_interval_and_test_agree_where_the_scale_is_hardly_known(how: str) -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(100, 20))
    y = rng.random((100, 30)) < expit(x @ np.full(20, 0.3 if how == "shrinkage" else 0.6))[:, None]
    shrinkage = 20 / 120 if how == "shrinkage" else 0.0
    found = fit(x, (1 - shrinkage) * y + shrinkage / 2)
    for result in infer(x, y, found.coefficients, shrinkage=shrinkage):
        if not result.reason:
            low, high = result.interval()
            assert (((low > 0) | (high < 0)) == (result.p_values() < 0.05))[:-1].all()
