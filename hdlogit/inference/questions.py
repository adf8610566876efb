"""What is missing from the model? Tests from one fit.

Columns that the model lacks (`hdlogit.inference.families`) are tested by what the fit leaves of the responses
(`hdlogit.inference.terms`). With S the statistic and J its degrees of freedom, a model with these columns would gain
about (S − J)/2n nats per trial in leave-one-out cross-entropy.

Where there are guess and lapse rates g, l, what is left is that of the response with these rates: with P the
probability that the fit without trial i gives, and P' its slope by the logit, ψ = (y − P) P'/(P(1 − P)) and
D = P'²/(P(1 − P)); columns for errors of estimated rates stand beside the factors, so that such errors explain nothing.
Trials in which P is all but g or 1 − l are left out: there a lapse would outweigh all else. With few factors and
trials, the likelihood ratio of two joint fits takes the place of the score test, which rejects too often where hardly
any response is left to chance.

Three more: whether the link is logistic (`hdlogit.inference.link.logistic_test`), whether it is steeper on one side
(`asymmetry_test` there; not after a joint fit, where squares of few factors stand for it), and whether P(y = 1) rises
all along the index, as it must for every link: free means of P in BINS parts of the index against means that rise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, xlogy

from hdlogit.compute.threads import single_threaded_blas
from hdlogit.inference.curve import bins_of
from hdlogit.inference.families import LAGS, MEMORY, Family, families
from hdlogit.inference.joint import SMALL, is_for_joint_fit, likelihood_ratio
from hdlogit.inference.link import asymmetry_test, logistic_test
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import Array, Factors, Names, Responses, Units
from hdlogit.inference.terms import DEPENDENT, Residuals, Test, Trials

BINS = 15  # of the index, for whether P(y = 1) rises
SAMPLES, SEED = 999, 0  # sets of responses that are drawn
EDGE = 0.01  # of P between its ends, beyond which trials are left out where there are rates

UNLIKELY = 0.05  # p-value of "nothing is missing", over all classes and all that was asked
NOTABLE = 0.02  # of what the factors gain over a constant: what would gain less is not said to be missing,
STEEPER = 0.05  # unless it would make all weights larger by more than this fraction

LINK, ASYMMETRY = "guesses or lapses", "an asymmetric psychometric function"
OTHER_RATE = "another guess or lapse rate than the given one"
RISING = "a yes that does not become more frequent along the index"


class Question(NamedTuple):
    """One thing that the model may lack."""

    family: str
    df: int
    statistic: float  # nearly χ² of df where n is large
    p_value: float
    gain: float  # nats per trial, about, that a model with it would gain in leave-one-out cross-entropy
    steeper: float = 0.0  # by which fraction all weights would be larger with guess and lapse rates

    @classmethod
    def of(cls, family: str, n_trials: int, test: Test, steeper: float = 0.0) -> Question:
        s, df, p_value = test
        return cls(family, df, s, p_value, (s - df) / (2 * n_trials), steeper)


def questions(
    result: ClassInference,
    factors: Factors,
    responses: Responses,
    names: Names,
    groups: NDArray[np.generic] | None = None,
    *,
    in_order: bool = True,
) -> list[Question]:
    """What the model of one class may lack, the largest gain first; [] with ridge or shrinkage, or without inference.

    factors: (n, p), trials in the order in which they were run; responses: (n,) bool; names: of the factors; groups:
    (n,) labels of sessions or observers, across which nothing is remembered; in_order: whether trials are in the order
    in which they were run, so that memory and trends can be asked about. They are not where rows are sorted by the
    response or by conditions.
    """
    if result.reason or result.theory.ridge or result.theory.shrinkage or result.separated:
        return []
    n, (guess_rate, lapse_rate) = len(factors), result.link.known
    left_out = np.arange(n)[result.left_out(n)]
    y, best = np.asarray(responses[left_out], bool), result.leave_one_out.best
    with single_threaded_blas():
        if (guess_rate, lapse_rate) == (0, 0):
            units, y_all = Units(n, result.centre, result.scale), np.asarray(responses, np.float64)
            left, trials = Residuals.of_fit(factors, y_all, units, result.estimate), np.arange(n)
        else:
            left, trials = _with_rates(result, factors[left_out], y), left_out

        def tested(name: str, family: Family) -> Test:
            if by_fit := _by_fit(result, factors, responses, family):
                return by_fit
            lags = LAGS if name == MEMORY and len(trials) == n else 0
            return left.test(lambda rows: family.columns(trials[rows]), family.known[trials], lags)

        lacking = families(factors, responses, names, groups, in_order=in_order)
        tests = {name: tested(name, family) for name, family in lacking.items()}
    asked = [Question.of(name, len(trials), test) for name, test in tests.items() if test.df]
    asked += _of_link(result, y)
    index = np.asarray(factors[left_out] @ result.estimate[:-1])  # so that trials of equal factors stay together
    asked.append(rising(best, y, bins_of(index, 1e-6 * float(np.ptp(index)), BINS)))
    return sorted(asked, key=lambda question: -question.gain)


def missing(asked: Sequence[Question], gain: float, n_classes: int = 1) -> list[Question]:
    """What chance does not explain (Bonferroni, also over the classes), and would gain or change weights notably.

    gain: nats per trial, of the factors over a constant.
    """
    chance, least = UNLIKELY / max(n_classes * len(asked), 1), NOTABLE * max(gain, 0.0)
    return [one for one in asked if one.p_value < chance and (one.gain > least or one.steeper > STEEPER)]


def sentence(lacking: Sequence[Question], gain: float) -> str:
    """What is missing, the largest gain first, in words; gain: as of `missing`."""
    first, *others = lacking
    ratio = first.gain / gain if gain > 0 else 0.0
    share = (
        f", {f'{ratio:.0f} times' if ratio > 2 else f'{100 * ratio:.0f} % of'} what its factors gain" if ratio else ""
    )
    gained = f"about {first.gain:.2g} nats per trial would be gained{share}"
    text = f"the model lacks {first.family} ({p_in_words(first.p_value)}; {gained})"
    if first.family == RISING:
        text = f"a yes does not become more frequent all along the index ({p_in_words(first.p_value)})"
    also = [one.family for one in others if one.family != RISING]
    beside = f"; perhaps because of it, tests of {', '.join(also)} fail, too" if also else ""
    return f"{text}{beside}: weights and intervals, corrected ones too, may be far off"


def p_in_words(p: float) -> str:
    """`p = 0.02`; far out no distribution here is known."""
    return f"p = {p:.1g}" if p > 1e-12 else "p < 1e-12"


def _with_rates(result: ClassInference, factors: Factors, y: Responses) -> Residuals:
    """P' is that of the corrected logit; what it lacks for the noise of the fit costs power, but no size."""
    units = Units(len(factors), result.centre, result.scale)
    p, ends = expit(result.leave_one_out.best), 1 - result.guess_rate - result.lapse_rate
    inside = (p - result.guess_rate) / ends
    taken, inside = np.abs(inside - 0.5) < 0.5 - EDGE, np.clip(inside, EDGE, 1 - EDGE)
    slope, variance = ends * inside * (1 - inside), np.where(taken, p * (1 - p), 1.0)
    estimated = np.diag(result.link.covariance)[2:] > 0
    rates = np.stack([(1 - inside) / slope, -inside / slope], axis=1)[:, estimated]

    def design(rows: Trials) -> Array:
        return np.hstack([units.standardise(factors[rows]), rates[rows]])

    return Residuals(design, taken * (y - p) * slope / variance, taken * slope**2 / variance)


def _by_fit(result: ClassInference, factors: Factors, responses: Responses, family: Family) -> Test | None:
    """By the likelihood ratio: with few trials and factors squares and a rate can be so much alike that no score test
    tells them apart, and there is time to fit again. None for other fits, and where in the trials that know the
    columns, a factor does not vary, or the columns add nothing to the factors.
    """
    (n, p), df = factors.shape, family.columns(slice(0, 1)).shape[1]
    if result.profiles is None or n * (p + 1) ** 2 > SMALL or not is_for_joint_fit(n, p + df):
        return None
    trials = np.flatnonzero(family.known)
    x, columns = factors[trials], family.columns(trials)
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    t = np.column_stack([x, np.ones(len(x))])
    new, sizes, _ = np.linalg.svd(columns - t @ np.linalg.lstsq(t, columns)[0], full_matrices=False)
    new = new[:, sizes**2 > DEPENDENT]
    if not new.shape[1] or not np.ptp(x, axis=0).all():
        return None
    term = p + np.arange(new.shape[1])
    s, p_value = likelihood_ratio(np.hstack([x, new]), responses[trials], result.link.known, term)
    return Test(s, len(term), p_value)


def _of_link(result: ClassInference, y: Responses) -> list[Question]:
    """Guesses or lapses, unless their rates are estimated, or other ones than a given rate, if the other is; and
    asymmetry, unless rates explain it.
    """
    asked, known = list[Question](), result.link.known
    if known[0] != "tied" and known != (None, None):
        test = logistic_test(*result.index, y, known)
        name, df = (OTHER_RATE, 1) if None in known else (LINK, 2)
        asked.append(Question.of(name, len(y), Test(test.statistic, df, test.p_value), test.steeper))
    by_rates = bool(asked) and asked[0].family == LINK and asked[0].p_value < UNLIKELY
    if result.profiles is not None or (by_rates and asymmetry_test(*result.index, y, (None, None))[1] > UNLIKELY):
        return asked
    s, p_value = asymmetry_test(*result.index, y, known)
    steeper = asked[0].steeper if asked else 0.0
    return [*asked, Question.of(ASYMMETRY, len(y), Test(s, 1, p_value), steeper)] if np.isfinite(s) else asked


def rising(best: Array, y: Responses, bins: list[NDArray[np.intp]]) -> Question:
    """Does P(y = 1) rise all along the index? Twice the log-likelihood ratio of free means to means that rise.

    best: (n,) leave-one-out log-odds, whose means responses are drawn from to see what chance alone gives; bins: the
    trials of each part of the index, lowest first.
    """
    trials, p = np.array([len(rows) for rows in bins]), np.array([expit(best[rows]).mean() for rows in bins])

    def statistic(yes: Array) -> float:
        free, rising = yes / trials, isotonic_regression(yes / trials, weights=trials).x.clip(0.0, 1.0)
        likelihoods = [(xlogy(yes, q) + xlogy(trials - yes, 1 - q)).sum() for q in (free, rising)]
        return float(2 * (likelihoods[0] - likelihoods[1]))

    s = statistic(np.array([y[rows].sum() for rows in bins]))
    drawn = np.random.default_rng(SEED).binomial(trials, p, (SAMPLES, len(p)))
    p_value = (1 + sum(statistic(yes) >= s * (1 - 1e-9) for yes in drawn)) / (SAMPLES + 1)
    return Question(RISING, 0, s, p_value, s / (2 * len(y)))
