"""The exact fit: maximum likelihood (or ridge) for all classes at once, with proof.

The objective (`hdlogit.exact.objective`) is convex, so a small gradient proves a good fit, however one came there.
The way here:

1. Coordinates in which the Hessian at zero is the identity (`standardise`): they heal bad units, correlation
   and offsets of the factors. All classes share them.
2. A direction from L-BFGS (Nocedal & Wright, Numerical Optimization, algorithm 7.4), each class with its own
   pairs.
3. A search not on the line but in the plane spanned by that direction and the *point itself*
   (`hdlogit.exact.plane`): where responses are nearly certain a fit spends most of its steps on growing, and here
   every step sets the length anew. Logits are linear in the coefficients, so two rows of logits give those of
   the whole plane.
4. A pilot: the descent is first made on a copy in single precision, of all trials or, where these are very many, of
   a sample of them; in that case it then goes on in single precision on all trials. The descent in double precision
   begins so close to the end that it often has nothing left to do but evaluate the gradient, which is the proof.
   Planes are always searched on the sample, corrected to the gradient of all trials.

An iteration costs two products over the factors, logits = x·w and gradient = xᵀr, for all classes together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlogit.compute import processes
from hdlogit.compute.threads import each, quietly
from hdlogit.exact import plane
from hdlogit.exact.coordinates import Sample, moments, standardise
from hdlogit.exact.objective import CPU, Array, Objective, Share, sums
from hdlogit.exact.separation import exists_at, is_separable

PAIRS = 10  # steps and changes of gradient that each class remembers
KEPT = 2**22  # logits (n_classes · n_trials) of the sample: 16 MB in single precision
SAMPLE = 2**25  # numbers in the sample's factors: 128 MB in single precision
PILOT_ITERATIONS = 30  # at most: what single precision has not settled by then is left to double
PILOT_TOLERANCE = 5e-7  # max |gradient| that single precision is good for, factors in units of their deviations
NEXT = 5  # a step mostly makes the gradient so many times smaller, or more
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
    evaluations: Tensor  # gradients over all trials in the precision asked for: two products each
    pilot_evaluations: int  # gradients in single precision, for all classes, over pilot_trials and then over all trials
    pilot_trials: int


State = dict[str, NDArray[Any]]  # of a fit, between two iterations
PER_CLASS = ("classes", "points", "gradient", "max_gradient", "worst", "loss")  # arrays of a descent, class by class
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
    As long as `piloting`, evaluations count as the pilot's.
    """

    def __init__(self, sample: Sample, points: Array) -> None:
        self.sample = sample
        self.objective: Objective | None = None
        self.piloting = True
        self.classes = np.arange(len(points))  # which they are
        self.pairs: deque[Pair] = deque(maxlen=PAIRS)
        self.responses = sample.responses  # (n_classes, n_sampled)
        self.iterations = self.evaluations = self.pilot_evaluations = 0
        self._come_to(points, sample.logits(points))

    def turn_to(self, objective: Objective, piloting: bool) -> None:
        """From the next evaluation on, descend on this objective."""
        self.objective, self.piloting = objective, piloting

    def look(self) -> None:
        """Evaluate the objective where they are."""
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
            left = np.divide(np.vecdot(self.gradient, step), slope, out=np.zeros_like(slope), where=back & (slope < 0))
            length = np.where(back & (slope >= 0), 0, length / (1 - left))  # uphill, where the sample's logits mislead
            if (slope > 0).any():
                self.pairs.clear()
            weight = torch.from_numpy(length[:, None]).to(logits)
            self._come_to(start + length[:, None] * step, torch.lerp(before, logits, weight))
        self._remember(self.points - start, self.gradient - gradient)
        self.iterations += 1

    def _come_to(self, points: Array, logits: Tensor) -> None:
        """Be at these points, where the sample has these logits, and evaluate the gradient."""
        self.points, self.logits = points, logits  # (n_classes, rank + 1), (n_classes, n_sampled)
        self.residuals = torch.sigmoid(logits).sub_(self.responses)
        if self.objective:
            found = self.objective.evaluate(points, self.classes)
        else:
            found = self.sample.evaluate(points, self.residuals)
        if self.piloting:
            self.pilot_evaluations += 1
        else:
            self.evaluations += 1
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

    def proves_existence(self, row: int, factors: Tensor, responses: Tensor) -> bool:
        """Whether it is proven here that the estimate of the class in this row exists; of all trials and classes."""
        assert self.objective is not None
        return exists_at(
            self.sample,
            self.residuals[row],
            self.gradient[row],
            self.points[row],
            factors,
            responses[:, self.classes[row]],
            self.objective.basis,
        )

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Go on with these rows only: a class that has arrived costs nothing any more."""
        for name in PER_CLASS:
            setattr(self, name, getattr(self, name)[rows])
        chosen = torch.from_numpy(rows)
        self.logits, self.residuals = self.logits[chosen], self.residuals[chosen]
        self.responses = self.responses[chosen]
        self.pairs = deque(((s[rows], y[rows], rho[rows]) for s, y, rho in self.pairs), maxlen=PAIRS)

    def is_separable(self, row: int, factors: Tensor, responses: Tensor) -> bool:
        """The linear programme's word on the class in this row; factors and responses of all trials."""
        assert self.objective is not None
        basis = self.objective.basis
        return is_separable(factors, responses, self.points[row] @ basis, basis)

    def report(self, rows: NDArray[np.bool_], found: ExactFit, tolerance: float) -> None:
        """Enter what these rows have reached into the result."""
        assert self.objective is not None
        classes, gradient = self.classes[rows], self.max_gradient[rows]
        found.loss.numpy()[classes] = self.loss[rows]
        found.coefficients.numpy()[:, classes] = (self.points[rows] @ self.objective.basis).T
        found.max_gradient.numpy()[classes] = gradient
        found.converged.numpy()[classes] = gradient <= tolerance
        found.iterations.numpy()[classes] = self.iterations
        found.evaluations.numpy()[classes] = self.evaluations

    def state(self) -> State:
        """Everything that the steps to come depend on, but for the trials."""
        counts = (self.iterations, self.evaluations, self.pilot_evaluations, self.piloting)
        pairs = {
            f"{name}{k}": part for k, pair in enumerate(self.pairs) for name, part in zip("syr", pair, strict=True)
        }
        own = {name: getattr(self, name) for name in PER_CLASS}
        return {"counts": np.array(counts), "logits": self.logits.cpu().numpy(), **own, **pairs}

    @classmethod
    def restored(cls, sample: Sample, pilot: Objective, objective: Objective, state: State) -> Descent:
        """Where `state` was asked for."""
        self = cls.__new__(cls)
        self.iterations, self.evaluations, self.pilot_evaluations, piloting = (int(n) for n in state["counts"])
        self.sample, self.piloting, self.objective = sample, bool(piloting), pilot if piloting else objective
        for name in PER_CLASS:
            setattr(self, name, state[name])
        self.responses = sample.responses[torch.from_numpy(self.classes)]
        self.logits = torch.from_numpy(state["logits"]).to(sample.factors)
        self.residuals = torch.sigmoid(self.logits).sub_(self.responses)
        n_pairs = sum(name.startswith("s") and name[1:].isdigit() for name in state)
        self.pairs = deque(((state[f"s{k}"], state[f"y{k}"], state[f"r{k}"]) for k in range(n_pairs)), maxlen=PAIRS)
        return self

    def noise(self) -> Array:
        """Expected squared length of the gradient that sampling alone makes, (n_classes,)."""
        squares: Array = torch.linalg.vecdot(self.residuals, self.residuals).double().cpu().numpy()
        return len(self.sample.basis) * squares / len(self.sample) ** 2


def serve(factors: Tensor, responses: Tensor, device: torch.device) -> None:
    """What all processes but the first do while that one fits: add sums over their own trials, until told to end."""
    share = Share.of(factors, responses, device)
    with quietly():
        while command := processes.hear():
            name, *arguments = command
            if name == "sums":
                sums(share, *arguments)
            elif name == "moments":
                moments(share)


def fit(
    factors: Tensor,
    responses: Tensor,
    *,
    ridge: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    dtype: torch.dtype = torch.float64,
    device: torch.device = CPU,
    progress: Callable[[int, float], None] | None = None,
    start: State | None = None,
    keep: Callable[[Callable[[], State]], None] | None = None,
) -> ExactFit:
    """The minimum of the objective (`hdlogit.exact.objective`) for every class, with the evidence that it is one.

    factors:    (n_trials, n_factors) float64 or float32, on the CPU; may be memory-mapped. Several
                processes (`hdlogit.compute.processes`) are each given all of them, and read their own: the first calls
                this, the others `serve`.
    responses:  (n_trials, n_classes) bool.
    ridge:      >= 0, on the weights alone; scikit-learn's C is 1 / (n_trials · ridge).
    tolerance:  every class ends with max |gradient| <= tolerance, the gradient being that of *its own* mean
                over trials (not divided by n_classes) in the units of the factors: what scikit-learn's `tol`
                bounds in a fit of one class. Where ridge is 0 a class may go on below it, for the proof that
                its estimate exists.
    dtype:      of the products.
    device:     of the products; on CUDA each process has its share of the trials there.
    progress:   called after each iteration with its number and the largest gradient left.
    start:      a state that `keep` was given in a fit of the same arguments, to go on from there.
    keep:       called after each iteration on all trials with a function that returns the state.

    Raises NoEstimate where ridge is 0 and the factors separate a class's responses: what is returned with
    ridge 0 has been proven to exist (`hdlogit.exact.separation`). Raises NotConverged, and ValueError for arrays that
    do not fit together.
    """
    _check(factors, responses, ridge, tolerance)
    with quietly():
        return _Fit(factors, responses, ridge, tolerance, max_iterations, dtype, device).run(
            progress or (lambda *_: None), start, keep or (lambda _: None)
        )


class _Fit:
    """A fit under way: what is asked, what is found, and for each class how often a proof was tried."""

    def __init__(
        self,
        factors: Tensor,
        responses: Tensor,
        ridge: float,
        tolerance: float,
        max_iterations: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.factors, self.responses = factors, responses
        self.ridge, self.tolerance, self.max_iterations = ridge, tolerance, max_iterations
        self.dtype, self.device = dtype, device

    def run(
        self,
        progress: Callable[[int, float], None],
        start: State | None,
        keep: Callable[[Callable[[], State]], None],
    ) -> ExactFit:
        (n_trials, n_factors), n_classes = self.factors.shape, self.responses.shape[1]
        sample = Sample(self.factors, self.responses, min(SAMPLE // n_factors, KEPT // n_classes), self.device)
        share = Share.of(self.factors, self.responses, self.device)
        coordinates = standardise(sample, share, self.ridge)
        penalty = np.append(np.full(n_factors, self.ridge), 0)
        objective = Objective(share, coordinates.basis(), penalty, self.dtype)
        units = np.append(coordinates.units, 1)
        pilot = replace(objective, dtype=torch.float32, units=units, with_loss=False)

        self.found = _blank(n_factors, n_classes, len(sample))
        self.proofs, self.next_proof = np.zeros((2, n_classes), dtype=int)
        self.separated = np.zeros(n_classes, dtype=bool)
        if start is None:
            descent = self._pilot(sample, n_trials, progress)
            useful = len(sample) < n_trials and coordinates.suit_single_precision()
            descent.turn_to(pilot if useful else objective, piloting=useful)
            descent.look()
        else:
            descent = Descent.restored(sample, pilot, objective, start)
            for name, mine in self._arrays().items():
                mine[:] = start[name]

        def go(moving: NDArray[np.bool_] | None = None) -> None:
            descent.step(moving)
            progress(descent.iterations, float(descent.max_gradient.max()))
            keep(lambda: descent.state() | {name: mine.copy() for name, mine in self._arrays().items()})

        while descent.piloting:
            moving = self._under_way(descent)
            if not self._under_way(descent, NEXT).any():  # this step should be the last that is needed
                descent.turn_to(objective, piloting=False)
            if moving.any():
                go(moving)
            else:
                descent.look()
        while len(descent.classes):
            self._let_go(descent)
            if len(descent.classes):
                go()
        self.found = replace(self.found, pilot_evaluations=descent.pilot_evaluations)
        if self.separated.any():
            raise NoEstimate(np.flatnonzero(self.separated).tolist())
        if not self.found.converged.all():
            raise NotConverged(self.found, self.tolerance)
        return self.found

    def _pilot(self, sample: Sample, n_trials: int, progress: Callable[[int, float], None]) -> Descent:
        """The descent on the sample, in single precision: from the best bias alone to as near as it can come.

        That is, until single precision ends, or until the gradient is no larger than the difference that sampling
        makes to it, or until the sample is separated.
        """
        yes = sample.responses.sum(1).double().cpu().numpy()
        points = np.zeros((len(yes), len(sample.basis)))
        points[:, -1] = np.log((yes + 0.5) / (len(sample) - yes + 0.5)) / sample.basis[-1, -1]
        pilot = Descent(sample, points)
        while True:
            moving = self._under_way(pilot)
            if len(sample) < n_trials:
                moving &= np.square(pilot.gradient).sum(axis=1) > pilot.noise()
            if not moving.any():
                return pilot
            pilot.step(moving)
            progress(pilot.iterations, float(pilot.max_gradient.max()))

    def _under_way(self, pilot: Descent, times: float = 1) -> NDArray[np.bool_]:
        """Which classes single precision can still help: the gradient is larger than so many times what will do."""
        if pilot.iterations >= min(PILOT_ITERATIONS, self.max_iterations):
            return np.zeros(len(pilot.classes), dtype=bool)
        smallest = times * max(PILOT_TOLERANCE, 0.95 * self.tolerance)
        return (pilot.max_gradient > smallest) & (pilot.worst >= 0.5)

    def _let_go(self, descent: Descent) -> None:
        """Enter those classes into the result that have arrived, with proof, or that never will."""
        if not np.isfinite(descent.max_gradient).all() and np.isfinite(descent.points).all():
            raise ValueError("factors must be finite numbers, and not so large or small that they overflow")
        last = descent.iterations >= self.max_iterations
        due = self.next_proof[descent.classes] <= descent.iterations
        arrived = (descent.max_gradient <= self.tolerance) & (last | due)
        apart = (descent.worst < 0.5) & (self.ridge == 0)
        in_question = np.flatnonzero(arrived & ~apart) if self.ridge == 0 else np.arange(0)
        proofs = each(lambda row: descent.proves_existence(row, self.factors, self.responses), in_question.tolist())
        proven = np.array([*proofs], dtype=bool)
        for row in in_question[~proven]:
            k = descent.classes[row]
            self.proofs[k] += 1
            self.next_proof[k] = descent.iterations + BETWEEN_PROOFS
            if last or self.proofs[k] == PROOFS:
                apart[row] = descent.is_separable(row, self.factors, self.responses[:, k])
            else:  # a smaller gradient proves more
                arrived[row] = False
        leaving = arrived | apart | last | ~np.isfinite(descent.max_gradient)
        if leaving.any():
            self.separated[descent.classes[apart]] = True
            descent.report(leaving, self.found, self.tolerance)
            descent.keep(~leaving)

    def _arrays(self) -> State:
        """What has been found so far, to be read and written."""
        names = ("coefficients", "loss", "max_gradient", "converged", "iterations", "evaluations")
        found = {f"found_{name}": getattr(self.found, name).numpy() for name in names}
        return {**found, "proofs": self.proofs, "next_proof": self.next_proof, "separated": self.separated}


def _blank(n_factors: int, n_classes: int, pilot_trials: int) -> ExactFit:
    loss, max_gradient = torch.zeros(2, n_classes).double()
    iterations, evaluations = torch.zeros(2, n_classes, dtype=torch.int64)
    return ExactFit(
        coefficients=torch.zeros(n_factors + 1, n_classes).double(),
        loss=loss,
        max_gradient=max_gradient,
        converged=torch.zeros(n_classes, dtype=torch.bool),
        iterations=iterations,
        evaluations=evaluations,
        pilot_evaluations=0,
        pilot_trials=pilot_trials,
    )


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
