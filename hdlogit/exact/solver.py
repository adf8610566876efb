"""The exact fit: maximum likelihood (or ridge) for all classes at once; each gets a proof, or a reason.

The objective (`hdlogit.exact.objective`) is convex, so a small gradient proves a good fit, however reached:

1. Copy a sample of the trials, or all, in single precision and standardised (`hdlogit.exact.sample`).
2. Descend on the copy (`hdlogit.exact.descent`), for all classes at once.
3. Evaluate the gradient of all trials in double precision. Where it is small, the class is at its minimum;
   where every residual is below 1/2, its responses are separated.
4. Prove that the estimates exist (`hdlogit.exact.existence`). Without a proof Newton's method decides, on all
   trials in double precision (`hdlogit.exact.newton`), and a linear programme what that leaves open.
5. Where the gradient is not small, go to 2, with the copy's gradient shifted by the difference found at the
   last point. Where that does not help, the copy misleads (it lacks an outlier): Newton's method takes over.
6. Where that is asked for, polish, and fit classes that have no estimate to soft responses.

Step 5 is iterative refinement where the copy has all trials, and otherwise Newton's method with the sample's
curvature (DANE: Shamir, Srebro & Zhang, ICML 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import single_threaded_blas
from hdlogit.exact import existence
from hdlogit.exact.descent import State, descend, start
from hdlogit.exact.newton import newton, polished
from hdlogit.exact.objective import Array, Floats, Mask, Trials, check
from hdlogit.exact.sample import Sample

Shrinkage = Literal[0, "auto", "always"]

STEPS = 150  # of a descent: a class that needs more is left to Newton's method
COPY_TOLERANCE = 0.5  # of the tolerance: the descent's
ROUNDS = 50
ALIKE = "its responses are all alike, so no estimate exists, with ridge or without"
NEEDED = "; more trials are needed, or ridge > 0"
SEPARATED = f"the factors separate its responses, so no maximum-likelihood estimate exists{NEEDED}"
UNDECIDED = f"the factors nearly separate its responses: too near to tell whether an estimate exists{NEEDED}"


@dataclass(frozen=True)
class ExactFit:
    """The estimates, and for each class the evidence."""

    coefficients: Array  # (n_factors + 1, n_classes), last row = bias; NaN for a class without an estimate
    reasons: list[str | None]  # why a class has none
    separating: list[list[int] | None]  # the factors that separate its responses, if they do
    loss: Array  # (n_classes,), mean cross-entropy, nats per trial, without the penalty; NaN likewise
    max_gradient: Array  # (n_classes,), largest |component| of the objective's gradient: see `fit`
    converged: Mask  # (n_classes,)
    iterations: NDArray[np.int64]  # (n_classes,), steps of the descent
    shrinkage: Array  # (n_classes,), 1 − δ of the responses that were fitted; 0 for those as they are


@dataclass
class Class:
    """A class on its way; v and gradient are in standardised coefficients: `hdlogit.exact.coordinates`."""

    k: int
    v: Array  # (n_factors + 1,)
    proven: bool  # that the estimate exists
    coefficients: Array  # (n_factors + 1,), for the factors as they are; NaN until they are evaluated
    under_way: bool = True
    reason: str | None = None  # why it has no estimate
    separating: list[int] | None = None
    iterations: int = 0
    # Of all trials, at v, once they have been evaluated there, as the coefficients:
    loss: float = np.nan
    gradient: Array | None = None  # (n_factors + 1,), the objective's
    max_gradient: float = np.inf
    separated: bool = False  # every residual is below 1/2
    improved: bool = True  # this gradient is less than half of the one before

    def end(self, reason: str | None = None) -> None:
        self.under_way, self.reason = False, reason


def fit(
    factors: Floats,
    responses: NDArray[Any],
    ridge: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    progress: Callable[[int, float], None] | None = None,
    polish: bool = False,
    shrinkage: Shrinkage = 0,
) -> ExactFit:
    """The minimum of the objective (`hdlogit.exact.objective`) for every class, with evidence that it is one.

    factors:    (n_trials, n_factors) float64 or float32; may be memory-mapped, and is not copied.
    responses:  (n_trials, n_classes) bool, or numbers in [0, 1].
    ridge:      >= 0, on the weights alone; scikit-learn's C is 1 / (n_trials · ridge).
    tolerance:  a class has converged when max |gradient| <= tolerance. The gradient is that of the class's
                objective for standardised factors: scikit-learn's `tol`, if factors have mean 0, deviation 1.
    max_iterations: steps of the descent after which a class counts as not converged.
    progress:   called after each step of the descent with its number and the largest gradient left.
    polish:     go on from there until the gradient is only rounding, so that float32 weights and six digits
                of whatever follows are the same on any processor; about as much work again, more with many
                factors. Not done where a sample stands for all trials (`hdlogit.exact.sample`).
    shrinkage:  "always", or "auto", for classes without an estimate: fit the soft responses δ y + (1 − δ)/2,
                δ = n/(n + p), in place of y (Diaconis & Ylvisaker's prior). Their estimate always exists,
                and its logits are the same for any linear combinations of the factors (Sterzinger &
                Kosmidis, arXiv:2311.07419). `separating` still names what made it necessary.

    A constant factor has a weight of 0; of equal optima of dependent factors one is found. Raises ValueError
    for arrays that do not fit together, factors that are not finite, and an impossible ridge or tolerance.
    """
    x, y = np.asarray(factors), np.asarray(responses)
    check(x, y, ridge, tolerance)
    softness, steps = x.shape[1] / sum(x.shape), count(1)  # 1 − δ

    def report(left: float) -> None:
        if progress:
            progress(next(steps), left)

    def solved(y: NDArray[Any], softness: float) -> list[Class]:
        trials = Trials(x, y * (1 - softness) + softness / 2 if softness else y)
        return _solve(Sample.draw(trials, ridge, tolerance, report), tolerance, max_iterations, polish)

    with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):  # not finite: refused by name
        used = np.full(y.shape[1], softness if shrinkage == "always" else 0.0)
        classes = solved(y, used[0])
        if shrinkage == "auto" and (missing := [c.k for c in classes if c.reason]):
            for k, c in zip(missing, solved(y[:, missing], softness), strict=True):
                c.separating = classes[k].separating
                classes[k], used[k] = c, softness
    reached = np.array([not c.reason for c in classes])
    return ExactFit(
        coefficients=np.where(reached, np.stack([c.coefficients for c in classes], axis=1), np.nan),
        reasons=[c.reason for c in classes],
        separating=[c.separating for c in classes],
        loss=np.where(reached, [c.loss for c in classes], np.nan),
        max_gradient=np.array([c.max_gradient for c in classes]),
        converged=reached,
        iterations=np.array([c.iterations for c in classes]),
        shrinkage=used,
    )


def _solve(sample: Sample, tolerance: float, max_iterations: int, polish: bool) -> list[Class]:
    """The steps of the module's docstring."""
    classes = _begin(sample)
    for _ in range(ROUNDS):
        going = [c for c in classes if c.under_way]
        if not going:
            break
        _minimise(sample, going, tolerance, max_iterations)
        _evaluate(sample, going)
        _prove(sample, [c for c in going if c.max_gradient <= tolerance and not c.proven], max_iterations)
        for c in going:
            _judge(sample, c, tolerance, max_iterations)
    for c in classes:
        if c.under_way:
            c.end(_not_converged(c, tolerance, max_iterations))
    at_minimum = [c for c in classes if not c.reason]
    if polish and at_minimum and sample.n_trials == len(sample.trials.factors):
        for c, v in zip(at_minimum, polished(sample, *_stacked(at_minimum)), strict=True):
            c.v = v
        _evaluate(sample, at_minimum)
    return classes


def _begin(sample: Sample) -> list[Class]:
    """All classes at half the bias that is best without factors: it grows with the weights."""
    rates, n = sample.trials.responses.mean(axis=0, dtype=np.float64), len(sample.trials.factors)
    v = np.zeros((len(rates), len(sample.ridge)))
    v[:, -1] = np.log((rates + 0.5 / n) / (1 - rates + 0.5 / n)) / 2
    classes = [Class(k, v[k], bool(sample.ridge.any()), np.full_like(v[k], np.nan)) for k in range(len(v))]
    for k in np.flatnonzero((rates == 0) | (rates == 1)):
        classes[k].end(ALIKE)
    return classes


def _minimise(sample: Sample, going: list[Class], tolerance: float, max_iterations: int) -> None:
    """Step 2: to the copy's minimum, or to where a class's responses are separated."""
    rows, v = _stacked(going)
    state = start(sample, v, rows)
    known = [state.gradient[i] if c.gradient is None else c.gradient for i, c in enumerate(going)]
    state = state.shifted(np.array(known) - state.gradient)
    may_be_separated = sample.trials.hard[rows] & ~np.array([c.proven for c in going])

    def arrived(now: State) -> Mask:
        small = np.abs(now.gradient).max(axis=1) <= COPY_TOLERANCE * tolerance
        return np.asarray(small | (may_be_separated[now.rows] & now.separates))

    v, _, iterations = descend(sample, state, arrived, _steps_left(going, max_iterations))
    for i, c in enumerate(going):
        c.v = v[i] if np.isfinite(v[i]).all() else c.v
        c.iterations += int(iterations[i])


def _evaluate(sample: Sample, classes: list[Class]) -> None:
    """Step 3: all trials, in double precision. Raises ValueError where the factors are not finite."""
    rows, v = _stacked(classes)
    coefficients, loss, gradient, separated = sample.evaluate(v, rows)
    if not np.isfinite(gradient).all():
        sample.trials.refuse()
    for i, c in enumerate(classes):
        largest = float(np.abs(gradient[i]).max())
        c.improved = largest < c.max_gradient / 2
        c.coefficients, c.gradient, c.max_gradient = coefficients[i], gradient[i], largest
        c.loss, c.separated = float(loss[i]), bool(separated[i])


def _prove(sample: Sample, at_minimum: list[Class], max_iterations: int) -> None:
    """Step 4, for all classes at once."""
    if at_minimum:
        rows, v = _stacked(at_minimum)
        proven, iterations = existence.prove(sample, v, rows, _steps_left(at_minimum, max_iterations))
        for i, c in enumerate(at_minimum):
            c.proven, c.iterations = bool(proven[i]), c.iterations + int(iterations[i])


def _judge(sample: Sample, c: Class, tolerance: float, max_iterations: int) -> None:
    """Steps 4 and 5, for a class by itself: has it ended, or from where does it go on?"""
    separated = not c.proven and c.separated and sample.trials.hard[c.k]
    if not separated and c.max_gradient > tolerance and c.iterations >= max_iterations:
        return c.end(_not_converged(c, tolerance, max_iterations))
    if not c.proven:
        exists, v = (False, c.v) if separated else existence.decide(sample, c.k, tolerance)
        if not exists:
            c.separating = None if exists is None else existence.factors_that_separate(sample, c.k, v)
            return c.end(UNDECIDED if exists is None else SEPARATED)
        c.proven = True
        if c.max_gradient > tolerance:
            c.v = v
            _evaluate(sample, [c])
    if c.max_gradient > tolerance and not c.improved:
        _, c.v = newton(sample, c.k, c.v, tolerance, known=True)
        _evaluate(sample, [c])
        if c.max_gradient > tolerance:
            return c.end(_not_converged(c, tolerance, max_iterations))
    if c.max_gradient <= tolerance:
        c.end()


def _not_converged(c: Class, tolerance: float, max_iterations: int) -> str:
    more = "more of them are needed, or " if c.iterations >= max_iterations else "it needs "
    reached = f"max |gradient| is {c.max_gradient:.2g} > tolerance {tolerance:.2g}"
    return f"not converged, {reached} after {c.iterations} iterations; {more}a larger tolerance"


def _steps_left(classes: list[Class], max_iterations: int) -> NDArray[np.int64]:
    return np.array([min(STEPS, max_iterations - c.iterations) for c in classes])


def _stacked(classes: list[Class]) -> tuple[NDArray[np.intp], Array]:
    """Which classes these are, and their v (n, n_factors + 1)."""
    return np.array([c.k for c in classes]), np.array([c.v for c in classes])
