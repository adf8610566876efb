"""A search in a plane: the minimum of the objective over a · direction + b · point, for every class by itself.

Where responses are nearly certain, a fit spends most of its steps on growing; with the point itself as second
axis, every step sets the length anew. Logits are linear in the coefficients, so two rows of logits, of the point
and of the direction, give those of the whole plane, and no product over the factors is needed to search it.

The sums over trials are torch's. The algebra of two unknowns is NumPy's: torch would spend more on being called.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hdlogit.compute.threads import cut, each
from hdlogit.exact.objective import Array, dots

SMALL = 0.1  # root mean square change of the logits, over which their curvature hardly changes
BLOCK = {"cpu": 2**18, "cuda": 2**26}  # logits in a block of the sums


def search(
    logits: Tensor, change: Tensor, responses: Tensor, residuals: Tensor, slopes: Array, penalty: Array
) -> tuple[Array, Tensor]:
    """Minimise the objective at logits + a · change + b · logits over (a, b) for each class: Newton's method.

    The sums run over the trials at hand and are shifted so that the slopes at (0, 0) are those given: exact
    if these are all the trials, and right to first order if they are a sample. A convex function needs no
    value to tell that a step was too long: the slope along the step has turned, and the secant says by how
    much. The search ends when every class's squared Newton decrement has fallen twentyfold; a step that moves the
    logits by less than SMALL needs no second look.

    logits, change, responses, residuals (sigmoid(logits) - responses): (n_classes, n_trials); slopes:
    (n_classes, 2); penalty: (n_classes, 2, 2), the ridge's Hessian. Returns (a, b) as (n_classes, 2), and the
    logits there.
    """
    here = there = np.zeros_like(slopes)
    sums, hessian = _sums(residuals, logits, change)
    shift, hessian = slopes - sums, hessian + penalty
    sizes = np.sqrt([dots(z, z) / len(z[0]) for z in (change, logits)]).T
    step = _newton_step(slopes, hessian, sizes)
    if (_length(step, sizes) < SMALL).all():
        return step, _moved(step, logits, change)
    enough = np.vecdot(slopes, step) / 20  # negative, as is every slope along a Newton step
    for _ in range(40):
        there = here + step
        sums, hessian_there, moved = _sums_there(there, logits, change, responses)
        slopes_there = sums + shift + np.matvec(penalty, there)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.vecdot(slopes_there, step) / np.vecdot(slopes, step)  # of the slope; 0 at the minimum
        good = ((left > -0.5) | ~np.isfinite(left))[:, None]
        here, slopes = np.where(good, there, here), np.where(good, slopes_there, slopes)
        hessian = np.where(good[:, :, None], hessian_there + penalty, hessian)
        newton = _newton_step(slopes, hessian, sizes)
        if good.all() and (np.vecdot(slopes, newton) >= enough).all():
            break
        step = np.where(good, newton, step / (1 - np.where(good, 0, left[:, None])))
    return there, moved


def _sums_there(there: Array, logits: Tensor, change: Tensor, responses: Tensor) -> tuple[Array, Array, Tensor]:
    """Slopes (n_classes, 2) and Hessian (n_classes, 2, 2) of the mean cross-entropy there, and the logits there."""
    a, b = torch.from_numpy(there).to(logits).tensor_split(2, dim=1)
    moved = torch.empty_like(logits)

    def sums(columns: slice) -> Array:
        v, u, z = logits[:, columns], change[:, columns], moved[:, columns]
        torch.addcmul(v, b, v, out=z).addcmul_(a, u)
        return _sums_of_block(torch.sigmoid(z).sub_(responses[:, columns]), v, u)

    return *_slopes_and_hessian(sums, logits), moved


def _sums(residuals: Tensor, logits: Tensor, change: Tensor) -> tuple[Array, Array]:
    """The same where the residuals are known."""

    def sums(columns: slice) -> Array:
        return _sums_of_block(residuals[:, columns], logits[:, columns], change[:, columns])

    return _slopes_and_hessian(sums, logits)


def _slopes_and_hessian(sums: Callable[[slice], Array], logits: Tensor) -> tuple[Array, Array]:
    n_classes, n_trials = logits.shape
    means = sum(each(sums, cut(n_trials, n_classes, BLOCK[logits.device.type])), np.zeros(())) / n_trials
    return means[:, :2], means[:, [2, 3, 3, 4]].reshape(-1, 2, 2)


def _moved(there: Array, logits: Tensor, change: Tensor) -> Tensor:
    a, b = torch.from_numpy(there).to(logits).tensor_split(2, dim=1)
    return torch.addcmul(logits, b, logits).addcmul_(a, change)


def _sums_of_block(residuals: Tensor, logits: Tensor, change: Tensor) -> Array:
    """Sums over these trials of r (u, v) and of p (1 - p) (uu, uv, vv), with u = change, v = logits: (n_classes, 5)."""
    size = residuals.abs()
    curvature = torch.addcmul(size, size, size, value=-1)  # p (1 - p) = |r| (1 - |r|)
    du, dv = curvature * change, curvature * logits
    pairs = (residuals, change), (residuals, logits), (du, change), (du, logits), (dv, logits)
    return np.stack([dots(s, t) for s, t in pairs], axis=1)


def _newton_step(slopes: Array, hessian: Array, sizes: Array) -> Array:
    """-hessian⁻¹ · slopes, (n_classes, 2); the second axis stays out where it is 0 or parallel to the first.

    Where all trials are nearly certain there is no curvature left to say how far to go; `sizes`, (n_classes,
    2), the root mean squares of the two rows of logits, does: no step changes the logits by much more than
    nine times themselves.
    """
    uu, uv, vv = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
    gu, gv = slopes.T
    determinant = uu * vv - uv * uv
    plane = determinant > 1e-9 * uu * vv
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(plane, (uv * gv - vv * gu) / determinant, -gu / np.maximum(uu, 1e-30))
        b = np.where(plane, (uv * gu - uu * gv) / determinant, 0)
    step = np.stack([a, b], axis=1)
    allowed = 9 * (1 + sizes[:, 1]) / np.maximum(_length(step, sizes), 1e-30)
    return np.asarray(step * np.minimum(allowed, 1)[:, None])


def _length(step: Array, sizes: Array) -> Array:
    """By how much a step changes the logits, root mean square at most, (n_classes,)."""
    return np.asarray(np.abs(step * sizes).sum(axis=1))
