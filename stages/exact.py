"""The exact fit: maximum likelihood (or ridge) for all classes at once, with proof.

The objective (`stages.objective`) is convex, so a small gradient proves a good fit, however one came there.
The way here:

1. Coordinates in which the Hessian at zero is the identity (`standardise`): they heal bad units, correlation
   and offsets of the factors. All classes share them.
2. A direction from L-BFGS (Nocedal & Wright, Numerical Optimization, algorithm 7.4), each class with its own
   pairs.
3. A search not on the line but in the plane spanned by that direction and the *point itself*
   (`search_plane`): where responses are nearly certain a fit spends most of its steps on growing, and here
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

import torch
from torch import Tensor
from torch.linalg import vecdot

from stages.objective import Coordinates, Objective, sampled_rows, standardise
from stages.separation import exists_at, is_separable

PAIRS = 10  # steps and changes of gradient that each class remembers
PLANE = 2**17  # logits in a block of the plane's sums: 1 MB
KEPT = 2**22  # logits (n_classes · n_trials) that may be kept in memory: 32 MB
SAMPLE = 2**24  # numbers in the pilot's factors: 64 MB in single precision
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


Pair = tuple[Tensor, Tensor, Tensor]  # step s, change of gradient y, both (n_classes, rank + 1), rho = 1/s·y


def quasi_newton_direction(gradient: Tensor, pairs: deque[Pair]) -> Tensor:
    """-H·gradient of L-BFGS, (n_classes, rank + 1); Nocedal & Wright, algorithm 7.4, names as there."""
    q, alphas = gradient.clone(), []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * vecdot(s, q)[:, None])
        q -= alphas[-1] * y
    if pairs:
        s, y, rho = pairs[-1]
        gamma = vecdot(s, y)[:, None] / vecdot(y, y)[:, None]
        q *= torch.where(rho > 0, gamma, 1)
    for s, y, rho in pairs:
        q += s * (alphas.pop() - rho * vecdot(y, q)[:, None])
    return -q


def search_plane(
    logits: Tensor, change: Tensor, responses: Tensor, slopes: Tensor, penalty: Tensor
) -> tuple[Tensor, Tensor]:
    """Minimise the objective at logits + a · change + b · logits over (a, b) for each class: Newton's method.

    The sums run over the trials at hand and are shifted so that the slopes at (0, 0) are those given: exact
    if these are all the trials, and right to first order if they are a sample. A convex function needs no
    value to tell that a step was too long: the slope along the step has turned, and the secant says by how
    much. The search ends when every class's squared Newton decrement has fallen twentyfold; near the optimum
    that takes one step.

    logits, change, responses: (n_classes, n_trials); slopes: (n_classes, 2); penalty: (n_classes, 2, 2), the
    ridge's Hessian. Returns (a, b) as (n_classes, 2), and the logits there.
    """
    here = there = torch.zeros_like(slopes)
    sums, hessian = _plane_sums(there, logits, change, responses)[:2]
    shift, hessian = slopes - sums, hessian + penalty
    sizes = torch.stack([z.square().mean(1).sqrt() for z in (change, logits)], dim=1).double()
    step = _newton_step(slopes, hessian, sizes)
    enough = vecdot(slopes, step) / 20  # negative, as is every slope along a Newton step
    for _ in range(40):
        there = here + step
        sums, hessian_there, moved = _plane_sums(there, logits, change, responses)
        slopes_there = sums + shift + (penalty @ there[:, :, None])[:, :, 0]
        left = vecdot(slopes_there, step) / vecdot(slopes, step)  # of the slope; 0 at the minimum
        good = ((left > -0.5) | ~left.isfinite())[:, None]
        here, slopes = torch.where(good, there, here), torch.where(good, slopes_there, slopes)
        hessian = torch.where(good[:, :, None], hessian_there + penalty, hessian)
        newton = _newton_step(slopes, hessian, sizes)
        if bool(good.all() and (vecdot(slopes, newton) >= enough).all()):
            break
        step = torch.where(good, newton, step / (1 - left[:, None]))
    return there, moved


def _plane_sums(there: Tensor, logits: Tensor, change: Tensor, responses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes (n_classes, 2) and Hessian (n_classes, 2, 2) of the cross-entropy there, and the logits."""
    a, b = there.to(logits.dtype).tensor_split(2, dim=1)
    moved, total = torch.empty_like(logits), there.new_zeros(len(there), 5)
    n_classes, n_trials = logits.shape
    size = max(1, PLANE // n_classes)
    for start in range(0, n_trials, size):
        columns = slice(start, min(start + size, n_trials))
        v, u, y = (of[:, columns] for of in (logits, change, responses))
        z = torch.addcmul(torch.addcmul(v, b, v), a, u)
        p = torch.sigmoid(z)
        r, d = p - y, p * (1 - p)
        du, dv = d * u, d * v
        pairs = (r, u), (r, v), (du, u), (du, v), (dv, v)
        total += torch.stack([vecdot(s, t) for s, t in pairs], dim=1)
        moved[:, columns] = z
    total /= n_trials
    return total[:, :2], total[:, [2, 3, 3, 4]].view(-1, 2, 2), moved


def _newton_step(slopes: Tensor, hessian: Tensor, sizes: Tensor) -> Tensor:
    """-hessian⁻¹ · slopes, (n_classes, 2); the second axis stays out where it is 0 or parallel to the first.

    Where all trials are nearly certain there is no curvature left to say how far to go; `sizes`, (n_classes,
    2), the root mean squares of the two rows of logits, does: no step changes the logits by much more than
    nine times themselves.
    """
    uu, uv, vv = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
    gu, gv = slopes.unbind(1)
    determinant = uu * vv - uv * uv
    plane = determinant > 1e-9 * uu * vv
    a = torch.where(plane, (uv * gv - vv * gu) / determinant, -gu / uu.clamp_min(1e-30))
    b = torch.where(plane, (uv * gu - uu * gv) / determinant, 0)
    step = torch.stack([a, b], dim=1)
    length = (step * sizes).norm(dim=1)
    allowed: Tensor = 9 * (1 + sizes[:, 1]) / length.clamp_min(1e-30)
    return step * allowed.clamp_max(1)[:, None]


class Descent:
    """Classes on their way down: where they are and what they know; `step` is an iteration for all."""

    def __init__(self, objective: Objective, view: Objective, points: Tensor, proof: tuple[Tensor, Objective]) -> None:
        self.objective, self.view = objective, view  # the plane is searched on `view`: the same, or a sample
        self.proof = proof  # where the trials of `view` are found for proofs of existence: rows (n_view,), and of what
        self.points = points  # (n_classes, rank + 1)
        self.classes = torch.arange(len(points), device=points.device)  # which they are
        self.pairs: deque[Pair] = deque(maxlen=PAIRS)
        self.responses = view.responses.to(view.factors.dtype).contiguous()  # (n_classes, n_view)
        self.logits: Tensor = view.logits(points)  # (n_classes, n_view)
        self.iterations = self.evaluations = 0
        self._evaluate()

    @property
    def kept(self) -> Tensor | None:
        """The logits of all trials of the objective, if they are kept."""
        return self.logits if self.view is self.objective else None

    def _evaluate(self) -> None:
        found = self.objective.evaluate(self.points, self.classes, self.kept)
        self.gradient, self.max_gradient = found.gradient, found.max_gradient
        self.variance, self.worst = found.variance, found.worst
        self.evaluations += 1

    def step(self, moving: Tensor | None = None) -> None:
        """To the minimum in the plane of the quasi-Newton direction and the points themselves.

        moving: (n_classes,) bool, those that shall move, if not all.
        """
        direction = quasi_newton_direction(self.gradient, self.pairs)
        plane = torch.stack([direction, self.points], dim=1)  # (n_classes, 2, rank + 1)
        slopes = vecdot(plane, self.gradient[:, None])
        coefficients = plane @ self.objective.basis  # (n_classes, 2, n_factors + 1)
        penalty = coefficients * self.objective.ridge @ coefficients.mT
        change = self.view.logits(direction)
        amounts, logits = search_plane(self.logits, change, self.responses, slopes, penalty)
        step = (amounts[:, None] @ plane)[:, 0]
        if moving is not None:
            step = torch.where(moving[:, None], step, 0)
            logits = torch.where(moving[:, None], logits, self.logits)
        self._move(step, logits)
        self.iterations += 1

    def _move(self, step: Tensor, logits: Tensor) -> None:
        """Take the step to these logits. If a sample misled, and the slope turned, go back by the secant."""
        start, gradient, before = self.points, self.gradient, self.logits
        slope, length = vecdot(gradient, step), torch.ones_like(self.max_gradient)
        self.points, self.logits = start + step, logits
        self._evaluate()
        for _ in range(20):
            left = vecdot(self.gradient, step) / slope
            if self.view is self.objective or not (left < -0.5).any():
                break
            length = torch.where(left < -0.5, length / (1 - left), length)
            self.points = start + length[:, None] * step
            self.logits = torch.lerp(before, logits, length[:, None].to(logits.dtype))
            self._evaluate()
        s, y = self.points - start, self.gradient - gradient
        curvature = vecdot(s, y)[:, None]
        self.pairs.append((s, y, torch.where(curvature > 0, 1 / curvature, 0)))

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only: a class that has arrived costs nothing any more."""
        if rows.all():
            return
        per_class = "points classes responses logits gradient max_gradient variance worst"
        for name in per_class.split():
            setattr(self, name, getattr(self, name)[rows])
        self.pairs = deque(((s[rows], y[rows], rho[rows]) for s, y, rho in self.pairs), maxlen=PAIRS)

    def proves_existence(self, row: int) -> bool:
        residuals = torch.sigmoid(self.logits[row]) - self.responses[row]
        direction = self.points[row].clone()
        direction[-1] = 0
        rows, trials = self.proof
        return exists_at(
            trials.factors, rows, residuals, self.gradient[row], direction, trials.basis, len(self.objective)
        )

    def is_separable(self, row: int) -> bool:
        objective = self.objective
        start = self.points[row] @ objective.basis
        return is_separable(objective.factors, objective.responses[self.classes[row]], start, objective.basis)

    def report(self, rows: Tensor, found: ExactFit, iteration: int, tolerance: float) -> None:
        """Enter what these rows have reached into the result."""
        if not rows.any():
            return
        classes = self.classes[rows]
        logits = None if self.kept is None else self.kept[rows]
        found.loss[classes] = self.objective.loss(self.points[rows], classes, logits)
        found.coefficients[:, classes] = (self.points[rows] @ self.objective.basis).T
        found.max_gradient[classes] = self.max_gradient[rows]
        found.converged[classes] = self.max_gradient[rows] <= tolerance
        found.iterations[classes] = iteration
        found.evaluations[classes] = self.evaluations


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
    (n_trials, n_factors), n_classes = factors.shape, responses.shape[1]
    coordinates = standardise(factors, ridge)
    penalty = torch.nn.functional.pad(torch.full_like(coordinates.mean, ridge), (0, 1))  # (n_factors + 1,)
    by_class = responses.T.contiguous() if responses.numel() <= KEPT else responses.T  # rows are summed faster
    objective = Objective(factors, by_class, coordinates.basis(), penalty)
    pilot = _pilot(objective, coordinates, tolerance, max_iterations, progress)
    everywhere = torch.arange(len(pilot.objective))
    if n_trials * n_classes > KEPT:
        descent = Descent(objective, pilot.objective, pilot.points, (everywhere, pilot.objective))
    elif len(pilot.objective) == n_trials:
        descent = Descent(objective, objective, pilot.points, (everywhere, pilot.objective))
    else:
        descent = Descent(objective, objective, pilot.points, (torch.arange(n_trials), objective))

    found = _blank(n_factors, n_classes, pilot)
    proofs, next_proof = torch.zeros(2, n_classes, dtype=torch.int64)
    separated: list[int] = []
    while len(descent.classes):
        iteration = pilot.iterations + descent.iterations
        last = iteration >= max_iterations
        arrived = (descent.max_gradient <= tolerance) & (last | (next_proof[descent.classes] <= iteration))
        apart = (descent.worst < 0.5) & (ridge == 0)
        for row in (arrived & ~apart).nonzero()[:, 0].tolist() if ridge == 0 else []:
            if descent.proves_existence(row):
                continue
            k = descent.classes[row]
            proofs[k], next_proof[k] = proofs[k] + 1, iteration + BETWEEN_PROOFS
            if last or proofs[k] == PROOFS:
                apart[row] = descent.is_separable(row)
            else:  # a smaller gradient proves more
                arrived[row] = False
        leaving = arrived | apart | last | ~descent.max_gradient.isfinite()
        descent.report(leaving, found, iteration, tolerance)
        separated += descent.classes[apart].tolist()
        descent.keep(~leaving)
        if len(descent.classes):
            descent.step()
            if progress:
                progress(iteration + 1, float(descent.max_gradient.max()))
    if separated:
        raise NoEstimate(sorted(separated))
    if not found.converged.all():
        raise NotConverged(found, tolerance)
    return found


def _pilot(
    objective: Objective,
    coordinates: Coordinates,
    tolerance: float,
    max_iterations: int,
    progress: Callable[[int, float], None] | None,
) -> Descent:
    """The descent in single precision: from the best bias alone to as near as it can come.

    That is, until single precision ends, or until the gradient is no larger than the difference that sampling
    makes to it, or until the sample is separated.
    """
    (n_trials, n_factors), n_classes = objective.factors.shape, len(objective.responses)
    rows = sampled_rows(n_trials, min(SAMPLE // n_factors, KEPT // n_classes))
    factors = coordinates.sample(objective.factors, rows)
    penalty = objective.ridge * torch.nn.functional.pad(coordinates.units, (0, 1)) ** 2
    sample = Objective(factors, objective.responses[:, rows].contiguous(), coordinates.basis_of_sample(), penalty)

    yes = sample.responses.sum(1)
    points = penalty.new_zeros(n_classes, len(sample.basis))
    points[:, -1] = torch.log((yes + 0.5) / (len(sample) - yes + 0.5)) / sample.basis[-1, -1]
    pilot = Descent(sample, sample, points, (rows, objective))
    smallest = max(PILOT_TOLERANCE, 0.8 * tolerance)
    for iteration in range(1, min(PILOT_ITERATIONS, max_iterations) + 1):
        noise = len(sample.basis) * pilot.variance / len(sample) if len(sample) < n_trials else 0
        under_way = (pilot.max_gradient > smallest) & (pilot.gradient.square().sum(1) > noise) & (pilot.worst > 0.5)
        if not under_way.any():
            break
        pilot.step(under_way)
        if progress:
            progress(iteration, float(pilot.max_gradient.max()))
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
        pilot_evaluations=pilot.evaluations,
        pilot_trials=len(pilot.objective),
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
