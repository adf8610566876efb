"""The link between a fit and its responses: how steep it is, and where it ends (guess rate, lapse rate).

An observer who guesses at a rate g and lapses at a rate l says yes with probability

    P(y = 1 | U) = g + (1 − g − l) σ(Γ U/a + b)          U: the true index, centred, of standard deviation a

so Γ is the signal γ (sd of the true logits) and b their mean. A logistic fit presumes g = l = 0. Where that is wrong
it still finds the direction of β if factors are elliptical (Li & Duan, Annals of Statistics 1989), and nearly so if
many factors act together; only the length of ŵ is off. The leave-one-out logits V of the fit, which measure U with a
known noise, then determine the link: with the law of U that they have (`hdlogit.inference.index`),

    maximise  Σ log P(y_i | V_i) + 9 log(1 − g) + 9 log(1 − l),     P(y = 1 | V) = E[P(y = 1 | U) | V]

over log Γ, b, g, l. The last two terms are psignifit's priors Beta(1, 10) of rates that are estimated (Schütt,
Harmeling, Macke & Wichmann, Vision Research 2016); a rate that is fixed has none. The maximum is sought by Fisher
scoring with Levenberg's damping (Levenberg 1944), within bounds, for many sets of responses at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, expit

from hdlogit.inference.index import Law, group, law_of_index

Array = NDArray[np.float64]

GAIN, INTERCEPT, GUESS, LAPSE = range(4)  # the order of parameters and of the covariance; the first is log Γ
LOWEST = np.array([np.log(0.01), -500.0, 0.0, 0.0])
HIGHEST = np.array([np.log(100.0), 500.0, 0.5, 0.49])  # g of two alternatives is 1/2; g + l < 1
LONGEST = np.array([1.0, 1000.0, 0.1, 0.1])  # largest step of each parameter
MAX_STEPS = 60
STUCK = 1e10  # damping at which no step helps any more
PRIOR = 9.0  # Beta(1, 10): density in proportion to (1 − rate)⁹
UNDETERMINED = 0.1  # standard error of a rate above which little but the prior (sd 0.083) determines it
UNKNOWN = 1.0  # standard error of log Γ above which nothing tells how steep the link is
FINE, COARSE = 1e-10, 1e-3  # tolerances, nats
NOTHING = 0.5  # a statistic that means nothing; with two conditions, which any two parameters fit, it is below 0.1
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
    law: Law | None = None  # of the index; None where the link is not fitted, but follows from the equations
    log_likelihood: float = np.nan  # nats, summed over trials, without the priors
    reason: str | None = None  # why these trials do not determine the link; None where they do

    @property
    def parameters(self) -> Array:
        """(log Γ, b, g, l)."""
        with np.errstate(divide="ignore"):  # −inf where no signal was found
            return np.array([np.log(self.gain), self.intercept, self.guess_rate, self.lapse_rate])

    def response(self, index: Array, noise: ArrayLike) -> Array:
        """P(y = 1 | V) of trials (n,), over the law of the index."""
        between = 1 - self.guess_rate - self.lapse_rate
        return self._average(index, noise, lambda logit: self.guess_rate + between * expit(logit))

    def expected_logit(self, index: Array, noise: ArrayLike) -> Array:
        """E[Γ U/a + b | V] of trials (n,)."""
        return self._average(index, noise, lambda logit: logit)

    def _average(self, index: Array, noise: ArrayLike, of: Callable[[Array], Array]) -> Array:
        assert self.law is not None
        posterior = self.law.posterior(index, np.broadcast_to(np.asarray(noise, np.float64), index.shape))
        return posterior @ of(self.gain / self.law.sd * self.law.points + self.intercept)

    @property
    def errors(self) -> Array:
        """Standard errors of (log Γ, b, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class LogisticTest:
    """Is the psychometric function logistic, with the known rates, or does it end elsewhere?"""

    statistic: float  # twice the gain in log-likelihood by free guess and lapse rates, without priors
    p_value: float  # against samples from the fitted logistic function, or their bound


class Problem(NamedTuple):
    """Sets of responses to the same trials: what the likelihood needs."""

    posterior: Array  # (cells, k) of the points given V
    points: Array  # (k,) of the law, in units of its sd a
    trials: Array  # (cells,)
    yes: Array  # (problems, cells)
    prior: Array  # (2,) the log-prior is prior · log(1 − rate)

    def at(self, problems: NDArray[np.intp]) -> Problem:
        """These problems, in this order; one may occur several times."""
        return self._replace(yes=self.yes[problems])


def fit_link(
    index: ArrayLike,
    noise: ArrayLike,
    responses: ArrayLike,
    *,
    guess_rate: float | None = None,
    lapse_rate: float | None = None,
) -> Link:
    """The most probable link, from leave-one-out logits.

    index: (n,) V, centred; noise: s, (n,) or one number; responses: (n,) bool; a number fixes a rate, None
    estimates it. Raises ValueError where the arrays do not fit together or all responses are alike. A link that the
    trials do not determine is returned with a `reason`. Of more than 100 000 trials, 100 000, evenly spaced, are used.
    """
    fixed = _fixed(guess_rate, lapse_rate)
    free = np.isnan(fixed)
    problem, law = _problem(index, noise, responses, PRIOR * free[2:])
    start = _best(problem, fixed, COARSE)
    theta, value = maximise(start, free, problem, FINE)
    information = _observed_information(theta, problem)
    covariance = np.zeros((4, 4))
    covariance[np.ix_(free, free)] = np.linalg.pinv(information[np.ix_(free, free)], hermitian=True)
    log_likelihood = float(value[0] - (problem.prior * np.log1p(-theta[0, 2:])).sum())
    log_gain, b, guess, lapse = (float(x) for x in theta[0])
    link = Link(float(np.exp(log_gain)), b, guess, lapse, covariance, law, log_likelihood)
    return replace(link, reason=_reason(link))


def logistic_test(
    index: ArrayLike,
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
    follow a logistic function of the index, from guess_rate to 1 − lapse_rate: its rates are others, or its shape is.
    A criterion that drifts is hardly seen (docs/theory.md).
    """
    problem, _ = _problem(index, noise, responses, np.zeros(2))
    null, free = _fixed(guess_rate, lapse_rate), np.full(4, np.nan)
    [statistic], found = _gain(problem, null, free)
    if statistic < NOTHING:
        return LogisticTest(float(statistic), 1.0)
    if statistic > CLEAR:
        return LogisticTest(float(statistic), float(chdtrc(2, statistic)))
    p = np.clip(_response(found, problem)[0][0], 0.0, 1.0)  # rounding
    rng, drawn, exceeding = np.random.default_rng(seed), 0, 0
    while drawn < MOST_SAMPLES and exceeding < ENOUGH:
        yes = rng.binomial(problem.trials.astype(np.int64), p, (SAMPLES, len(p))).astype(np.float64)
        gain, _ = _gain(problem._replace(yes=yes), null, free, np.repeat(found, SAMPLES, axis=0))
        drawn += SAMPLES
        exceeding += int((gain >= statistic - 1e-6).sum())
    return LogisticTest(float(statistic), (1 + exceeding) / (1 + drawn))


def _best(problem: Problem, fixed: Array, tolerance: float, near: Array | None = None) -> Array:
    """The better of two maxima, one of which starts at small rates and one at rates of 5 %: (problems, 4).

    near: (problems, 4), log Γ and b to start from.
    """
    free, problems = np.isnan(fixed), len(problem.yes)
    known = np.where(free, 0.0, fixed)
    rate = (problem.yes.sum(axis=1) / problem.trials.sum() - known[GUESS]) / (1 - known[2:].sum())
    start = np.tile(known, (problems, 1))
    start[:, INTERCEPT] = np.log(np.clip(rate, 0.01, 0.99) / (1 - np.clip(rate, 0.01, 0.99)))
    if near is not None:
        start[:, :2] = near[:, :2]
    logistic = free & np.array([True, True, False, False])
    first, _ = maximise(start, logistic, problem, tolerance)
    if not free[2:].any():
        return first
    starts = [
        first + np.where(free, [0.0, 0.0, 0.005, 0.005], 0.0),
        first + np.where(free, [0.7, 0.0, 0.05, 0.05], 0.0),
    ]
    twice = problem.at(np.tile(np.arange(problems), 2))
    theta, value = maximise(np.concatenate(starts), free, twice, tolerance)
    better = value[problems:] > value[:problems]
    return np.where(better[:, None], theta[problems:], theta[:problems])


def _gain(problem: Problem, null: Array, free: Array, near: Array | None = None) -> tuple[Array, Array]:
    """Twice the gain in log-likelihood over the null (problems,), and the parameters of the null (problems, 4)."""
    found, best = _best(problem, null, COARSE, near), _best(problem, free, COARSE, near)
    gain = 2 * (_objective(best, problem)[0] - _objective(found, problem)[0])
    return np.maximum(gain, 0.0), found


def _reason(link: Link) -> str | None:
    low, high = np.exp(LOWEST[GAIN]), np.exp(HIGHEST[GAIN])
    if not 1.001 * low < link.gain < high / 1.001:
        return f"the link is not determined: its slope is at the bound {link.gain:.3g} (allowed: {low:g} to {high:g})"
    if link.errors[GAIN] > UNKNOWN:
        return f"the link is not determined: the logarithm of its slope has the standard error {link.errors[GAIN]:.2g}"
    for name, error in zip(("guess rate", "lapse rate"), link.errors[2:], strict=True):
        if error > UNDETERMINED:
            return f"the {name} is not determined: standard error {error:.2g}, above {UNDETERMINED:.2g}"
    return None


def _problem(index: ArrayLike, noise: ArrayLike, responses: ArrayLike, prior: Array) -> tuple[Problem, Law]:
    """One problem, from at most MOST_TRIALS evenly spaced trials, and the law of the index."""
    v, y = np.asarray(index, np.float64), np.asarray(responses)
    if v.ndim != 1 or y.shape != v.shape or len(v) == 0:
        raise ValueError(f"index {v.shape}, responses {y.shape}: both must be (n,), n > 0")
    if y.dtype != np.bool_ and not np.isin(y, (0, 1)).all():
        raise ValueError("responses must be True or False (1 or 0)")
    if y.all() or not y.any():
        raise ValueError(f"all {len(y)} responses are alike: they determine no link")
    s = np.broadcast_to(np.asarray(noise, np.float64), v.shape)
    if not (np.isfinite(v).all() and np.isfinite(s).all() and (s >= 0).all()):
        raise ValueError("index must be finite, noise finite and not negative")
    used = slice(None, None, -(-len(v) // MOST_TRIALS))
    cells = group(v[used], s[used], y[used].astype(bool))
    law = law_of_index(cells)
    posterior = law.posterior(cells.logit, cells.noise)
    return Problem(posterior, law.points / law.sd, cells.trials, cells.yes[None], prior), law


def _fixed(guess_rate: float | None, lapse_rate: float | None) -> Array:
    """(4,), NaN where a parameter is estimated."""
    for name, value in (("guess_rate", guess_rate), ("lapse_rate", lapse_rate)):
        if value is not None and not 0 <= value <= 0.5:
            raise ValueError(f"{name} is {value}: it must be from 0 to 0.5, or None to be estimated")
    if guess_rate is not None and lapse_rate is not None and guess_rate + lapse_rate > 0.99:
        raise ValueError(f"guess_rate {guess_rate} + lapse_rate {lapse_rate}: their sum must be at most 0.99")
    return np.array([np.nan, np.nan, guess_rate, lapse_rate], np.float64)  # None becomes NaN


# --- likelihood


def _response(theta: Array, problem: Problem) -> tuple[Array, Array, Array]:
    """P(yes), P(no), (problems, cells), each to full precision, and the derivative of the first in θ (4, …)."""
    log_gain, b, guess, lapse = (theta[:, k, None] for k in range(4))  # (problems, 1)
    by_index = np.exp(log_gain) * problem.points  # (problems, k)
    s, c = expit(by_index + b), expit(-by_index - b)
    average = problem.posterior.T
    yes, no, density, stretch = s @ average, c @ average, (s * c) @ average, (by_index * s * c) @ average
    between = 1 - guess - lapse
    return guess + between * yes, lapse + between * no, np.stack([between * stretch, between * density, no, -yes])


def _objective(theta: Array, problem: Problem) -> tuple[Array, Array, Array]:
    """Log-likelihood plus log-prior, nats (problems,), gradient (problems, 4), expected information (…, 4, 4)."""
    yes, no, derivative = _response(theta, problem)
    yes, no = np.maximum(yes, 1e-300), np.maximum(no, 1e-300)
    n_no = problem.trials - problem.yes
    value = (problem.yes * np.log(yes) + n_no * np.log(no)).sum(axis=1)
    gradient = np.einsum("krc,rc->rk", derivative, problem.yes / yes - n_no / no)
    scaled = derivative * (np.sqrt(problem.trials) / np.sqrt(yes) / np.sqrt(no))
    information = np.einsum("krc,lrc->rkl", scaled, scaled)
    rates = theta[:, 2:]
    value += (problem.prior * np.log1p(-rates)).sum(axis=1)
    gradient[:, 2:] -= problem.prior / (1 - rates)
    information[:, (2, 3), (2, 3)] += problem.prior / (1 - rates) ** 2
    return value, gradient, information


def _observed_information(theta: Array, problem: Problem) -> Array:
    """Sum of squares of the scores of the trials, and the curvature of the prior, (4, 4), of the first problem.

    The expected information overstates how well trials determine a rate near 0: a response of almost zero
    probability would be informative, but has not occurred.
    """
    yes, no, derivative = _response(theta[:1], problem)
    # The squares of floored values must not underflow.
    squares = (problem.trials - problem.yes[0]) / np.maximum(no[0], 1e-150) ** 2
    squares += problem.yes[0] / np.maximum(yes[0], 1e-150) ** 2
    information = (derivative[:, 0] * squares) @ derivative[:, 0].T
    information[(2, 3), (2, 3)] += problem.prior / (1 - theta[0, 2:]) ** 2
    return np.asarray(information)


def maximise(theta: Array, free: NDArray[np.bool_], problem: Problem, tolerance: float) -> tuple[Array, Array]:
    """Maxima over the parameters that are free (4,), from `theta` (problems, 4): θ and the values of the objective.

    A parameter at its bound stays there while the gradient points outward. Ends where a step would gain less than
    `tolerance` nats.
    """
    lowest, highest = np.where(free, LOWEST, theta), np.where(free, HIGHEST, theta)
    theta = np.clip(theta, lowest, highest)
    value, gradient, information = _objective(theta, problem)
    damping = np.full(len(theta), 1e-3)
    for _ in range(MAX_STEPS):
        held = ~free | ((theta <= lowest) & (gradient < 0)) | ((theta >= highest) & (gradient > 0))
        step, gain = _step(gradient, information, held, damping)
        running = np.flatnonzero((gain > tolerance) & (damping < STUCK))
        if len(running) == 0:
            break
        tried = np.clip(theta[running] + np.clip(step[running], -LONGEST, LONGEST), lowest[running], highest[running])
        new = _objective(tried, problem.at(running))
        better = new[0] > value[running]
        damping[running] *= np.where(better, 0.1, 10.0)
        moved = running[better]
        theta[moved], value[moved] = tried[better], new[0][better]
        gradient[moved], information[moved] = new[1][better], new[2][better]
    return theta, value


def _step(gradient: Array, information: Array, held: NDArray[np.bool_], damping: Array) -> tuple[Array, Array]:
    """The damped step (problems, 4), and twice what the undamped quadratic would gain by it (problems,)."""
    g = np.where(held, 0.0, gradient)
    matrix = np.where(held[:, :, None] | held[:, None, :], 0.0, information)
    diagonal = matrix[:, range(4), range(4)]
    matrix[:, range(4), range(4)] = np.where(held, 1.0, diagonal * (1 + damping[:, None]) + 1e-12)
    step = np.linalg.solve(matrix, g[..., None])[..., 0]
    return step, (step * g).sum(axis=1)
