"""What the model lacks is found from one fit, and nothing is found where nothing is missing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import kstest

from hdlogit.exact import fit
from hdlogit.inference import infer
from hdlogit.inference.families import families
from hdlogit.inference.questions import ASYMMETRY, LINK, OTHER_RATE, RISING, Question, questions
from hdlogit.inference.terms import score_test

Array = NDArray[np.float64]
NAMES = ["signal", *(f"frame{j}" for j in range(1, 12))]


def trials(rng: np.random.Generator, n: int = 1200) -> tuple[Array, Array]:
    """(Factors: a signal that is there or not, and noise frames; the logit of an observer who adds them up.)"""
    x = np.column_stack([rng.random(n) < 0.5, rng.normal(size=(n, 11))]).astype(float)
    return x, 1.2 * (x[:, 0] - 0.5) + x[:, 1:] @ np.linspace(-0.8, 0.8, 11)


def asked(x: Array, y: NDArray[np.bool_], groups: Array | None = None, **rates: object) -> list[Question]:
    [result] = infer(x, y[:, None], fit(x, y[:, None]).coefficients, **rates)  # type: ignore[arg-type]
    assert result.reason is None
    return questions(result, x, y, NAMES, groups)


def drawn(p: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.asarray(rng.random(len(p)) < p, np.bool_)


def squared(x: Array, logit: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    return drawn(expit(logit + 0.5 * (x[:, 1:] ** 2 - 1).sum(axis=1) / np.sqrt(11)), rng)


def interacting(x: Array, logit: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    return drawn(expit(logit + 1.5 * (x[:, 0] - 0.5) * x[:, 3]), rng)


def drifting(x: Array, logit: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    return drawn(expit(logit + np.linspace(-1, 1, len(x))), rng)


def remembering(x: Array, logit: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    y = np.zeros(len(x), bool)
    for t, u in enumerate(rng.random(len(x))):
        y[t] = u < expit(logit[t] + (0.8 if y[t - 1] else -0.8) * (t > 0))
    return y


def guessing(x: Array, logit: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    return drawn(0.12 + 0.76 * expit(3 * logit), rng)


def bending(x: Array, logit: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    return drawn(-np.expm1(-np.exp(1.5 * logit)), rng)


@pytest.mark.parametrize(
    ("observer", "family"),
    [
        (squared, "squares of the factors"),
        (interacting, "products with signal"),
        (drifting, "a trend over trials"),
        (remembering, "previous responses"),
        (guessing, LINK),
        (bending, ASYMMETRY),
    ],
)
def test_what_gains_most_is_what_is_missing(
    observer: Callable[[Array, Array, np.random.Generator], NDArray[np.bool_]], family: str
) -> None:
    rng = np.random.default_rng(3)
    x, logit = trials(rng)
    found = asked(x, observer(x, logit, rng))
    assert found[0].family == family
    assert found[0].p_value < 0.001
    assert all(first.gain >= second.gain for first, second in pairwise(found))


def test_two_factors_of_two_values_have_one_product() -> None:
    rng = np.random.default_rng(7)
    signal, cue = rng.random((2, 400)) < 0.5
    y = rng.random(400) < expit(-1 + signal + 2 * signal * cue)
    found = asked(np.stack([signal, cue], axis=1).astype(float), y)
    assert sum(one.family.startswith("products") for one in found) == 1


def test_nothing_is_missing_where_nothing_is() -> None:
    """p-values of the score tests are uniform, with many factors per trial."""
    rng, seen = np.random.default_rng(4), list[float]()
    for _ in range(12):
        x, logit = trials(rng, 240)
        found = asked(x, rng.random(240) < expit(logit), np.repeat(np.arange(4.0), 60))
        seen += [question.p_value for question in found if question.family not in (LINK, ASYMMETRY, RISING)]
        assert min(question.p_value for question in found) > 1e-4
    assert kstest(seen, "uniform").pvalue > 0.01


def test_a_score_test_with_many_trials_is_the_textbook_s() -> None:
    """Rao's, for statsmodels' fit without the columns."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20_000, 4)) * [1, 10, 0.1, 1] + [0, 3, 0, 1]
    y = rng.random(20_000) < expit(0.4 * x[:, 0] + 0.02 * x[:, 3])
    model = sm.GLM(y.astype(float), sm.add_constant(x[:, :2]), family=sm.families.Binomial()).fit()
    p, t, z = model.predict(), model.model.exog, x[:, 2:]
    weighted = t.T * (p * (1 - p))
    left = z - t @ np.linalg.solve(weighted @ t, weighted @ z)
    u = left.T @ (y - p)
    s, df, _ = score_test(x, y, np.array([2, 3]))
    assert s == pytest.approx(float(u @ np.linalg.solve((left.T * (p * (1 - p))) @ left, u)), rel=2e-3)
    assert df == 2


def test_after_a_wrong_fit_with_rates_what_is_missing_is_still_found() -> None:
    """Squares look like guesses, and a fit with rates finds some: the squares are still missing from it."""
    rng = np.random.default_rng(6)
    x, logit = trials(rng, 2000)
    found = asked(x, squared(x, logit, rng), asymptotes="estimate")
    assert found[0].family == "squares of the factors"
    assert found[0].p_value < 1e-6
    x, logit = trials(rng, 2000)
    right = asked(x, guessing(x, logit, rng), asymptotes="estimate")
    assert min(question.p_value for question in right) > 0.05 / len(right)


@pytest.mark.parametrize("rates", [{"guess_rate": 0.5}, {"guess_rate": 0.5, "asymptotes": "estimate"}])
@pytest.mark.parametrize("slope", [1.0, 8.0])  # per level: then score tests reject most
def test_the_guess_rate_of_two_alternatives_is_no_square(slope: float, rates: dict[str, object]) -> None:
    """Constant stimuli at seven levels, with a lapse rate of 4 % where it is estimated."""
    rng, levels, found = np.random.default_rng(20), np.repeat(np.arange(-3.0, 4), 100)[:, None], []
    lapse = 0.04 if "asymptotes" in rates else 0.0
    for _ in range(10):
        y = drawn(0.5 + (0.5 - lapse) * expit(slope * (levels[:, 0] + 0.25)), rng)
        [result] = infer(levels, y[:, None], fit(levels, y[:, None]).coefficients, **rates)  # type: ignore[arg-type]
        of = {question.family: question.p_value for question in questions(result, levels, y, ["level"], in_order=False)}
        found.append(of["squares of the factors"])
        assert ASYMMETRY not in of  # it would be the same
    assert kstest(found, "uniform", alternative="greater").pvalue > 0.05


def test_a_trial_that_is_certain_hides_nothing_that_the_model_lacks() -> None:
    """Its probability is 1 to the last digit, which once made all residuals NaN."""
    rng = np.random.default_rng(21)
    x, logit = trials(rng, 550)
    logit *= 4
    far = np.argmax(logit)
    x[far], logit[far] = 60 * x[far], 60 * logit[far]
    families_asked = {one.family for one in asked(x, drawn(0.5 + 0.5 * expit(logit), rng), guess_rate=0.5)}
    assert families_asked >= {"squares of the factors", "previous responses"}


def test_a_group_of_one_trial_and_factors_that_do_not_vary_among_known_trials_are_no_fault() -> None:
    rng, n = np.random.default_rng(3), 400
    x = np.column_stack([rng.random(n) < 0.5, np.arange(n) < 3]).astype(float)
    groups = np.array([*[0.0] * 200, *[1.0] * 199, 2.0])
    y = drawn(0.05 + 0.9 * expit(3 * x[:, 0] - 1), rng)
    y[:3] = True, False, True
    found = {one.family: one for one in asked(x, y, groups, asymptotes="tied")}
    assert found["trends within groups"].df == 2
    assert all(0 <= one.p_value <= 1 for one in found.values())


def test_a_wrong_guess_rate_is_seen_beside_an_estimated_lapse_rate() -> None:
    """In yes/no detection, where fractions of yes below 1/2 are possible."""
    rng = np.random.default_rng(4)
    x = rng.integers(0, 2, (600, 2)).astype(float)
    y = drawn(expit(2 * x[:, 0] - 1), rng)
    [wrong] = infer(x, y[:, None], fit(x, y[:, None]).coefficients, asymptotes="estimate", guess_rate=0.5)
    found = {one.family: one for one in questions(wrong, x, y, NAMES, in_order=False)}
    assert found[OTHER_RATE].p_value < 1e-6


def test_a_yes_that_becomes_rarer_again_is_seen() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3000, 3))
    index = x @ [1.0, 1.0, 0.5]
    y = rng.random(3000) < expit(np.where(index > -1.5, 1.5 * index, -1.5 * (index + 3)))
    assert {question.family: question.p_value for question in asked(x, y)}[RISING] < 0.01


def test_units_do_not_matter_and_groups_have_a_memory_of_their_own() -> None:
    rng = np.random.default_rng(8)
    x, logit = trials(rng, 600)
    y, groups = rng.random(600) < expit(logit), np.repeat(np.arange(3.0), 200)
    first = asked(x, y, groups)
    second = asked(x * 10.0 ** np.linspace(-3, 3, 12) + 5, y, groups)
    assert [question.family for question in first] == [question.family for question in second]
    for one, other in zip(first, second, strict=True):
        assert one.p_value == pytest.approx(other.p_value, rel=1e-5)
    added, known = families(x, y, NAMES, groups)["previous responses"]
    assert np.flatnonzero(~known).tolist() == [0, 1, 2, 200, 201, 202, 400, 401, 402]
    np.testing.assert_array_equal(added(slice(3, 6)), np.stack([y[2:5], y[1:4], y[:3]], axis=1))


def test_rows_that_are_sorted_are_no_sequence_of_trials() -> None:
    rng = np.random.default_rng(10)
    x, y = np.column_stack([rng.choice(5, 600), rng.normal(size=600)]), rng.random(600) < 0.5
    level, half = np.argsort(x[:, 0]), np.repeat([0, 1], 300)
    dummies = x[:, :1] == [1, 2, 3, 4]
    for factors, order, groups, asked_of_order in (
        (x, np.arange(600), None, True),
        (x, np.argsort(y), None, False),
        (x, level, None, False),
        (dummies, level, None, False),
        (x > 1, np.argsort(x[:, 0] > 1), None, True),  # two conditions in two blocks
        (x, np.lexsort([x[:, 0], half]), half, False),
    ):
        found = families(factors[order].astype(float), y[order], "abcd", groups)
        assert ("previous responses" in found) == asked_of_order


def test_successive_trials_that_are_alike_are_no_memory() -> None:
    """Each stimulus is shown four times on end, with many factors: then a response moves the fit at its successors."""
    rng, found = np.random.default_rng(9), []
    for _ in range(8):
        x = np.repeat(rng.normal(size=(150, 60)), 4, axis=0)
        y = rng.random(600) < expit(x @ np.full(60, 0.065))
        [result] = infer(x, y[:, None], fit(x, y[:, None]).coefficients)
        found.append({question.family: question.p_value for question in questions(result, x, y, range(60))})
    assert min(one["previous responses"] for one in found) > 0.01
    assert min(one[RISING] for one in found) > 0.01
