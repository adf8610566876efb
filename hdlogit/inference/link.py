"""The link between a fit and its responses: how steep it is, and where it ends (guess rate, lapse rate).

An observer who guesses at a rate g and lapses at a rate l says yes with probability

    P(y = 1 | U) = g + (1 − g − l) σ(Γ U/a + b)          U: the true index, centred, of standard deviation a

so Γ is the signal γ (sd of the true logits) and b their mean. A logistic fit presumes g = l = 0. Where that
is wrong it still finds the direction of β if factors are elliptical (Li & Duan, Annals of Statistics 1989),
and nearly so if many factors act together; only the length of ŵ is off. The leave-one-out logits V of the
fit, which measure U with a known noise, then determine the link: with the law of U that they have
(`hdlogit.inference.index`), P(y = 1 | V) = E[P(y = 1 | U) | V], and (Γ, b, g, l) is the most probable
observer (`hdlogit.inference.observer`) of the index U/a.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, expit

from hdlogit.inference.index import law_of_index
from hdlogit.inference.observer import Block, Posterior, flat, highest
from hdlogit.inference.sums import Array, Rates

LEAST, MOST = 0.01, 100.0  # of Γ
UNDETERMINED = 0.1  # standard error of a rate above which little but the prior (sd 0.083) determines it
ROUGH = 5.0  # logits between two points of the index's law, from which on they tell a step, but not its slope
UNKNOWN = 1.0  # standard error of log Γ above which nothing tells how steep the link is
NOTHING = 0.5  # a statistic that means nothing; two conditions, which any parameters fit, have less than 0.1
SMALL = 4.0  # a statistic that means so little, p > .05, that the bound will do
SAMPLES, MOST_SAMPLES, ENOUGH = 20, 200, 5  # at a time, at most, and how many that gain more are enough
COARSE = 1e-3  # nats, to which the gain of drawn responses is known
DEPENDENT, TINY = 1e-6, 1e-150  # part of the information on δ that Γ and b may leave; least variance
CLEAR = 2 * np.log(1 + MOST_SAMPLES)  # a statistic with a p-value below what so many samples can show


@dataclass(frozen=True)
class Link:
    """A link, fitted or not. covariance: (4, 4) of (log Γ, b, g, l), zero for what is fixed."""

    gain: float  # Γ
    intercept: float
    guess_rate: float
    lapse_rate: float
    covariance: Array
    length: float  # sd of the fitted logits that has this gain: a
    known: Rates = (0.0, 0.0)  # what was given of the rates, as of `fit_link`
    reason: str | None = None  # why these trials do not determine the link; None where they do

    @property
    def errors(self) -> Array:
        """Standard errors of (log Γ, b, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class LogisticTest:
    """Is the psychometric function logistic, with the known rates, or does it end elsewhere?"""

    statistic: float  # twice the gain in log-likelihood by free guess and lapse rates, without priors
    p_value: float  # against samples from the fitted logistic function, or their bound
    steeper: float  # by which fraction weights are larger with free rates


def fit_link(index: Array, noise: ArrayLike, responses: ArrayLike, rates: Rates = (None, None)) -> Link:
    """The most probable link, from leave-one-out logits.

    index: (n,) V, centred; noise: s, (n,) or one number; responses: (n,) bool, not all alike; rates: guess
    and lapse rate, a number fixes one, None estimates it, a guess rate "tied" is the lapse rate. A link that
    the trials do not determine has a `reason`.
    """
    law, cells = law_of_index(index, noise, responses)
    posterior = _posterior(cells, rates)
    phi, end = highest(posterior, flat(posterior, cells.yes.sum() / cells.n.sum()))
    gain, b, guess, lapse = posterior.theta(phi).tolist()
    # In units of the parameters' own errors, so that a flat direction is no rounding error.
    unit = 1 / np.sqrt(np.maximum(np.diag(end.squares), 1e-300))
    inverse = np.linalg.pinv(end.squares * np.outer(unit, unit), hermitian=True)
    moves = posterior.moves * unit / np.array([gain, 1, 1, 1])[:, None]  # of (log Γ, b, g, l)
    link = Link(gain, b, guess, lapse, moves @ inverse @ moves.T, law.sd, rates)
    return replace(link, reason=_reason(link, ROUGH / max(float(np.ptp(cells.t[:2, 0])), 1e-300)))


def logistic_test(index: Array, noise: ArrayLike, responses: ArrayLike, rates: Rates = (0.0, 0.0)) -> LogisticTest:
    """Twice the gain in log-likelihood by free rates over these, and its p-value; arguments as of `fit_link`.

    Rates cannot be negative, so where they are 0 the usual χ² with two degrees of freedom is only a bound,
    as where one is free anyhow; it is used where it is small enough, or the statistic is so small that nobody
    needs a better one. Else responses are drawn from the fitted logistic function, at the same leave-one-out
    logits, until enough of them gain more (Besag & Clifford, Biometrika 1991). A small p-value means that the
    responses do not follow a logistic function of the index between these rates: its rates are others, or its
    shape is. A criterion that drifts is hardly seen (docs/theory.md).
    """
    _, cells = law_of_index(index, noise, responses)

    def gain(yes: Array, start: Array, enough: float = 1e-10) -> tuple[float, Array, float]:
        """Twice the gain of these responses, what it is over, and by which fraction Γ is larger."""
        drawn = cells._replace(yes=yes)
        null, logistic = highest(_posterior(drawn, rates, prior=0.0), start, enough)
        phi, free = highest(_posterior(drawn, (None, None), prior=0.0), null[:2], enough)
        statistic = round(2 * max(free.value - logistic.value, 0.0), 9)  # what is below is rounding
        return statistic, null, float(phi[0] / null[0]) - 1

    start = flat(_posterior(cells, rates), cells.yes.sum() / cells.n.sum())
    statistic, null, steeper = gain(cells.yes, start)
    if statistic < NOTHING:
        return LogisticTest(statistic, 1.0, 0.0)  # `steeper` is rounding
    if statistic < SMALL or statistic > CLEAR:
        return LogisticTest(statistic, float(chdtrc(2, statistic)), steeper)
    assert cells.average is not None
    *of_link, guess, lapse = _posterior(cells, rates).theta(null)
    p = guess + (1 - guess - lapse) * (cells.average @ expit(cells.t @ of_link))
    rng, drawn, exceeding = np.random.default_rng(0), 0, 0
    while drawn < MOST_SAMPLES and exceeding < ENOUGH:
        samples = rng.binomial(cells.n.astype(int), np.clip(p, 0.0, 1.0), (SAMPLES, len(p)))
        drawn += SAMPLES
        exceeding += sum(gain(yes.astype(float), null[:2], COARSE)[0] >= statistic - 1e-6 for yes in samples)
    return LogisticTest(statistic, (1 + exceeding) / (1 + drawn), steeper)


def asymmetry_test(index: Array, noise: ArrayLike, responses: ArrayLike, rates: Rates) -> tuple[float, float]:
    """(statistic, p): does the logit bend? Score test of δ in P = g + (1 − g − l) σ(z + δz²), z = Γ U/a + b,
    at δ = 0.

    One degree of freedom, in the direction of every smooth link that is steeper on one side (Pregibon,
    Applied Statistics 1980), so that it sees such a link better than two rates do. rates: as of `fit_link`;
    other arguments: `logistic_test`. (NaN, 1) where nothing is left to test, or half of the index is noise:
    then V tells more of a trial's own response, which is left out of it, than of U.
    """
    if np.var(index) < 2 * np.mean(np.square(noise)):
        return np.nan, 1.0
    _, cells = law_of_index(index, noise, responses)
    assert cells.average is not None
    posterior = _posterior(cells, rates, prior=0.0)
    phi, _ = highest(posterior, flat(posterior, cells.yes.sum() / cells.n.sum()))
    *of_link, guess, lapse = posterior.theta(phi)
    z = cells.t @ of_link
    s, between = expit(z), 1 - guess - lapse
    slope = between * s * expit(-z)
    inside = posterior.moves[:, (phi > posterior.bounds[0]) & (phi < posterior.bounds[1])]
    of_theta = cells.average @ np.column_stack([slope[:, None] * cells.t, 1 - s, -s, slope * z**2])
    # ∂P/∂(φ, δ); of φ, what is at no bound
    moves = np.column_stack([of_theta[:, :-1] @ inside, of_theta[:, -1]])
    p = guess + between * (cells.average @ s)
    variance = np.maximum(p * (1 - p), TINY)
    information = (moves * (cells.n / variance)[:, None]).T @ moves
    u = moves.T @ ((cells.yes - cells.n * p) / variance)
    known = np.linalg.lstsq(information[:-1, :-1], information[:-1, -1])[0]
    left = information[-1, -1] - known @ information[:-1, -1]
    if not left > DEPENDENT * information[-1, -1]:
        return np.nan, 1.0
    statistic = float((u[-1] - known @ u[:-1]) ** 2 / left)
    return statistic, float(chdtrc(1, statistic))


def _posterior(cells: Block, rates: Rates, **prior: float) -> Posterior:
    lowest, highest = np.array([LEAST, -500.0]), np.array([MOST, 500.0])
    return Posterior(lambda: [cells], np.zeros((2, 2)), rates, lowest, highest, **prior)


def _reason(link: Link, steepest: float) -> str | None:
    error, *of_rates = link.errors[[0, 2, 3]].tolist()
    if not 1.001 * LEAST < link.gain < min(steepest, MOST / 1.001):
        error = np.inf
    if error <= UNKNOWN and max(of_rates) <= UNDETERMINED:
        return None
    guess, lapse = (
        f"{rate:.2g} ± {e:.2g}" for rate, e in zip((link.guess_rate, link.lapse_rate), of_rates, strict=True)
    )
    slope = f"log slope {np.log(link.gain):.2g} ± {error:.2g}"
    numbers = f"{slope}, guess rate {guess}, lapse rate {lapse}"
    return f"slope and rates are not determined by these trials ({numbers})"
