"""Weights, bias and rates fitted together: against a plain optimiser, and where the plain fit has a wrong direction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import kstest

from hdlogit import LogisticRegression
from hdlogit.exact import fit as exact_fit
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.predict import interval_of_probability
from hdlogit.inference.terms import joint_test
from tests.inferred import covered, inferred
from tests.problems import fit

Array = NDArray[np.float64]
Yes = NDArray[np.bool_]

LEVELS = np.arange(-3.0, 4.0)


def and_its_square(seed: int, n: int = 2000) -> tuple[Array, Yes, Array]:
    """Factors u, u², which does not matter, and another, of an observer who lapses in 10 % of the trials."""
    rng = np.random.default_rng(seed)
    u, truth = rng.normal(size=n), np.array([3.0, 0.0, 1.0, 0.0])
    x = np.column_stack([u, u * u, rng.normal(size=n)])
    return x, rng.random(n) < 0.9 * expit(x @ truth[:-1] + truth[-1]), truth


def two_alternatives(seed: int, n: int, slope: float, observers: int) -> tuple[Array, Yes, Array]:
    """One factor of seven levels, of observers who guess right in half of the trials and lapse in 2 %; their P."""
    rng = np.random.default_rng(seed)
    x = np.resize(LEVELS, n)[:, None]
    p = 0.5 + 0.48 * expit(slope * x + 0.3)
    return x, rng.random((n, observers)) < p, 0.5 + 0.48 * expit(slope * LEVELS + 0.3)


def tied(seed: int, n: int, p: int, lapse_rate: float, observers: int) -> tuple[Array, Yes, Array]:
    """Normal factors, of observers half of whose lapses are a yes; the coefficients."""
    rng = np.random.default_rng(seed)
    x, truth = rng.normal(size=(n, p)), np.append(2.5 * np.ones(p) / np.sqrt(p), 0.4)
    chance = lapse_rate / 2 + (1 - lapse_rate) * expit(x @ truth[:-1] + truth[-1])
    return x, rng.random((n, observers)) < chance[:, None], truth


def classes(x: Array, y: Yes, **fixed: float) -> list[ClassInference]:
    return inferred(x, y, exact_fit(x, y).coefficients, asymptotes="estimate", **fixed)


def joint(x: Array, y: Yes, **fixed: float) -> ClassInference:
    [found] = classes(x, y[:, None], **fixed)
    assert found.profiles is not None
    return found


def most_probable(x: Array, y: Yes, found: ClassInference, guess_rate: float | None = None) -> tuple[float, float]:
    """−log posterior of the fit, and the smallest that L-BFGS finds from many starts."""
    p, centre, sd = x.shape[1], x.mean(axis=0), x.std(axis=0)
    t, covariance = (x - centre) / sd, np.cov(x.T / sd[:, None], bias=True).reshape(p, p)

    def cost(theta: Array) -> float:
        z, g, lapse = t @ theta[:p] + theta[p], theta[-2], theta[-1]
        yes, no = g + (1 - g - lapse) * expit(z), lapse + (1 - g - lapse) * expit(-z)
        prior = 9 * np.log1p(-lapse) + (9 * np.log1p(-g) if guess_rate is None else 0)
        prior -= (p * theta[:p] @ covariance @ theta[:p] + theta[p] ** 2) / 200
        return -float(np.log(np.maximum(np.where(y, yes, no), 1e-300)).sum() + prior)

    rates = [(0.0, 0.49) if guess_rate is None else (guess_rate, guess_rate), (0.0, 0.49)]
    rng, bounds = np.random.default_rng(0), [(None, None)] * (p + 1) + rates
    starts = [np.append(rng.normal(size=p + 1) * size, [guess_rate or 0.05, 0.05]) for size in (0.5, 1, 2, 4, 8)]
    best = min(minimize(cost, start, bounds=bounds, method="L-BFGS-B").fun for start in starts)
    w, b = found.corrected[:-1], found.corrected[-1]
    return cost(np.concatenate([w * sd, [b + centre @ w, found.guess_rate, found.lapse_rate]])), best


def test_the_joint_fit_is_the_most_probable_one() -> None:
    x, y, _ = and_its_square(0)
    value, best = most_probable(x, y, joint(x, y))
    assert value == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("slope", [0.5, 4.0])
def test_of_two_maxima_the_higher_one_is_found(slope: float) -> None:
    x, y, _ = two_alternatives(1, 60, slope, 8)
    for responses, c in zip(y.T, classes(x, y, guess_rate=0.5), strict=True):
        value, best = most_probable(x, responses, c, 0.5)
        assert value < best + 1e-3


def test_rates_that_no_link_determines_are_no_crash() -> None:
    trials, yes = [9, 9, 9, 9, 9, 9, 6], [4, 2, 4, 3, 7, 9, 5]
    x = np.repeat(LEVELS, trials)[:, None]
    y = np.concatenate([np.arange(n) < k for n, k in zip(trials, yes, strict=True)])
    found = joint(x, y, guess_rate=0.5)
    assert found.guess_rate == 0.5
    value, best = most_probable(x, y, found, 0.5)
    assert value < best + 1e-3


@pytest.mark.parametrize(("n", "slope"), [(60, 2.0), (200, 4.0), (800, 1.0)])
def test_small_files_of_two_alternatives_are_all_answered_and_covered(n: int, slope: float) -> None:
    x, y, p = two_alternatives(2, n, slope, 16)
    found = classes(x, y, guess_rate=0.5)
    assert {c.guess_rate for c in found} == {0.5}
    assert covered(found, np.array([[slope], [0.3]])).mean(axis=1).min() > 0.85  # by chance of 16: 0.86
    assert np.mean([c.p_values()[0] < 0.05 for c in found]) > 0.9
    predicted = [c.predict(LEVELS[:, None]) for c in found]
    inside = np.array([(new.low <= p) & (p <= new.high) for new in predicted])
    assert inside.mean(axis=0).min() > 0.88
    assert inside.mean() > 0.935
    assert all((new.low >= 0.5).all() and (new.high <= 1).all() for new in predicted)


def test_intervals_and_tests_follow_the_profile_of_the_posterior() -> None:
    x, y, _ = two_alternatives(5, 60, 1.0, 3)
    sd = float(x.std())
    for responses, c in zip(y.T, classes(x, y, guess_rate=0.5), strict=True):

        def cost(weight: float, b: float, lapse: float, yes: Yes = responses) -> float:
            """−log posterior; b: the logit at the mean, which is 0 here but for a trial."""
            z = weight * (x[:, 0] - x.mean()) + b
            p = 0.5 + (0.5 - lapse) * expit(z)
            prior = 9 * np.log1p(-lapse) - ((weight * sd) ** 2 + b * b) / 200
            return float(-np.log(np.where(yes, p, 1 - p)).sum() - prior)

        def profile(weight: float) -> float:
            bounds = [(None, None), (0.0, 0.49)]
            starts = [(b, lapse) for b in (-5.0, 0.0, 5.0) for lapse in (0.01, 0.1)]
            found = [minimize(lambda t: cost(weight, *t), start, bounds=bounds, method="L-BFGS-B") for start in starts]
            return float(min(each.fun for each in found))

        best, (low, high) = profile(c.corrected[0]), c.interval(0.9)
        loss = [2 * (profile(weight) - best) for weight in (low[0], high[0], 0.0)]
        assert loss == pytest.approx([1.645**2, 1.645**2, c.z[0] ** 2], rel=0.05)


def test_weights_that_the_responses_do_not_determine_are_named() -> None:
    x, y, _ = two_alternatives(3, 200, 1.0, 1)
    step = x[:, 0] + np.random.default_rng(0).normal(size=200) * 0.1 > 0.05  # any steep curve explains it
    [flat], [clear] = (classes(x, column, guess_rate=0.5) for column in (step[:, None] | (y & (x < 0)), y))
    assert flat.note is not None
    assert flat.note.startswith("not determined by these responses: the weight of factor 0")
    assert clear.note is None


def test_few_factors_are_fitted_jointly_whatever_the_link_says() -> None:
    rng, truth = np.random.default_rng(4), np.array([1.0, -1.0, 0.5, 0.0])
    x = rng.normal(size=(500, 3))
    y = rng.random((500, 12)) < 0.05 + 0.9 * expit(x @ truth[:-1])[:, None]
    found = classes(x, y)
    assert all(c.profiles is not None for c in found)
    assert covered(found, truth[:, None]).mean() > 0.88


def test_many_factors_do_not_bring_a_steeper_curve() -> None:
    """A prior for each weight alone lets weights of 40 factors become so large that lapses explain what is left."""
    rng = np.random.default_rng(7)
    x = np.exp(rng.normal(size=(2000, 40)))
    truth = rng.normal(size=40)
    truth *= 3 / np.sqrt(truth @ np.cov(x.T) @ truth)
    y = rng.random((2000, 8)) < 0.1 + 0.8 * expit((x - x.mean(axis=0)) @ truth)[:, None]
    found = classes(x, y)
    assert all(c.profiles is not None for c in found)
    slopes = [c.corrected[:-1] @ truth / (truth @ truth) for c in found]
    assert np.mean(slopes) == pytest.approx(1, abs=0.1)
    assert np.max(slopes) < 1.4


def test_another_coding_of_the_factors_is_the_same_model() -> None:
    rng = np.random.default_rng(8)
    x, coding = rng.normal(size=(300, 3)), np.array([[1.0, 2.0, 0.0], [0.0, 100.0, 1.0], [0.0, 0.0, 0.01]])
    y = rng.random((300, 1)) < 0.05 + 0.9 * expit(2 * x[:, :1])
    [one], [other] = classes(x, y), classes(x @ coding + 5, y)
    for ours, theirs in zip(one.predict(x[:20]), other.predict(x[:20] @ coding + 5), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)
    assert other.corrected[:-1] == pytest.approx(np.linalg.solve(coding, one.corrected[:-1]), rel=1e-3, abs=1e-3)


def test_rates_that_are_given_are_never_dropped() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 20)), rng.random(300) < 0.75  # too many factors for a joint fit, and no signal
    model = LogisticRegression(asymptotes="estimate", guess_rate=0.5).fit(x, y)
    assert model.guess_rate_ == [0.5]
    assert "not determined" in str(model.inference_[0].note)


def test_a_term_of_several_factors_is_tested_by_the_fit_without_it() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1500, 3))
    y = rng.random((1500, 12)) < 0.03 + 0.94 * expit(2 * x[:, :1])
    found = classes(x, y)
    null = [joint_test(c, [1, 2], x, column)[1] for c, column in zip(found, y.T, strict=True)]
    assert kstest(null, "uniform").pvalue > 0.01
    assert max(joint_test(c, [0, 1, 2], x, column)[1] for c, column in zip(found, y.T, strict=True)) < 1e-6


def test_the_joint_fit_has_the_direction_that_the_plain_fit_misses() -> None:
    plain, joint_, z, covers = [], [], [], []
    for seed in range(8):
        x, y, truth = and_its_square(seed)
        coefficients = fit(x, y[:, None])[:, 0]
        found = joint(x, y)
        plain.append(coefficients[1] / coefficients[0])
        joint_.append(found.corrected[1] / found.corrected[0])
        estimates = np.append(found.corrected, [found.guess_rate, found.lapse_rate])
        z.append((estimates - [*truth, 0.0, 0.1]) / np.sqrt(np.diag(found.covariance)))
        fresh = and_its_square(1000 + seed)[0]
        p, rates = 0.9 * expit(fresh @ truth[:-1] + truth[-1]), (found.guess_rate, found.lapse_rate)
        low, high = interval_of_probability(fresh, found.corrected, rates, found.covariance, 0.95)
        covers.append(np.mean((low <= p) & (p <= high)))
    assert np.median(plain) < -0.15  # 0 in truth
    assert np.median(joint_) == pytest.approx(0, abs=0.03)
    assert np.mean(np.abs(z) < 1.96) >= 0.92
    assert np.mean(covers) == pytest.approx(0.95, abs=0.05)  # of 8 fits


def test_with_hardly_any_asymptotes_the_joint_fit_is_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, 0.0]
    y = rng.random(2000) < expit(x[:, 0] + 0.1 * (x[:, 1] - 100))
    coefficients = fit(x, y[:, None])[:, 0]
    found = joint(x, y, guess_rate=1e-9, lapse_rate=1e-9)
    assert found.corrected == pytest.approx(coefficients, rel=2e-3, abs=2e-3)
    design = np.column_stack([x, np.ones(2000)])
    p = expit(design @ coefficients)
    classical = np.sqrt(np.diag(np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)))
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx([*classical, 0, 0], rel=0.1)


def test_tied_rates_are_the_most_probable_ones() -> None:
    x, y, _ = tied(0, 1500, 3, 0.12, 1)
    [found] = inferred(x, y, exact_fit(x, y).coefficients, asymptotes="tied")
    t, covariance = (x - x.mean(axis=0)) / x.std(axis=0), np.corrcoef(x.T)

    def cost(theta: Array, lapse: float | None = None) -> float:
        *_, b, rate = theta
        z, rate = t @ theta[:3] + b, rate if lapse is None else lapse
        p = rate / 2 + (1 - rate) * expit(z)
        prior = 9 * np.log1p(-rate) - (3 * theta[:3] @ covariance @ theta[:3] + b**2) / 200
        return -float(np.log(np.where(y[:, 0], p, 1 - p)).sum() + prior)

    best = minimize(cost, [1, 1, 1, 0, 0.05], bounds=[(None, None)] * 4 + [(0, 0.9)], tol=1e-12)
    assert found.guess_rate == found.lapse_rate
    assert 2 * found.lapse_rate == pytest.approx(best.x[-1], abs=1e-4)
    assert found.corrected[:-1] * x.std(axis=0) == pytest.approx(best.x[:3], rel=1e-3)
    errors = [np.sqrt(found.covariance[k, k]) for k in (-2, -1)]
    assert errors[0] == errors[1]
    step = 2e-2  # the curvature of the profile of λ
    around = [minimize(cost, best.x, args=(best.x[-1] + side,), tol=1e-12).fun for side in (-step, step)]
    assert 2 * errors[0] == pytest.approx(step / np.sqrt(sum(around) - 2 * best.fun), rel=0.15)
    assert joint_test(found, [0], x, y[:, 0])[1] < 1e-6


def test_tied_rates_by_the_link_cover_and_are_determined_where_two_are_not() -> None:
    x, y, truth = tied(1, 600, 30, 0.1, 30)
    found = inferred(x, y, exact_fit(x, y).coefficients, asymptotes="tied")
    two = infer(x, y, exact_fit(x, y).coefficients, asymptotes="estimate")
    k = next(k for k, c in enumerate(two) if "not determined" in (c.note or ""))  # then it is without rates
    without = infer(x, y[:, [k]], exact_fit(x, y).coefficients[:, [k]])[0]
    assert (two[k].corrected == without.corrected).all()
    assert two[k].guess_rate == two[k].lapse_rate == 0
    assert covered(found, truth[:, None]).mean() == pytest.approx(0.95, abs=0.03)
    slopes = [c.corrected[:-1] @ truth[:-1] / (truth[:-1] @ truth[:-1]) for c in found]
    assert np.median(slopes) == pytest.approx(1, abs=0.08)
    assert all(c.guess_rate == c.lapse_rate for c in found)


def test_tied_rates_cannot_be_given() -> None:
    x, y, _ = tied(0, 200, 3, 0.1, 1)
    with pytest.raises(ValueError, match="asymptotes tied: guess and lapse rate are one"):
        infer(x, y, exact_fit(x, y).coefficients, asymptotes="tied", guess_rate=0.5)
