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
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import ndtri

from hdlogit.inference.joint import prior
from hdlogit.inference.observer import HIGHEST, Block, Posterior, maximise
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import NUMBERS, Array, Factors, Names, Responses, Units

MOST_FACTORS, MOST_CONDITIONS = 30, 20
EXACT = 1e-9  # of a factor that is a line along the stimulus, relative to its size
MANY = 20_000  # distinct trials beyond which likelihood ratios take long, and Wald's test is as good
LEAST, SOME = 1e-6, 0.05  # rate that is tested as 0; that is added in a second search
DOUBLINGS = 12  # of a standard error, before an interval is without end
WIDTH, JND = 2 * math.log(19), math.log(3)

Function = Callable[[Array], Any]  # of the parameters; of complex ones, too, for its gradient


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
    factors: (n, p), which are (x − centre)/scale. Names with a colon are products. Lagged factors are no
    conditions of the stimulus: everything is said where they are at their mean.
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
    lines = []
    for j in many or two:
        others = [k for k in two if k != j]
        if conditions := _conditions(factors, values[:, j], values[:, others], [words[k] for k in others]):
            lines.append(Stimulus(words[j], values[:, j], conditions))
    return lines[:1] if many else lines


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
    parts, coded = list[str](), dict[str, tuple[list[str], list[str]]]()
    for name, value in zip(names, values, strict=True):
        word, _, level = name.removesuffix("]").partition("[T.")
        if level:
            coded.setdefault(word, ([], []))[int(value > 0.5)].append(level)
        else:
            parts.append(f"{name} = {value:g}")
    for word, (off, on) in coded.items():
        neither = f"neither {' nor '.join(off)}" if off[1:] else f"not {''.join(off)}"
        parts.append(f"{word} is {on[0] if on else neither}")
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
            rate = float(tests.theta[k])
            low, high = tests.interval(itemgetter(k), max(rate, LEAST), LEAST, tests.largest)
            rows.append(Estimate(stimulus.name, "", name, rate, max(low, 0.0), min(high, tests.largest), ""))
    return rows


def _of_condition(tests: _Tests, one: Condition, x: Array, at: Sequence[float]) -> Iterator[tuple[Any, ...]]:
    """Quantity, estimate, low, high, note."""
    of, at_zero = (np.append(part, [0.0, 0.0]) for part in (one.per_unit, one.at_zero))
    guess, lapse = tests.theta[-2:].tolist()
    weight, centre, scale = float(of @ tests.theta), float(x.mean()), float(x.std())
    flat = tests.z(lambda theta: of @ theta) < tests.quantile
    note = "a slope of 0 is not rejected" if flat else ""
    for q in (None, *at):

        def height(theta: Array, q: float | None = q) -> Any:
            """The logit at the centre above that where P(yes) = q; None: half of it without rates."""
            if q is None:
                return (at_zero + centre * of) @ theta
            odds = np.maximum(q - theta[-2], LEAST) / np.maximum(1 - theta[-1] - q, LEAST)
            return (at_zero + centre * of) @ theta - np.log(odds)

        def off(theta: Array, angle: float, height: Function = height) -> Any:
            """The threshold is at centre + scale · tan(angle); at ±π/2 the slope is 0."""
            return math.cos(angle) * height(theta) + math.sin(angle) * scale * (of @ theta)

        name = "threshold" if q is None else f"threshold at {q:g}"
        if q is not None and not guess < q < 1 - lapse:
            yield name, math.nan, -math.inf, math.inf, f"P(yes) is never {q:g}"
            continue
        angle = math.atan(-height(tests.theta) / (scale * weight)) if weight else math.pi / 2
        ends = [-math.inf, math.inf]
        if not flat:
            angles = tests.values(off, angle, -math.pi / 2, math.pi / 2)
            ends = [centre + scale * math.tan(end) for end in angles]
        yield name, centre + scale * math.tan(angle), *ends, note

    def slope(theta: Array) -> Any:
        return (1 - theta[-2] - theta[-1]) * (of @ theta) / 4

    yield "slope", float(slope(tests.theta)), *tests.interval(slope), ""
    smallest, largest = sorted(map(abs, tests.interval(lambda theta: of @ theta)))
    for name, size in (("width", WIDTH), ("JND", JND)):
        slopes = abs(weight), largest, 0.0 if flat else smallest
        width, low, high = (size / w if w else math.inf for w in slopes)
        yield name, width, low, high, note


def _gradient(function: Function, theta: Array) -> Array:
    """By complex steps, which lose no digits (Squire & Trapp, SIAM Review 1998)."""
    step = 1e-30
    return np.array([function(theta + step * 1j * axis).imag for axis in np.eye(len(theta))]) / step


class _Tests:
    """Of one class: which values of a number that depends on its parameters θ = (w, b, g, l) are rejected."""

    def __init__(self, c: ClassInference, factors: Factors, responses: Responses, quantile: float) -> None:
        """quantile: of |z| beyond which a value is rejected."""
        self.theta, self.covariance = np.append(c.corrected, [c.guess_rate, c.lapse_rate]), c.covariance
        self.quantile, self.posterior, self.largest = quantile, None, 0.5  # of rates
        if c.profiles is None:
            return
        rows, places, n = np.unique(factors, axis=0, return_inverse=True, return_counts=True)
        if len(rows) > MANY:
            return
        units = Units(len(factors), c.centre, c.scale)
        t, yes = units.standardise(rows), np.bincount(places.ravel(), responses).astype(np.float64)
        block = Block(t, yes, n.astype(np.float64))
        self.posterior = Posterior(lambda: [block], prior(factors, units), c.link.known)
        self.moves = units.original(self.posterior.moves)  # ∂θ/∂φ
        self.largest = (1 - LEAST) * HIGHEST * min(self.posterior.room, default=1.0)
        rates = [rate for rate, known in zip(self.theta[-2:], c.link.known, strict=True) if known is None]
        near = np.append(units.coefficients(c.corrected[:, None]), rates)
        self.best, self.most = maximise(self.posterior, near)

    def error(self, function: Function) -> float:
        """Standard error of a number, by the delta method."""
        gradient = _gradient(function, self.theta)
        return math.sqrt(max(float(gradient @ self.covariance @ gradient), 1e-300))

    def z(self, function: Function) -> float:
        """|z| of the test that a number is 0."""
        error = self.error(function)
        if self.posterior is None:
            return abs(float(function(self.theta))) / error
        posterior, moves = self.posterior, self.moves

        def off(phi: Array) -> Any:
            return function(posterior.given + moves @ phi) / error

        def loss(phi: Array) -> tuple[float, Array]:
            here = posterior.evaluate(phi)
            return self.most.value - here.value, -here.gradient

        how: Any = {
            "method": "SLSQP",
            "bounds": [*zip(*posterior.bounds, strict=True)],
            "constraints": {"type": "eq", "fun": off, "jac": lambda phi: _gradient(off, phi)},
            "options": {"ftol": 1e-12, "maxiter": 200},
        }
        slopes = _gradient(off, self.best)
        along = np.linalg.solve(self.most.squares, slopes)
        d, losses = len(posterior.precision), [math.inf]
        along[d:] = 0.0  # rates would leave their bounds
        across = float(slopes @ along)
        start = self.best - off(self.best) / across * along if across else self.best.copy()
        for _ in range(2 if len(posterior.room) else 1):  # there may be several maxima
            tried = minimize(loss, np.clip(start, *posterior.bounds), jac=True, **how)
            losses += [float(tried.fun)] if abs(off(tried.x)) < 1e-6 else []
            start[d:] += SOME
        return math.sqrt(2 * max(min(losses), 0.0))

    def interval(self, function: Function, *value_and_bounds: float) -> tuple[float, float]:
        """(low, high) of a number, from its estimate or the given value."""
        value, *bounds = value_and_bounds or (float(function(self.theta)),)
        return self.values(lambda theta, value: function(theta) - value, value, *bounds)

    def values(self, off: Callable[[Array, float], Any], value: float, *bounds: float) -> tuple[float, float]:
        """(low, high) of the values around this one at which `off` = 0 is not rejected, between bounds."""

        def excess(tried: float) -> float:
            return self.z(lambda theta: off(theta, tried)) - self.quantile

        error = self.error(lambda theta: off(theta, value))
        ends = list[float]()
        for k, sign in enumerate((-1, 1)):
            tries = bounds[k : k + 1] or (value + sign * error * 2.0**j for j in range(DOUBLINGS))
            far = next((tried for tried in tries if excess(tried) > 0), sign * math.inf)
            ends.append(float(brentq(excess, value, far, xtol=1e-6 * error)) if math.isfinite(far) else far)
        return ends[0], ends[1]
