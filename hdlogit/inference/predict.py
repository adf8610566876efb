"""What a fit with a link (`hdlogit.inference.link`) predicts for new trials, and how surely.

For a new trial x the fit gives V = (x − x̄)·ŵ with noise s²(x) = f x̃ᵀH⁻¹x̃, so with m = a/(a² + s²), as for the link,

    ζ | V ~ N(m V, ν²),     ν² = s²(x)/(a² + s²)        true index
    π = E[g + (1 − g − l) σ(Γζ + b)]                    best prediction: no other function of V has less cross-entropy
    p = g + (1 − g − l) σ(Γζ + b)                       true probability of this trial, which π averages over

The interval of p combines two errors, each taken as normal on its own scale: that of ζ, as p at m V ± z ν; and that
of the link, as ± z √(jᵀCj), j = ∂p/∂(log Γ, b, g, l) at m V (square-and-add: Zou & Donner,
Statistics in Medicine 2008).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.inference.link import Link

Array = NDArray[np.float64]

BLOCK = 4096  # trials at a time


class Prediction(NamedTuple):
    """Per trial: π, and an interval of the true probability p."""

    probability: Array
    low: Array
    high: Array


def predict(
    index: ArrayLike,
    slope: float,
    noise: ArrayLike,
    link: Link,
    level: float = 0.95,
    overlap: NDArray[np.float64] | None = None,
) -> Prediction:
    """Best predictions of new trials with intervals. index: (n,) V; slope: m; noise: ν, (n,) or one number.

    overlap: (2, 2) the part of the covariance of (log Γ, b) that ν already contains, because it contains the noise of
    ŵ along β and of its intercept. With few factors per trial it matters, with many it is next to nothing (None).
    """
    mean, sd = _broadcast(index, slope, noise)
    z = float(ndtri(0.5 + level / 2))
    gain, b, g, lapse = link.gain, link.intercept, link.guess_rate, link.lapse_rate
    between = 1 - g - lapse
    covariance = link.covariance.copy()
    if overlap is not None:
        covariance[:2, :2] -= overlap
        values, vectors = np.linalg.eigh(covariance)
        covariance = (vectors * np.maximum(values, 0)) @ vectors.T
    logit = gain * mean + b
    p, q = expit(logit), expit(-logit)
    centre = g + between * p
    slopes = np.stack([between * p * q * gain * mean, between * p * q, q, -p])  # (4, n) j
    by_link = z * z * (slopes * (covariance @ slopes)).sum(axis=0)
    low, high = (g + between * expit(logit + side * z * gain * sd) for side in (-1, 1))
    low = np.maximum(centre - np.sqrt((centre - low) ** 2 + by_link), 0.0)
    high = np.minimum(centre + np.sqrt((high - centre) ** 2 + by_link), 1.0)
    return Prediction(g + between * _average(logit, gain * sd), low, high)


def best_logits(index: ArrayLike, slope: float, noise: ArrayLike, link: Link) -> Array:
    """log π / (1 − π), (n,), to full precision, for computing scores. Arguments as of `predict`."""
    mean, sd = _broadcast(index, slope, noise)
    g, lapse, logit, spread = link.guess_rate, link.lapse_rate, link.gain * mean + link.intercept, link.gain * sd
    yes, no = (floor + (1 - g - lapse) * _average(side * logit, spread) for side, floor in ((1, g), (-1, lapse)))
    with np.errstate(divide="ignore"):  # a probability below 1e-260: the logit is -inf
        return np.asarray(np.log(yes) - np.log(no))


def _average(logit: Array, sd: Array) -> Array:
    """E σ(logit + sd Z), in blocks, as the integral has many nodes."""
    parts = (slice(start, start + BLOCK) for start in range(0, len(logit), BLOCK))
    return np.concatenate([np.zeros(0), *(probability_and_slope(logit[rows], sd[rows])[0] for rows in parts)])


def _broadcast(index: ArrayLike, slope: float, noise: ArrayLike) -> tuple[Array, Array]:
    v = np.asarray(index, np.float64)
    if v.ndim != 1:
        raise ValueError(f"index {v.shape}: it must be (n,)")
    return slope * v, np.broadcast_to(np.asarray(noise, np.float64), v.shape)
