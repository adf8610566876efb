"""The link between a fit and its responses: how steep it is, and where it ends (guess rate, lapse rate).

An observer who guesses at a rate g and lapses at a rate l says yes with probability

    P(y = 1 | ζ) = g + (1 − g − l) σ(Γ ζ + b)          ζ: the true index x·β, centred, in units of its own sd

so Γ is the signal γ (sd of the true logits) and b their mean. A logistic fit presumes g = l = 0. Where that is wrong
it still finds the direction of β if factors are elliptical (Li & Duan, Annals of Statistics 1989), and nearly so if
many factors act together; only the length of ŵ is off. The leave-one-out logits V of the fit then determine the link:

    ζ | V ~ N(m V, ν²)                                 m = a/(a² + s²),  ν_i² = s_i²/(a² + s²),  V centred
    maximise  Σ log P(y_i | V_i) + 9 log(1 − g) + 9 log(1 − l),     P(y = 1 | V) = E[P(y = 1 | ζ) | V]

over log Γ, b, g, l. The last two terms are psignifit's priors Beta(1, 10) of rates that are estimated (Schütt,
Harmeling, Macke & Wichmann, Vision Research 2016); a rate that is fixed has none. Here a² = Var(V) − mean s_i² and
s_i² is the noise of V_i.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from hdlogit.inference.likelihood import (
    GAIN,
    GROUPS,
    GUESS,
    HIGHEST,
    INTERCEPT,
    LOWEST,
    Cells,
    maximise,
    objective,
    observed_information,
    response,
)

Array = NDArray[np.float64]

PRIOR = 9.0  # Beta(1, 10): density in proportion to (1 − rate)⁹
UNDETERMINED = 0.1  # standard error of a rate above which little but the prior (sd 0.083) determines it
FINE, COARSE = 1e-10, 1e-3  # tolerances, nats
TINY = 1e-6  # a statistic that is nothing but rounding
SAMPLES, MOST_SAMPLES, ENOUGH = 20, 400, 5  # at a time, at most, and how many that gain more are enough
CLEAR = 2 * np.log(1 + MOST_SAMPLES)  # a statistic with a p-value below what so many samples can show
MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Link:
    """A fitted link. gain: Γ; covariance: (4, 4) of (log Γ, b, g, l), zero rows for what is fixed."""

    gain: float
    intercept: float
    guess_rate: float
    lapse_rate: float
    covariance: Array
    log_likelihood: float  # nats, summed over trials, without the priors
    reason: str | None = None  # why these trials do not determine the link; None where they do

    @property
    def parameters(self) -> Array:
        """(log Γ, b, g, l)."""
        with np.errstate(divide="ignore"):  # −inf where no signal was found
            return np.array([np.log(self.gain), self.intercept, self.guess_rate, self.lapse_rate])

    @property
    def errors(self) -> Array:
        """Standard errors of (log Γ, b, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class LogisticTest:
    """Is the psychometric function logistic, with the known rates, or does it end elsewhere?"""

    statistic: float  # twice the gain in log-likelihood by free guess and lapse rates, without priors
    p_value: float  # against samples from the fitted logistic function, or their bound


def fit_link(
    index: ArrayLike,
    slope: float,
    noise: ArrayLike,
    responses: ArrayLike,
    *,
    guess_rate: float | None = None,
    lapse_rate: float | None = None,
) -> Link:
    """The most probable link, from leave-one-out logits.

    index: (n,) V, centred; slope: m; noise: ν, (n,) or one number; responses: (n,) bool; a number fixes a rate, None
    estimates it. Raises ValueError where the arrays do not fit together or all responses are alike. A link that the
    trials do not determine is returned with a `reason`. Of more than 100 000 trials, 100 000, evenly spaced, are used.
    """
    cells = _cells(index, slope, noise, responses)
    fixed = _fixed(guess_rate, lapse_rate)
    free = np.isnan(fixed)
    prior = PRIOR * free[2:]
    start = _best(cells.groups(), fixed, prior, COARSE)
    theta, value = maximise(start, free, cells, prior, FINE)
    information = observed_information(theta, cells, prior)
    covariance = np.zeros((4, 4))
    covariance[np.ix_(free, free)] = np.linalg.pinv(information[np.ix_(free, free)], hermitian=True)
    log_likelihood = float(value[0] - (prior * np.log1p(-theta[0, 2:])).sum())
    log_gain, b, guess, lapse = (float(x) for x in theta[0])
    link = Link(float(np.exp(log_gain)), b, guess, lapse, covariance, log_likelihood)
    return replace(link, reason=_reason(link))


def logistic_test(
    index: ArrayLike,
    slope: float,
    noise: ArrayLike,
    responses: ArrayLike,
    *,
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
    seed: int = 0,
) -> LogisticTest:
    """Twice the gain in log-likelihood by free rates over the given ones, and its p-value. Other arguments: `fit_link`.

    Rates cannot be negative, so where they are 0 the usual χ² with two degrees of freedom is only a bound, used where
    it is small enough; else responses are drawn from the fitted logistic function, at the same leave-one-out logits,
    until enough of them gain more (Besag & Clifford, Biometrika 1991). A small p-value means that the responses do not
    follow a logistic function of the index, from guess_rate to 1 − lapse_rate: because of other rates, another shape,
    or a drifting criterion.
    """
    [found] = logistic_tests(
        [(index, slope, noise, responses)], guess_rate=guess_rate, lapse_rate=lapse_rate, seed=seed
    )
    return found


def logistic_tests(
    observers: Sequence[tuple[ArrayLike, float, ArrayLike, ArrayLike]],
    *,
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
    seed: int = 0,
) -> list[LogisticTest]:
    """`logistic_test` of each of these (index, slope, noise, responses), all at once, which is faster."""
    if not observers:
        return []
    parts = [_cells(*observer).groups() for observer in observers]
    cells = Cells(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    null, free = _fixed(guess_rate, lapse_rate), np.full(4, np.nan)
    statistic, found = _gain(cells, null, free)
    p = np.clip(response(found, cells.mean, cells.noise)[0], 0.0, 1.0)  # rounding
    streams = [np.random.default_rng(seed) for _ in observers]
    drawn, exceeding = np.zeros(len(observers), np.int64), np.zeros(len(observers), np.int64)
    sampled = (statistic >= TINY) & (statistic <= CLEAR)
    while len(going := np.flatnonzero(sampled & (drawn < MOST_SAMPLES) & (exceeding < ENOUGH))):
        yes = [streams[k].binomial(cells.trials[k].astype(np.int64), p[k], (SAMPLES, GROUPS)) for k in going]
        again = np.repeat(going, SAMPLES)
        samples = cells.at(again)._replace(yes=np.concatenate(yes).astype(np.float64))
        gain, _ = _gain(samples, null, free, found[again])
        drawn[going] += SAMPLES
        exceeding[going] += (gain >= statistic[again] - 1e-6).reshape(len(going), SAMPLES).sum(axis=1)
    p_values = np.where(statistic < TINY, 1.0, np.where(sampled, (1 + exceeding) / (1 + drawn), chdtrc(2, statistic)))
    return [LogisticTest(float(s), float(value)) for s, value in zip(statistic, p_values, strict=True)]


def _best(cells: Cells, fixed: Array, prior: Array, tolerance: float, near: Array | None = None) -> Array:
    """The better of two maxima, one of which starts at small rates and one at rates of 5 %: (problems, 4).

    near: (problems, 4), log Γ and b to start from.
    """
    free, problems = np.isnan(fixed), len(cells.yes)
    known = np.where(free, 0.0, fixed)
    rate = np.clip(
        (cells.yes.sum(axis=1) / cells.trials.sum(axis=1) - known[GUESS]) / (1 - known[2:].sum()), 0.01, 0.99
    )
    start = np.tile(known, (problems, 1))
    start[:, INTERCEPT] = np.log(rate / (1 - rate))
    if near is not None:
        start[:, :2] = near[:, :2]
    logistic = free & np.array([True, True, False, False])
    first, _ = maximise(start, logistic, cells, prior, tolerance)
    if not free[2:].any():
        return first
    starts = [
        first + np.where(free, [0.0, 0.0, 0.005, 0.005], 0.0),
        first + np.where(free, [0.7, 0.0, 0.05, 0.05], 0.0),
    ]
    twice = cells.at(np.tile(np.arange(problems), 2))
    theta, value = maximise(np.concatenate(starts), free, twice, prior, tolerance)
    better = value[problems:] > value[:problems]
    return np.where(better[:, None], theta[problems:], theta[:problems])


def _gain(cells: Cells, null: Array, free: Array, near: Array | None = None) -> tuple[Array, Array]:
    """Twice the gain in log-likelihood over the null (problems,), and the parameters of the null (problems, 4)."""
    none = np.zeros(2)
    found, best = _best(cells, null, none, COARSE, near), _best(cells, free, none, COARSE, near)
    gain = 2 * (objective(best, cells, none)[0] - objective(found, cells, none)[0])
    return np.maximum(gain, 0.0), found


def _reason(link: Link) -> str | None:
    low, high = np.exp(LOWEST[GAIN]), np.exp(HIGHEST[GAIN])
    if not 1.001 * low < link.gain < high / 1.001:
        return f"the link is not determined: its slope is at the bound {link.gain:.3g} (allowed: {low:g} to {high:g})"
    for name, error in zip(("guess rate", "lapse rate"), link.errors[2:], strict=True):
        if error > UNDETERMINED:
            return f"the {name} is not determined: standard error {error:.2g}, above {UNDETERMINED:.2g}"
    return None


def _cells(index: ArrayLike, slope: float, noise: ArrayLike, responses: ArrayLike) -> Cells:
    """A cell for each trial, in the order of noise; at most MOST_TRIALS of them, evenly spaced."""
    v, y = np.asarray(index, np.float64), np.asarray(responses)
    if v.ndim != 1 or y.shape != v.shape or len(v) == 0:
        raise ValueError(f"index {v.shape}, responses {y.shape}: both must be (n,), n > 0")
    if y.dtype != np.bool_ and not np.isin(y, (0, 1)).all():
        raise ValueError("responses must be True or False (1 or 0)")
    if y.all() or not y.any():
        raise ValueError(f"all {len(y)} responses are alike: they determine no link")
    sd = np.broadcast_to(np.asarray(noise, np.float64), v.shape)
    if not (np.isfinite(v).all() and np.isfinite(slope) and np.isfinite(sd).all() and (sd >= 0).all()):
        raise ValueError("index and slope must be finite, noise finite and not negative")
    used = slice(None, None, -(-len(v) // MOST_TRIALS))
    order = np.argsort(sd[used])
    mean, sd, y = (slope * v[used])[order], sd[used][order], y[used][order]
    return Cells(*(array[None] for array in (mean, sd, np.ones_like(mean), y.astype(np.float64))))


def _fixed(guess_rate: float | None, lapse_rate: float | None) -> Array:
    """(4,), NaN where a parameter is estimated."""
    for name, value in (("guess_rate", guess_rate), ("lapse_rate", lapse_rate)):
        if value is not None and not 0 <= value <= 0.5:
            raise ValueError(f"{name} is {value}: it must be from 0 to 0.5, or None to be estimated")
    if guess_rate is not None and lapse_rate is not None and guess_rate + lapse_rate > 0.99:
        raise ValueError(f"guess_rate {guess_rate} + lapse_rate {lapse_rate}: their sum must be at most 0.99")
    return np.array([np.nan, np.nan, guess_rate, lapse_rate], np.float64)  # None becomes NaN
