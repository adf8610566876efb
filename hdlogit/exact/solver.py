"""The exact fit: maximum likelihood (or ridge) for all classes at once, class by class with proof or with a reason.

The objective (`hdlogit.exact.objective`) is convex, so a small gradient proves a good fit, however one came there:

1. Draw a sample of the trials, or all, in single precision and even coordinates (`hdlogit.exact.sample`).
2. Descend on it (`hdlogit.exact.descent`), proving on the way that the estimate exists (`hdlogit.exact.existence`).
3. Evaluate the gradient of all trials in double precision. Where it is small enough, the class has converged; where
   every residual is below 1/2, its responses are separated; where there was no proof, a linear programme decides.
4. Descend again on the sample, its gradient shifted by what it lacked at the last point, and go to 3.

Step 4 is iterative refinement where the sample is all trials, and otherwise Newton's method with the sample's curvature
(DANE: Shamir, Srebro & Zhang, ICML 2014). Several processes each evaluate their own trials; the sample is process 0's,
whose points are broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlogit.compute.processes import ALONE, ProcessGroup
from hdlogit.compute.threads import single_threaded_blas
from hdlogit.exact.descent import Aim
from hdlogit.exact.objective import Floats, Trials
from hdlogit.exact.steering import ALIKE, CONVERGED, NOT_CONVERGED, SEPARATED, UNDECIDED, UNDER_WAY, Steering

REASONS = {
    ALIKE: "its responses are all alike, so no estimate exists, with ridge or without",
    SEPARATED: "the factors separate its responses, so no maximum-likelihood estimate exists; more trials are needed, "
    "or ridge > 0",
    UNDECIDED: "the factors nearly separate its responses, too nearly to tell whether an estimate exists; more trials "
    "are needed, or ridge > 0",
    NOT_CONVERGED: "not converged, max |gradient| is {:.2g} > tolerance {:.2g} after {} iterations; more of them are "
    "needed, or a larger tolerance",
}
Kind = TypeVar("Kind", Tensor, NDArray[Any])


@dataclass(frozen=True)
class ExactFit(Generic[Kind]):
    """The estimates, and for each class the evidence."""

    coefficients: Kind  # (n_factors + 1, n_classes) float64, last row = bias; NaN for a class without an estimate
    reasons: list[str | None]  # why a class has none
    separating: list[list[int] | None]  # the factors that separate it, if they do
    loss: Kind  # (n_classes,), mean cross-entropy, nats per trial, without the penalty
    max_gradient: Kind  # (n_classes,), largest |component| of the objective's gradient: see `fit`
    converged: Kind  # (n_classes,) bool
    iterations: Kind  # (n_classes,), steps of the descent
    evaluations: Kind  # (n_classes,), gradients over all trials in double precision


def fit(
    factors: Kind,
    responses: Kind,
    ridge: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    progress: Callable[[int, float], None] | None = None,
    group: ProcessGroup = ALONE,
) -> ExactFit[Kind]:
    """The minimum of the objective (`hdlogit.exact.objective`) for every class, with the evidence that it is one.

    factors:    (n_trials, n_factors) float64 or float32, NumPy or torch (CPU); may be memory-mapped, and is not copied.
    responses:  (n_trials, n_classes) bool, or numbers in [0, 1].
    ridge:      >= 0, on the weights alone; scikit-learn's C is 1 / (n_trials · ridge).
    tolerance:  a class has converged where max |gradient| <= tolerance, the gradient being that of its own mean over
                trials by the weights of factors as deviations from their means, in units of the power of two nearest to
                their standard deviations: for factors of mean 0 and deviation 1 what scikit-learn's `tol` bounds.
    progress:   called after each step of the descent with its number and the largest gradient left.
    group:      of processes that all call this with the same arguments, and get the same result.

    Raises ValueError for arrays that do not fit together, and for factors that are not finite.
    """
    x, y = (a.numpy() if isinstance(a, Tensor) else a for a in (factors, responses))
    _check(x, y, ridge, tolerance)
    with single_threaded_blas():
        found = _fit(Trials(x, y, group), Aim(ridge, tolerance, max_iterations, progress or (lambda *_: None)))
    if isinstance(factors, Tensor):
        tensors: dict[str, Any] = {k: torch.from_numpy(v) for k, v in vars(found).items() if isinstance(v, np.ndarray)}
        found = replace(found, **tensors)
    return found  # type: ignore[return-value]  # of the kind of the factors


def _fit(trials: Trials, aim: Aim) -> ExactFit[NDArray[Any]]:
    n_factors, n_classes = trials.factors.shape[1], trials.responses.shape[1]
    coefficients = np.zeros((n_classes, n_factors + 1))
    loss, max_gradient = np.full((2, n_classes), np.nan)
    status, iterations, evaluations = np.zeros((3, n_classes), dtype=np.int64)
    separating = np.zeros((n_classes, n_factors), dtype=np.uint8)
    status[(trials.responses.min(0) == 1) | (trials.responses.max(0) == 0)] = ALIKE

    steering = Steering.prepare(trials, aim)  # None but in process 0
    while (classes := np.flatnonzero(status == UNDER_WAY)).size:
        if steering:
            coefficients[classes] = steering.propose(classes)
        _broadcast(trials.group, coefficients)
        loss[classes], gradient, worst = trials.evaluate(coefficients[classes], classes)
        evaluations[classes] += 1
        if not np.isfinite(gradient).all():
            trials.refuse()
        if steering:
            gradient[:, :-1] += aim.ridge * coefficients[classes, :-1]
            status[classes] = steering.judge(classes, gradient, worst)
            iterations, max_gradient, separating = steering.iterations, steering.max_gradient, steering.separating
        _broadcast(trials.group, status)
    _broadcast(trials.group, iterations, max_gradient, separating)

    coefficients[status != CONVERGED] = np.nan
    return ExactFit(
        coefficients=coefficients.T.copy(),
        reasons=[
            REASONS[s].format(max_gradient[k], aim.tolerance, iterations[k]) if s != CONVERGED else None
            for k, s in enumerate(status)
        ],
        separating=[np.flatnonzero(row).tolist() if row.any() else None for row in separating],
        loss=loss,
        max_gradient=max_gradient,
        converged=status == CONVERGED,
        iterations=iterations,
        evaluations=evaluations,
    )


def _broadcast(group: ProcessGroup, *arrays: NDArray[Any]) -> None:
    group.broadcast(*(torch.from_numpy(array) for array in arrays))


def _check(factors: Floats, responses: NDArray[Any], ridge: float, tolerance: float) -> None:
    if factors.ndim != 2 or responses.ndim != 2 or len(factors) != len(responses) or 0 in responses.shape:
        raise ValueError(
            "factors must be (n_trials, n_factors) and responses (n_trials, n_classes), "
            f"got {factors.shape} and {responses.shape}"
        )
    if factors.dtype not in (np.float64, np.float32):
        raise ValueError(f"factors must be float64 or float32, got {factors.dtype}")
    soft = responses.dtype.kind == "f"
    if responses.dtype != np.bool_ and not (soft and responses.min() >= 0 and responses.max() <= 1):
        raise ValueError(
            f"responses must be bool, or floating numbers in [0, 1]; these are {responses.dtype}"
            + (f" from {responses.min()} to {responses.max()}" if soft else "")
        )
    if not 0 <= ridge < np.inf or not tolerance > 0:
        raise ValueError(f"ridge must be >= 0 and tolerance > 0, got {ridge} and {tolerance}")
