"""The equations solved: what the fit of a known or assumed observer converges to.

    solve(kappa, signal, intercept) → Asymptotics: α, s, λ, b and what follows from them

Everything is in units in which a factor has variance 1. Without ridge this is no restriction, as the fit is
invariant under linear maps of the factors. The other way round, from a fit to the observer: `inverse`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from hdlogit.asymptotics.equations import Asymptotics, log_ratios
from hdlogit.asymptotics.existence import (
    RAREST,
    OutsideTheory,
    check_observer,
    check_rates,
    existence_threshold,
    frontier,
)
from hdlogit.asymptotics.logistic_normal import probability_and_slope

__all__ = ["Asymptotics", "OutsideTheory", "existence_threshold", "solve"]

Array = NDArray[np.float64]

TOLERANCE = 1e-12  # relative, of the unknowns
ACCEPTED = 1e-9  # the largest log(left / right) that is accepted; beyond it an error is raised
FURTHEST = 10.0  # no unknown (a logarithm, or a ratio to the spread of logits) moves more from its start
WILD = 100.0  # what the equations are said to be off by there, and where they cannot be evaluated
CLOSEST = 1 - 1e-6  # κ/h: nearer to the frontier α, which grows like 1 / (1 − κ/h), is lost in rounding

PATH, EASY = 12, 0.5  # steps from an easier problem, and its 1 − κ/h

MAX_KAPPA = 10.0  # the domain that ridge and shrinkage were tested on
RAREST_PER_KAPPA = 0.005  # … and the rarer responses per factor


def solve(
    kappa: float,
    signal: float,
    intercept: float = 0.0,
    *,
    ridge: float = 0.0,
    shrinkage: float = 0.0,
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
) -> Asymptotics:
    """The solution (α, s, λ, b) of equations (1) to (4), to relative errors below 1e-6. Takes milliseconds.

    kappa: n_factors / n_trials > 0, below existence_threshold if there is neither ridge nor shrinkage, below
    1 if there is no ridge; signal: γ in 0 … 100 (at 0, α is the limit); intercept: β0, such that the rarer
    response has a probability of at least 1e-5; ridge: μ ≥ 0; shrinkage: 0 ≤ ε < 1; guess_rate, lapse_rate:
    of the observer; the fit is still the classical one, by maximum likelihood (ridge = ε = 0). Raises
    OutsideTheory elsewhere, and if the equations could not be solved.
    """
    rates = {"guess_rate": guess_rate, "lapse_rate": lapse_rate}
    unknown = [np.nan] * 4  # α, s, λ, b
    problem = Asymptotics(kappa, signal, intercept, ridge, shrinkage, *unknown, **rates)
    _check(problem)
    answer = solved_from(start(problem))
    if answer.residual > ACCEPTED and ridge == shrinkage == 0:
        answer = _from_easier(problem)
    if answer.residual > ACCEPTED:
        raise OutsideTheory(
            f"the equations could not be solved at kappa {kappa:g}, signal {signal:g}, "
            f"intercept {intercept:g}, ridge {ridge:g}, shrinkage {shrinkage:g}, rates {guess_rate:g} and "
            f"{lapse_rate:g}: residual {answer.residual:.1e} instead of {ACCEPTED:g}"
        )
    return answer


def _from_easier(problem: Asymptotics) -> Asymptotics:
    """Maximum likelihood, from an observer without rates and with more trials, little by little."""
    room, answer = 1 - problem.kappa / _limit(problem), problem
    for t in np.linspace(0.0, 1.0, PATH):
        step = replace(problem, guess_rate=t * problem.guess_rate, lapse_rate=t * problem.lapse_rate)
        step = replace(step, kappa=(1 - EASY ** (1 - t) * room**t) * _limit(step))
        near = {name: getattr(answer, name) for name in ("alpha", "s", "lambda_", "b")}
        answer = solved_from(replace(step, **near) if t else start(step))
    return answer


def solved_from(start: Asymptotics) -> Asymptotics:
    """The solution of the problem in `start`, sought from the values of α, s, λ and b there."""
    x, residual = root(lambda x: log_ratios(_at(start, x)), _unknowns(start))
    return replace(_at(start, x), residual=residual)


def _unknowns(a: Asymptotics) -> Array:
    """(log s, log α/s, log λ/s, b/√(1 + η²)): in these the equations are almost linear."""
    return np.append(np.log([a.s, a.alpha / a.s, a.lambda_ / a.s]), a.b / np.hypot(1, a.eta))


def _at(problem: Asymptotics, unknowns: Array) -> Asymptotics:
    s, alpha_over_s, lambda_over_s = (float(x) for x in np.exp(unknowns[:3]))
    a = replace(problem, alpha=s * alpha_over_s, s=s, lambda_=s * lambda_over_s)
    return replace(a, b=float(unknowns[3] * np.hypot(1, a.eta)))


def root(equations: Callable[[Array], Array], start: Array) -> tuple[Array, float]:
    """A root by Powell's hybrid method (MINPACK's hybrd), and max |equations| there.

    The caller decides whether that is small enough.
    """

    def bounded(x: Array) -> Array:
        values = equations(x) if np.abs(x - start).max() < FURTHEST else np.full_like(x, WILD)
        return np.nan_to_num(values, nan=WILD, posinf=WILD, neginf=-WILD)

    how = {"factor": 0.1}  # first step: a tenth of x
    found = scipy.optimize.root(bounded, start, tol=TOLERANCE, options=how)
    return found.x, float(np.abs(found.fun).max())


# --- where to start


def start(problem: Asymptotics) -> Asymptotics:
    """About where the fit ends up, to a few per cent without guesses and lapses."""
    return _small_logits(problem) if problem.ridge > 0 or problem.shrinkage > 0 else _by_room(problem)


def _limit(a: Asymptotics) -> float:
    return frontier(a.signal, a.intercept, a.guess_rate, a.lapse_rate).kappa


def _by_room(problem: Asymptotics) -> Asymptotics:
    """Maximum likelihood: α is nearly (1 − κ/h)^−0.45 for any observer, and log(s/α) has moved from its
    classical value to that on the frontier by nearly 1 − 1/α (seen, not derived).
    """
    kappa, signal, intercept = max(problem.kappa, 1e-12), max(problem.signal, 1e-3), problem.intercept
    edge = frontier(signal, intercept, problem.guess_rate, problem.lapse_rate)
    alpha = (1 - min(kappa / edge.kappa, 0.9999)) ** -0.45
    moved = 1 - 1 / alpha
    information = probability_and_slope(intercept, signal)[1]  # per trial, of a weight without effect
    classical, at_edge = np.sqrt(kappa / information), -signal / edge.signal
    s = float(alpha * classical * (at_edge / np.sqrt(edge.kappa / information)) ** moved)
    b_over_alpha = intercept + min(1.0, 1.5 * moved) * (signal * edge.intercept / edge.signal - intercept)
    return replace(problem, alpha=alpha, s=s, lambda_=s * s / alpha, b=alpha * b_over_alpha)


def _small_logits(problem: Asymptotics) -> Asymptotics:
    """Where a fit with small logits ends up: σ replaced by its tangent at the logit of the mean response."""
    kappa, ridge, kept = problem.kappa, problem.ridge, 1 - problem.shrinkage
    yes, information = (float(x) for x in probability_and_slope(problem.intercept, problem.signal))
    yes = problem.shrinkage / 2 + kept * yes
    d = yes * (1 - yes)
    linear = d + ridge - kappa * d  # λd/(1 + λd) + λμ = κ is a quadratic equation
    lambda_ = 2 * kappa / (linear + np.sqrt(linear * linear + 4 * ridge * d * kappa))
    freedom = kappa - lambda_ * ridge
    alpha = kept * information / d * freedom / kappa
    spread = min(freedom * freedom / kappa, 0.9)
    s = np.sqrt(spread / (1 - spread) * kept**2 / d)
    b = np.log(yes / (1 - yes)) * np.hypot(1, 0.6 * np.hypot(alpha * problem.signal, s))
    return replace(problem, alpha=alpha, s=float(s), lambda_=float(lambda_), b=float(b))


def _check(a: Asymptotics) -> None:
    """Raises OutsideTheory for a problem that has no answer, or none within the tested domain."""
    rates = a.guess_rate, a.lapse_rate
    check_rates(*rates)
    if any(rates) and (a.ridge or a.shrinkage):
        raise OutsideTheory("with guess and lapse rates the equations are for maximum likelihood alone")
    possible = 0 < a.kappa <= MAX_KAPPA if a.ridge > 0 else 0 < a.kappa < 1
    if not (possible and 0 <= a.ridge < np.inf and 0 <= a.shrinkage < 1):
        raise OutsideTheory(
            f"kappa is {a.kappa:g}, ridge is {a.ridge:g}, shrinkage is {a.shrinkage:g}: kappa must be above 0 and "
            f"below 1, or with ridge at most {MAX_KAPPA:g}; ridge 0 or more, shrinkage from 0 to below 1"
        )
    likelihood = a.ridge == 0 and a.shrinkage == 0
    check_observer(a.signal, a.intercept, RAREST if likelihood else max(RAREST, RAREST_PER_KAPPA * a.kappa))
    if likelihood and a.kappa >= CLOSEST * (limit := existence_threshold(a.signal, a.intercept, *rates)):
        shown = f", rates {a.guess_rate:g} and {a.lapse_rate:g}" if any(rates) else ""
        where = f"at signal {a.signal:g}, intercept {a.intercept:g}{shown}"
        must = f"kappa is {a.kappa:g}, it must be below {limit:.6g} (or use ridge)"
        raise OutsideTheory(f"no maximum-likelihood estimate exists {where}: {must}")
