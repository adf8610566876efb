"""The equations solved: what the fit of a known or assumed observer converges to.

    solve(kappa, signal, intercept) → Asymptotics: α, s, λ, b and what follows from them

Everything is in units in which a factor has variance 1. Without ridge this is no restriction, as the fit is
invariant under linear maps of the factors. The other way round, from a fit to the observer: `inverse`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.equations import Asymptotics, log_ratios
from hdlogit.asymptotics.existence import (
    RAREST,
    Frontier,
    OutsideTheory,
    check_observer,
    check_rates,
    existence_threshold,
)
from hdlogit.asymptotics.existence import frontier as find_frontier
from hdlogit.asymptotics.logistic_normal import probability_and_slope

__all__ = ["Asymptotics", "OutsideTheory", "existence_threshold", "solve"]

Array = NDArray[np.float64]

TOLERANCE = 1e-11  # of log(left / right), where Newton's method stops
ACCEPTED = 1e-9  # the largest residual that is accepted; beyond it an error is raised
CLOSEST = 1 - 1e-6  # κ/h: nearer to the frontier α, which grows like 1 / (1 − κ/h), is lost in rounding

MAX_KAPPA = 10.0  # the domain that ridge and shrinkage were tested on
RAREST_PER_KAPPA = 0.005  # … and the rarer responses per factor


class Problem(NamedTuple):
    kappa: float
    signal: float
    intercept: float
    ridge: float
    shrinkage: float
    guess_rate: float = 0.0
    lapse_rate: float = 0.0

    def with_rates(self, fraction: float) -> "Problem":
        """With this fraction of the rates, and the same κ relative to the existence threshold."""
        guess_rate, lapse_rate = fraction * self.guess_rate, fraction * self.lapse_rate
        here = existence_threshold(self.signal, self.intercept, self.guess_rate, self.lapse_rate)
        there = existence_threshold(self.signal, self.intercept, guess_rate, lapse_rate)
        return self._replace(kappa=self.kappa / here * there, guess_rate=guess_rate, lapse_rate=lapse_rate)


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
    """The solution (α, s, λ, b) of equations (1) to (4), to relative errors below 1e-6. Milliseconds, with rates ten.

    kappa: n_factors / n_trials > 0, below existence_threshold if there is neither ridge nor shrinkage, below
    1 if there is no ridge; signal: γ in 0 … 100 (at 0, α is the limit); intercept: β0, such that the rarer
    response has a probability of at least 1e-5; ridge: μ ≥ 0; shrinkage: 0 ≤ ε < 1; guess_rate, lapse_rate: of
    the observer; the fit is still the plain one, by maximum likelihood (ridge = ε = 0). Raises
    OutsideTheory elsewhere, and if the equations could not be solved.
    """
    problem = Problem(kappa, signal, intercept, ridge, shrinkage, guess_rate, lapse_rate)
    _check_problem(problem)
    start, paths = _routes(problem)
    for path in paths:
        answer = _follow(path, start(path[0]))
        if answer.residual <= ACCEPTED:
            return answer
    raise OutsideTheory(
        f"the equations could not be solved at kappa {kappa:g}, signal {signal:g}, intercept {intercept:g}, "
        f"ridge {ridge:g}, shrinkage {shrinkage:g}, rates {guess_rate:g} and {lapse_rate:g}: "
        f"residual {answer.residual:.1e} instead of {ACCEPTED:g}"
    )


def _routes(problem: Problem) -> tuple[Callable[[Problem], Array], list[list[Problem]]]:
    """A start, and paths of problems to follow from it: first the direct one, then one from an easier problem."""
    kappa, signal, intercept, ridge, shrinkage, guess_rate, lapse_rate = problem
    if guess_rate or lapse_rate:
        start, paths = _routes(problem.with_rates(0.0))
        steps = [[problem.with_rates(x / count) for x in range(1, count + 1)] for count in (2, 8)]
        return start, [[*path, *more] for path in paths for more in steps]
    if ridge > 0:  # strong ridge: all logits are small and the system is linear
        strong = max(ridge, 0.5, 0.5 * kappa)
        count = int(np.ceil(np.log(strong / ridge) / np.log(6))) + 1
        path = [problem._replace(ridge=float(x)) for x in np.geomspace(strong, ridge, count)]
        return _linear_start, [[problem], path]
    if shrinkage > 0:  # few factors: classical
        return _linear_start, [
            [problem],
            [problem._replace(kappa=kappa * x) for x in (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)],
        ]
    frontier = find_frontier(max(signal, 1e-3), intercept, guess_rate, lapse_rate)
    limit = find_frontier(signal, intercept, guess_rate, lapse_rate).kappa
    room = 1 - np.geomspace(0.5, 1 - kappa / limit, 12)
    path = [problem._replace(kappa=float(limit * x)) for x in room]
    return (lambda first: _tabled_start(first, frontier)), [[problem], path]


# α, and how far log(s/α) has moved from its classical value to its value on the frontier, are nearly
# functions of ε = κ/h alone. Taken from the solution at γ = 3, β0 = 0; they are only starting points.
_TABLE_ROOM = -np.log1p(-np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999]))
_TABLE_ALPHA = np.array([1, 1.04, 1.1, 1.16, 1.24, 1.33, 1.47, 1.66, 1.99, 2.73, 3.8, 6.1, 8.98, 45])
_TABLE_MOVED = np.array([0, 0.043, 0.09, 0.14, 0.195, 0.256, 0.325, 0.405, 0.505, 0.643, 0.748, 0.847, 0.901, 0.994])


def _tabled_start(problem: Problem, frontier: Frontier) -> Array:
    """Where maximum likelihood ends up, to a few per cent."""
    kappa, signal, intercept = max(problem.kappa, 1e-12), max(problem.signal, 1e-3), problem.intercept
    room = -np.log1p(-min(kappa / frontier.kappa, 0.9999))
    moved = np.interp(room, _TABLE_ROOM, _TABLE_MOVED)
    alpha = np.exp(np.interp(room, _TABLE_ROOM, np.log(_TABLE_ALPHA)))
    information = probability_and_slope(intercept, signal)[1]  # per trial, of a weight without effect
    classical, at_frontier = np.sqrt(kappa / information), -signal / frontier.signal
    s = alpha * classical * (at_frontier / np.sqrt(frontier.kappa / information)) ** moved
    b_over_alpha = intercept + min(1.0, 1.5 * moved) * (signal * frontier.intercept / frontier.signal - intercept)
    return _unknowns(alpha, s, s * s / alpha, alpha * b_over_alpha, alpha * problem.signal)


def _linear_start(problem: Problem) -> Array:
    """Where a fit with small logits ends up: σ replaced by its tangent at the logit of the mean response."""
    kappa, signal, intercept, ridge, shrinkage, *_ = problem
    yes, information = (float(x) for x in probability_and_slope(intercept, signal))
    yes = shrinkage / 2 + (1 - shrinkage) * yes
    d = yes * (1 - yes)
    linear = d + ridge - kappa * d  # λd/(1 + λd) + λμ = κ is a quadratic equation
    lambda_ = 2 * kappa / (linear + np.sqrt(linear * linear + 4 * ridge * d * kappa))
    freedom = kappa - lambda_ * ridge
    alpha = (1 - shrinkage) * information / d * freedom / kappa
    spread = min(freedom * freedom / kappa, 0.9)
    s = np.sqrt(spread / (1 - spread) * (1 - shrinkage) ** 2 / d)
    b = np.log(yes / (1 - yes)) * np.hypot(1, 0.6 * np.hypot(alpha * signal, s))
    return _unknowns(alpha, s, lambda_, b, alpha * signal)


def _unknowns(alpha: float, s: float, lambda_: float, b: float, alpha_signal: float) -> Array:
    """(log s, log α/s, log λ/s, b/√(1 + η²))."""
    return np.array([np.log(s), np.log(alpha / s), np.log(lambda_ / s), b / np.hypot(1, np.hypot(alpha_signal, s))])


def _asymptotics(problem: Problem, unknowns: Array, residual: float = np.nan) -> Asymptotics:
    s, alpha_over_s, lambda_over_s = (float(x) for x in np.exp(unknowns[:3]))
    alpha = s * alpha_over_s
    b = float(unknowns[3] * np.hypot(1, np.hypot(alpha * problem.signal, s)))
    return Asymptotics(**problem._asdict(), alpha=alpha, s=s, lambda_=s * lambda_over_s, b=b, residual=residual)


def _follow(path: Sequence[Problem], start: Array) -> Asymptotics:
    """Solves each problem from the solutions of the two before it; the answer is the last one's, or the first
    failure.
    """
    before, here = start, start
    for count, problem in enumerate(path):

        def equations(x: Array, problem: Problem = problem) -> Array:
            return log_ratios(_asymptotics(problem, x))

        ahead = here + np.clip(here - before, -2, 2) if count > 1 else here
        found, residual = newton(equations, ahead)
        if residual > ACCEPTED and count > 1:
            found, residual = newton(equations, here)
        if residual > ACCEPTED:
            break
        before, here = here, found
    return _asymptotics(problem, found, residual)


def newton(equations: Callable[[Array], Array], start: Array) -> tuple[Array, float]:
    """Newton's method with Broyden's updates; a step is at most 1 in every unknown, and halved until it
    improves.

    Returns the best point and max |equations| there: the caller decides whether that is small enough.
    """

    def bounded(x: Array) -> Array:
        return equations(x) if np.abs(x).max() < 30 else np.full_like(x, np.inf)

    x, values = start, bounded(start)
    jacobian, fresh = np.empty(0), False
    for _ in range(50):
        if _size(values) < TOLERANCE or not np.isfinite(_size(values)):
            break
        if jacobian.size == 0:
            jacobian = np.stack([(bounded(x + e) - values) / 1e-6 for e in 1e-6 * np.eye(len(x))], axis=1)
            fresh = True
        try:
            move = -np.linalg.solve(jacobian, values)
        except np.linalg.LinAlgError:
            break
        if not np.isfinite(move).all():
            break
        move *= min(1.0, 1 / max(float(np.abs(move).max()), 1e-300))
        ahead = bounded(x + move)
        if not fresh and not _size(ahead) < 0.7 * _size(values):
            jacobian = np.empty(0)  # the updated derivative has become useless
            continue
        halvings = 0
        while not _size(ahead) < _size(values) and halvings < 6:
            move, halvings = move / 2, halvings + 1
            ahead = bounded(x + move)
        if not _size(ahead) < _size(values):
            break
        update = np.outer(ahead - values - jacobian @ move, move) / (move @ move)
        jacobian, fresh = (jacobian + update if halvings == 0 else np.empty(0)), False
        x, values = x + move, ahead
    return x, _size(values)


def _size(values: Array) -> float:
    return float(np.abs(values).max()) if np.isfinite(values).all() else np.inf


def _check_problem(problem: Problem) -> None:
    kappa, signal, intercept, ridge, shrinkage, guess_rate, lapse_rate = problem
    check_rates(guess_rate, lapse_rate)
    if (guess_rate or lapse_rate) and (ridge or shrinkage):
        raise OutsideTheory("with guess and lapse rates the equations are for maximum likelihood, without ridge")
    if not 0 < kappa <= MAX_KAPPA:
        raise OutsideTheory(f"kappa is {kappa:g}: n_factors / n_trials must be above 0 and at most {MAX_KAPPA:g}")
    if not 0 <= ridge < np.inf:
        raise OutsideTheory(f"ridge is {ridge:g}: it must be 0 or a positive number")
    if not 0 <= shrinkage < 1:
        raise OutsideTheory(f"shrinkage is {shrinkage:g}: it must be at least 0 and below 1")
    if ridge == 0 and kappa >= 1:
        raise OutsideTheory(f"kappa is {kappa:g}: without ridge it must be below 1")
    likelihood = ridge == 0 and shrinkage == 0
    check_observer(signal, intercept, RAREST if likelihood else max(RAREST, RAREST_PER_KAPPA * kappa))
    if likelihood and kappa >= CLOSEST * (limit := find_frontier(signal, intercept, guess_rate, lapse_rate).kappa):
        rates = f", rates {guess_rate:g} and {lapse_rate:g}" if guess_rate or lapse_rate else ""
        raise OutsideTheory(
            f"no maximum-likelihood estimate exists at signal {signal:g}, intercept {intercept:g}{rates}: kappa is "
            f"{kappa:g}, it must be below {limit:.6g} (or use ridge)"
        )
