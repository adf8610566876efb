"""The descent on a sample of the trials: L-BFGS, and a search in the plane of its direction and the point itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.exact import plane
from hdlogit.exact.existence import Certificate
from hdlogit.exact.objective import Array, Floats
from hdlogit.exact.sample import Sample

AWAY = 1e4  # coordinates at which the tilted objective has no minimum
PAIRS = 10  # steps and changes of gradient that each class remembers
Mask = NDArray[np.bool_]
Pair = tuple[Array, Array, Array]  # step s, change of gradient y, both (n_classes, rank + 1); 1/s·y, (n_classes, 1)


@dataclass(frozen=True)
class Aim:
    """What is asked for: see `hdlogit.exact.fit`."""

    ridge: float
    tolerance: float
    max_iterations: int
    progress: Callable[[int, float], None]


@dataclass(frozen=True)
class State:
    """Classes on their way down; all arrays have one row for each."""

    classes: NDArray[np.intp]  # which they are
    points: Array  # (n, rank + 1)
    logits: Floats  # (n, n_sampled)
    responses: Floats  # (n, n_sampled)
    gradient: Array  # (n, n_factors + 1), by standardised coefficients, shift included
    worst: Array  # (n,), largest |residual|
    pairs: tuple[Pair, ...] = ()

    def only(self, rows: Mask) -> State:
        """Go on with these: a class that has arrived costs nothing any more."""
        pairs = tuple((s[rows], y[rows], rho[rows]) for s, y, rho in self.pairs)
        names = ("classes", "points", "logits", "responses", "gradient", "worst")
        return replace(self, pairs=pairs, **{name: getattr(self, name)[rows] for name in names})


def descend(
    sample: Sample,
    points: Array,
    classes: NDArray[np.intp],
    shift: Array,
    certificate: Certificate | None,
    iterations: NDArray[np.int64],
    aim: Aim,
) -> tuple[Array, Mask]:
    """These classes' minimum of the sample's objective + shift·v, from points (n_classes, rank + 1); both are for all.

    Ends, class by class, where the largest component of the gradient is at most aim.tolerance, or after as many
    iterations as are allowed. With a certificate the gradient is tilted until that proves that the estimate exists; a
    class whose sample is separated, or that runs away, gets no proof. `iterations` are counted up. Returns points, and
    for which classes the proof succeeded.
    """
    points, certified = points.copy(), np.full(len(points), certificate is None)
    shift = shift if certificate is None else shift + certificate.tilt
    state = _start(sample, points[classes], classes, shift[classes])
    while len(state.classes):
        classes, leaving = state.classes, iterations[state.classes] >= aim.max_iterations
        if certificate is not None and not certified[classes].all():
            proven = certificate.proves(state.gradient, classes, ~certified[classes])
            shift[classes[proven]] -= certificate.tilt[classes[proven]]
            state.gradient[proven] -= certificate.tilt[classes[proven]]
            certified[classes[proven]] = True
            away = (state.worst < 0.5) & certificate.hard[classes] | (np.abs(state.points).max(1) > AWAY)
            leaving |= away & ~certified[classes]
        largest = sample.coordinates.largest(state.gradient)
        leaving |= (largest <= aim.tolerance) & certified[classes] | ~np.isfinite(largest)
        if leaving.any():
            points[classes[leaving]] = state.points[leaving]
            state = state.only(~leaving)
        if len(state.classes):
            state = _step(sample, state, shift[state.classes])
            iterations[state.classes] += 1
            aim.progress(int(iterations.max()), float(largest.max()))
    return points, certified


def _start(sample: Sample, points: Array, classes: NDArray[np.intp], shift: Array) -> State:
    logits, responses = sample.logits(points), sample.responses[classes]
    gradient, worst = sample.evaluate(points, logits, responses)
    return State(classes, points, logits, responses, gradient + shift, worst)


def _step(sample: Sample, state: State, shift: Array) -> State:
    """To the minimum in the plane of the quasi-Newton direction and the points themselves, for all classes.

    The plane is searched on some trials only. Where these misled, and the slope along the step turned, go back by the
    secant.
    """
    c = sample.coordinates
    gradient = c.by_point(state.gradient)
    direction = quasi_newton_direction(gradient, state.pairs)
    change = sample.logits(direction)
    slopes = np.stack([np.vecdot(direction, gradient), np.vecdot(state.points, gradient)], axis=1)
    amounts = plane.search(change, state.logits, state.responses, slopes, _penalty(sample, direction, state.points))
    step = amounts[:, :1] * direction + amounts[:, 1:] * state.points
    a, b = (torch.from_numpy(amount) for amount in amounts.astype(change.dtype).T[:, :, None])
    old = torch.from_numpy(state.logits)
    moved = torch.addcmul(old, b, old).addcmul_(a, torch.from_numpy(change))
    slope, length = np.vecdot(gradient, step), np.ones((len(step), 1))
    for _ in range(20):
        points = state.points + length * step
        logits = moved if (length == 1).all() else torch.lerp(old, moved, torch.from_numpy(length).to(old))
        by_v, worst = sample.evaluate(points, logits.numpy(), state.responses)
        there = c.by_point(by_v + shift)
        slope_there = np.vecdot(there, step)
        back = (slope_there > -0.5 * slope) & (length[:, 0] > 0)  # slopes are negative
        if not back.any():
            break
        left = np.divide(slope_there, slope, out=np.zeros_like(slope), where=back & (slope < 0))
        length = np.where((back & (slope >= 0))[:, None], 0, length / (1 - left[:, None]))
    taken, difference = points - state.points, there - gradient
    curvature = np.vecdot(taken, difference)[:, None]
    rho = np.divide(1, curvature, out=np.zeros_like(curvature), where=curvature > 0)
    pairs = (*state.pairs, (taken, difference, rho))[-PAIRS:]
    return replace(state, points=points, logits=logits.numpy(), gradient=by_v + shift, worst=worst, pairs=pairs)


def _penalty(sample: Sample, direction: Array, points: Array) -> Array:
    """The ridge's Hessian in the plane, (n, 2, 2)."""
    if not sample.ridge.any():
        return np.zeros((len(points), 2, 2))
    v = np.stack([sample.coordinates.standardised(axis) for axis in (direction, points)], axis=1)
    return np.asarray((v * sample.ridge) @ v.transpose(0, 2, 1))


def quasi_newton_direction(gradient: Array, pairs: tuple[Pair, ...]) -> Array:
    """-H·gradient of L-BFGS, (n, rank + 1); Nocedal & Wright, Numerical Optimization, algorithm 7.4, names as there."""
    q, alphas = gradient.copy(), []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * np.vecdot(s, q)[:, None])
        q -= alphas[-1] * y
    if pairs:
        _, y, rho = pairs[-1]
        q *= np.where(rho > 0, 1 / np.maximum(rho * np.vecdot(y, y)[:, None], 1e-300), 1)
    for s, y, rho in pairs:
        q += s * (alphas.pop() - rho * np.vecdot(y, q)[:, None])
    return -q
