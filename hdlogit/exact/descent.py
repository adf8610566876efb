"""The descent on the sample: Newton's method in the span of the gradient, the point itself and the last step.

Gradient and last step alone are conjugate gradients (with a new curvature at each step: the memory gradient method of
Miele & Cantrell, J. Optimization Theory and Applications 1969). The point is the third axis because, where responses
are nearly certain, weights mostly just grow. Logits are linear in the coefficients, so those of the three axes give
the objective's Hessian in their span; the only products with the factors are for the gradient's logits and for the next
gradient. For a class that is slow or stuck, its own Hessian preconditions the gradient from time to time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import each
from hdlogit.exact.objective import Array, Floats, Mask
from hdlogit.exact.sample import Sample

DAMPING = 1e-6 * np.eye(3)  # added to a Hessian of unit diagonal: axes may be parallel, or zero
FIRST_NEWTON, EACH_NEWTON = 40, 4  # iterations: a class that has not converged by then is close to having no estimate
LARGEST_NEWTON = 2048  # coefficients up to which a class's own Hessian is worth its time
LARGEST = 1e20  # a coefficient beyond which a class is given up
LONGEST_STEP = 9  # times 1 + |v|: where the curvature is nearly zero, Newton's step has no limit


@dataclass(frozen=True)
class State:
    """Classes on their way down; all arrays have one row for each."""

    rows: NDArray[np.intp]  # which of the initial classes they are
    v: Array  # (n, n_factors + 1), standardised coefficients
    step: Array  # (n, n_factors + 1), the last one
    gradient: Array  # (n, n_factors + 1), in v, shift included
    worst: Array  # (n,), largest |residual|
    parts: list[Floats]  # for each of the sample (n, 4, rows): room for logits, those of v and of step, and p (1 - p)
    responses: list[Floats]  # (n, rows)

    def select(self, rows: Mask) -> State:
        """Go on with these classes: one that has converged costs nothing any more."""

        def chosen(x: Any) -> Any:
            return list(each(lambda part: part[rows], x)) if isinstance(x, list) else x[rows]

        return State(**{name: chosen(x) for name, x in vars(self).items()})


def descend(
    sample: Sample,
    v: Array,
    classes: NDArray[np.intp],
    shift: Array,
    arrived: Callable[[State], Mask],
    max_iterations: NDArray[np.int64],
    progress: Callable[[int, Array], None],
) -> tuple[Array, NDArray[np.int64]]:
    """Minimise the sample's objective + shift·v for these n classes, from v (n, n_factors + 1).

    shift: (n, n_factors + 1), in v, is added to the gradient.
    A class ends when it has converged, when rounding prevents further descent, or after `max_iterations` (n,).

    Returns v, and numbers of iterations (n,).
    """
    v, iterations = v.copy(), np.zeros(len(v), dtype=np.int64)
    state = start(sample, v, classes)
    state = replace(state, gradient=state.gradient + shift)
    small = v.shape[1] <= LARGEST_NEWTON
    best = np.full(len(v), not small)  # whether there was no better direction than the last one
    for turn in range(int(max_iterations.max(initial=0)) + 1):
        stuck = np.asarray(~state.step.any(1) & (turn > 0))
        lost = ~np.isfinite(state.gradient).all(1) | (np.abs(state.v).max(1) > LARGEST)
        leaving = arrived(state) | (stuck & best[state.rows]) | lost | (turn >= max_iterations[state.rows])
        sample.group.broadcast(leaving)
        if leaving.any():
            left = state.rows[leaving]
            v[left], iterations[left] = state.v[leaving], turn
            state = state.select(~leaving)
        if not len(state.rows):
            break
        newton = (stuck[~leaving] | (turn >= FIRST_NEWTON and turn % EACH_NEWTON == 0)) & small
        best[state.rows] = newton | (not small)
        direction = state.gradient @ sample.coordinates.inverse
        if newton.any():
            direction[newton] = _newton_direction(sample, state.select(newton))
        state = _step(sample, state, direction, shift[state.rows])
        progress(turn + 1, state.gradient)
    return v, iterations


def start(sample: Sample, v: Array, classes: NDArray[np.intp]) -> State:
    """These n classes at v (n, n_factors + 1), without a shift."""
    logits, still = [sample.logits(v, k) for k in range(len(sample.factors))], np.zeros_like(v)
    parts = [np.stack([z, z, z, z], axis=1) for z in logits]  # nothing but the second is used
    responses = [y[classes] for y in sample.responses]
    state = State(np.arange(len(v)), v, still, still, still[:, 0], parts, responses)
    return _moved(sample, state, np.zeros((len(v), 3)), still, still)


def _newton_direction(sample: Sample, state: State) -> Array:
    """The gradient times the inverse of each class's own Hessian, (n, n_factors + 1).

    Close to having no estimate, a few trials determine this Hessian, and the one at zero is a bad preconditioner.
    """
    size, direction = state.v.shape[1], np.empty_like(state.v)
    for row, gradient in enumerate(state.gradient):

        def product(k: int, row: int = row) -> Array:
            x = np.column_stack([sample.factors[k], np.ones(len(sample.factors[k]), sample.factors[k].dtype)])
            x *= np.sqrt(state.parts[k][row, 3])[:, None]
            return np.asarray(x.T @ x, dtype=np.float64)

        hessian = sum(each(product, range(len(state.parts)), waiting=2), np.zeros((size, size)))
        sample.group.all_reduce_sum(hessian)
        hessian = hessian / sample.n_trials + np.diag(sample.ridge)
        hessian += np.eye(size) * (1e-7 * np.trace(hessian) / size)  # singular where factors depend, or by rounding
        direction[row] = np.linalg.solve(hessian, gradient)
    return direction


def _step(sample: Sample, state: State, direction: Array, shift: Array) -> State:
    """Step to the minimum of the quadratic model in the span; if the slope changed sign, go back by the secant."""
    axes = np.stack([direction, state.v, state.step], axis=1)  # (n, 3, n_factors + 1)

    def curvature(k: int) -> Floats:
        part = state.parts[k]
        part[:, 0] = sample.logits(direction, k)
        return _products(part[:, :3], part[:, 3:])

    hessian = sum(each(curvature, range(len(state.parts))), np.zeros((len(axes), 3, 3)))
    sample.group.all_reduce_sum(hessian)
    hessian = hessian / sample.n_trials + _products(axes, sample.ridge)
    amounts = _newton_step(np.vecdot(axes, state.gradient[:, None]), hessian)
    step = np.matvec(axes.transpose(0, 2, 1), amounts)
    amounts *= np.minimum(1, LONGEST_STEP * (1 + _norm(state.v)) / np.maximum(_norm(step), 1e-300))[:, None]
    for _ in range(20):
        step = np.matvec(axes.transpose(0, 2, 1), amounts)
        sample.group.broadcast(amounts, step)
        there = _moved(sample, state, amounts, step, shift)
        length = secant(np.vecdot(state.gradient, step), np.vecdot(there.gradient, step))
        sample.group.broadcast(length)
        if (length == 1).all():
            break
        amounts *= length[:, None]
    return there


def _moved(sample: Sample, state: State, amounts: Array, step: Array, shift: Array) -> State:
    """The state a step further, which consists of these amounts (n, 3) of the axes."""

    def move(k: int) -> tuple[Floats, Floats, Floats, Floats]:
        old, new = state.parts[k], np.empty_like(state.parts[k])
        np.matmul(amounts[:, None].astype(old.dtype), old[:, :3], out=new[:, 2:3])
        logits = np.add(old[:, 1], new[:, 2], out=new[:, 1])
        p = torch.sigmoid(torch.from_numpy(logits)).numpy()
        np.multiply(p, 1 - p, out=new[:, 3])
        residuals = p - state.responses[k]
        return new, residuals @ sample.factors[k], residuals.sum(1), np.abs(residuals).max(1)

    v, gradient, worst, parts = state.v + step, np.zeros_like(state.v), np.zeros(len(step)), []
    for part, by_weights, by_bias, largest in each(move, range(len(state.parts))):
        gradient[:, :-1] += by_weights
        gradient[:, -1] += by_bias
        worst = np.maximum(worst, largest)
        parts.append(part)
    sample.group.all_reduce_sum(gradient)
    sample.group.all_reduce_max(worst)
    gradient = gradient / sample.n_trials + sample.ridge * v + shift
    return State(state.rows, v, step, gradient, worst, parts, state.responses)


def _newton_step(slopes: Array, hessian: Array) -> Array:
    """-hessian⁻¹ · slopes, (n, 3), with axes scaled to curvature 1 first; 0 where, by rounding, it would go upwards."""
    scale = 1 / np.sqrt(np.einsum("nii->ni", hessian) + 1e-30)
    scaled = hessian * scale[:, :, None] * scale[:, None] + DAMPING
    step = -np.linalg.solve(scaled, (slopes * scale)[:, :, None])[:, :, 0] * scale
    return np.where(np.vecdot(step, slopes)[:, None] < 0, step, 0)


def _products(axes: Floats, weights: Floats) -> Floats:
    """Weighted inner products (n, 3, 3) of each class's axes (n, 3, m)."""
    return np.asarray((axes * weights) @ axes.transpose(0, 2, 1))


def _norm(vectors: Array) -> Array:
    return np.asarray(np.sqrt(np.vecdot(vectors, vectors)))


def secant(before: Array, there: Array) -> Array:
    """Factors (n,) for steps along which the slopes were `before` and now are `there`: 1 unless the sign changed.

    For a convex function the slopes alone tell that a step was too long, and about where along it the slope was zero.
    """
    turned = (before < 0) & (there > -0.5 * before)
    return np.divide(before, before - there, out=np.ones_like(before), where=turned)
