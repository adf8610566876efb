"""Does a maximum-likelihood estimate exist? A sharp transition in κ = n_factors / n_trials.

With too many factors some combination of them separates the two responses, the likelihood has no maximum, and
the weights run off to infinity. Where this begins depends only on the observer: on the standard deviation γ
of the true logits (`signal`), on their mean β0 (`intercept`), and on guess and lapse rates.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit, ndtr

from hdlogit.asymptotics.logistic_normal import probability_and_slope

Array = NDArray[np.float64]

MAX_SIGNAL = 100.0  # the domain that the quadratures were tested on: γ,
RAREST = 1e-5  # and the probability of the rarer response


class OutsideTheory(ValueError):  # noqa: N818 - `raise OutsideTheory` reads as the sentence it is
    """No answer exists, or none within the tested domain; the message names the value and what is allowed."""


class Frontier(NamedTuple):
    """h and where its minimum lies: at the frontier the fit tends to b/s = −intercept, αγ/s = −signal."""

    kappa: float
    intercept: float
    signal: float


def existence_threshold(
    signal: float, intercept: float = 0.0, guess_rate: float = 0.0, lapse_rate: float = 0.0
) -> float:
    """h(β0, γ): the maximum-likelihood estimate exists (with probability → 1) iff n_factors / n_trials < h.

        h = min over t0, t1 of E[(t0 Y + t1 XY − Z)₊²],   X, Z ~ N(0, 1),  Y = ±1,
        P(Y = 1) = g + (1 − g − l) σ(β0 + γX)

    Theorem: Candès & Sur, Annals of Statistics 2020, theorem 2.1 (factors Gaussian); its proof needs P(Y =
    1) to depend on X alone, not to be logistic. h(0, 0) = 1/2. Guesses and lapses help: they keep responses
    from being separable. Raises OutsideTheory outside 0 ≤ γ ≤ 100 or where the rarer response has a
    probability below 1e-5.
    """
    check_observer(signal, intercept)
    check_rates(guess_rate, lapse_rate)
    return frontier(signal, intercept, guess_rate, lapse_rate).kappa


@lru_cache(maxsize=256)
def frontier(signal: float, intercept: float, guess_rate: float = 0.0, lapse_rate: float = 0.0) -> Frontier:
    """Minimises a smooth convex function of (t0, t1), an integral over X: that over Z has a closed form."""
    x, mass = _normal_grid(signal, intercept)
    logistic = 1 - guess_rate - lapse_rate
    yes = mass * (guess_rate + logistic * expit(intercept + signal * x))
    no = mass * (lapse_rate + logistic * expit(-intercept - signal * x))
    design = np.stack([np.ones_like(x), x])  # (2, nodes)

    def gradient(t: Array) -> Array:
        a = t @ design
        density = np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)
        return np.asarray(design @ (yes * (a * ndtr(a) + density) - no * (density - a * ndtr(-a))))

    def hessian(t: Array) -> Array:
        a = t @ design
        return np.asarray((design * (yes * ndtr(a) + no * ndtr(-a))) @ design.T)

    t = root(gradient, np.zeros(2), jac=hessian, tol=1e-12).x
    a = t @ design
    value = float(yes @ _mean_square_excess(a) + no @ _mean_square_excess(-a))
    return Frontier(value, float(t[0]), float(t[1]))


def _mean_square_excess(a: Array) -> Array:
    """E[(a − Z)₊²] = (1 + a²) Φ(a) + a φ(a)."""
    return np.asarray((1 + a * a) * ndtr(a) + a * np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi))


def _normal_grid(signal: float, intercept: float) -> tuple[Array, Array]:
    """Nodes and masses of N(0, 1), crowded where the true logit crosses zero."""
    if signal <= 1:
        x = np.arange(-9.0, 9.01, 0.25)
        spacing = np.full_like(x, 0.25)
    else:
        t = np.arange(-1.0, 1.0001, 1 / 75) * np.arcsinh(9 * signal + abs(intercept))
        x = (np.sinh(t) - intercept) / signal
        spacing = np.cosh(t) * (t[1] - t[0]) / signal
    return x, spacing * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def check_rates(guess_rate: float, lapse_rate: float) -> None:
    """Raises OutsideTheory unless guess and lapse rate are at least 0, and together below 1."""
    if not (guess_rate >= 0 and lapse_rate >= 0 and guess_rate + lapse_rate < 1):
        given = f"guess_rate is {guess_rate:g}, lapse_rate {lapse_rate:g}"
        raise OutsideTheory(f"{given}: they must be 0 or more, and together below 1")


def check_observer(signal: float, intercept: float, rarest: float = RAREST) -> None:
    """Raises OutsideTheory unless 0 ≤ γ ≤ 100 and the rarer response has at least the probability
    `rarest`.
    """
    if not (0 <= signal <= MAX_SIGNAL and np.isfinite(intercept)):
        raise OutsideTheory(
            f"signal is {signal:g}, intercept is {intercept:g}: the sd of the true logits must be from 0 to "
            f"{MAX_SIGNAL:g}, their mean finite"
        )
    rarer = float(probability_and_slope(-abs(intercept), signal)[0])
    if rarer < rarest:
        raise OutsideTheory(
            f"intercept is {intercept:g}: at signal {signal:g} the rarer response has a probability "
            f"of {rarer:.1e}, it must be at least {rarest:g}"
        )
