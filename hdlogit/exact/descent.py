"""The descent on the sample: Newton's method in the span of the gradient, the point itself and the last step.

Gradient and last step alone are conjugate gradients (with a new curvature at each step: the memory gradient
method of Miele & Cantrell, J. Optimization Theory and Applications 1969). The point is the third axis
because, where responses are nearly certain, weights mostly just grow. Logits are linear in the coefficients,
so those of the three axes give the objective's Hessian in their span; the only products with the factors are
for the gradient's logits and for the next gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import each, total
from hdlogit.exact.objective import Array, Floats, Mask, misfits
from hdlogit.exact.sample import Sample

STILL = np.array([[0.0, 1, 0], [0, 0, 0]])  # changes of logits (see `_moved`) for a step of length 0
DAMPING = 1e-6 * np.eye(3)  # added to a Hessian of unit diagonal: axes may be parallel, or zero
LARGEST = 1e20  # a coefficient beyond which a class is given up
LONGEST_STEP = 9  # times 1 + |v|: where the curvature is nearly zero, Newton's step has no limit


@dataclass(frozen=True)
class State:
    """Classes on their way down; all arrays have one row for each."""

    rows: NDArray[np.intp]  # which of the initial classes they are
    v: Array  # (n, n_factors + 1), standardised coefficients
    step: Array  # (n, n_factors + 1), the last one
    shift: Array  # (n, n_factors + 1): the objective is the sample's, and shift·v
    gradient: Array  # (n, n_factors + 1), in v
    separates: Mask  # (n,), whether every residual is below 1/2
    parts: list[Floats]  # for each of the sample's (n, 4, rows): see `_moved`. Updated in place
    responses: list[Floats]  # (n, rows)

    def select(self, rows: Mask) -> State:
        """Go on with these classes: one that has converged costs nothing any more."""

        def chosen(x: Any) -> Any:
            return list(each(lambda part: part[rows], x)) if isinstance(x, list) else x[rows]

        return State(**{name: chosen(x) for name, x in vars(self).items()})

    def shifted(self, shift: Array) -> State:
        """The same with this much more shift."""
        return replace(self, shift=self.shift + shift, gradient=self.gradient + shift)


def start(sample: Sample, v: Array, classes: NDArray[np.intp]) -> State:
    """These n classes at v (n, n_factors + 1)."""
    responses, still = [y[classes] for y in sample.responses], np.zeros_like(v)
    parts = [np.zeros((len(v), 4, y.shape[1]), y.dtype) for y in responses]
    state = State(np.arange(len(v)), v, still, still, still, still[:, 0] > 0, parts, responses)
    list(each(lambda k: sample.logits(v, k, out=parts[k][:, 0]), range(len(parts))))
    from_direction = np.tile([[1.0, 0, 0], [0, 0, 0]], (len(v), 1, 1))  # which is v
    return _moved(sample, state, v, still, from_direction)


def descend(
    sample: Sample,
    state: State,
    arrived: Callable[[State], Mask],
    max_iterations: NDArray[np.int64],
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Minimise the sample's objective + shift·v for n classes.

    A class ends when it has arrived, when rounding prevents further descent, or after `max_iterations` (n,).

    Returns v and the gradient (n, n_factors + 1) there, and numbers of iterations (n,).
    """
    v, gradient, iterations = state.v.copy(), state.gradient.copy(), np.zeros(len(state.v), dtype=np.int64)
    inverse = sample.coordinates.inverse
    for turn in range(int(max_iterations.max(initial=0)) + 1):
        stuck = np.asarray(~state.step.any(axis=1) & (turn > 0))
        lost = ~np.isfinite(state.gradient).all(axis=1) | (np.abs(state.v).max(axis=1) > LARGEST)
        leaving = arrived(state) | stuck | lost | (turn >= max_iterations[state.rows])
        if leaving.any():
            left = state.rows[leaving]
            v[left], gradient[left], iterations[left] = state.v[leaving], state.gradient[leaving], turn
            state = state.select(~leaving)
        if not len(state.rows):
            break
        direction = np.asarray(state.gradient.astype(inverse.dtype) @ inverse, dtype=np.float64)
        state = _step(sample, state, direction)
        sample.report(state.gradient)
    return v, gradient, iterations


def _step(sample: Sample, state: State, direction: Array) -> State:
    """To the minimum of the quadratic model in the span; if the slope changed sign, back by the secant."""
    axes = np.array([direction, state.v, state.step]).transpose(1, 0, 2)  # (n, 3, n_factors + 1)

    def curvature(k: int) -> Array:
        part = state.parts[k]
        sample.logits(direction, k, out=part[:, 0])
        return _products(part[:, :3], part[:, 3:]).astype(np.float64)

    hessian = total(curvature, range(len(state.parts))) / sample.n_trials
    if sample.ridge.any():
        hessian += _products(axes, sample.ridge)
    amounts = _newton_step(np.vecdot(axes, state.gradient[:, None]), hessian)
    step = np.matvec(axes.transpose(0, 2, 1), amounts)
    longest = LONGEST_STEP * (1 + np.linalg.norm(state.v, axis=1))
    length = np.minimum(1, longest / np.maximum(np.linalg.norm(step, axis=1), 1e-300))
    amounts, step = amounts * length[:, None], step * length[:, None]
    changes = STILL + amounts[:, None]
    for _ in range(20):
        there = _moved(sample, state, state.v + step, step, changes)
        length = _secant(np.vecdot(state.gradient, step), np.vecdot(there.gradient, step))
        if (length == 1).all():
            break
        step = step * length[:, None]
        changes = np.tile(STILL, (len(length), 1, 1))
        changes[:, :, 2] += np.stack([length - 1, length], axis=1)
    return there


def _moved(sample: Sample, state: State, v: Array, step: Array, changes: Array) -> State:
    """The state at v, after this step; it takes over the parts of the old one.

    The logits of direction, v and step are state.parts[k][:, :3], p (1 − p) is [:, 3]; changes (n, 2, 3)
    make the new logits of v and of step from these three.
    """

    def move(k: int) -> tuple[Array, NDArray[np.intp]]:
        part = state.parts[k]
        part[:, 1:3] = changes.astype(part.dtype) @ part[:, :3]
        p = torch.sigmoid(torch.from_numpy(part[:, 1])).numpy()
        np.multiply(p, 1 - p, out=part[:, 3])
        residuals = np.subtract(p, state.responses[k], out=p)
        return (residuals @ sample.factors[k]).astype(np.float64), misfits(residuals)

    gradient, n_misfits = total(move, range(len(state.parts)))
    gradient = gradient / sample.n_trials + sample.ridge * v + state.shift
    return replace(state, v=v, step=step, gradient=gradient, separates=n_misfits == 0)


def _newton_step(slopes: Array, hessian: Array) -> Array:
    """-hessian⁻¹ · slopes, (n, 3), with axes scaled to curvature 1; 0 where rounding turns it upwards."""
    scale = 1 / np.sqrt(np.einsum("nii->ni", hessian) + 1e-30)
    scaled = hessian * (scale[:, :, None] * scale[:, None]) + DAMPING
    step = -np.linalg.solve(scaled, (slopes * scale)[:, :, None])[:, :, 0] * scale
    return np.where(np.vecdot(step, slopes)[:, None] < 0, step, 0)


def _products(axes: Floats, weights: Floats) -> Floats:
    """Weighted inner products (n, 3, 3) of each class's axes (n, 3, m)."""
    return np.asarray((axes * weights) @ axes.transpose(0, 2, 1))


def _secant(before: Array, there: Array) -> Array:
    """Factors (n,) for steps along which the slope was `before` and is `there`: 1 if its sign is the same.

    For a convex function slopes alone tell that a step was too long, and about where along it one was zero.
    """
    turned = (before < 0) & (there > -0.5 * before)
    return np.divide(before, before - there, out=np.ones_like(before), where=turned)
