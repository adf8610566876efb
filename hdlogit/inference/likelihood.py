"""The likelihood of a link (`hdlogit.inference.link`) and its maximum, for many sets of responses at a time.

    P(y = 1 | V) = g + (1 − g − l) E σ(Γ (m V + ν Z) + b),     Z ~ N(0, 1),     θ = (log Γ, b, g, l)

The expectation is a trapezoidal sum, whose error falls exponentially with its step (as in
`hdlogit.asymptotics.logistic_normal`, but with a spread of its own for each trial). The maximum is sought by Fisher
scoring with Levenberg's damping (Levenberg 1944), within bounds.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

Array = NDArray[np.float64]

GAIN, INTERCEPT, GUESS, LAPSE = range(4)  # the order of parameters and of the covariance; the first is log Γ
LOWEST = np.array([np.log(0.01), -500.0, 0.0, 0.0])
HIGHEST = np.array([np.log(100.0), 500.0, 0.5, 0.49])  # g of two alternatives is 1/2; g + l < 1
LONGEST = np.array([1.0, 1000.0, 0.1, 0.1])  # largest step of each parameter

GROUPS = 128  # groups of trials, at most
BLOCK = 4096  # expectations at a time: their nodes stay in the cache
WIDE = 8.0  # spread of a logit above which integrating over the logistic takes fewer nodes
MAX_STEPS = 60
STUCK = 1e10  # damping at which no step helps any more


class Cells(NamedTuple):
    """Trials with one (m V, ν) each; all arrays (problems, cells), a row for each problem to be solved."""

    mean: Array  # m V, the mean of ζ
    noise: Array  # ν, its sd
    trials: Array  # how many
    yes: Array  # how many of them have the response yes

    def groups(self) -> "Cells":
        """The one problem's trials grouped by m V, in GROUPS cells, some of which may be empty.

        Half of their limits are quantiles, half are evenly spaced, for the tails. ν: root mean square.
        """
        m, part = self.mean[0], np.arange(1, GROUPS // 2) / (GROUPS // 2)
        number = np.searchsorted(np.sort(np.append(np.quantile(m, part), m.min() + part * np.ptp(m))), m)
        trials = np.bincount(number, minlength=GROUPS).astype(np.float64)
        sums = [np.bincount(number, x, GROUPS) for x in (m, self.noise[0] ** 2, self.yes[0])]
        mean, variance, yes = np.asarray(sums, np.float64)[:, None]
        some = np.maximum(trials, 1)
        return Cells(mean / some, np.sqrt(variance / some), trials[None], yes)

    def at(self, problems: NDArray[np.intp]) -> "Cells":
        """These problems, in this order; one may occur several times."""
        return Cells(*(array[problems] for array in self))


def response(theta: Array, mean: Array, noise: Array) -> tuple[Array, Array, Array]:
    """P(yes), P(no), (problems, cells), each to full precision, and the derivative of the first in θ.

    theta: (problems, 4); mean, noise: (problems, cells), or (cells,) of all. The derivative is (4, problems, cells).
    Fastest where cells of similar noise are neighbours.
    """
    log_gain, b, guess, lapse = (theta[:, k, None] for k in range(4))  # (problems, 1)
    by_index, spread = np.exp(log_gain) * mean, np.exp(log_gain) * noise  # (problems, cells)
    logistic_normal = expectations((by_index + b).ravel(), spread.ravel())
    yes, no, density, density_z = logistic_normal.reshape(4, *spread.shape)
    between = 1 - guess - lapse
    derivative = between * (by_index * density + spread * density_z), between * density, no, -yes
    return guess + between * yes, lapse + between * no, np.stack(derivative)


def expectations(logit: Array, spread: Array) -> Array:
    """E σ(t + τZ), E σ(−t − τZ), E σ'(t + τZ) and E Z σ'(t + τZ), Z ~ N(0, 1), for each t and τ: (4, n)."""
    result = np.empty((4, len(logit)))
    for start in range(0, len(logit), BLOCK):
        block = slice(start, start + BLOCK)
        wide = spread[block] > WIDE
        for chosen, form in ((~wide, _narrow), (wide, _wide)):
            where = start + np.flatnonzero(chosen)
            if len(where):
                result[:, where] = form(logit[where], spread[where])
    return result


def _narrow(logit: Array, spread: Array) -> Array:
    """The trapezoidal rule in Z; the error is below 1e-8."""
    widest = float(spread.max())
    step = 0.85 / max(1.0, widest)
    half = int(np.ceil((6.0 + min(widest, 6.0)) / step))  # e^(spread·z) moves the mass of the tails outward
    z = step * np.arange(-half, half + 1)  # (nodes,)
    weight = np.exp(-0.5 * z * z)
    weights = np.stack([weight, weight * z]) / weight.sum()  # (2, nodes)
    # exp(−logit) at evenly spaced nodes is a geometric sequence: multiplications in place of exponentials.
    odds_of_no = np.empty((len(z), len(logit)))
    odds_of_no[0] = np.exp(half * step * spread - np.clip(logit, -500.0, 500.0))
    ratio = np.exp(-step * spread)
    for k in range(1, len(z)):
        np.multiply(odds_of_no[k - 1], ratio, out=odds_of_no[k])
    yes = 1 / (1 + odds_of_no)
    no = odds_of_no * yes
    return np.concatenate([(weights[0] @ yes)[None], (weights[0] @ no)[None], weights @ (yes * no)])


def _wide(logit: Array, spread: Array) -> Array:
    """Roles exchanged: P = E Φ((t − L)/τ), L with the density σ', and its derivatives in t."""
    nodes = 0.7 * np.arange(-58, 59)
    weight = 0.7 * expit(nodes) * expit(-nodes)
    u = (logit - nodes[:, None]) / spread  # (nodes, n)
    density = np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    return np.stack(
        [weight @ ndtr(u), weight @ ndtr(-u), weight @ density / spread, -(weight @ (u * density)) / spread]
    )


def objective(theta: Array, cells: Cells, prior: Array) -> tuple[Array, Array, Array]:
    """Log-likelihood plus log-prior, nats (problems,), gradient (problems, 4), expected information (problems, 4, 4).

    prior: (2,), the log-prior is prior · log(1 − rate), of guess rate and lapse rate.
    """
    yes, no, derivative = response(theta, cells.mean, cells.noise)
    yes, no = np.maximum(yes, 1e-300), np.maximum(no, 1e-300)
    n_no = cells.trials - cells.yes
    value = (cells.yes * np.log(yes) + n_no * np.log(no)).sum(axis=1)
    gradient = np.einsum("krc,rc->rk", derivative, cells.yes / yes - n_no / no)
    scaled = derivative * (np.sqrt(cells.trials) / np.sqrt(yes) / np.sqrt(no))
    information = np.einsum("krc,lrc->rkl", scaled, scaled)
    rates = theta[:, 2:]
    value += (prior * np.log1p(-rates)).sum(axis=1)
    gradient[:, 2:] -= prior / (1 - rates)
    information[:, (2, 3), (2, 3)] += prior / (1 - rates) ** 2
    return value, gradient, information


def observed_information(theta: Array, cells: Cells, prior: Array) -> Array:
    """Sum of squares of the scores of the trials, and the curvature of the prior, (4, 4), of the first problem.

    The expected information overstates how well trials determine a rate near 0: a response of almost zero
    probability would be informative, but has not occurred.
    """
    yes, no, derivative = response(theta[:1], cells.mean[:1], cells.noise[:1])
    # The squares of floored values must not underflow.
    squares = (cells.trials[0] - cells.yes[0]) / np.maximum(no[0], 1e-150) ** 2
    squares += cells.yes[0] / np.maximum(yes[0], 1e-150) ** 2
    information = (derivative[:, 0] * squares) @ derivative[:, 0].T
    information[(2, 3), (2, 3)] += prior / (1 - theta[0, 2:]) ** 2
    return np.asarray(information)


def maximise(
    theta: Array, free: NDArray[np.bool_], cells: Cells, prior: Array, tolerance: float
) -> tuple[Array, Array]:
    """Maxima over the parameters that are free (4,), from `theta` (problems, 4): θ and the values of the objective.

    A parameter at its bound stays there while the gradient points outward. Ends where a step would gain less than
    `tolerance` nats.
    """
    lowest, highest = np.where(free, LOWEST, theta), np.where(free, HIGHEST, theta)
    theta = np.clip(theta, lowest, highest)
    value, gradient, information = objective(theta, cells, prior)
    damping = np.full(len(theta), 1e-3)
    for _ in range(MAX_STEPS):
        held = ~free | ((theta <= lowest) & (gradient < 0)) | ((theta >= highest) & (gradient > 0))
        step, gain = _step(gradient, information, held, damping)
        running = np.flatnonzero((gain > tolerance) & (damping < STUCK))
        if len(running) == 0:
            break
        tried = np.clip(theta[running] + np.clip(step[running], -LONGEST, LONGEST), lowest[running], highest[running])
        new = objective(tried, cells.at(running), prior)
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
