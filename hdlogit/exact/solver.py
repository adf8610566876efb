"""The exact fit: maximum likelihood (or ridge) for all classes at once; each gets a proof, or a reason why not.

The objective (`hdlogit.exact.objective`) is convex, so a small gradient proves a good fit, however it was reached:

1. Copy a sample of the trials, or all, in single precision and standardised (`hdlogit.exact.sample`).
2. Descend on the copy (`hdlogit.exact.descent`), for all classes at once.
3. Evaluate the gradient of all trials in double precision. Where it is small, the class is at its minimum; where every
   residual is below 1/2, its responses are separated.
4. Prove that the estimates exist (`hdlogit.exact.existence`). Without a proof Newton's method decides, on all trials in
   double precision (`hdlogit.exact.newton`), and a linear programme what that leaves open.
5. Where the gradient is not small, go to 2, with the copy's gradient shifted by the difference found at the last point.
   Where that no longer helps, the copy misleads (it lacks an outlier): Newton's method takes over.
6. Where that is asked for, polish.

Step 5 is iterative refinement where the copy has all trials, and otherwise Newton's method with the sample's curvature
(DANE: Shamir, Srebro & Zhang, ICML 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlogit.compute.threads import single_threaded_blas
from hdlogit.exact import existence
from hdlogit.exact.descent import State, descend, start
from hdlogit.exact.newton import newton, polished
from hdlogit.exact.objective import Array, Mask, Trials, check
from hdlogit.exact.sample import Sample

STEPS = 150  # of a descent: a class that needs more is left to Newton's method
COPY_TOLERANCE = 0.5  # of the tolerance: the descent's
ROUNDS = 50
UNDER_WAY, CONVERGED, NOT_CONVERGED, ALIKE, SEPARATED, UNDECIDED = range(6)
REASONS = {
    ALIKE: "its responses are all alike, so no estimate exists, with ridge or without",
    SEPARATED: "the factors separate its responses, so no maximum-likelihood estimate exists; more trials are needed, "
    "or ridge > 0",
    UNDECIDED: "the factors nearly separate its responses, too nearly to tell whether an estimate exists; more trials "
    "are needed, or ridge > 0",
    NOT_CONVERGED: "not converged, max |gradient| is {:.2g} > tolerance {:.2g} after {} iterations; "
    "{}a larger tolerance",
}
Kind = TypeVar("Kind", Tensor, NDArray[Any])


@dataclass(frozen=True)
class ExactFit(Generic[Kind]):
    """The estimates, and for each class the evidence."""

    coefficients: Kind  # (n_factors + 1, n_classes) float64, last row = bias; NaN for a class without an estimate
    reasons: list[str | None]  # why a class has none
    separating: list[list[int] | None]  # the factors that separate it, if they do
    loss: Kind  # (n_classes,), mean cross-entropy, nats per trial, without the penalty; NaN likewise
    max_gradient: Kind  # (n_classes,), largest |component| of the objective's gradient: see `fit`
    converged: Kind  # (n_classes,) bool
    iterations: Kind  # (n_classes,), steps of the descent


@dataclass
class Class:
    """A class on its way; v and its gradient are in standardised coefficients (`hdlogit.exact.coordinates`)."""

    k: int
    v: Array  # (n_factors + 1,)
    proven: bool  # that the estimate exists
    status: int = UNDER_WAY
    separating: list[int] | None = None
    iterations: int = 0
    # Of all trials, at v, once they have been evaluated there:
    coefficients: Array | None = None  # (n_factors + 1,)
    loss: float = np.nan
    gradient: Array | None = None  # (n_factors + 1,), the objective's
    max_gradient: float = np.inf
    separated: bool = False  # every residual is below 1/2
    improved: bool = True  # this gradient is less than half of the one before


@dataclass(frozen=True)
class Aim:
    """What the fit must reach, see `fit`, and how it reports on its way there."""

    tolerance: float
    max_iterations: int
    report: Callable[[Array], None]  # of gradients (n, n_factors + 1), after each step


def fit(
    factors: Kind,
    responses: Kind,
    ridge: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    progress: Callable[[int, float], None] | None = None,
    polish: bool = False,
) -> ExactFit[Kind]:
    """The minimum of the objective (`hdlogit.exact.objective`) for every class, with the evidence that it is one.

    factors:    (n_trials, n_factors) float64 or float32, NumPy or torch (CPU); may be memory-mapped, and is not copied.
    responses:  (n_trials, n_classes) bool, or numbers in [0, 1].
    ridge:      >= 0, on the weights alone; scikit-learn's C is 1 / (n_trials · ridge).
    tolerance:  a class has converged when max |gradient| <= tolerance. The gradient is that of the class's objective,
                for factors as deviations from their means, in units of the power of two nearest to their standard
                deviations: for factors of mean 0 and deviation 1, what scikit-learn's `tol` bounds.
    max_iterations: steps of the descent after which a class counts as not converged.
    progress:   called after each step of the descent with its number and the largest gradient left.
    polish:     go on from there until the gradient is only rounding, so that float32 weights and six digits of whatever
                follows are the same on any processor; up to three times as much work again. Not done where the trials
                are so many that a sample stands for them (`hdlogit.exact.sample`).

    Raises ValueError for arrays that do not fit together or are of another kind, for factors that are not finite, and
    for an impossible ridge or tolerance.
    """
    x, y = (a.numpy() if isinstance(a, Tensor) else a for a in (factors, responses))
    check(x, y, ridge, tolerance)
    turns = count(1)
    with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):  # not finite: refused by name
        sample = Sample.draw(Trials(x, y), ridge, tolerance)

        def report(gradient: Array) -> None:
            if progress:
                progress(next(turns), float(sample.coordinates.largest(gradient).max()))

        aim = Aim(tolerance, max_iterations, report)
        classes = begin(sample, proven=ridge > 0)
        for _ in range(ROUNDS):
            going = [c for c in classes if c.status == UNDER_WAY]
            if not going:
                break
            minimise(sample, going, aim)
            evaluate(sample, going)
            prove(sample, [c for c in going if c.max_gradient <= tolerance and not c.proven], aim)
            for c in going:
                judge(sample, c, aim)
        at_minimum = [c for c in classes if c.status == CONVERGED]
        if polish and sample.n_trials == len(x) and at_minimum:
            for c in at_minimum:
                c.v = polished(sample, c.k, c.v)
            evaluate(sample, at_minimum)
    found = result(classes, aim)
    if isinstance(factors, Tensor):
        tensors: dict[str, Any] = {k: torch.from_numpy(v) for k, v in vars(found).items() if isinstance(v, np.ndarray)}
        found = replace(found, **tensors)
    return found  # type: ignore[return-value]  # NumPy or torch, as the factors are


def begin(sample: Sample, proven: bool) -> list[Class]:
    """All classes at half the bias that is best without factors: it grows with the weights."""
    y, (factors, some) = sample.trials.responses, sample.subset
    yes, n = some.sum(axis=1, dtype=np.float64), len(factors)
    alike = (y.min(axis=0) == 1) | (y.max(axis=0) == 0)
    v = np.zeros((len(some), factors.shape[1]))
    v[:, -1] = np.log((yes + 0.5) / (n - yes + 0.5)) / 2
    return [Class(k, v[k], proven, ALIKE if alike[k] else UNDER_WAY) for k in range(len(v))]


def minimise(sample: Sample, going: list[Class], aim: Aim) -> None:
    """Step 2: to the copy's minimum, or to where a class's responses are separated."""
    rows, v = np.array([c.k for c in going]), np.array([c.v for c in going])
    state = start(sample, v, rows)
    known = [state.gradient[i] if c.gradient is None else c.gradient for i, c in enumerate(going)]
    state = state.shifted(np.array(known) - state.gradient)
    may_be_separated = sample.trials.hard[rows] & ~np.array([c.proven for c in going])

    def arrived(now: State) -> Mask:
        small = sample.coordinates.largest(now.gradient) <= COPY_TOLERANCE * aim.tolerance
        return np.asarray(small | (may_be_separated[now.rows] & now.separates))

    steps = np.array([min(STEPS, aim.max_iterations - c.iterations) for c in going])
    v, _, iterations = descend(sample, state, arrived, steps, aim.report)
    for i, c in enumerate(going):
        c.v = v[i] if np.isfinite(v[i]).all() else c.v
        c.iterations += int(iterations[i])


def evaluate(sample: Sample, classes: list[Class]) -> None:
    """Step 3: all trials, in double precision. Raises ValueError where the factors are not finite."""
    rows, v = np.array([c.k for c in classes]), np.array([c.v for c in classes])
    coefficients, loss, gradient, separated = sample.evaluate(v, rows)
    if not np.isfinite(gradient).all():
        sample.trials.refuse()
    largest = sample.coordinates.largest(gradient)
    for i, c in enumerate(classes):
        c.improved = bool(largest[i] < c.max_gradient / 2)
        c.coefficients, c.gradient = coefficients[i], gradient[i]
        c.loss, c.max_gradient, c.separated = float(loss[i]), float(largest[i]), bool(separated[i])


def prove(sample: Sample, at_minimum: list[Class], aim: Aim) -> None:
    """Step 4, for all classes at once."""
    if not at_minimum:
        return
    rows, v = np.array([c.k for c in at_minimum]), np.array([c.v for c in at_minimum])
    steps = np.array([min(STEPS, aim.max_iterations - c.iterations) for c in at_minimum])
    proven, iterations = existence.prove(sample, v, rows, steps, aim.report)
    for i, c in enumerate(at_minimum):
        c.proven, c.iterations = bool(proven[i]), c.iterations + int(iterations[i])


def judge(sample: Sample, c: Class, aim: Aim) -> None:
    """Steps 4 and 5, for a class by itself: has it ended, or from where does it go on?"""
    if not c.proven and c.separated and sample.trials.hard[c.k]:
        c.status, c.separating = SEPARATED, existence.factors_that_separate(sample, c.k, c.v)
        return
    if c.max_gradient > aim.tolerance and c.iterations >= aim.max_iterations:
        c.status = NOT_CONVERGED
        return
    if not c.proven:
        exists, v, c.separating = existence.decide(sample, c.k, c.v, aim.tolerance, aim.report)
        if not exists:
            c.status = UNDECIDED if exists is None else SEPARATED
            return
        c.proven = True
        if c.max_gradient > aim.tolerance and v is not c.v:
            c.v = v
            evaluate(sample, [c])
    if c.max_gradient > aim.tolerance and not c.improved:
        _, c.v = newton(sample, c.k, c.v, aim.tolerance, aim.report, exists=True)
        evaluate(sample, [c])
        c.status = NOT_CONVERGED
    if c.max_gradient <= aim.tolerance:
        c.status = CONVERGED


def result(classes: list[Class], aim: Aim) -> ExactFit[NDArray[Any]]:
    """The estimates, and the reasons why there are none; a class that is still under way has not converged."""
    reasons: list[str | None] = []
    for c in classes:
        status = NOT_CONVERGED if c.status == UNDER_WAY else c.status
        more = "more of them are needed, or " if c.iterations >= aim.max_iterations else "it needs "
        text = (
            REASONS[status].format(c.max_gradient, aim.tolerance, c.iterations, more) if status != CONVERGED else None
        )
        reasons.append(text)
    missing = np.full_like(classes[0].v, np.nan)
    coefficients = [missing if c.coefficients is None or c.status != CONVERGED else c.coefficients for c in classes]
    converged = np.array([c.status == CONVERGED for c in classes])
    return ExactFit(
        coefficients=np.column_stack(coefficients),
        reasons=reasons,
        separating=[c.separating for c in classes],
        loss=np.where(converged, [c.loss for c in classes], np.nan),
        max_gradient=np.array([c.max_gradient for c in classes]),
        converged=converged,
        iterations=np.array([c.iterations for c in classes]),
    )
