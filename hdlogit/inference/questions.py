"""What is missing from the model? Tests from one fit.

Columns that the model lacks are tested by what the fit leaves of the responses (`hdlogit.inference.terms`): squares of
the factors, their products with factors of two values, what was before, trends, differences between groups. With S the
statistic and J its degrees of freedom, a model with these columns would gain about (S − J)/2n nats per trial in
leave-one-out cross-entropy.

Where there are guess and lapse rates g, l, what is left is that of the response with these rates: with P the
probability that the fit without trial i gives, and P' its slope by the logit, ψ = (y − P) P'/(P(1 − P)) and
D = P'²/(P(1 − P)); columns for errors of estimated rates stand beside the factors, so that such errors explain nothing.
With few factors and trials, the likelihood ratio of two joint fits takes the place of the score test, which rejects too
often where hardly any response is left to chance.

Three more: whether the link is logistic (`hdlogit.inference.link.logistic_test`), whether it is steeper on one side
(`asymmetry_test` there; after a joint fit the square of the index, tested as any column), and whether P(y = 1) rises
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
from hdlogit.inference.joint import SMALL, is_for_joint_fit, likelihood_ratio
from hdlogit.inference.link import asymmetry_test, logistic_test
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import Array, Factors, Names, Responses, Units
from hdlogit.inference.terms import DEPENDENT, Columns, Residuals, Test

LAGS = 3  # previous responses
RARE = 0.05  # of the trials; a two-valued factor with a rarer value is not multiplied with the others,
FEW = 20  # trials in which both have their rarer value, by chance; nor are two factors with fewer
MOST_PRODUCTS = 5  # two-valued factors that are multiplied with the others, those nearest to one half
BINS = 15  # of the index, for whether P(y = 1) rises
SAMPLES, SEED = 999, 0  # sets of responses that are drawn
RUN = 5  # rows of the same value, on average, in a file that is sorted by it
EDGE = 1e-3  # of P between its ends, where the weights of trials end

UNLIKELY = 0.05  # p-value of "nothing is missing", over all classes and all that was asked
NOTABLE = 0.02  # of what the factors gain over a constant: what would gain less is not said to be missing,
STEEPER = 0.05  # unless it would make all weights larger by more than this fraction

MEMORY = "previous responses"
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
    n = len(factors)
    step = -(-n // len(result.leave_one_out.best))  # with many trials, leave-one-out logits are of some
    y, best = np.asarray(responses[::step], bool), result.leave_one_out.best
    free = [k for k in (2, 3) if result.link.covariance[k, k] > 0]  # of the guess (2) and the lapse rate (3)
    with_rates = bool(free) or (result.guess_rate, result.lapse_rate) != (0, 0)
    with single_threaded_blas():
        left = _with_rates(result, factors, y, step, free) if with_rates else _as_fitted(result, factors, responses)

        def tested(added: Columns, known: NDArray[np.bool_] | None = None, expected: Array | float = 0.0) -> Test:
            found = left.test(_every(added, step) if with_rates else added, known, expected)
            width = factors.shape[1]
            if result.profiles is None or n * (width + 1) ** 2 > SMALL or not is_for_joint_fit(n, width + found.df):
                return found
            return _by_fit(result, factors, responses, added, known) or found

        asked = []
        for family, (added, known) in families(factors, responses, names, groups, in_order=in_order).items():
            rows = slice(None, None, step if with_rates else 1)
            known = None if known is None else known[rows]
            expected = left.memory(LAGS, known) if family == MEMORY and known is not None and len(known) == n else 0.0
            s, df, p = tested(added, known, expected)
            asked += [Question(family, df, s, p, (s - df) / (2 * len(left.residual)))] if df else []
        if result.profiles is None:
            bend, p = asymmetry_test(*result.index, y, result.link.known)
        else:
            bend, _, p = tested(_bent(result, factors)) if factors.shape[1] > 1 else (np.nan, 0, 1.0)
    asked += _of_link(result, y, bend, p, estimated=bool(free))
    index = np.asarray(factors[::step] @ result.estimate[:-1])  # so that trials of equal factors stay together
    asked.append(rising(best, y, bins_of(index, 1e-6 * float(np.ptp(index)), BINS)))
    return sorted(asked, key=lambda question: -question.gain)


def missing(asked: Sequence[Question], gain: float, n_classes: int = 1) -> list[Question]:
    """What chance does not explain (Bonferroni, also over the classes), and would gain or change weights notably.

    gain: nats per trial, of the factors over a constant.
    """
    chance, least = UNLIKELY / max(n_classes * len(asked), 1), NOTABLE * max(gain, 0.0)
    return [one for one in asked if one.p_value < chance and (one.gain > least or one.steeper > STEEPER)]


def sentence(lacking: Sequence[Question], gain: float, of: str = "") -> str:
    """What is missing, the largest gain first, in words; of: whose model, as in " of class 3"."""
    first, *others = lacking
    p = f"p = {first.p_value:.1g}" if first.p_value > 1e-12 else "p < 1e-12"
    ratio = first.gain / gain if gain > 0 else 0.0
    share = (
        f", {f'{ratio:.0f} times' if ratio > 2 else f'{100 * ratio:.0f} % of'} what its factors gain" if ratio else ""
    )
    text = f"the model{of} lacks {first.family} ({p}; about {first.gain:.2g} nats per trial would be gained{share})"
    if first.family == RISING:
        text = f"a yes does not become more frequent all along the index{of} ({p})"
    also = [one.family for one in others if one.family != RISING]
    beside = f"; perhaps because of it, tests of {', '.join(also)} fail, too" if also else ""
    return f"{text}{beside}: weights and intervals, corrected ones too, may be far off"


def _of_link(result: ClassInference, y: Responses, s: float, p: float, *, estimated: bool) -> list[Question]:
    """Guesses or lapses, unless their rates are estimated, or other ones than a given rate, if the other is; and
    asymmetry, of this s and p, unless rates explain it.
    """
    asked, n, steeper = list[Question](), len(y), 0.0
    if not estimated:
        test = logistic_test(*result.index, y, guess_rate=result.guess_rate, lapse_rate=result.lapse_rate)
        steeper = test.steeper
        asked.append(Question(LINK, 2, test.statistic, test.p_value, (test.statistic - 2) / (2 * n), steeper))
        if test.p_value < UNLIKELY and asymmetry_test(*result.index, y, (None, None))[1] > UNLIKELY:
            return asked
    elif (known := result.link.known).count(None) == 1 and known[0] != "tied":
        test = logistic_test(*result.index, y, guess_rate=known[0], lapse_rate=known[1])
        asked.append(
            Question(OTHER_RATE, 1, test.statistic, test.p_value, (test.statistic - 1) / (2 * n), test.steeper)
        )
    return [*asked, Question(ASYMMETRY, 1, s, p, (s - 1) / (2 * n), steeper)] if np.isfinite(s) else asked


def _bent(result: ClassInference, factors: Factors) -> Columns:
    """The square of the index: of a single factor it is that of the factor, which is asked about anyway."""
    z = np.asarray(factors @ result.corrected[:-1], np.float64)
    z = (z - z.mean()) / max(float(z.std()), 1e-300)
    return lambda rows: np.square(z[rows, None])


def _as_fitted(result: ClassInference, factors: Factors, responses: Responses) -> Residuals:
    units = Units(len(factors), result.centre, result.scale)
    return Residuals.of_fit(factors, np.asarray(responses, np.float64), units, result.estimate)


def _with_rates(result: ClassInference, factors: Factors, y: Responses, step: int, free: list[int]) -> Residuals:
    """P' is that of the corrected logit; what it lacks for the noise of the fit costs power, but no size."""
    units = Units(len(factors), result.centre, result.scale)
    p, ends = expit(result.leave_one_out.best), 1 - result.guess_rate - result.lapse_rate
    inside = np.clip((p - result.guess_rate) / ends, EDGE, 1 - EDGE)
    slope, variance = ends * inside * (1 - inside), p * (1 - p)
    rates = np.stack([(1 - inside) / slope, -inside / slope], axis=1)[:, [k - 2 for k in free]]

    def design(rows: slice) -> Array:
        return np.hstack([units.standardise(factors[::step][rows]), rates[rows]])

    return Residuals(design, (y - p) * slope / variance, slope**2 / variance)


def _by_fit(
    result: ClassInference,
    factors: Factors,
    responses: Responses,
    added: Columns,
    known: NDArray[np.bool_] | None,
) -> Test | None:
    """By the likelihood ratio: with few trials and factors squares and a rate can be so much alike that no score test
    tells them apart, and there is time to fit again. None where in the trials that know the columns, a factor does not
    vary, or the columns add nothing to the factors.
    """
    rows = slice(None) if known is None else known
    x, columns = factors[rows], added(slice(0, len(factors)))[rows]
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    t = np.column_stack([x, np.ones(len(x))])
    left, sizes, _ = np.linalg.svd(columns - t @ np.linalg.lstsq(t, columns)[0], full_matrices=False)
    left = left[:, sizes**2 > DEPENDENT]
    term = x.shape[1] + np.arange(left.shape[1])
    if not len(term) or not np.ptp(x, axis=0).all():
        return None
    s, p = likelihood_ratio(np.hstack([x, left]), responses[rows], result.link.known, term)
    return Test(s, len(term), p)


def _every(columns: Columns, step: int) -> Columns:
    """Of every step-th trial."""
    return lambda rows: columns(slice(rows.start * step, rows.stop * step))[::step]


def families(
    factors: Factors,
    responses: Responses,
    names: Names,
    groups: NDArray[np.generic] | None = None,
    *,
    in_order: bool = True,
) -> dict[str, tuple[Columns, NDArray[np.bool_] | None]]:
    """Columns that a model of these factors may lack, and in which trials they are known (None: all), by name."""
    n, p = factors.shape
    some = np.asarray(factors[:: max(n // 10_000, 1)], np.float64)
    centre, scale = some.mean(axis=0), np.maximum(some.std(axis=0), 1e-300)
    rarer = {j: _rarer(some[:, j]) for j in range(p)}
    two = [j for j in range(p) if rarer[j] is not None and np.isin(factors[:, j], np.unique(some[:, j])).all()]
    more = np.setdiff1d(np.arange(p), two)

    def standardised(rows: slice | NDArray[np.intp]) -> Array:
        return np.asarray((factors[rows] - centre) / scale)

    def products(j: int, others: list[int]) -> Columns:
        def of_rows(rows: slice) -> Array:
            z = standardised(rows)
            return z[:, [j]] * z[:, others]

        return of_rows

    found: dict[str, tuple[Columns, NDArray[np.bool_] | None]] = {}
    if len(more):
        found["squares of the factors"] = lambda rows: standardised(rows)[:, more] ** 2, None
    most = {1: 0, 2: 1}.get(p, MOST_PRODUCTS)  # two factors have one product
    for j in sorted(two, key=lambda j: -(rarer[j] or 0.0))[:most]:
        rate = rarer[j] or 0.0
        others = [k for k in range(p) if k != j and n * rate * (rarer[k] or 0.5) >= FEW]
        if rate >= RARE and others:
            found[f"products with {names[j]}"] = products(j, others), None
    _, group = np.unique(np.zeros(n, int) if groups is None else groups, return_inverse=True)
    codes, time = np.arange(group.max() + 1), np.linspace(-0.5, 0.5, n)
    middle = np.bincount(group, time) / np.bincount(group)

    def member(rows: slice) -> Array:
        return np.asarray(group[rows, None] == codes, np.float64)

    if len(codes) > 1:
        found["differences between groups"] = lambda rows: member(rows)[:, 1:], None
    y = np.asarray(responses, np.float64)
    conditions = [factors[:, j] for j in more] + [np.unique(factors[:, two], axis=0, return_inverse=True)[1].ravel()]
    if not in_order or _is_sorted(y, group, 2) or any(_is_sorted(column, group, 3) for column in conditions):
        return found
    if len(codes) > 1:
        found["trends within groups"] = lambda rows: member(rows) * (time - middle[group])[rows, None], None
    found["a trend over trials"] = lambda rows: time[rows, None], None
    earlier = [np.maximum(np.arange(n) - k, 0) for k in range(1, LAGS + 1)]
    same = [(np.arange(n) >= k) & (group[t] == group) for k, t in enumerate(earlier, 1)]
    found[MEMORY] = lambda rows: np.stack([y[t[rows]] for t in earlier], axis=1), np.all(same, axis=0)
    found["factors of the previous trial"] = lambda rows: standardised(earlier[0][rows]), same[0]
    return found


def _is_sorted(column: NDArray[np.generic], group: NDArray[np.intp], fewest: int) -> bool:
    """Whether rows are sorted by this column: each value is in one long run of each group, and has `fewest` or more."""
    runs = 1 + np.count_nonzero((column[1:] != column[:-1]) | (group[1:] != group[:-1]))
    if RUN * runs > len(column):
        return False
    n_values = len(np.unique(np.column_stack([group, column]), axis=0))
    return bool(runs == n_values >= fewest * (group.max() + 1))


def _rarer(column: Array) -> float | None:
    """Frequency of the rarer value; None where there are more than two."""
    values, counts = np.unique(column, return_counts=True)
    return float(counts.min() / counts.sum()) if len(values) == 2 else None


def rising(best: Array, y: Responses, bins: list[NDArray[np.intp]]) -> Question:
    """Does P(y = 1) rise all along the index? Twice the log-likelihood ratio of free means to means that rise.

    best: (n,) leave-one-out log-odds, from which responses are drawn to see what chance alone gives; bins: the trials
    of each part of the index, lowest first.
    """
    trials, order = np.array([len(some) for some in bins], np.float64), np.concatenate(bins)
    first = np.append(0, np.cumsum(trials)[:-1]).astype(int)

    def likelihood(yes: Array, p: Array) -> Array:
        return np.asarray((xlogy(yes, p) + xlogy(trials - yes, 1 - p)).sum(axis=-1))

    def statistic(drawn: NDArray[np.bool_]) -> Array:
        yes = np.add.reduceat(drawn.astype(np.float64), first, axis=1)
        risen = np.stack([isotonic_regression(row / trials, weights=trials).x for row in yes])
        return 2 * (likelihood(yes, yes / trials) - likelihood(yes, np.clip(risen, 0.0, 1.0)))

    rng, p, s = np.random.default_rng(SEED), expit(best[order]), float(statistic(y[None, order])[0])
    at_once = max(2**24 // len(p), 1)
    sizes = [min(at_once, SAMPLES - start) for start in range(0, SAMPLES, at_once)]
    drawn = np.concatenate([statistic(rng.random((size, len(p))) < p) for size in sizes])
    p_value = float((1 + (drawn >= s * (1 - 1e-9)).sum()) / (SAMPLES + 1))
    return Question(RISING, 0, s, p_value, s / (2 * len(y)))
