"""The exact fit: maximum likelihood (or ridge) for all classes at once, with proof.

The objective (`stages.objective`) is convex, so a small gradient proves a good fit, however one came there.
The way here:

1. Coordinates in which the Hessian at zero is the identity (`standardise`): they heal bad units, correlation
   and offsets of the factors. All classes share them.
2. A direction from L-BFGS (Nocedal & Wright, Numerical Optimization, algorithm 7.4), each class with its own
   pairs.
3. A search not on the line but in the plane spanned by that direction and the *point itself*
   (`stages.plane`): where responses are nearly certain a fit spends most of its steps on growing, and here
   every step sets the length anew. Logits are linear in the coefficients, so two rows of logits give those of
   the whole plane.
4. A pilot: the descent is first made on a copy in single precision, of all trials or of a sample of them. The
   same descent in full on all trials then begins so close to the end that it often has nothing left to do but
   evaluate the gradient, which is the proof.

An iteration costs two products over the factors, logits = x·w and gradient = xᵀr, for all classes together.
Where n_trials · n_classes logits are too many to keep, the plane is searched on the pilot's sample, corrected
to the exact gradient.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages import plane, processes
from stages.coordinates import Sample, standardise
from stages.objective import Array, Objective
from stages.parallel import each, quietly
from stages.separation import exists_at, is_separable

PAIRS = 10  # steps and changes of gradient that each class remembers
KEPT = 2**22  # logits (n_classes · n_trials) of the sample: 16 MB in single precision
SAMPLE = 2**25  # numbers in the sample's factors: 128 MB in single precision
PILOT_ITERATIONS = 30  # at most: what single precision has not settled by then is left to double
PILOT_TOLERANCE = 5e-7  # max |gradient| that single precision is good for, factors in units of their deviations
PROOFS = 6  # attempts to prove that a class's estimate exists, before the linear programme is asked
BETWEEN_PROOFS = 4  # iterations


class NoEstimate(ValueError):  # noqa: N818  # a finding about the data rather than an error
    """The factors separate the responses of `classes`, so their likelihood has no maximum."""

    def __init__(self, classes: list[int]) -> None:
        self.classes = classes
        named = f"class {classes[0]}" if len(classes) == 1 else f"classes {', '.join(map(str, classes))}"
        super().__init__(
            f"{named}: no maximum-likelihood estimate exists, because the factors separate the responses "
            "(or these are all alike); more trials are needed, or ridge > 0"
        )


class NotConverged(RuntimeError):  # noqa: N818  # likewise
    """The gradient did not reach the tolerance; `fit` holds what was reached."""

    def __init__(self, fit: ExactFit, tolerance: float) -> None:
        self.fit = fit
        worst = int(fit.max_gradient.argmax())
        super().__init__(
            f"class {worst}: not converged, max |gradient| is {fit.max_gradient[worst]:.2g} > tolerance "
            f"{tolerance:.2g} after {fit.iterations[worst]} iterations; more iterations are needed, a larger "
            "tolerance, or factors on more even scales"
        )


@dataclass(frozen=True)
class ExactFit:
    """The estimate, and for each class the evidence: all but the coefficients are (n_classes,)."""

    coefficients: Tensor  # (n_factors + 1, n_classes) float64, last row = bias
    loss: Tensor  # mean cross-entropy, nats per trial, without the penalty
    max_gradient: Tensor  # largest |component| of the objective's gradient
    converged: Tensor  # max_gradient <= tolerance
    iterations: Tensor  # steps taken, the pilot's and those on all trials
    evaluations: Tensor  # gradients over all trials in full precision: two products each
    pilot_evaluations: int  # gradients in single precision, for all classes,
    pilot_trials: int  # over so many trials


Pair = tuple[Array, Array, Array]  # step s, change of gradient y, both (n_classes, rank + 1), rho = 1/s·y


def quasi_newton_direction(gradient: Array, pairs: deque[Pair]) -> Array:
    """-H·gradient of L-BFGS, (n_classes, rank + 1); Nocedal & Wright, algorithm 7.4, names as there."""
    q, alphas = gradient.copy(), []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * np.vecdot(s, q)[:, None])
        q -= alphas[-1] * y
    if pairs:
        s, y, rho = pairs[-1]
        q *= np.where(rho > 0, np.vecdot(s, y)[:, None] / np.maximum(np.vecdot(y, y)[:, None], 1e-300), 1)
    for s, y, rho in pairs:
        q += s * (alphas.pop() - rho * np.vecdot(y, q)[:, None])
    return -q


class Descent:
    """Classes on their way down: where they are and what they know; `step` is an iteration for all.

    The planes are searched on `sample`; the gradient is the sample's too, until `turn_to` gives it an objective.
    """

    def __init__(self, sample: Sample, points: Array) -> None:
        self.sample = sample
        self.objective: Objective | None = None
        self.classes = np.arange(len(points))  # which they are
        self.pairs: deque[Pair] = deque(maxlen=PAIRS)
        self.responses = sample.responses  # (n_classes, n_sampled)
        self.iterations = self.evaluations = self.pilot_evaluations = 0
        self._come_to(points, sample.logits(points))

    def turn_to(self, objective: Objective) -> None:
        """From here on, descend on this objective."""
        self.objective = objective
        self._come_to(self.points, self.logits)

    def step(self, moving: NDArray[np.bool_] | None = None) -> None:
        """To the minimum in the plane of the quasi-Newton direction and the points themselves.

        moving: (n_classes,), those that shall move, if not all. If the sample misled, and the slope along the
        step turned, go back by the secant.
        """
        start, before, gradient = self.points, self.logits, self.gradient
        direction = quasi_newton_direction(gradient, self.pairs)
        axes = np.stack([direction, start], axis=1)  # (n_classes, 2, rank + 1)
        slopes, change = np.vecdot(axes, gradient[:, None]), self.sample.logits(direction)
        penalty = self._penalty(axes)
        amounts, logits = plane.search(before, change, self.responses, self.residuals, slopes, penalty)
        step = np.vecmat(amounts, axes)
        if moving is not None and not moving.all():
            step[~moving] = 0
            logits[~moving] = before[~moving]
        slope, length = np.vecdot(gradient, step), np.ones(len(step))
        self._come_to(start + step, logits)
        for _ in range(20):
            back = np.vecdot(self.gradient, step) > -0.5 * slope  # slopes are negative, or 0 where nothing moves
            if not back.any():
                break
            left = np.divide(np.vecdot(self.gradient, step), slope, out=np.zeros_like(slope), where=back)
            length /= 1 - left
            weight = torch.from_numpy(length[:, None]).to(logits)
            self._come_to(start + length[:, None] * step, torch.lerp(before, logits, weight))
        self._remember(self.points - start, self.gradient - gradient)
        self.iterations += 1

    def _come_to(self, points: Array, logits: Tensor) -> None:
        """Be at these points, where the sample has these logits, and evaluate the gradient."""
        processes.agree(points)
        self.points, self.logits = points, logits  # (n_classes, rank + 1), (n_classes, n_sampled)
        self.residuals = torch.sigmoid(logits).sub_(self.responses)
        if self.objective:
            found = self.objective.evaluate(points, self.classes)
            self.evaluations += 1
        else:
            found = self.sample.evaluate(points, self.residuals)
            self.pilot_evaluations += 1
        self.gradient, self.max_gradient = found.gradient, found.max_gradient
        self.worst = found.worst
        self.loss = np.full(len(points), np.nan) if found.loss is None else found.loss

    def _penalty(self, axes: Array) -> Array:
        """The ridge's Hessian in the plane, (n_classes, 2, 2)."""
        if not self.sample.ridge.any():
            return np.zeros((len(axes), 2, 2))
        coefficients = axes @ self.sample.basis  # (n_classes, 2, n_factors + 1)
        return np.asarray(coefficients * self.sample.ridge @ coefficients.transpose(0, 2, 1))

    def _remember(self, step: Array, change: Array) -> None:
        curvature = np.vecdot(step, change)[:, None]
        rho = np.divide(1, curvature, out=np.zeros_like(curvature), where=curvature > 0)
        self.pairs.append((step, change, rho))

    def proves_existence(self, row: int) -> bool:
        """Whether it is proven here that the estimate of the class in this row exists."""
        assert self.objective is not None
        n_trials = self.objective.n_trials
        return exists_at(self.sample, self.residuals[row], self.gradient[row], self.points[row], n_trials)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Go on with these rows only: a class that has arrived costs nothing any more."""
        for name in ("classes", "points", "gradient", "max_gradient", "worst", "loss"):
            setattr(self, name, getattr(self, name)[rows])
        chosen = torch.from_numpy(rows)
        self.logits, self.residuals = self.logits[chosen], self.residuals[chosen]
        self.responses = self.responses[chosen]
        self.pairs = deque(((s[rows], y[rows], rho[rows]) for s, y, rho in self.pairs), maxlen=PAIRS)

    def noise(self) -> Array:
        """Expected squared length of the gradient that sampling alone makes, (n_classes,)."""
        squares: Array = torch.linalg.vecdot(self.residuals, self.residuals).double().cpu().numpy()
        return len(self.sample.basis) * squares / len(self.sample) ** 2


def fit(
    factors: Tensor,
    responses: Tensor,
    *,
    ridge: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    progress: Callable[[int, float], None] | None = None,
) -> ExactFit:
    """The minimum of the objective (`stages.objective`) for every class, with the evidence that it is one.

    factors:    (n_trials, n_factors) float64 or float32, which is also the precision of the products; may be
                memory-mapped.
    responses:  (n_trials, n_classes) bool.
    ridge:      >= 0, on the weights alone; scikit-learn's C is 1 / (n_trials · ridge).
    tolerance:  every class ends with max |gradient| <= tolerance, the gradient being that of *its own* mean
                over trials (not divided by n_classes) in the units of the factors: what scikit-learn's `tol`
                bounds in a fit of one class. Where ridge is 0 a class may go on below it, for the proof that
                its estimate exists.
    progress:   called after each iteration with its number and the largest gradient left.

    Raises NoEstimate where ridge is 0 and the factors separate a class's responses: what is returned with
    ridge 0 has been proven to exist (`stages.separation`). Raises NotConverged, and ValueError for arrays that
    do not fit together.
    """
    _check(factors, responses, ridge, tolerance)
    with quietly():
        return _fit(factors, responses, ridge, tolerance, max_iterations, progress or (lambda *_: None))


def _fit(
    factors: Tensor,
    responses: Tensor,
    ridge: float,
    tolerance: float,
    max_iterations: int,
    progress: Callable[[int, float], None],
) -> ExactFit:
    (n_trials, n_factors), n_classes = factors.shape, responses.shape[1]
    sample = Sample(factors, responses, min(SAMPLE // n_factors, KEPT // n_classes))
    coordinates = standardise(sample, factors, ridge)
    descent = _pilot(sample, n_trials, tolerance, max_iterations, progress)

    own = processes.share(n_trials)
    by_class = responses[own].T
    if by_class.numel() <= KEPT:
        by_class = by_class.contiguous()  # sums along rows are faster
    penalty = np.append(np.full(n_factors, ridge), 0)
    objective = Objective(factors[own], by_class, coordinates.basis(), penalty, n_trials)
    descent.turn_to(objective)

    found = _blank(n_factors, n_classes, descent)
    proofs, next_proof = np.zeros((2, n_classes), dtype=int)
    separated: list[int] = []
    while len(descent.classes):
        last = descent.iterations >= max_iterations
        arrived = (descent.max_gradient <= tolerance) & (last | (next_proof[descent.classes] <= descent.iterations))
        apart = (descent.worst < 0.5) & (ridge == 0)
        in_question = np.flatnonzero(arrived & ~apart) if ridge == 0 else np.arange(0)
        for row, proven in zip(in_question, each(descent.proves_existence, in_question.tolist()), strict=True):
            if proven:
                continue
            k = descent.classes[row]
            proofs[k], next_proof[k] = proofs[k] + 1, descent.iterations + BETWEEN_PROOFS
            if last or proofs[k] == PROOFS:
                start = descent.points[row] @ objective.basis
                apart[row] = is_separable(factors, responses[:, k], start, objective.basis)
            else:  # a smaller gradient proves more
                arrived[row] = False
        leaving = arrived | apart | last | ~np.isfinite(descent.max_gradient)
        if leaving.any():
            _report(descent, objective, leaving, found, tolerance)
            separated += descent.classes[apart].tolist()
            descent.keep(~leaving)
        if len(descent.classes):
            descent.step()
            progress(descent.iterations, float(descent.max_gradient.max()))
    if separated:
        raise NoEstimate(sorted(separated))
    if not found.converged.all():
        raise NotConverged(found, tolerance)
    return found


def _pilot(
    sample: Sample, n_trials: int, tolerance: float, max_iterations: int, progress: Callable[[int, float], None]
) -> Descent:
    """The descent in single precision: from the best bias alone to as near as it can come.

    That is, until single precision ends, or until the gradient is no larger than the difference that sampling
    makes to it, or until the sample is separated.
    """
    yes = sample.responses.sum(1).double().cpu().numpy()
    points = np.zeros((len(yes), len(sample.basis)))
    points[:, -1] = np.log((yes + 0.5) / (len(sample) - yes + 0.5)) / sample.basis[-1, -1]
    pilot = Descent(sample, points)
    smallest = max(PILOT_TOLERANCE, 0.95 * tolerance)
    while pilot.iterations < min(PILOT_ITERATIONS, max_iterations):
        under_way = (pilot.max_gradient > smallest) & (pilot.worst > 0.5)
        if len(sample) < n_trials:
            under_way &= np.square(pilot.gradient).sum(axis=1) > pilot.noise()
        if not under_way.any():
            break
        pilot.step(under_way)
        progress(pilot.iterations, float(pilot.max_gradient.max()))
    return pilot


def _blank(n_factors: int, n_classes: int, pilot: Descent) -> ExactFit:
    loss, max_gradient = torch.zeros(2, n_classes).double()
    iterations, evaluations = torch.zeros(2, n_classes, dtype=torch.int64)
    return ExactFit(
        coefficients=torch.zeros(n_factors + 1, n_classes).double(),
        loss=loss,
        max_gradient=max_gradient,
        converged=torch.zeros(n_classes, dtype=torch.bool),
        iterations=iterations,
        evaluations=evaluations,
        pilot_evaluations=pilot.pilot_evaluations,
        pilot_trials=len(pilot.sample),
    )


def _report(descent: Descent, objective: Objective, rows: NDArray[np.bool_], found: ExactFit, tolerance: float) -> None:
    """Enter what these rows have reached into the result."""
    classes, points, gradient = descent.classes[rows], descent.points[rows], descent.max_gradient[rows]
    found.loss.numpy()[classes] = descent.loss[rows]
    found.coefficients.numpy()[:, classes] = (points @ objective.basis).T
    found.max_gradient.numpy()[classes] = gradient
    found.converged.numpy()[classes] = gradient <= tolerance
    found.iterations.numpy()[classes] = descent.iterations
    found.evaluations.numpy()[classes] = descent.evaluations


def _check(factors: Tensor, responses: Tensor, ridge: float, tolerance: float) -> None:
    if factors.ndim != 2 or responses.ndim != 2 or len(factors) != len(responses) or 0 in responses.shape:
        raise ValueError(
            "factors must be (n_trials, n_factors) and responses (n_trials, n_classes), "
            f"got {tuple(factors.shape)} and {tuple(responses.shape)}"
        )
    if factors.dtype not in (torch.float64, torch.float32) or responses.dtype != torch.bool:
        raise ValueError(
            f"factors must be float64 or float32 and responses bool, got {factors.dtype}, {responses.dtype}"
        )
    if not ridge >= 0 or not tolerance > 0:
        raise ValueError(f"ridge must be >= 0 and tolerance > 0, got {ridge} and {tolerance}")
