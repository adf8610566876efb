"""The equations solved backwards: which observer is behind a given fit? (SLOE: Yadlowsky, Yun, McLean & D'Amour,
NeurIPS 2021)

Forward, (γ, β0) give the mean b and the variance η² of the fitted logits of new trials. These two can be estimated
from the data alone, so the same four equations, with (γ, β0) unknown in place of (s, b), determine the observer,
and with it α and everything in `predictions`. The equations are those of `equations`, and no more certain.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.equations import Asymptotics, log_ratios
from hdlogit.asymptotics.existence import MAX_SIGNAL, OutsideTheory
from hdlogit.asymptotics.theory import ACCEPTED, newton, solve

Array = NDArray[np.float64]

WEAKEST = 0.01  # the γ from which the search starts


class NoSignal(OutsideTheory):
    """The fitted logits vary no more than they would if no factor mattered."""


def signal_from_fit(
    kappa: float,
    eta_squared: float,
    fitted_intercept: float,
    *,
    ridge: float = 0.0,
    shrinkage: float = 0.0,
    near: Asymptotics | None = None,
) -> Asymptotics:
    """The observer (γ, β0) whose fit has logits of new trials with mean b and variance η², and all that
    follows from it.

    kappa: n_factors / n_trials; eta_squared: η², for instance the variance of the leave-one-out logits of the
    training trials (SLOE: Yadlowsky, Yun, McLean & D'Amour, NeurIPS 2021); fitted_intercept: b, where the
    factors have mean zero; ridge and shrinkage: as `hdlogit.asymptotics.theory.solve` has them; near: the
    solution of a similar problem, from which the answer is found sooner.

    Raises NoSignal where η² is not above what chance alone gives, OutsideTheory where γ would exceed 100, or
    the fit cannot exist.
    """
    if not 0 < eta_squared < np.inf or not np.isfinite(fitted_intercept):
        raise OutsideTheory(
            f"eta_squared is {eta_squared:g}, the fitted intercept {fitted_intercept:g}: "
            "the first must be a positive number, the second finite"
        )
    if near:
        found = _invert(near, eta_squared, fitted_intercept)
        if found.residual <= ACCEPTED and WEAKEST < found.signal <= MAX_SIGNAL:
            return found
    guess = _nearby(kappa, eta_squared, fitted_intercept, ridge, shrinkage)
    for legs in (1, 4, 16):
        found = guess
        for fraction in np.arange(1, legs + 1) / legs:
            goal = (
                guess.eta ** (2 - 2 * fraction) * eta_squared**fraction,
                guess.b + fraction * (fitted_intercept - guess.b),
            )
            found = _invert(found, *goal)
            if found.residual > ACCEPTED:
                break
        else:
            if found.signal > MAX_SIGNAL:
                raise _too_much_signal(kappa, eta_squared, ridge, shrinkage)
            return found
    raise OutsideTheory(
        f"no observer found for kappa {kappa:g}, eta_squared {eta_squared:g}, "
        f"fitted intercept {fitted_intercept:g}, ridge {ridge:g}, shrinkage {shrinkage:g}: "
        f"residual {found.residual:.1e} instead of {ACCEPTED:g}"
    )


def without_signal(kappa: float, fitted_intercept: float, *, ridge: float = 0.0, shrinkage: float = 0.0) -> Asymptotics:
    """The theory at γ = 0 with a given fitted intercept: what chance alone gives. η² = s² here."""
    intercept = fitted_intercept
    for _ in range(30):
        answer = solve(kappa, 0.0, intercept, ridge=ridge, shrinkage=shrinkage)
        if abs(answer.b - fitted_intercept) <= 1e-8 * (1 + abs(fitted_intercept)):
            return answer
        intercept *= fitted_intercept / answer.b
    raise OutsideTheory(f"no observer without signal has the fitted intercept {fitted_intercept:g} at kappa {kappa:g}")


def sensitivity(a: Asymptotics) -> Array:
    """∂(log γ, β0) / ∂(log η², b), (2, 2): how errors of what the data give become errors of the observer.

    By the implicit function theorem, with derivatives of the equations by five-point differences: of a step so large
    that rounding, which depends on the processor, does not show. Raises NoSignal where η² is so near to that of chance
    alone that none can be taken.
    """
    start, step = np.append(_unknowns(a), [np.log(a.eta**2), a.b]), 1e-3

    def ahead(steps: int) -> Array:
        moved = start + steps * step * np.eye(6)
        return np.stack([log_ratios(_from_unknowns(a, x[:4], float(np.exp(x[4])), float(x[5]))) for x in moved], axis=1)

    jacobian = (8 * (ahead(1) - ahead(-1)) - (ahead(2) - ahead(-2))) / (12 * step)  # (4, 6)
    try:
        change = -np.linalg.solve(jacobian[:, :4], jacobian[:, 4:])
    except np.linalg.LinAlgError:
        change = np.full((4, 2), np.nan)
    if not np.isfinite(change).all():
        raise NoSignal(f"eta_squared is {a.eta**2:g}: barely above what a fit has where no factor matters")
    to_intercept = np.hypot(1, a.signal) * change[3] + a.intercept * a.signal**2 / (1 + a.signal**2) * change[0]
    return np.stack([change[0], to_intercept])


def _nearby(kappa: float, eta_squared: float, fitted_intercept: float, ridge: float, shrinkage: float) -> Asymptotics:
    """A solved observer whose fit is similar: η grows with γ, so bisection in log γ."""

    def candidate(signal: float) -> Asymptotics | None:
        # The mean of the fitted probabilities is that of the responses, up to the probit approximation.
        ratio = np.hypot(1.7, signal) / np.sqrt(2.89 + eta_squared)
        try:
            return solve(kappa, signal, float(fitted_intercept * ratio), ridge=ridge, shrinkage=shrinkage)
        except OutsideTheory:
            return None

    low, high = np.log(WEAKEST), np.log(MAX_SIGNAL)
    nearest = candidate(np.exp(low))
    if nearest is None or nearest.eta**2 >= eta_squared:
        floor = without_signal(kappa, fitted_intercept, ridge=ridge, shrinkage=shrinkage)
        if eta_squared <= floor.s**2:
            raise NoSignal(
                f"eta_squared is {eta_squared:g}: where no factor matters, a fit at kappa {kappa:g} "
                f"has {floor.s**2:.6g}"
            )
        nearest = solve(kappa, WEAKEST, floor.intercept, ridge=ridge, shrinkage=shrinkage)
    top = candidate(np.exp(high))
    if top is not None and top.eta**2 < eta_squared:
        raise _too_much_signal(kappa, eta_squared, ridge, shrinkage)
    for _ in range(6):
        middle = (low + high) / 2
        found = candidate(np.exp(middle))
        if found is None or found.eta**2 > eta_squared:
            high = middle
        else:
            low, nearest = middle, found
    return nearest


def _invert(near: Asymptotics, eta_squared: float, fitted_intercept: float) -> Asymptotics:
    """Newton's method in the unknowns below, with η² and b given."""
    x, residual = newton(lambda x: log_ratios(_from_unknowns(near, x, eta_squared, fitted_intercept)), _unknowns(near))
    return replace(_from_unknowns(near, x, eta_squared, fitted_intercept), residual=residual)


def _unknowns(a: Asymptotics) -> Array:
    """(log γ, log α/s, log λ/s, β0/√(1 + γ²))."""
    return np.append(np.log([a.signal, a.alpha / a.s, a.lambda_ / a.s]), a.intercept / np.hypot(1, a.signal))


def _from_unknowns(near: Asymptotics, x: Array, eta_squared: float, fitted_intercept: float) -> Asymptotics:
    signal, alpha_over_s, lambda_over_s = (float(v) for v in np.exp(x[:3]))
    s = float(np.sqrt(eta_squared) / np.hypot(1, signal * alpha_over_s))
    observer = near.kappa, signal, float(x[3] * np.hypot(1, signal)), near.ridge, near.shrinkage
    return Asymptotics(*observer, s * alpha_over_s, s, s * lambda_over_s, fitted_intercept)


def _too_much_signal(kappa: float, eta_squared: float, ridge: float, shrinkage: float) -> OutsideTheory:
    return OutsideTheory(
        f"eta_squared is {eta_squared:g}: at kappa {kappa:g}, ridge {ridge:g}, shrinkage {shrinkage:g} "
        f"that would need a signal above {MAX_SIGNAL:g}"
    )
