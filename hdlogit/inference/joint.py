"""Weights, bias, guess and lapse rates fitted together, for few factors per trial.

A wrong link biases the *direction* of a logistic fit unless its factors are elliptical or many act together; then
`hdlogit.inference.link`, which changes only its length, does not help at any number of trials. So, with few factors,

    maximise  Σ log P(y_i | x_i) + 9 log(1 − g) + 9 log(1 − l) − (b̄² + Σ (sd_j w_j)²)/(2·10²)
    P(y = 1 | x) = g + (1 − g − l) σ(x·w + b),     b̄ = b + x̄·w

over all of (w, b, g, l): maximum likelihood except for psignifit's priors of the rates and a wide normal prior of the
others, in logits per sd of a factor, which matters only where the likelihood is all but flat: where a steeper curve,
or one farther away, would change no response. Such a coefficient is named as undetermined.

The likelihood may have two maxima, a shallow curve without lapses and a steep one with lapses. The higher one is taken:
it is no nearer to the truth than the other, but its errors cover it, and the other's do not (docs/theory.md). Errors
come from the squared scores, as those of the link.

Like any maximum-likelihood estimate it is too long where factors are many (κ = n_factors/n_trials; studied in
`benchmarks.asymptotes`: slope .98 to 1.03 up to κ = 1/50, 1.03 to 1.10 at 1/40), while the link's is not.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from hdlogit.inference.link import PRIOR, Link
from hdlogit.inference.predict import Prediction
from hdlogit.inference.sums import Names, Units, inverse_root

Array = NDArray[np.float64]
Factors = NDArray[np.floating]
Responses = NDArray[np.bool_]

LARGEST_KAPPA = 1 / 50
MOST_FACTORS = 100  # with more, the direction needs no help, and Newton's steps become slow
WIDE = 10.0  # sd of the prior of a weight, in logits per sd of its factor
UNDETERMINED = 0.5  # error of a coefficient, in units of that, above which the prior decides as much as the responses
HIGHEST = 0.49  # bound of a rate
STARTS = (1.0, 0.01), (4.0, 0.1)  # rates to start from, and how much steeper than the maximum before
ENOUGH_TO_START = 20_000  # trials that decide between the maxima
MAX_STEPS = 100
ENOUGH = 1e-9  # nats that one more step would gain
BLOCK = 2**18  # factors at a time
NAMED = 5  # coefficients before "and … more"


@dataclass(frozen=True)
class JointFit:
    """coefficients: (p + 1,), the bias last; covariance: (p + 3, p + 3) of them, g and l; zero for what is fixed."""

    coefficients: Array
    guess_rate: float
    lapse_rate: float
    covariance: Array
    undetermined: NDArray[np.bool_]  # (p + 1,) weights, and the logit at the factors' means

    @property
    def errors(self) -> Array:
        """Standard errors of (weights, bias, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))

    def note(self, names: Names) -> str | None:
        """A line on coefficients that are undetermined."""
        weights = [f"the weight of factor {names[j]}" for j, vague in enumerate(self.undetermined[:-1]) if vague]
        what = weights + ["the bias"] * bool(self.undetermined[-1])
        more = f" and {len(what) - NAMED} more" if len(what) > NAMED else ""
        line = f"not determined by these responses: {', '.join(what[:NAMED])}{more}; "
        return line + "estimate and interval rest on a weak prior" if what else None

    def link(self, units: Units, correlation: Array) -> Link:
        """The link along its own index; units and correlation (p, p) of the factors."""
        p, weights = len(correlation), self.coefficients[:-1] * units.scale
        spread = correlation @ weights
        gain = float(np.sqrt(weights @ spread))
        derivatives = np.zeros((4, p + 3))  # of (log Γ, b, g, l)
        derivatives[0, :p] = units.scale * spread / max(gain, 1e-150) ** 2
        derivatives[1, : p + 1] = np.append(units.centre, 1.0)
        derivatives[2:, p + 1 :] = np.eye(2)
        intercept = float(derivatives[1, : p + 1] @ self.coefficients)
        covariance = derivatives @ self.covariance @ derivatives.T
        return Link(gain, intercept, self.guess_rate, self.lapse_rate, covariance, np.nan)

    def predict(self, factors: Factors, level: float = 0.95) -> Prediction:
        """p of new trials (n, p), with the interval ± z √(jᵀCj), j = ∂p/∂(weights, bias, g, l), on the scale of
        log (p − g)/(1 − l − p), where g and l are the fixed rates, or 0: beyond them p cannot be.
        """
        guess, lapse = self.guess_rate, self.lapse_rate
        x = np.column_stack([factors, np.ones(len(factors))])
        z = x @ self.coefficients
        s, c, between = expit(z), expit(-z), 1 - guess - lapse
        slopes = np.column_stack([x * (between * s * c)[:, None], c, -s])  # (n, p + 3)
        floor, ceiling = np.where(self.errors[-2:] > 0, 0.0, [guess, lapse])
        above, below = guess - floor + between * s, lapse - ceiling + between * c
        half = ndtri(0.5 + level / 2) * np.sqrt(np.vecdot(slopes @ self.covariance, slopes))
        half *= (above + below) / np.maximum(above * below, 1e-300)
        centre = np.log(above) - np.log(below)
        low, high = (floor + (above + below) * expit(centre + side * half) for side in (-1, 1))
        return Prediction(floor + above, low, high)

    def log_odds(self, factors: Factors) -> Array:
        """log p / (1 − p) of new trials."""
        guess, lapse = self.guess_rate, self.lapse_rate
        z, between = factors @ self.coefficients[:-1] + self.coefficients[-1], 1 - guess - lapse
        return np.asarray(np.log(guess + between * expit(z)) - np.log(lapse + between * expit(-z)))


def is_for_joint_fit(n_trials: int, n_factors: int) -> bool:
    """Whether a joint fit is more trustworthy than the link."""
    return n_factors <= min(LARGEST_KAPPA * n_trials, MOST_FACTORS)


def fit_joint(
    factors: Factors,
    responses: Responses,
    units: Units,
    guess_rate: float | None = None,
    lapse_rate: float | None = None,
) -> JointFit:
    """factors: (n, p), read in blocks; responses: (n,) bool; units: of the factors; a number fixes a rate."""
    p, every = factors.shape[1], -(-len(factors) // ENOUGH_TO_START)
    rates = [guess_rate, lapse_rate]
    free = np.append(np.ones(p + 1, bool), [rate is None for rate in rates])
    some, problem = (_Problem(factors[::k], responses[::k], units, free) for k in (every, 1))
    theta, mean = np.zeros(p + 3), float(np.mean(some.responses))
    found: list[tuple[float, Array]] = []
    for steeper, rate in STARTS:
        theta[-2:] = [rate if known is None else known for known in rates]
        if not found:
            theta[-3] = logit(np.clip((mean - theta[-2]) / (1 - theta[-2:].sum()), 0.02, 0.98))
        theta = _maximise(some, theta * np.append(np.full(p + 1, steeper), [1, 1]))
        found.append((some.evaluate(theta).value, theta))
    theta = _maximise(problem, max(found, key=lambda each: each[0])[1])
    covariance = np.zeros((p + 3, p + 3))
    covariance[np.ix_(free, free)] = np.linalg.inv(problem.evaluate(theta).squares[np.ix_(free, free)])
    back = np.eye(p + 3)  # to the units of the factors
    back[:p, :p] = np.diag(1 / units.scale)
    back[p, :p] = -units.centre / units.scale
    answer = back @ theta
    return JointFit(
        coefficients=answer[:-2],
        guess_rate=float(answer[-2]),
        lapse_rate=float(answer[-1]),
        covariance=back @ covariance @ back.T,
        undetermined=np.sqrt(np.diag(covariance)[:-2]) > UNDETERMINED * WIDE,
    )


class _Evaluation(NamedTuple):
    value: float  # log-posterior, nats
    gradient: Array  # (p + 3,)
    hessian: Array  # (p + 3, p + 3) of −value
    squares: Array  # (p + 3, p + 3) sum of squared scores, and the curvature of the priors: never indefinite


@dataclass(frozen=True)
class _Problem:
    """In standardised factors: θ = (weights, logit at the factors' means, g, l)."""

    factors: Factors
    responses: Responses
    units: Units
    free: NDArray[np.bool_]  # (p + 3,)

    def evaluate(self, theta: Array) -> _Evaluation:
        rates = self.free[-2:] / (1 - theta[-2:])
        precision = np.append(np.full(len(theta) - 2, WIDE**-2.0), PRIOR * rates**2)
        value = float((PRIOR * self.free[-2:] * np.log1p(-theta[-2:])).sum() - 0.5 * (theta[:-2] ** 2).sum() / WIDE**2)
        gradient = -np.append(theta[:-2] / WIDE**2, PRIOR * rates)
        hessian, squares = np.diag(precision), np.diag(precision)
        size = max(1, BLOCK // len(theta))
        for k in range(0, len(self.factors), size):
            t = self.units.standardise(self.factors[k : k + size])
            log_likelihood, score, curvature = _by_trial(t @ theta[:-2], theta[-2:], self.responses[k : k + size])
            value += float(log_likelihood.sum())
            gradient += np.append(t.T @ score[0], score[1:].sum(axis=1))
            squares += _fold(t, score[:, None] * score)
            hessian += _fold(t, curvature)
        return _Evaluation(value, gradient, hessian, squares)


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
    edge = t.T @ matrices[0, 1:].T
    return np.block([[(t * matrices[0, 0, :, None]).T @ t, edge], [edge.T, matrices[1:, 1:].sum(axis=2)]])


def _maximise(problem: _Problem, theta: Array) -> Array:
    """Newton's method with Levenberg's damping; a rate at its bound stays there while the gradient points outward."""
    lowest, highest = np.full(len(theta), -np.inf), np.full(len(theta), np.inf)
    lowest[-2:], highest[-2:] = np.minimum(theta[-2:], 0.0), np.maximum(theta[-2:], HIGHEST)
    now, damping = problem.evaluate(theta), 1e-3
    for _ in range(MAX_STEPS):
        outward = ((theta <= lowest) & (now.gradient < 0)) | ((theta >= highest) & (now.gradient > 0))
        moving = np.flatnonzero(problem.free & ~outward)
        matrix = now.hessian + damping * np.diag(np.diag(now.squares))
        root = inverse_root(matrix[np.ix_(moving, moving)])
        if root is None:  # not concave here: damping makes it so
            damping *= 10
            continue
        step = np.zeros_like(theta)
        step[moving] = root @ (root.T @ now.gradient[moving])
        if now.gradient @ step < ENOUGH:
            break
        tried = np.clip(theta + step, lowest, highest)
        new = problem.evaluate(tried)
        if new.value > now.value:
            theta, now, damping = tried, new, damping / 10
        else:
            damping *= 10
    return theta
