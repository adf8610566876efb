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
from scipy.interpolate import make_interp_spline
from scipy.special import expit, logit, ndtri

from hdlogit.inference.link import PRIOR, Link
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
ENOUGH = 1e-10  # nats that the last step gains
SMALL = 5000  # trials times coefficients up to which the likelihood is not taken for quadratic
FAR, STRIDE = 4.0, 0.5  # signed root to which it is then followed, and about how far at a time
BLOCK = 2**18  # factors at a time
NAMED = 5  # coefficients before "and … more"


@dataclass(frozen=True)
class JointFit:
    """coefficients: (p + 1,), the bias last; covariance: (p + 3, p + 3) of them, g and l; zero for what is fixed."""

    coefficients: Array
    guess_rate: float
    lapse_rate: float
    covariance: Array
    log_posterior: float  # nats
    undetermined: NDArray[np.bool_]  # (p + 1,) weights, and the logit at the factors' means
    profiles: list[tuple[Array, Array]]  # (p + 1,) values of a coefficient, rising, and their signed roots

    @property
    def errors(self) -> Array:
        """Standard errors of (weights, bias, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))

    def interval(self, level: float) -> tuple[Array, Array]:
        """(low, high): the values whose signed roots are ∓z."""
        z = ndtri(0.5 + level / 2)
        ends = np.array([make_interp_spline(roots, values, k=1)([-z, z]) for values, roots in self.profiles])
        return ends[:, 0], ends[:, 1]

    def z_values(self) -> Array:
        """Minus the signed root at 0 of each coefficient: of the likelihood ratio that it is 0."""
        return np.array([-float(make_interp_spline(values, roots, k=1)(0.0)) for values, roots in self.profiles])

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
        return Link(gain, intercept, self.guess_rate, self.lapse_rate, covariance)

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
    found: list[tuple[Array, _Evaluation]] = []
    for steeper, rate in STARTS:
        theta[-2:] = [rate if known is None else known for known in rates]
        if not found:
            theta[-3] = logit(np.clip((mean - theta[-2]) / (1 - theta[-2:].sum()), 0.02, 0.98))
        found.append(_maximise(some, theta * np.append(np.full(p + 1, steeper), [1, 1])))
        theta = found[-1][0].copy()
    theta, end = _maximise(problem, max(found, key=lambda each: each[1].value)[0])
    covariance = np.zeros((p + 3, p + 3))
    covariance[np.ix_(free, free)] = np.linalg.inv(end.squares[np.ix_(free, free)])
    back = np.eye(p + 3)  # to the units of the factors
    back[:p, :p] = np.diag(1 / units.scale)
    back[p, :p] = -units.centre / units.scale
    answer, undetermined = back @ theta, np.sqrt(np.diag(covariance)[:-2]) > UNDETERMINED * WIDE
    curved = undetermined | (len(factors) * (p + 1) <= SMALL)
    return JointFit(
        coefficients=answer[:-2],
        guess_rate=float(answer[-2]),
        lapse_rate=float(answer[-1]),
        covariance=back @ covariance @ back.T,
        log_posterior=end.value,
        undetermined=undetermined,
        profiles=[
            _profile(problem, theta, end.value, direction, covariance @ direction, bool(known))
            for direction, known in zip(back[:-2], ~curved, strict=True)
        ],
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
    whole = np.empty((t.shape[1] + 2, t.shape[1] + 2))
    whole[:-2, :-2] = (t * matrices[0, 0, :, None]).T @ t
    whole[:-2, -2:] = edge = t.T @ matrices[0, 1:].T
    whole[-2:, :-2] = edge.T
    whole[-2:, -2:] = matrices[1:, 1:].sum(axis=2)
    return whole


def _profile(
    problem: _Problem, theta: Array, best: float, of: Array, along: Array, quadratic: bool
) -> tuple[Array, Array]:
    """Values of a coefficient, of·θ, and their signed roots r of twice what the log-posterior loses by them, to ±FAR.

    r = ±√(2(best − maximum given of·θ)) is standard normal, where (of·θ − estimate)/error often is not. along: Cov(θ)
    of, how θ goes with the coefficient; quadratic: take the log-posterior for it.
    """
    estimate, error = float(of @ theta), float(np.sqrt(of @ along))
    if quadratic:
        return estimate + error * np.array([-FAR, FAR]), np.array([-FAR, FAR])
    tangent = np.append(along[:-2], [0, 0]) / error**2
    nodes = [(estimate, 0.0)]

    def visit(start: Array) -> tuple[Array, float]:
        """The maximum among those with the coefficient of the start, and its root, which becomes a node."""
        point, found = _maximise(problem, start, of)
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


def _maximise(problem: _Problem, theta: Array, fixed: Array | None = None) -> tuple[Array, _Evaluation]:
    """Newton's method with Levenberg's damping; a rate at its bound stays there while the gradient points outward.

    fixed: (p + 3,), fixed·θ keeps its value.
    """
    lowest, highest = np.full(len(theta), -np.inf), np.full(len(theta), np.inf)
    lowest[-2:], highest[-2:] = np.minimum(theta[-2:], 0.0), np.maximum(theta[-2:], HIGHEST)
    now, damping = problem.evaluate(theta), 1e-4
    for _ in range(MAX_STEPS):
        outward = ((theta <= lowest) & (now.gradient < 0)) | ((theta >= highest) & (now.gradient > 0))
        moving = np.flatnonzero(problem.free & ~outward)
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
        new = problem.evaluate(tried)
        if new.value > now.value or gain < ENOUGH:  # the last gain is less than rounding of the value shows
            theta, now, damping = tried, new, damping / 10
        else:
            damping *= 10
        if gain < ENOUGH:
            break
    return theta, now
