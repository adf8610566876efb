"""The equations solved backwards: which observer is behind a given fit? (SLOE: Yadlowsky, Yun, McLean &
D'Amour, NeurIPS 2021)

Forward, (γ, β0) give the mean b and the variance η² of the fitted logits of new trials. These two can be
estimated from the data alone, so the same four equations, with (γ, β0) unknown in place of (s, b), determine
the observer, and with it α and everything in `predictions`. The equations are those of `equations`, and no
more certain.

They take the true logits for normal. Where a few factors x_D carry much of them and are not normal (the side
of the stimulus, say), what the others add still is, given x_D. With x_D at its mean zero and the others
uncorrelated with it,

    S = β0 + x_D·β_D + γ Z1        V = b + x_D·ω + α γ Z1 + s Z2        η² = Var(V − x_D·ω)

the equations hold as averages over x_D, with one more for each of these factors (ours; `docs/theory.md`):

    (5)  E[r x_D] = 0

so that (η², b, ω) determine (γ, β0, β_D) and α, which is that of the other factors alone.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.equations import Asymptotics, means
from hdlogit.asymptotics.existence import MAX_SIGNAL, OutsideTheory
from hdlogit.asymptotics.theory import ACCEPTED, root, solve

Array = NDArray[np.float64]

SIGNALS = np.geomspace(0.01, MAX_SIGNAL, 64)  # γ from which the search starts
WEAKEST = float(SIGNALS[0])
STEP = 1e-3  # of derivatives


class NoSignal(OutsideTheory):
    """The fitted logits vary no more than they would if no factor mattered."""


class Dominant(NamedTuple):
    """Factors whose distribution is taken as it is: `values` (k, d) with these probabilities, mean zero."""

    values: Array
    mass: Array  # (k,)
    fitted: Array  # (d,) ω, their fitted weights


NONE = Dominant(np.zeros((1, 0)), np.ones(1), np.zeros(0))


class Observer(NamedTuple):
    """Who is behind a fit, and how the answer moves with what the data give."""

    theory: Asymptotics  # γ, β0, α, … ; γ and α of the factors that are not dominant
    dominant: Array  # (d,) β_D
    change: Array  # (3 + d, 2 + d) ∂(log γ, log α, β0, β_D) / ∂(log η², b, ω)


def observer_from_fit(
    kappa: float,
    eta_squared: float,
    fitted_intercept: float,
    dominant: Dominant = NONE,
    *,
    ridge: float = 0.0,
    shrinkage: float = 0.0,
    near: Asymptotics | None = None,
) -> Observer:
    """The observer whose fit has logits of new trials with mean b and variance η² about x_D·ω.

    kappa: n_factors / n_trials; eta_squared: η², for instance the variance of the leave-one-out logits of
    the training trials; fitted_intercept: b, where the factors have mean zero; ridge and shrinkage: as
    `hdlogit.asymptotics.theory.solve` has them; near: values of a similar problem, from which the answer is
    found sooner. Without signal in the other factors γ is WEAKEST, if any are dominant.

    Raises NoSignal where η² is not above what chance alone gives, OutsideTheory where γ would exceed 100, or
    the fit cannot exist.
    """
    if not 0 < eta_squared < np.inf or not np.isfinite(fitted_intercept):
        raise OutsideTheory(
            f"eta_squared is {eta_squared:g}, the fitted intercept {fitted_intercept:g}: "
            "the first must be a positive number, the second finite"
        )
    spread = float(dominant.mass @ (dominant.values @ dominant.fitted) ** 2)
    start = _without_dominant(kappa, eta_squared + spread, fitted_intercept, ridge, shrinkage, near)
    if not len(dominant.fitted):
        return _observer(start, _unknowns(start, np.zeros(0)), (eta_squared, fitted_intercept, dominant))
    s = min(start.s, 0.95 * float(np.sqrt(eta_squared)))
    start = replace(start, s=s, signal=float(np.sqrt(eta_squared - s * s)) / start.alpha)
    for variance in (eta_squared, None):  # None: no more than chance gives; γ = WEAKEST, and s is free
        given = variance, fitted_intercept, dominant
        near_by = start if variance else replace(start, signal=WEAKEST)
        x, found = _solved(near_by, given, dominant.fitted / start.alpha)
        strong = variance is None or found.signal > WEAKEST
        if found.residual <= ACCEPTED and found.signal <= MAX_SIGNAL and strong:
            return _observer(found, x, given)
    what = f"kappa {kappa:g}, eta_squared {eta_squared:g}, fitted intercept {fitted_intercept:g}"
    raise OutsideTheory(f"no observer found for {what} and {len(dominant.fitted)} dominant factors")


def without_signal(kappa: float, fitted_intercept: float, *, ridge: float = 0.0, shrinkage: float = 0.0) -> Asymptotics:
    """The theory at γ = 0 with a given fitted intercept: what chance alone gives. η² = s² here."""
    start = solve(kappa, 0.0, ridge=ridge, shrinkage=shrinkage)
    _, found = _solved(start, (None, fitted_intercept, NONE), np.zeros(0))
    if found.residual <= ACCEPTED:
        return solve(kappa, 0.0, found.intercept, ridge=ridge, shrinkage=shrinkage)
    what = f"the fitted intercept {fitted_intercept:g} at kappa {kappa:g}"
    raise OutsideTheory(f"no observer without signal has {what}")


def _without_dominant(
    kappa: float, eta_squared: float, fitted: float, ridge: float, shrinkage: float, near: Asymptotics | None
) -> Asymptotics:
    if near and near.s > 0:
        found = _walk(near, eta_squared, fitted, 1)
        if found.residual <= ACCEPTED and WEAKEST < found.signal <= MAX_SIGNAL:
            return found
    near = _nearby(kappa, eta_squared, fitted, ridge, shrinkage)
    for legs in (1, 4, 16):
        found = _walk(near, eta_squared, fitted, legs)
        if found.residual <= ACCEPTED and found.signal <= MAX_SIGNAL:
            return found
    raise OutsideTheory(
        f"no observer whose true logits have a standard deviation of at most {MAX_SIGNAL:g} gives such a fit: "
        f"{kappa:.3g} factors per trial, leave-one-out logits of variance {eta_squared:.3g}, fitted intercept "
        f"{fitted:.3g}, ridge {ridge:g}, shrinkage {shrinkage:g}"
    )


def _walk(found: Asymptotics, eta_squared: float, fitted: float, legs: int) -> Asymptotics:
    """From one fit's observer to another's, in so many steps of log η² and b; its residual may be large."""
    variances = np.geomspace(found.eta**2, eta_squared, legs + 1)[1:].tolist()
    intercepts = np.linspace(found.b, fitted, legs + 1)[1:].tolist()
    for variance, intercept in zip(variances, intercepts, strict=True):
        _, found = _solved(found, (variance, intercept, NONE), np.zeros(0))
    return found


def _nearby(kappa: float, eta_squared: float, fitted: float, ridge: float, shrinkage: float) -> Asymptotics:
    """A solved observer whose fit is similar: η mostly grows with γ, so bisection over SIGNALS."""
    size = {"ridge": ridge, "shrinkage": shrinkage}

    def candidate(signal: float) -> Asymptotics:
        # The mean of the fitted probabilities is that of the responses, up to the probit approximation.
        ratio = np.hypot(1.7, signal) / np.sqrt(2.89 + eta_squared)
        return solve(kappa, float(signal), float(fitted * ratio), **size)

    def too_strong(signal: float) -> bool:
        try:
            return candidate(signal).eta ** 2 > eta_squared
        except OutsideTheory:
            return True

    weaker = bisect_left(SIGNALS, True, key=too_strong)
    if weaker:
        return candidate(SIGNALS[weaker - 1])
    floor = without_signal(kappa, fitted, **size)
    if eta_squared <= floor.s**2:
        chance = f"where no factor matters, a fit at kappa {kappa:g} has {floor.s**2:.6g}"
        raise NoSignal(f"eta_squared is {eta_squared:g}: {chance}")
    return solve(kappa, WEAKEST, floor.intercept, **size)


# --- the equations with η², b and ω given


# What the data give: η² (None: it says nothing, γ is given), b, and the dominant factors
Given = tuple[float | None, float, Dominant]


def _observer(a: Asymptotics, x: Array, given: Given) -> Observer:
    """With its derivatives by the implicit function theorem, those of the equations by differences.

    Raises NoSignal where η² is so near to that of chance alone that none can be taken.
    """
    eta_squared, b, dominant = given
    size = len(x)
    inputs = np.array([*([np.log(eta_squared)] if eta_squared else []), b, *dominant.fitted])

    def at(y: Array) -> tuple[Array, Given]:
        rest = y[size:]
        eta = float(np.exp(rest[0])) if eta_squared else None
        b, *fitted = rest[1:] if eta_squared else rest
        return y[:size], (eta, float(b), dominant._replace(fitted=np.array(fitted)))

    def derivatives(function: Callable[[Array], Array]) -> Array:
        y = np.append(x, inputs)
        differences = [function(y + e) - function(y - e) for e in STEP * np.eye(len(y))]
        return np.stack(differences, axis=1) / (2 * STEP)

    def outputs(y: Array) -> Array:
        found, weights = _from_unknowns(a, *at(y))
        return np.array([np.log(found.signal), np.log(found.alpha), found.intercept, *weights])

    jacobian, direct = derivatives(lambda y: _ratios(a, *at(y))), derivatives(outputs)
    try:
        moved = -np.linalg.solve(jacobian[:, :size], jacobian[:, size:])
    except np.linalg.LinAlgError:
        moved = np.full((size, len(inputs)), np.nan)
    if not np.isfinite(moved).all():
        raise NoSignal(f"eta_squared is {a.eta**2:g}: barely above what a fit has where no factor matters")
    change = direct[:, size:] + direct[:, :size] @ moved
    if not eta_squared:
        change = np.column_stack([np.zeros(len(change)), change])
    return Observer(a, _from_unknowns(a, x, given)[1], change)


def _solved(near: Asymptotics, given: Given, weights: Array) -> tuple[Array, Asymptotics]:
    """The unknowns and what they mean, from a similar problem; its residual may be large."""
    x, residual = root(lambda x: _ratios(near, x, given), _unknowns(near, weights, given[0]))
    return x, replace(_from_unknowns(near, x, given)[0], residual=residual)


def _ratios(near: Asymptotics, x: Array, given: Given) -> Array:
    """log(left / right) of equations (1) to (5), averaged over the dominant factors."""
    a, weights = _from_unknowns(near, x, given)
    values, mass, fitted = given[2]
    at_value = [means(replace(a, intercept=a.intercept + v @ weights, b=a.b + v @ fitted)) for v in values]
    found = mass @ np.array(at_value)  # (5,)
    # (5), like (4), compares sums of positive numbers: x_D r for y = 0 and −x_D r for y = 1, where x_D > 0, …
    above, below = mass[:, None] * np.maximum(values, 0), mass[:, None] * np.maximum(-values, 0)
    no, yes = np.array(at_value)[:, 3:].T
    with np.errstate(divide="ignore", invalid="ignore"):  # a wild step: the caller sees that it is not finite
        four = np.log(found[:4] / [a.kappa * a.s**2, a.kappa, a.kappa * a.alpha, found[4]])
        return np.append(four, np.log((no @ above + yes @ below) / (yes @ above + no @ below)))


def _unknowns(a: Asymptotics, dominant: Array, eta_squared: float | None = 1.0) -> Array:
    """(log γ, or log s without η², log α/s, log λ/s, β0/√(1 + γ²), β_D)."""
    first = a.signal if eta_squared else a.s
    positive = np.log([first, a.alpha / a.s, a.lambda_ / a.s])
    return np.array([*positive, a.intercept / np.hypot(1, a.signal), *dominant])


def _from_unknowns(near: Asymptotics, x: Array, given: Given) -> tuple[Asymptotics, Array]:
    eta_squared, fitted_intercept, _ = given
    first, alpha_over_s, lambda_over_s = (float(v) for v in np.exp(x[:3]))
    signal = first if eta_squared else near.signal
    s = float(np.sqrt(eta_squared) / np.hypot(1, signal * alpha_over_s)) if eta_squared else first
    observer = near.kappa, signal, float(x[3] * np.hypot(1, signal)), near.ridge, near.shrinkage
    return Asymptotics(*observer, s * alpha_over_s, s, s * lambda_over_s, fitted_intercept), x[4:]
