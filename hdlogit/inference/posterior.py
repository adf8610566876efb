"""The log-posterior of weights, bias, guess and lapse rate, its maxima, and its profiles.

Per trial it depends on (z, g, l) alone, z = x·w + b, so its derivatives are those in these three (`_by_trial`), carried
to θ (`_fold`). It is not concave, so Newton's method is damped (Levenberg 1944) until its matrix is positive definite.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hdlogit.inference.link import PRIOR
from hdlogit.inference.sums import BLOCK, Array, Factors, Responses, Units, inverse_root

Rates = tuple[float | None, float | None]  # guess and lapse rate; None: to be estimated

HIGHEST = 0.49  # bound of a rate, of what known ones leave
STARTS = (
    (1.0, 0.02),
    (4.0, 0.1),
    (2.0, 0.3),
)  # how much steeper than the maximum before, and rates, of what known ones leave
ENOUGH_TO_START = 20_000  # trials that decide between the maxima
MAX_STEPS = 100
ENOUGH = 1e-10  # nats that the last step gains
SKEWED = 0.2  # signed root at two standard errors that is so far from 2
FAR, STRIDE = 4.0, 0.5  # signed root to which a profile is followed, and about how far at a time


class Evaluation(NamedTuple):
    value: float  # log-posterior, nats
    gradient: Array  # (p + 3,)
    hessian: Array  # (p + 3, p + 3) of −value
    squares: Array  # (p + 3, p + 3) sum of squared scores, and the curvature of the priors: never indefinite


@dataclass(frozen=True)
class Posterior:
    """In standardised factors: θ = (weights, logit at the factors' means, g, l)."""

    factors: Factors  # (n, p), read in blocks
    responses: Responses  # (n,)
    units: Units  # of the factors
    precision: Array  # (p + 1, p + 1) of the normal prior of weights and logit
    known: Rates

    @property
    def free(self) -> NDArray[np.bool_]:
        """(p + 3,)"""
        return np.append(np.ones(self.factors.shape[1] + 1, bool), [rate is None for rate in self.known])

    @property
    def room(self) -> float:
        """What the known rates leave to the others."""
        return 1 - sum(rate or 0.0 for rate in self.known)

    def evaluate(self, theta: Array) -> Evaluation:
        weight = PRIOR * self.free[-2:]
        pull = self.precision @ theta[:-2]
        value = float((weight * np.log1p(-theta[-2:])).sum() - 0.5 * theta[:-2] @ pull)
        gradient = -np.append(pull, weight / (1 - theta[-2:]))
        hessian = np.diag(np.append(np.zeros(len(pull)), weight / (1 - theta[-2:]) ** 2))
        hessian[:-2, :-2] = self.precision
        squares = hessian.copy()
        size = max(1, BLOCK // len(theta))
        for k in range(0, len(self.factors), size):
            t = self.units.standardise(self.factors[k : k + size])
            log_likelihood, score, curvature = _by_trial(t @ theta[:-2], theta[-2:], self.responses[k : k + size])
            value += float(log_likelihood.sum())
            gradient += np.append(t.T @ score[0], score[1:].sum(axis=1))
            squares += _fold(t, score[:, None] * score)
            hessian += _fold(t, curvature)
        return Evaluation(value, gradient, hessian, squares)


def _by_trial(z: Array, rates: Array, yes: Responses) -> tuple[Array, Array, Array]:
    """Log-likelihood (m,), its derivatives in (z, g, l) (3, m), and minus the second ones (3, 3, m)."""
    guess, lapse = rates
    s, c, between = expit(z), expit(-z), 1 - guess - lapse
    # The squares of floored values must not underflow.
    p = np.maximum(np.where(yes, guess + between * s, lapse + between * c), 1e-150)  # of the response
    sign = np.where(yes, 1.0, -1.0) / p
    score = sign * np.stack([between * s * c, c, -s])
    curvature = score[:, None] * score
    curvature[0, 0] -= sign * between * s * c * (c - s)
    curvature[0, 1:] += sign * s * c
    curvature[1:, 0] += sign * s * c
    return np.log(p), score, curvature


def _fold(t: Array, matrices: Array) -> Array:
    """Σ JᵀMJ of matrices (3, 3, m) in (z, g, l), J = ∂(z, g, l)/∂θ, z = t·θ: (p + 3, p + 3)."""
    whole = np.empty((t.shape[1] + 2, t.shape[1] + 2))
    whole[:-2, :-2] = (t * matrices[0, 0, :, None]).T @ t
    whole[:-2, -2:] = edge = t.T @ matrices[0, 1:].T
    whole[-2:, :-2] = edge.T
    whole[-2:, -2:] = matrices[1:, 1:].sum(axis=2)
    return whole


def highest(posterior: Posterior) -> tuple[Array, Evaluation]:
    """The higher of the maxima that are reached from STARTS."""
    every = -(-len(posterior.factors) // ENOUGH_TO_START)
    some = replace(posterior, factors=posterior.factors[::every], responses=posterior.responses[::every])
    theta, found = np.zeros(posterior.factors.shape[1] + 3), list[tuple[Array, Evaluation]]()
    for steeper, rate in STARTS:
        theta[-2:] = [rate * posterior.room if known is None else known for known in posterior.known]
        if not found:
            yes = float(np.mean(some.responses))
            theta[-3] = logit(np.clip((yes - theta[-2]) / (1 - theta[-2:].sum()), 0.02, 0.98))
        found.append(maximise(some, np.append(steeper * theta[:-2], theta[-2:])))
        theta = found[-1][0].copy()
    return maximise(posterior, max(found, key=lambda each: each[1].value)[0])


def is_quadratic(posterior: Posterior, theta: Array, best: float, along: Array) -> bool:
    """Whether the log-posterior falls by 2 nats, or nearly so, two standard errors from its maximum on both sides.

    along: what θ changes when the coefficient does by one standard error.
    """
    for side in (-2, 2):
        point = theta + side * along
        point[-2:] = np.where(posterior.free[-2:], np.clip(point[-2:], 0.0, HIGHEST * posterior.room), theta[-2:])
        if abs(np.sqrt(2 * max(best - posterior.evaluate(point).value, 0.0)) - 2) > SKEWED:
            return False
    return True


def profile(posterior: Posterior, theta: Array, best: float, of: Array, along: Array) -> tuple[Array, Array]:
    """Values of a coefficient, of·θ, and their signed roots r of twice what the log-posterior loses by them, to ±FAR.

    r = ±√(2(best − maximum given of·θ)) is standard normal, where (of·θ − estimate)/error often is not. along: as for
    `is_quadratic`.
    """
    estimate, error = float(of @ theta), float(of @ along)
    tangent = np.append(along[:-2], [0, 0]) / error
    nodes = [(estimate, 0.0)]

    def visit(start: Array) -> tuple[Array, float]:
        """The maximum among those with the coefficient of the start, and its root, which becomes a node."""
        point, found = maximise(posterior, start, of)
        root = float(np.sqrt(2 * max(best - found.value, 0.0)))
        nodes.append((float(of @ point), float(np.copysign(root, of @ point - estimate))))
        return point, root

    for side in (-1, 1):
        point, step, last = theta, error / 4, 0.0
        while last < FAR:
            point, root = visit(point + side * step * tangent)
            step *= float(np.clip(STRIDE / max(root - last, 1e-3), 0.3, 2.5))
            last = root
    visit(theta - estimate * tangent)  # 0, for the test
    values, roots = np.array(sorted(nodes)).T
    rising = np.append(True, np.diff(np.maximum.accumulate(roots)) > 0)
    return values[rising], roots[rising]


def maximise(posterior: Posterior, theta: Array, fixed: Array | None = None) -> tuple[Array, Evaluation]:
    """Newton's method with Levenberg's damping; a rate at its bound stays there while the gradient points outward.

    fixed: (p + 3,), fixed·θ keeps its value.
    """
    free, rate = posterior.free, np.arange(len(theta)) >= len(theta) - 2
    lowest = np.where(free & rate, 0.0, -np.inf)
    highest = np.where(free & rate, HIGHEST * posterior.room, np.inf)
    now, damping = posterior.evaluate(theta), 1e-4
    for _ in range(MAX_STEPS):
        outward = ((theta <= lowest) & (now.gradient < 0)) | ((theta >= highest) & (now.gradient > 0))
        moving = np.flatnonzero(free & ~outward)
        matrix = now.hessian + damping * np.diag(np.diag(now.squares))
        if fixed is not None:  # need not be concave across
            matrix += np.trace(now.squares) * np.outer(fixed, fixed) / (fixed @ fixed)
        root = inverse_root(matrix[np.ix_(moving, moving)])
        if root is None:  # not concave here: damping makes it so
            damping *= 10
            continue
        step = np.zeros_like(theta)
        step[moving] = root @ (root.T @ now.gradient[moving])
        if fixed is not None:
            pull = root @ (root.T @ fixed[moving])
            step[moving] -= pull * (fixed @ step) / (fixed[moving] @ pull)
        gain, tried = now.gradient @ step, np.clip(theta + step, lowest, highest)
        new = posterior.evaluate(tried)
        if new.value > now.value or gain < ENOUGH:  # the last gain is less than rounding of the value shows
            theta, now, damping = tried, new, damping / 10
        else:
            damping *= 10
        if gain < ENOUGH:
            break
    return theta, now
