"""The logistic-normal integral: the probability of a yes when its logit is known up to a normal error.

    P(m, τ) = E σ(m + τZ)        D(m, τ) = ∂P/∂m = E σ'(m + τZ)        σ(t) = 1 / (1 + e⁻ᵗ),  Z ~ N(0, 1)

There is no closed form, and none is needed: the trapezoidal rule converges geometrically on analytic
functions that vanish at both ends. The nearest poles of σ lie at ±iπ, so a step of 0.7 in the logit leaves
exp(−2π·π/0.7) ≈ 6e-13, and a step of 0.6 in Z leaves exp(−2π²/0.6²) < 1e-23.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.special import expit, ndtr

Array = NDArray[np.float64]

LOGIT_STEP = 0.7
NORMAL_STEP = 0.6
WIDE = 8.0  # from this τ on, integrating over the logistic takes fewer nodes than integrating over the normal


def probability_and_slope(mean: ArrayLike, sd: ArrayLike) -> tuple[Array, Array]:
    """P and D of the module's formula, element by element, to about 1e-10.

    mean: any shape, in units of a logit; sd: τ ≥ 0, one for all or one each. Probabilities are accurate
    relative to their own size (for τ > 8 as long as |mean| < τ²), so their logarithm can be trusted; take
    P(−m) rather than 1 − P(m).
    """
    m, spread = np.asarray(mean, dtype=np.float64), np.asarray(sd, dtype=np.float64)
    wide = spread > WIDE
    if spread.ndim and wide.any() and not wide.all():
        p, d = np.empty(m.shape), np.empty(m.shape)
        for some in (wide, ~wide):
            p[some], d[some] = probability_and_slope(m[some], spread[some])
        return p, d
    m, spread = m[..., None], spread[..., None]  # (..., 1)
    if wide.all():
        # Swap the roles: P = E Φ((m − L) / τ), where L has the logistic density σ'.
        logistic = LOGIT_STEP * np.arange(-58, 59)  # (nodes,)
        weight = LOGIT_STEP * expit(logistic) * expit(-logistic)
        z = (m - logistic) / spread
        return ndtr(z) @ weight, np.exp(-0.5 * z * z) / spread @ weight / np.sqrt(2 * np.pi)
    largest = float(spread.max())
    step = min(NORMAL_STEP, LOGIT_STEP / largest) if largest > 0 else NORMAL_STEP
    reach = 8.0 + largest  # e^(τz) moves the mass of the tails outward by τ
    normal = step * np.arange(-np.ceil(reach / step), np.ceil(reach / step) + 1)  # (nodes,)
    weight = np.exp(-0.5 * normal * normal)
    weight /= weight.sum()
    # σ(m + τz) from a product of exponentials: with one τ, one exp per row and column, none per entry. The
    # clip keeps the product finite, and a probability of e⁻⁵⁷⁰ is zero to every purpose here.
    p = 1.0 / (1.0 + np.exp(-np.clip(m, -570.0, 570.0)) * np.exp(-spread * normal))  # (..., nodes)
    return p @ weight, (p - p * p) @ weight


def logit_of_probability(mean: ArrayLike, sd: float) -> Array:
    """log P(m, τ) / (1 − P(m, τ)) for many means at once, by a cubic spline; the error is below 1e-7.

    It is odd in m, and straight from about m = τ² on, so one spline over half the axis and a line are
    enough. Beyond 30 τ, where a probability would underflow, the line is used as well. A million values take
    about 0.1 s.
    """
    m = np.asarray(mean, dtype=np.float64)
    if sd == 0:
        return m.copy()
    last = sd * sd + 8 * sd + 30 if sd <= WIDE else min(sd * sd, 30 * sd)
    scale = max(1.0, sd)
    nodes = scale * np.sinh(np.arange(0.0, np.arcsinh(last / scale) + 0.015, 0.015))  # dense at the bend
    logits = np.log(probability_and_slope(nodes, sd)[0] / probability_and_slope(-nodes, sd)[0])
    spline = CubicSpline(nodes, logits, bc_type=((2, 0.0), "not-a-knot"))  # odd at 0
    size = np.abs(m)
    inside = np.asarray(spline(np.minimum(size, nodes[-1])), dtype=np.float64)
    beyond = float(spline(nodes[-1], 1)) * np.maximum(size - nodes[-1], 0.0)
    return np.asarray(np.copysign(inside + beyond, m))
