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
    proven: bool = False  # that the estimate exists
    under_way: bool = True
    reason: str | None = None  # why it has no estimate
    separating: list[int] | None = None
    iterations: int = 0
    # Of all trials, at v, once they have been evaluated there:
    coefficients: Array | None = None  # (n_factors + 1,), for the factors as they are
    loss: float = np.nan
    gradient: Array | None = None  # (n_factors + 1,), the objective's
    max_gradient: float = np.inf
    separated: bool = False  # every residual is below 1/2
    improved: bool = True  # this gradient is less than half of the one before


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
    for arrays that do not fit together or are of another kind, for factors that are not finite, and for an
    impossible ridge or tolerance.
    """
    x, y = np.asarray(factors), np.asarray(responses)
    check(x, y, ridge, tolerance)
    softness, always = x.shape[1] / sum(x.shape), shrinkage == "always"  # 1 − δ
    used = np.full(y.shape[1], softness if always else 0.0)
    steps = count(1)

    def report(left: float) -> None:
        if progress:
            progress(next(steps), left)

    def solved(y: NDArray[Any]) -> list[Class]:
        sample = Sample.draw(Trials(x, y), ridge, tolerance, report)
        return Solver(sample, tolerance, max_iterations).solve(polish)

    def soft(y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(y * (1 - softness) + softness / 2)

    with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):  # not finite: refused by name
        classes = solved(soft(y) if always else y)
        missing = [c.k for c in classes if c.reason and shrinkage == "auto"]
        for k, c in zip(missing, solved(soft(y[:, missing])) if missing else [], strict=True):
            c.separating = classes[k].separating
            classes[k], used[k] = c, softness
    return _result(classes, used)


def _result(classes: list[Class], shrinkage: Array) -> ExactFit:
    nothing = np.full_like(classes[0].v, np.nan)
    estimates = [nothing if c.reason or c.coefficients is None else c.coefficients for c in classes]
    return ExactFit(
        coefficients=np.column_stack(estimates),
        reasons=[c.reason for c in classes],
        separating=[c.separating for c in classes],
        loss=np.array([np.nan if c.reason else c.loss for c in classes]),
        max_gradient=np.array([c.max_gradient for c in classes]),
        converged=np.array([not c.reason for c in classes]),
        iterations=np.array([c.iterations for c in classes]),
        shrinkage=shrinkage,
    )


@dataclass(frozen=True)
class Solver:
    """The steps of the module's docstring, and what they must reach: see `fit`."""

    sample: Sample
    tolerance: float
    max_iterations: int

    def solve(self, polish: bool) -> list[Class]:
        classes = self.begin()
        for _ in range(ROUNDS):
            going = [c for c in classes if c.under_way]
            if not going:
                break
            self.minimise(going)
            self.evaluate(going)
            self.prove([c for c in going if c.max_gradient <= self.tolerance and not c.proven])
            for c in going:
                self.judge(c)
        for c in classes:
            if c.under_way:
                self.end(c, self.not_converged(c))
        at_minimum = [c for c in classes if not c.reason]
        if polish and at_minimum and self.sample.n_trials == len(self.sample.trials.factors):
            v = polished(self.sample, *_stacked(at_minimum))
            for c, there in zip(at_minimum, v, strict=True):
                c.v = there
            self.evaluate(at_minimum)
        return classes

    def begin(self) -> list[Class]:
        """All classes at half the bias that is best without factors: it grows with the weights."""
        y, (factors, some) = self.sample.trials.responses, self.sample.subset
        yes, n = some.sum(axis=1, dtype=np.float64), len(factors)
        alike = (y.min(axis=0) == 1) | (y.max(axis=0) == 0)
        v = np.zeros((len(some), factors.shape[1]))
        v[:, -1] = np.log((yes + 0.5) / (n - yes + 0.5)) / 2
        classes = [Class(k, v[k], proven=bool(self.sample.ridge.any())) for k in range(len(v))]
        for k in np.flatnonzero(alike):
            self.end(classes[k], ALIKE)
        return classes

    def minimise(self, going: list[Class]) -> None:
        """Step 2: to the copy's minimum, or to where a class's responses are separated."""
        rows, v = _stacked(going)
        state = start(self.sample, v, rows)
        known = [state.gradient[i] if c.gradient is None else c.gradient for i, c in enumerate(going)]
        state = state.shifted(np.array(known) - state.gradient)
        may_be_separated = self.sample.trials.hard[rows] & ~np.array([c.proven for c in going])

        def arrived(now: State) -> Mask:
            small = np.abs(now.gradient).max(axis=1) <= COPY_TOLERANCE * self.tolerance
            return np.asarray(small | (may_be_separated[now.rows] & now.separates))

        v, _, iterations = descend(self.sample, state, arrived, self.steps(going))
        for i, c in enumerate(going):
            c.v = v[i] if np.isfinite(v[i]).all() else c.v
            c.iterations += int(iterations[i])

    def steps(self, classes: list[Class]) -> NDArray[np.int64]:
        return np.array([min(STEPS, self.max_iterations - c.iterations) for c in classes])

    def evaluate(self, classes: list[Class]) -> None:
        """Step 3: all trials, in double precision. Raises ValueError where the factors are not finite."""
        rows, v = _stacked(classes)
        coefficients, loss, gradient, separated = self.sample.evaluate(v, rows)
        if not np.isfinite(gradient).all():
            self.sample.trials.refuse()
        largest = np.abs(gradient).max(axis=1)
        for i, c in enumerate(classes):
            c.improved = bool(largest[i] < c.max_gradient / 2)
            c.coefficients, c.gradient = coefficients[i], gradient[i]
            c.loss, c.max_gradient, c.separated = float(loss[i]), float(largest[i]), bool(separated[i])

    def prove(self, at_minimum: list[Class]) -> None:
        """Step 4, for all classes at once."""
        if not at_minimum:
            return
        rows, v = _stacked(at_minimum)
        proven, iterations = existence.prove(self.sample, v, rows, self.steps(at_minimum))
        for i, c in enumerate(at_minimum):
            c.proven, c.iterations = bool(proven[i]), c.iterations + int(iterations[i])

    def judge(self, c: Class) -> None:
        """Steps 4 and 5, for a class by itself: has it ended, or from where does it go on?"""
        exists, v = c.proven or None, c.v
        if not exists and c.separated and self.sample.trials.hard[c.k]:
            exists = False
        elif c.max_gradient > self.tolerance and c.iterations >= self.max_iterations:
            return self.end(c, self.not_converged(c))
        elif not exists:
            exists, v = existence.decide(self.sample, c.k, self.tolerance)
        if not exists:
            c.separating = None if exists is None else existence.factors_that_separate(self.sample, c.k, v)
            return self.end(c, UNDECIDED if exists is None else SEPARATED)
        if not c.proven and c.max_gradient > self.tolerance:
            c.v = v
            self.evaluate([c])
        c.proven = True
        if c.max_gradient > self.tolerance and not c.improved:
            _, c.v = newton(self.sample, c.k, c.v, self.tolerance, known=True)
            self.evaluate([c])
            if c.max_gradient > self.tolerance:
                return self.end(c, self.not_converged(c))
        if c.max_gradient <= self.tolerance:
            self.end(c)

    def end(self, c: Class, reason: str | None = None) -> None:
        c.under_way, c.reason = False, reason

    def not_converged(self, c: Class) -> str:
        more = "more of them are needed, or " if c.iterations >= self.max_iterations else "it needs "
        reached = f"max |gradient| is {c.max_gradient:.2g} > tolerance {self.tolerance:.2g}"
        return f"not converged, {reached} after {c.iterations} iterations; {more}a larger tolerance"


def _stacked(classes: list[Class]) -> tuple[NDArray[np.intp], Array]:
    """Which classes these are, and their v (n, n_factors + 1)."""
    return np.array([c.k for c in classes]), np.array([c.v for c in classes])
