"""Threshold and slope of a psychometric function, where the logit is a line along one stimulus.

    P(yes | x) = g + (1 − g − l) σ(w x + b)    x: the stimulus; w, b: of one condition, sums of coefficients

    threshold = −b/w               where the function without its rates is 1/2: P = (1 + g − l)/2
    threshold at q                 where P(yes | x) = q
    slope = (1 − g − l) w/4        of P(yes) at the threshold, per unit of x: the largest there is
    width = 2 log(19)/|w|          from .05 to .95 of the function without its rates
    JND = log(3)/|w|               half of the way from .25 to .75 of it

as psignifit 4 has them (Schütt, Harmeling, Macke & Wichmann, Vision Research 2016), and where l = 0 quickpsy.
A threshold's interval is all x at which the test of "the threshold is here" does not reject (Fieller 1954):
without bounds where a slope of 0 is not rejected either. Where few factors were fitted with rates, tests are
likelihood ratios, twice what the log-posterior loses against χ² with one degree of freedom; else Wald's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import ndtri

from hdlogit.inference.joint import prior
from hdlogit.inference.observer import HIGHEST, Block, Posterior, maximise
from hdlogit.inference.result import Array, ClassInference
from hdlogit.inference.sums import NUMBERS, Factors, Names, Responses, Units

MOST_FACTORS, MOST_CONDITIONS = 30, 20
EXACT = 1e-9  # of a factor that is a line along the stimulus, relative to its size
MANY = 20_000  # distinct trials beyond which likelihood ratios take long, and Wald's test is as good
LEAST, SOME = 1e-6, 0.05  # rate that is tested as 0; that is added in a second search
DOUBLINGS = 12  # of a standard error, before an interval is without end
WIDTH, JND = 2 * math.log(19), math.log(3)
FLAT = "a slope of 0 is not rejected"

Constraint = Callable[[Array], tuple[float, Array]]  # θ = (w, b, g, l) -> what is to be 0, and its gradient
Numbered = Callable[..., tuple[float, Array]]  # a constraint of θ and `value`


class Condition(NamedTuple):
    """Trials in which the logit is (at_zero + x · per_unit)·(w, b)."""

    name: str  # "" where there is one condition only
    rows: NDArray[np.intp]
    at_zero: Array  # (p + 1,)
    per_unit: Array  # (p + 1,)


class Stimulus(NamedTuple):
    """A factor along which the logit is a line, in each condition."""

    name: str
    x: Array  # (n,)
    conditions: list[Condition]


class Estimate(NamedTuple):
    """One number of a psychometric function, with its interval."""

    stimulus: str
    condition: str
    quantity: str
    estimate: float
    low: float
    high: float
    note: str


def stimuli(
    factors: Factors, names: Names = NUMBERS, centre: Array | float = 0.0, scale: Array | float = 1.0
) -> list[Stimulus]:
    """The factor of more than two values, if others are conditions (two values) or a line along it in each.

    Without such a factor, those of two values, each a stimulus among the conditions that the others make.
    factors: (n, p), which are (x − centre)/scale. Names with a colon are products. Lagged factors are no conditions
    of the stimulus: everything is said where they are at their mean.
    """
    p, words = factors.shape[1], [*map(str, names[: factors.shape[1]])]
    if p > MOST_FACTORS:
        return []
    values = np.asarray(centre + scale * factors, np.float64)
    earlier = [j for j in range(p) if words[j].startswith("lag(") and ":" not in words[j]]
    if earlier:
        factors = np.array(factors, np.float64)
        factors[:, earlier] = factors[:, earlier].mean(axis=0)
    now = (j for j in range(p) if ":" not in words[j] and j not in earlier)
    plain = sorted(now, key=lambda j: (len(words[j]), words[j]))
    two = [j for j in plain if len(np.unique(factors[:, j])) <= 2]
    many = [j for j in plain if j not in two]
    found = []
    for j in many or two:
        others = [k for k in two if k != j]
        if conditions := _conditions(factors, values[:, j], values[:, others], [words[k] for k in others]):
            found.append(Stimulus(words[j], values[:, j], conditions))
    return found[:1] if many else found


def _conditions(factors: Factors, x: Array, others: Array, names: Sequence[str]) -> list[Condition]:
    """Trials that are alike in the others and vary in x; none if a factor is not a line along x in one."""
    values, places = np.unique(others, axis=0, return_inverse=True)
    if len(values) > MOST_CONDITIONS:
        return []
    conditions = []
    for k, row in enumerate(values):
        rows = np.flatnonzero(places.ravel() == k)
        line = np.column_stack([np.ones(len(rows)), x[rows]])
        ends, *_ = np.linalg.lstsq(line, factors[rows], rcond=None)
        if np.abs(line @ ends - factors[rows]).max() > EXACT * np.abs(factors).max():
            return []
        if np.ptp(x[rows]) > 0:
            at_zero, per_unit = np.append(ends[0], 1.0), np.append(ends[1], 0.0)
            conditions.append(Condition(_name(names, row), rows, at_zero, per_unit))
    return conditions


def _name(names: Sequence[str], values: Array) -> str:
    """`lag = 1, cue is b`: columns of a coded word, cue[T.b], are that word."""
    parts, coded = list[str](), dict[str, dict[str, float]]()
    for name, value in zip(names, values, strict=True):
        word, _, level = name.removesuffix("]").partition("[T.")
        if level:
            coded.setdefault(word, {})[level] = value
        else:
            parts.append(f"{name} = {value:g}")
    for word, levels in coded.items():
        found = [level for level, value in levels.items() if value > 0.5]
        parts.append(f"{word} is {found[0]}" if found else f"{word} is not {' or '.join(levels)}")
    return ", ".join(parts)


def thresholds(
    c: ClassInference,
    factors: Factors,
    responses: Responses,
    stimulus: Stimulus,
    level: float = 0.95,
    at: Sequence[float] = (),
) -> list[Estimate]:
    """Of each condition: threshold, slope, width and JND; then the rates, if they are estimated.

    factors: (n, p), responses: (n,) of c; at: probabilities of yes whose x is wanted, too.
    """
    if c.separated or c.reason:
        return []
    tests = _Tests(c, factors, responses, float(ndtri(0.5 + level / 2)))
    rows = [
        Estimate(stimulus.name, one.name, *numbers)
        for one in stimulus.conditions
        for numbers in _of_condition(tests, one, stimulus.x[one.rows], at)
    ]
    for k, name in ((-2, "guess rate"), (-1, "lapse rate")):
        if c.covariance[k, k] > 0:
            rate, of = float(tests.theta[k]), np.eye(len(tests.theta))[k]
            low, high = tests.interval(partial(_linear, of), max(rate, LEAST), LEAST, tests.largest)
            rows.append(Estimate(stimulus.name, "", name, rate, max(low, 0.0), min(high, tests.largest), ""))
    return rows


def _of_condition(tests: _Tests, one: Condition, x: Array, at: Sequence[float]) -> Iterator[tuple[Any, ...]]:
    """Quantity, estimate, low, high, note."""
    of, (guess, lapse) = np.append(one.per_unit, [0.0, 0.0]), tests.theta[-2:]
    weight = float(of @ tests.theta)
    flat = tests.z(partial(_linear, of, value=0.0)) < tests.quantile
    centre, scale = float(x.mean()), float(x.std())  # x = centre + scale · tan(angle)
    start = np.append(one.at_zero + centre * one.per_unit, [0.0, 0.0])
    for q in (None, *at):
        here = partial(_at, start, scale * of, q)
        height = start @ tests.theta - _target(tests.theta, q)[0]
        angle = math.atan(-height / (scale * weight)) if weight else math.pi / 2
        ends = (-math.pi / 2, math.pi / 2) if flat else tests.interval(here, angle, -math.pi / 2, math.pi / 2)
        low, high = (-math.inf, math.inf) if flat else (centre + scale * math.tan(end) for end in ends)
        words = "threshold" if q is None else f"threshold at {q:g}"
        if q is None or guess < q < 1 - lapse:
            yield words, centre + scale * math.tan(angle), low, high, FLAT if flat else ""
        else:
            yield words, math.nan, -math.inf, math.inf, f"P(yes) is never {q:g}"
    slope = (1 - guess - lapse) * weight / 4
    yield "slope", float(slope), *tests.interval(partial(_slope, of), slope), ""
    sizes = sorted(map(abs, tests.interval(partial(_linear, of), weight)))
    nearest = 0.0 if flat else sizes[0]
    for name, size in (("width", WIDTH), ("JND", JND)):
        width, low, high = (size / w if w else math.inf for w in (abs(weight), sizes[1], nearest))
        yield name, width, low, high, FLAT if flat else ""


# What must be 0 where a number has this value, and its gradient in θ.


def _linear(of: Array, theta: Array, value: float) -> tuple[float, Array]:
    """of·θ = value."""
    return float(of @ theta) - value, of


def _slope(of: Array, theta: Array, value: float) -> tuple[float, Array]:
    """(1 − g − l) of·θ/4 = value."""
    gradient = (1 - theta[-2] - theta[-1]) / 4 * of
    off = float(gradient @ theta) - value
    gradient[-2:] = -(of @ theta) / 4
    return off, gradient


def _at(start: Array, step: Array, q: float | None, theta: Array, value: float) -> tuple[float, Array]:
    """The threshold is at centre + scale · tan(value); at ±π/2 the slope is 0."""
    target, gradient = _target(theta, q)
    cos, sin = math.cos(value), math.sin(value)
    return float(cos * (start @ theta - target) + sin * (step @ theta)), cos * (start - gradient) + sin * step


def _target(theta: Array, q: float | None) -> tuple[float, Array]:
    """The logit at which P(yes) = q (None: half of the function without rates), and its gradient."""
    gradient = np.zeros(len(theta))
    if q is None:
        return 0.0, gradient
    above, below = max(q - theta[-2], LEAST), max(1 - theta[-1] - q, LEAST)
    gradient[-2:] = -1 / above, 1 / below
    return math.log(above / below), gradient


class _Tests:
    """Of one class: which values of a number that depends on its parameters θ are not rejected."""

    def __init__(self, c: ClassInference, factors: Factors, responses: Responses, quantile: float) -> None:
        """quantile: of |z| beyond which a value is rejected."""
        self.theta, self.covariance = np.append(c.corrected, [c.guess_rate, c.lapse_rate]), c.covariance
        self.quantile, self.posterior, self.largest = quantile, None, 0.5  # of rates
        if c.profiles is None:
            return
        rows, places, n = np.unique(factors, axis=0, return_inverse=True, return_counts=True)
        if len(rows) > MANY:
            return
        self.units = Units(len(factors), c.centre, c.scale)
        t, yes = self.units.standardise(rows), np.bincount(places.ravel(), responses).astype(np.float64)
        block = Block(t, yes, n.astype(np.float64))
        self.posterior = Posterior(lambda: [block], prior(factors, self.units), c.link.known)
        self.largest = (1 - LEAST) * HIGHEST * min(self.posterior.room, default=1.0)
        rates = [rate for rate, known in zip(self.theta[-2:], c.link.known, strict=True) if known is None]
        near = np.append(self.units.coefficients(c.corrected[:, None]), rates)
        self.best, self.most = maximise(self.posterior, near)

    def z(self, constraint: Constraint) -> float:
        """|z| of the test that the constraint holds."""
        off, gradient = constraint(self.theta)
        error = math.sqrt(max(float(gradient @ self.covariance @ gradient), 1e-300))
        if self.posterior is None:
            return abs(off) / error
        posterior, original = self.posterior, self.units.original
        back = original(posterior.moves)  # ∂θ/∂φ

        def off_by(phi: Array) -> float:
            return constraint(original(posterior.theta(phi)))[0] / error

        def slopes(phi: Array) -> Array:
            return np.asarray(constraint(original(posterior.theta(phi)))[1] @ back / error)

        def loss(phi: Array) -> tuple[float, Array]:
            found = posterior.evaluate(phi)
            return self.most.value - found.value, -found.gradient

        how: Any = {
            "method": "SLSQP",
            "bounds": [*zip(*posterior.bounds, strict=True)],
            "constraints": {"type": "eq", "fun": off_by, "jac": slopes},
            "options": {"ftol": 1e-12, "maxiter": 200},
        }
        along = np.linalg.solve(self.most.squares, slopes(self.best))
        d, losses = len(posterior.precision), [math.inf]
        along[d:] = 0.0  # rates would leave their bounds
        across = float(slopes(self.best) @ along)
        start = self.best - off_by(self.best) / across * along if across else self.best.copy()
        for _ in range(2 if len(posterior.room) else 1):  # there may be several maxima
            found = minimize(loss, np.clip(start, *posterior.bounds), jac=True, **how)
            losses += [float(found.fun)] if abs(off_by(found.x)) < 1e-6 else []
            start[d:] += SOME
        return math.sqrt(2 * max(min(losses), 0.0))

    def interval(self, of: Numbered, value: float, *bounds: float) -> tuple[float, float]:
        """(low, high) of a number from its estimate, between the bounds. of: holds where it is `value`."""

        def excess(tried: float) -> float:
            return self.z(partial(of, value=tried)) - self.quantile

        gradient = of(self.theta, value=value)[1]
        error = math.sqrt(float(gradient @ self.covariance @ gradient))
        ends = list[float]()
        for k, sign in enumerate((-1, 1)):
            tries = bounds[k : k + 1] or (value + sign * error * 2.0**j for j in range(DOUBLINGS))
            far = next((tried for tried in tries if excess(tried) > 0), sign * math.inf)
            ends.append(float(brentq(excess, value, far, xtol=1e-6 * error)) if math.isfinite(far) else far)
        return ends[0], ends[1]
