"""The exact fit: maximum likelihood (or ridge) for all classes at once; each gets a proof, or a reason why not.

The objective (`hdlogit.exact.objective`) is convex, so a small gradient proves a good fit, however it was reached:

1. Copy a sample of the trials, or all, in single precision and standardised (`hdlogit.exact.sample`).
2. Descend on it (`hdlogit.exact.descent`), proving on the way that the estimate exists (`hdlogit.exact.existence`).
3. Evaluate the gradient of all trials in double precision. Where it is small enough, the class has converged; where
   every residual is below 1/2, its responses are separated; where there was no proof, Newton's method on all trials in
   double precision decides (`hdlogit.exact.newton`), and a linear programme what that leaves open.
4. Descend again on the sample, its gradient shifted by the difference found at the last point, and go to 3. Where that
   does not end, the sample misleads (it lacks an outlier): Newton's method takes over.
5. Where that is asked for, polish (`hdlogit.exact.polish`).

Step 4 is iterative refinement where the sample is all trials, and otherwise Newton's method with the sample's curvature
(DANE: Shamir, Srebro & Zhang, ICML 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlogit.compute.threads import single_threaded_blas
from hdlogit.exact.descent import State as Descent
from hdlogit.exact.descent import descend, secant, start
from hdlogit.exact.existence import DIVERGED, Proof, decide
from hdlogit.exact.objective import Array, Mask, Trials, check
from hdlogit.exact.polish import polish_from
from hdlogit.exact.sample import Sample

UNPROVEN = 150  # iterations to the sample's minimum and from there to a proof, after which a class is in doubt
REFINING = 20  # iterations to a shifted minimum: if it takes more, the sample misleads
MISLED = 8  # evaluations after which the sample is taken to mislead, and Newton's method on all trials takes over
SAMPLE_TOLERANCE = 0.5  # of the tolerance
MAX_ROUNDS = 50
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
    evaluations: Kind  # (n_classes,), gradients over all trials in double precision, one in each round


@dataclass(frozen=True)
class Aim:
    """What the fit must reach: see `fit`."""

    tolerance: float
    max_iterations: int
    progress: Callable[[int, float], None] | None

    def after(self, iterations: NDArray[np.int64], sample: Sample) -> Callable[[int, Array], None]:
        """A callback for a descent that begins after these iterations, of its turn and gradients (n, n_factors + 1)."""

        def report(turn: int, gradient: Array) -> None:
            if self.progress:
                self.progress(int(iterations.max()) + turn, float(sample.coordinates.largest(gradient).max()))

        return report


@dataclass(frozen=True)
class State:
    """All classes between two rounds; arrays have one row, or number, for each."""

    status: NDArray[np.int64]
    base: Array  # (n_classes, n_factors + 1), the last points that were not a step too far
    gradient: Array  # the objective's there, in standardised coefficients; NaN at first
    points: Array  # where to evaluate it next: the sample's minimum, or back from there
    back: Mask
    proven: Mask  # that the estimate exists
    separating: NDArray[np.uint8]  # (n_classes, n_factors)
    coefficients: Array  # (n_classes, n_factors + 1), where it was evaluated last
    loss: Array
    max_gradient: Array
    iterations: NDArray[np.int64]
    evaluations: NDArray[np.int64]

    @property
    def classes(self) -> NDArray[np.intp]:
        """The classes that are under way."""
        return np.flatnonzero(self.status == UNDER_WAY)


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
                follows are the same on any processor; about as much work again. Not done where the trials are so many
                that a sample stands for them (`hdlogit.exact.sample`).

    Raises ValueError for arrays that do not fit together or are of another kind, for factors that are not finite, and
    for an impossible ridge or tolerance.
    """
    x, y = (a.numpy() if isinstance(a, Tensor) else a for a in (factors, responses))
    check(x, y, ridge, tolerance)
    aim = Aim(tolerance, max_iterations, progress)
    with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):  # not finite: refused by name
        sample = Sample.draw(Trials(x, y), ridge, tolerance)
        state = _begin(sample, ridge)
        early = min(UNPROVEN, max_iterations)
        state = minimise(sample, state, aim, early)
        state = evaluate(sample, state, aim)
        for _ in range(MAX_ROUNDS):
            if not len(state.classes):
                break
            state = evaluate(sample, minimise(sample, state, aim, max_iterations), aim)
        if polish and sample.n_trials == len(x):
            state = polished(sample, state)
    found = _result(state, aim)
    if isinstance(factors, Tensor):
        tensors: dict[str, Any] = {k: torch.from_numpy(v) for k, v in vars(found).items() if isinstance(v, np.ndarray)}
        found = replace(found, **tensors)
    return found  # type: ignore[return-value]  # NumPy or torch, as the factors are


def _begin(sample: Sample, ridge: float) -> State:
    y, n_factors = sample.trials.responses, sample.trials.factors.shape[1]
    n_classes = y.shape[1]
    yes, n = sample.subset[1].sum(1, dtype=np.float64), len(sample.subset[0])
    base = np.zeros((n_classes, n_factors + 1))
    base[:, -1] = np.log((yes + 0.5) / (n - yes + 0.5)) / 2  # half the best bias alone: it grows with the weights
    nothing = np.full(n_classes, np.nan)
    return State(
        status=np.where((y.min(0) == 1) | (y.max(0) == 0), ALIKE, UNDER_WAY),
        base=base,
        gradient=np.full_like(base, np.nan),
        points=base,
        back=np.zeros(n_classes, dtype=np.bool_),
        proven=np.full(n_classes, ridge > 0),
        separating=np.zeros((n_classes, n_factors), dtype=np.uint8),
        coefficients=np.full_like(base, np.nan),
        loss=nothing,
        max_gradient=nothing,
        iterations=np.zeros(n_classes, dtype=np.int64),
        evaluations=np.zeros(n_classes, dtype=np.int64),
    )


def minimise(sample: Sample, state: State, aim: Aim, max_iterations: int) -> State:
    """The sample's shifted minimum, for every class under way that need not go back.

    From there a class without a proof looks for one, that its estimate exists; it returns to the minimum if it fails.
    max_iterations: the most that a class may have had by then, in total.
    """
    classes = np.flatnonzero((state.status == UNDER_WAY) & ~state.back)
    begin, known = start(sample, state.base[classes], classes), np.isfinite(state.gradient[classes, 0])
    shift = np.where(known[:, None], state.gradient[classes] - begin.gradient, 0)
    proof, proven, hard = Proof(sample, classes), state.proven[classes], sample.trials.hard[classes]
    minima = begin.v.copy()
    proving, separated = np.zeros((2, len(classes)), dtype=np.bool_)

    def settle(now: Descent) -> tuple[Descent, Mask]:
        """A class at its minimum leaves if there is a proof; or else it goes on to the tilted minimum, to find one."""
        rows, unproven = now.rows, ~proven[now.rows]
        there = ~proving[rows] & (sample.coordinates.largest(now.gradient) <= SAMPLE_TOLERANCE * aim.tolerance)
        separated[rows] = unproven & hard[rows] & (now.worst < 0.5)
        leaving, tilted = separated[rows] | (there & ~unproven), there & unproven
        if proving[rows].any():
            proven[rows] |= proof.holds(now, proving[rows])
            leaving |= proving[rows] & (proven[rows] | (np.abs(now.v).max(1) > DIVERGED))
        if tilted.any():
            proving[rows[tilted]], minima[rows[tilted]] = True, now.v[tilted]
            now = now.shifted(np.where(tilted[:, None], proof.tilt[rows], 0))
        return now, leaving

    left = np.minimum(np.where(known, REFINING, max_iterations), max_iterations - state.iterations[classes])
    end, more = descend(sample, begin.shifted(shift), settle, left, aim.after(state.iterations, sample))
    there = np.where((separated | ~proving)[:, None], end, minima)
    new = {name: getattr(state, name).copy() for name in ("points", "proven", "iterations")}
    new["points"][classes] = np.where(np.isfinite(there).all(axis=1, keepdims=True), there, state.base[classes])
    new["proven"][classes], new["iterations"][classes] = proven, state.iterations[classes] + more
    return replace(state, **new)


def evaluate(sample: Sample, state: State, aim: Aim) -> State:
    """Evaluate all trials, in double precision: which classes are finished, and from where do the others go on?"""
    trials, c, classes = sample.trials, sample.coordinates, state.classes
    new = {name: array.copy() for name, array in vars(state).items()}
    coefficients, loss, gradient, worst = sample.evaluate(state.points[classes], classes)
    if not np.isfinite(gradient).all():
        trials.refuse()
    largest = c.largest(gradient)

    step = state.points[classes] - state.base[classes]  # where it was too long, go back by the secant
    before = np.vecdot(np.nan_to_num(state.gradient[classes]), step)
    length = secant(before, np.vecdot(gradient, step))
    back = (length < 1) & (largest > aim.tolerance)
    new["back"][classes] = back
    new["points"][classes] = state.base[classes] + length[:, None] * step
    new["base"][classes[~back]], new["gradient"][classes[~back]] = state.points[classes[~back]], gradient[~back]

    status = np.where(largest <= aim.tolerance, CONVERGED, UNDER_WAY)
    status[(status == UNDER_WAY) & (state.iterations[classes] >= aim.max_iterations)] = NOT_CONVERGED
    new["coefficients"][classes], new["loss"][classes], new["max_gradient"][classes] = coefficients, loss, largest
    new["evaluations"][classes] += 1
    completely = (worst < 0.5) & trials.hard[classes] & ~state.proven[classes]
    unproven = completely | (~state.proven[classes] & (status != NOT_CONVERGED))
    misled = (status == UNDER_WAY) & (state.evaluations[classes] == MISLED)
    rows = np.flatnonzero(unproven | misled)
    found, there = np.full(len(classes), UNDER_WAY), state.points[classes]
    for row in rows:
        k, report = classes[row], aim.after(state.iterations[classes[[row]]], sample)
        known = False if completely[row] else True if state.proven[k] else None
        exists, there[row], new["separating"][k] = decide(sample, k, there[row], known, aim.tolerance, report)
        found[row] = {True: UNDER_WAY, False: SEPARATED, None: UNDECIDED}[exists]
    there_is = rows[found[rows] == UNDER_WAY]
    new["proven"][classes[there_is]] = True
    again = there_is[status[there_is] == UNDER_WAY]
    new["points"][classes[again]] = new["base"][classes[again]] = there[again]
    new["back"][classes[again]], new["gradient"][classes[again]] = True, np.nan
    new["status"][classes] = np.where(found == UNDER_WAY, status, found)
    return State(**new)


def polished(sample: Sample, state: State) -> State:
    """With the gradients of the classes that have converged made as small as rounding allows."""
    classes = np.flatnonzero(state.status == CONVERGED)
    new = {name: getattr(state, name).copy() for name in ("coefficients", "loss", "max_gradient")}
    new["coefficients"][classes], new["loss"][classes], gradient = polish_from(sample, state.base[classes], classes)
    new["max_gradient"][classes] = sample.coordinates.largest(gradient)
    return replace(state, **new)


def _result(state: State, aim: Aim) -> ExactFit[NDArray[Any]]:
    status = np.where(state.status == UNDER_WAY, NOT_CONVERGED, state.status)
    converged, more = status == CONVERGED, "more of them are needed, or "
    reasons = [
        REASONS[s].format(state.max_gradient[k], aim.tolerance, n, more if n >= aim.max_iterations else "it needs ")
        if s != CONVERGED
        else None
        for k, (s, n) in enumerate(zip(status, state.iterations, strict=True))
    ]
    return ExactFit(
        coefficients=np.where(converged[:, None], state.coefficients, np.nan).T.copy(),
        reasons=reasons,
        separating=[np.flatnonzero(row).tolist() if row.any() else None for row in state.separating],
        loss=np.where(converged, state.loss, np.nan),
        max_gradient=state.max_gradient,
        converged=converged,
        iterations=state.iterations,
        evaluations=state.evaluations,
    )
