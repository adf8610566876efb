"""Weights, bias, guess and lapse rates fitted together, for few factors per trial.

A wrong link biases the *direction* of a logistic fit unless its factors are elliptical or many act together; then
`hdlogit.inference.link`, which changes only its length, does not help at any number of trials. So, with few factors,

    maximise  Σ log P(y_i | x_i) + 9 log(1 − g) + 9 log(1 − l) − Σ (sd_j w_j)²/(2·5²)
    P(y = 1 | x) = g + (1 − g − l) σ(x·w + b)

over all of (w, b, g, l): maximum likelihood except for psignifit's priors of the rates and a wide normal prior of
the weights, which matters only where responses saturate, so that a larger weight changes no response. The problem is
not convex: it starts at the answer of the link. Errors come from the squared scores, as those of the link.

Like any maximum-likelihood estimate it is too long where factors are many (κ = n_factors/n_trials; studied in
`benchmarks.asymptotes`: slope .98 to 1.03 up to κ = 1/50, 1.03 to 1.10 at 1/40), while the link's is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import chdtrc, expit, ndtri

from hdlogit.inference.link import PRIOR, Link
from hdlogit.inference.predict import Prediction

Array = NDArray[np.float64]
Factors = NDArray[np.floating]
Responses = NDArray[np.bool_]

LARGEST_KAPPA = 1 / 50
MOST_FACTORS = 100  # with more, the direction needs no help, and Newton's steps become slow
WIDE = 5.0  # sd of the prior of a weight, in logits per sd of its factor
HIGHEST = 0.49  # bound of a rate
MAX_STEPS = 100
ENOUGH = 1e-9  # nats that one more step would gain
BLOCK = 2**18  # factors at a time


@dataclass(frozen=True)
class JointFit:
    """coefficients: (p + 1,), the bias last; covariance: (p + 3, p + 3) of them, g and l; zero for what is fixed."""

    coefficients: Array
    guess_rate: float
    lapse_rate: float
    covariance: Array
    direction_p_value: float  # of the test that these weights have the direction of the plain fit's

    @property
    def errors(self) -> Array:
        """Standard errors of (weights, bias, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))

    def predict(self, factors: Factors, level: float = 0.95) -> Prediction:
        """p of new trials (n, p), ± z √(jᵀCj), j = ∂p/∂(weights, bias, g, l), within 0 and 1."""
        guess, lapse = self.guess_rate, self.lapse_rate
        x = np.column_stack([factors, np.ones(len(factors))])
        s, between = expit(x @ self.coefficients), 1 - guess - lapse
        slopes = np.column_stack([x * (between * s * (1 - s))[:, None], 1 - s, -s])  # (n, p + 3)
        p = guess + between * s
        half = ndtri(0.5 + level / 2) * np.sqrt(np.vecdot(slopes @ self.covariance, slopes))
        return Prediction(p, np.maximum(p - half, 0.0), np.minimum(p + half, 1.0))

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
    coefficients: Array,
    link: Link,
    scale: float,
    *,
    guess_rate: float | None = None,
    lapse_rate: float | None = None,
) -> JointFit:
    """factors: (n, p), read in blocks; responses: (n,) bool; coefficients: (p + 1,) of the plain exact fit; link: its
    link; scale: Γ/a, by which its weights are multiplied for a start; fixed rates as for the link.
    """
    p = factors.shape[1]
    centre = np.asarray(factors.mean(axis=0), np.float64)
    sd = np.asarray(factors.std(axis=0), np.float64)
    free = np.append(np.ones(p + 1, bool), [guess_rate is None, lapse_rate is None])
    problem = _Problem(factors, responses, centre, sd, free)
    plain = np.append(coefficients[:-1] * sd, coefficients[-1] + centre @ coefficients[:-1])
    start = np.concatenate([scale * plain[:-1], [link.intercept, link.guess_rate, link.lapse_rate]])
    start[-2:] = np.where(free[-2:], np.clip(start[-2:], 0.005, 0.4), start[-2:])  # off the bounds, to move both ways
    theta = _maximise(problem, start)
    end = problem.evaluate(theta, observed=True)
    covariance = np.zeros((p + 3, p + 3))
    covariance[np.ix_(free, free)] = np.linalg.inv(end.information[np.ix_(free, free)])
    back = np.eye(p + 3)  # to the units of the factors
    back[:p, :p] = np.diag(1 / sd)
    back[p, :p] = -centre / sd
    answer = back @ theta
    return JointFit(
        coefficients=answer[:-2],
        guess_rate=float(answer[-2]),
        lapse_rate=float(answer[-1]),
        covariance=back @ covariance @ back.T,
        direction_p_value=_direction_p_value(problem, plain, theta, covariance) if p > 1 else 1.0,
    )


class _Evaluation(NamedTuple):
    value: float  # log-posterior, nats
    gradient: Array  # (p + 3,)
    information: Array  # (p + 3, p + 3)


@dataclass(frozen=True)
class _Problem:
    """In standardised factors: θ = (weights, logit at the factors' means, g, l)."""

    factors: Factors
    responses: Responses
    centre: Array
    sd: Array
    free: NDArray[np.bool_]  # (p + 3,)

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """t̃ (m, p + 1), ending in 1, and the responses (m,)."""
        size = max(1, BLOCK // len(self.free))
        for k in range(0, len(self.factors), size):
            x = (self.factors[k : k + size] - self.centre) / self.sd
            yield np.column_stack([x, np.ones(len(x))]), np.asarray(self.responses[k : k + size], np.float64)

    def derivatives(self, theta: Array, t: Array, y: Array) -> tuple[Array, Array, Array]:
        """Of a block: ∂P(yes)/∂θ (m, p + 3), P(yes) and P(no)."""
        guess, lapse = theta[-2:]
        z, between = t @ theta[:-2], 1 - guess - lapse
        s, c = expit(z), expit(-z)
        yes, no = np.maximum(guess + between * s, 1e-300), np.maximum(lapse + between * c, 1e-300)
        return np.column_stack([t * (between * s * c)[:, None], c, -s]) * self.free, yes, no

    def log_prior(self, theta: Array) -> float:
        rates = (PRIOR * self.free[-2:] * np.log1p(-theta[-2:])).sum()
        return float(rates - 0.5 * (theta[:-3] ** 2).sum() / WIDE**2)

    def evaluate(self, theta: Array, observed: bool = False) -> _Evaluation:
        """information: the expected one, or the sum of squared scores; and the curvature of the priors."""
        precision = np.append(np.full(len(theta) - 3, WIDE**-2.0), np.zeros(3))
        pull = np.append(np.zeros(len(theta) - 2), PRIOR / (1 - theta[-2:])) * self.free
        value, gradient = self.log_prior(theta), -precision * theta - pull
        information = np.diag(precision + pull**2 / PRIOR)
        for t, y in self.blocks():
            derivative, yes, no = self.derivatives(theta, t, y)
            score = y / yes - (1 - y) / no
            value += float(np.log(np.where(y > 0, yes, no)).sum())
            gradient = gradient + score @ derivative
            scaled = derivative * (np.abs(score) if observed else 1 / np.sqrt(yes * no))[:, None]
            information += scaled.T @ scaled
        return _Evaluation(value, gradient, information)


def _maximise(problem: _Problem, theta: Array) -> Array:
    """Fisher scoring with Levenberg's damping; a rate at its bound stays there while the gradient points outward."""
    lowest, highest = np.full(len(theta), -np.inf), np.full(len(theta), np.inf)
    lowest[-2:], highest[-2:] = np.minimum(theta[-2:], 0.0), np.maximum(theta[-2:], HIGHEST)
    now, damping = problem.evaluate(theta), 1e-3
    for _ in range(MAX_STEPS):
        outward = ((theta <= lowest) & (now.gradient < 0)) | ((theta >= highest) & (now.gradient > 0))
        moving = problem.free & ~outward
        matrix = now.information[np.ix_(moving, moving)]
        step = np.zeros_like(theta)
        step[moving] = cho_solve(cho_factor(matrix + damping * np.diag(np.diag(matrix))), now.gradient[moving])
        if now.gradient @ step < ENOUGH or damping > 1e10:
            break
        tried = np.clip(theta + step, lowest, highest)
        new = problem.evaluate(tried)
        if new.value > now.value:
            theta, now, damping = tried, new, damping / 10
        else:
            damping *= 10
    return theta


def _direction_p_value(problem: _Problem, plain: Array, theta: Array, covariance: Array) -> float:
    """p-value of equal directions of plain and joint weights: χ² of their difference, whose covariance is the sum of
    squares of what each trial adds to it.
    """
    hessian = sum((t * (expit(t @ plain) * expit(-t @ plain))[:, None]).T @ t for t, _ in problem.blocks())
    inverse = np.linalg.inv(hessian)[:, :-1]
    p = len(plain) - 1
    correlation = sum(t[:, :-1].T @ t[:, :-1] for t, _ in problem.blocks()) / len(problem.factors)

    def direction(weights: Array) -> tuple[Array, Array]:
        """Scaled to a signal of 1, and its derivative by the weights."""
        size = float(np.sqrt(weights @ correlation @ weights))
        unit = weights / size
        return unit, (np.eye(p) - np.outer(unit, correlation @ unit)) / size

    (first, by_plain), (second, by_joint) = direction(plain[:-1]), direction(theta[:p])
    spread = np.zeros((p, p))
    for t, y in problem.blocks():
        derivative, yes, no = problem.derivatives(theta, t, y)
        moved = ((y - expit(t @ plain))[:, None] * t) @ inverse @ by_plain.T
        moved -= ((y / yes - (1 - y) / no)[:, None] * derivative) @ covariance[:, :p] @ by_joint.T
        spread += moved.T @ moved
    values, vectors = np.linalg.eigh(spread)
    statistic = ((vectors.T @ (first - second)) ** 2 / values)[1:].sum()  # along the weights nothing can differ
    return float(chdtrc(p - 1, statistic))
