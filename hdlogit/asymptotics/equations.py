"""What a logistic fit converges to when the number of factors grows in proportion to the number of trials.

The textbook lets n_trials grow with n_factors fixed. Here κ = n_factors / n_trials stays fixed, and the fit
then differs from the truth in a known way. With γ² = Var(x·β) the variance of the true logits, β0 their mean,
and Z1, Z2 ~ N(0, 1):

    S = β0 + γ Z1                    true logit of a trial; y ~ Bernoulli(ψ(S)), ψ(S) = g + (1 − g − l) σ(S)
    V = b + α γ Z1 + s Z2            fitted logit of a *new* trial, η² = α²γ² + s²
    u + λ (σ(u) − y*) = V            fitted logit u of a *training* trial; y* = (1 − ε) y + ε/2,  r = V − u

    (1)  E[r²] = κ s²
    (2)  E[λσ'(u) / (1 + λσ'(u))] + λμ = κ
    (3)  E[(r at y = 0  −  r at y = 1) ψ'(S)] = κ α
    (4)  E[r] = 0

    α   slope of the fitted on the true weights          s = √κ σ*,  sd of the rest
    λ   leverage of a trial on its own logit             b  intercept of the fit

The estimator is maximum likelihood (μ = 0, ε = 0), ridge (μ/2)‖w‖² (mean loss, isotropic factors of unit
variance, intercept free) or the Diaconis-Ylvisaker shrinkage of the responses (ε = 1 − δ > 0). Its model is
σ: with guess or lapse rates above 0 it is misspecified, and α tends to a number below 1 as κ → 0.

Status. Theorem for Gaussian factors without intercept (Sur & Candès, PNAS 2019; any covariance: Zhao, Sur &
Candès, Bernoulli 2022, where the intercept is in part a conjecture); ridge: Salehi, Abbasi & Hassibi, NeurIPS
2019, of whose system this is our reduction; shrinkage: Sterzinger & Kosmidis 2023; rates: ours, as nothing
in (1) to (4) needs ψ to be the sigmoid, and checked by simulation (`docs/theory.md`). For other factors α and
s are close (`docs/theory.md`), but the noise of a single weight is not: `hdlogit.inference` measures it.

Numerics. Equation u ↦ V is explicit, so integrating over u leaves no root to seek inside an integral;
conditioning S on V leaves one dimension; mirroring y = 1 onto y = 0 (V, u, b, β0 change sign) leaves one
formula. The trapezoidal rule in t, u = centre + a sinh t, then converges geometrically. The unknowns and the
equations are both taken as logarithms of ratios, in which the system is almost linear at any γ.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.asymptotics.logistic_normal import probability_and_slope

Array = NDArray[np.float64]

STEP = 0.15  # of the trapezoidal rule in t; halving it moves no solution by 1e-6
REACH = 7.5  # standard deviations of V that are integrated over


@dataclass(frozen=True)
class Asymptotics:
    """A solution of the system in the module's docstring, with the problem it solves.

    Weights are in units in which a factor has variance 1, logits in nats.
    """

    kappa: float  # n_factors / n_trials
    signal: float  # γ, sd of the true logits
    intercept: float  # β0, mean of the true logits
    ridge: float  # μ
    shrinkage: float  # ε of y* = (1 − ε) y + ε/2; 0 = none
    alpha: float  # slope of the fitted on the true weights
    s: float  # sd of the part of a new trial's fitted logit that has nothing to do with the true one
    lambda_: float
    b: float  # mean of the fitted logits
    residual: float = np.nan  # largest |log(left / right)| of the four equations
    guess_rate: float = 0.0  # g; where a link was fitted, α, s, λ and b come from the data, not from theory
    lapse_rate: float = 0.0  # l

    @property
    def eta(self) -> float:
        """η, the sd of a new trial's fitted logit."""
        return float(np.hypot(self.alpha * self.signal, self.s))

    @property
    def slope_of_truth(self) -> float:
        """Slope of E[S | V] on V: αγ²/η²."""
        return self.alpha * self.signal**2 / self.eta**2

    @property
    def sd_of_truth(self) -> float:
        """sd of S given V: γs/η."""
        return self.signal * self.s / self.eta


class Trials(NamedTuple):
    """Quadrature over the trials of a theory. Row 0: y = 0; row 1: y = 1, mirrored, so that in both rows a
    large logit is a wrong answer, and the loss of a trial is log(1 + e^logit).
    """

    u: Array  # (2, nodes) fitted logit if the trial was trained on
    v: Array  # (2, nodes) fitted logit if it is new
    mean: Array  # (2, 1) mean of v
    response: Array  # (2, nodes) probability of this response given v
    slope: Array  # (2, nodes) its rate of change with E[S | v]
    du: Array  # (2, nodes) density of v times the spacing of u: measure for integrals over u
    dv: Array  # (2, nodes) the same for integrals over v; Σ dv · response = 1


def trials(a: Asymptotics, step: float = STEP) -> Trials:
    """Nodes and weights: E[f(y, V)] = Σ f · response · dv over both rows, f mirrored in row 1."""
    sign = np.array([[1.0], [-1.0]])
    mean = sign * a.b
    target = a.shrinkage / 2  # y* of y = 0, and of the mirrored y = 1
    u, spacing = _grid(a, mean, target, step)
    sigmoid = expit(u)
    v = u + a.lambda_ * (sigmoid - target)
    density = np.exp(-0.5 * ((v - mean) / a.eta) ** 2) / (a.eta * np.sqrt(2 * np.pi))
    true_logit = -sign * a.intercept - a.slope_of_truth * (v - mean)  # its mean given v
    response, slope = probability_and_slope(true_logit, a.sd_of_truth)
    rates = np.array([[a.lapse_rate], [a.guess_rate]])  # of a "no" in row 0, of a "yes" in row 1
    logistic = 1 - a.guess_rate - a.lapse_rate
    response, slope = rates + logistic * response, logistic * slope
    du = density * spacing
    return Trials(u, v, mean, response, slope, du, du * (1 + a.lambda_ * sigmoid * expit(-u)))


def _grid(a: Asymptotics, mean: Array, target: float, step: float) -> tuple[Array, Array]:
    """u = centre + scale · sinh t for equal steps in t: crowded at the bends of the integrand, sparse in its
    tails.

    The bends: the density of V (width η about its mean); the sigmoid (width 1 about 0, or, where λ is so
    large that it holds all training logits below 0, about −log λ); the response given V (width max(1, τ) /
    slope).
    """
    eta, lambda_ = a.eta, a.lambda_
    bend = max(1.0, a.sd_of_truth) / max(a.slope_of_truth, 1e-300)
    narrow = eta < max(1.0, lambda_ * target)
    if narrow:  # centre where u ↦ V meets the mean of V
        goal = (mean + lambda_ * target)[:, 0]  # (2,)
        rough = np.linspace(goal.min() - lambda_ - 0.1, goal.max() + 0.1, 200)
        centre = np.interp(goal, rough + lambda_ * expit(rough), rough)[:, None]  # (2, 1)
        scale = min(eta, bend) / (1 + lambda_ * expit(centre) * expit(-centre))  # (2, 1)
        reach = REACH * eta + 0.1
    else:
        largest = np.hypot(eta, abs(a.b) + lambda_ * target)
        centre = np.full((2, 1), -np.log(max(lambda_ / largest - 1, 1.0)))
        scale = np.full((2, 1), min(1.0, bend))
        reach = REACH * eta + abs(a.b) + lambda_ * target - centre[0, 0] + 2
    # At a bend, the spacing grows in proportion to its distance from the centre: at most 0.75 of the bend's
    # width is allowed.
    centred = 0.0 if narrow else a.b
    remote = max(abs(centred) / eta, abs(a.slope_of_truth * centred - a.intercept) / max(1.0, a.sd_of_truth))
    # Where λ is much larger than η, V moves by many η over the width of the sigmoid.
    step *= min(1.0, 5 / max(remote, 1e-300)) / (1 + 0.25 * np.log1p((lambda_ / eta) ** 2))
    half = np.ceil(np.arcsinh(reach / scale.min()) / step)
    t = step * np.arange(-half, half + 1)  # (nodes,)
    return centre + scale * np.sinh(t), step * scale * np.cosh(t)


def log_ratios(a: Asymptotics, step: float = STEP) -> Array:
    """log(left side / right side) of equations (1) to (4): (4,), zero at the solution."""
    found = means(a, step)
    with np.errstate(divide="ignore", invalid="ignore"):  # a wild step: the caller sees that it is not finite
        return np.asarray(np.log(found[:4] / [a.kappa * a.s**2, a.kappa, a.kappa * a.alpha, found[4]]))


def means(a: Asymptotics, step: float = STEP) -> Array:
    """The left sides of equations (1) to (3), then the two sides of (4): (5,).

    (4) is a difference of two positive means, E[r; y = 0] + E[r; y = 1]; what y* subtracts is first
    brought to the other side, so that this too compares positive numbers.
    """
    target = a.shrinkage / 2
    q = trials(a, step)
    sigmoid = expit(q.u)
    r = a.lambda_ * (sigmoid - target)  # (2, nodes), mirrored
    joint = q.response * q.dv  # (2, nodes)
    rates = joint.sum(axis=1)  # (2,) probabilities of y = 0, 1
    pull = a.lambda_ * ((sigmoid * joint).sum(axis=1) + target * rates[::-1])  # (2,)
    leverage = (a.lambda_ * sigmoid * expit(-q.u) * q.response * q.du).sum() + a.lambda_ * a.ridge
    return np.array([(r * r * joint).sum(), leverage, (r * q.slope * q.dv).sum(), *pull])
