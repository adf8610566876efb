"""Probabilities of new trials, and how surely they are known.

    p = g + (1 − g − l) σ(z)      z = x·w + b      true probability of x; C the covariance of (w, b, g, l)
    π = E[g + (1 − g − l) σ(ζ)]                    best prediction, ζ the true logit given the fitted one

π averages over the noise of ŵ, so no other function of the fitted logit has less cross-entropy.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.compute.threads import cut
from hdlogit.inference.sums import Array

Rates = tuple[float, float]  # g, l

NODES = 64  # of the integral, about


class Prediction(NamedTuple):
    """Per trial: π, and an interval of the true probability p."""

    probability: Array
    low: Array
    high: Array


def interval_of_probability(
    factors: NDArray[np.floating], coefficients: Array, rates: Rates, covariance: Array, level: float
) -> tuple[Array, Array]:
    """(low, high) of p of new trials (n, p), by e = z √(jᵀCj), j = ∂p/∂(w, b, g, l).

    covariance: C (p + 3, p + 3), zero for a rate that is fixed. p is from g to 1 − l, where g and l are the
    fixed rates, or 0. The interval is that of the logit between these limits; with estimated rates that or
    p ± e, whichever reaches farther: near a limit the first may be too short outwards, the second inwards.
    """
    x = np.column_stack([factors, np.ones(len(factors))])
    z, between = x @ coefficients, 1 - sum(rates)
    s, c = expit(z), expit(-z)
    slopes = np.column_stack([x * (between * s * c)[:, None], c, -s])  # (n, p + 3)
    error = ndtri(0.5 + level / 2) * np.sqrt(np.maximum(np.vecdot(slopes @ covariance, slopes), 0.0))
    free = np.diag(covariance)[-2:] > 0
    guess, lapse = np.where(free, 0.0, rates)
    above = np.maximum(rates[0] - guess + between * s, 1e-150)  # p − g
    below = np.maximum(rates[1] - lapse + between * c, 1e-150)  # 1 − l − p
    width = 1 - guess - lapse
    half, logit = error * width / (above * below), np.log(above) - np.log(below)
    low, high = width * expit(logit - half), width * expit(logit + half)
    if free.any():
        low = np.minimum(low, np.maximum(above - error, 0.0))
        high = np.maximum(high, np.minimum(above + error, width))
    return guess + low, guess + high


def average_log_odds(mean: Array, sd: Array, rates: Rates) -> Array:
    """log π / (1 − π), (n,), to full precision, where ζ ~ N(mean, sd²)."""

    def of(rows: slice) -> Array:
        yes, no = (
            floor + (1 - sum(rates)) * probability_and_slope(side * mean[rows], sd[rows])[0]
            for side, floor in zip((1, -1), rates, strict=True)
        )
        with np.errstate(divide="ignore"):  # a probability below 1e-260: the logit is -inf
            return np.asarray(np.log(yes) - np.log(no))

    return np.concatenate([of(rows) for rows in cut(len(mean), NODES)] or [mean])
