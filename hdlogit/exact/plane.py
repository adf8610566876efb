"""A search in a plane: the minimum of the objective over a · direction + b · point, for every class by itself.

Where responses are nearly certain, a fit spends most of its steps on growing; with the point itself as second axis,
every step sets the length anew. Logits are linear in the coefficients, so two rows of logits, of the direction and of
the point, give those of the whole plane, and no product over the factors is needed to search it.
"""

from __future__ import annotations

import numpy as np
import torch

from hdlogit.compute.threads import cut, each
from hdlogit.exact.objective import Array, Floats

ROWS = 4096  # trials that are looked at, at most twice as many
BLOCK = 2**17  # logits that a core takes at once
FIRM, TINY = 1 + 1e-9, 1e-30  # keep a determinant positive
SMALL = 0.1  # root mean square change of the logits, over which their curvature hardly changes


def search(change: Floats, logits: Floats, responses: Floats, slopes: Array, penalty: Array) -> Array:
    """Minimise the objective at logits + a · change + b · logits over (a, b), (n_classes, 2): Newton's method.

    change, logits, responses: (n_classes, n_trials); slopes at (0, 0): (n_classes, 2); penalty: (n_classes, 2, 2), the
    ridge's Hessian. A stride of the trials is summed over, shifted so that the slopes at (0, 0) are those given. A
    convex function needs no value to tell that a step was too long: the slope along the step has turned, and the secant
    says by how much. The search ends when every class's squared Newton decrement has fallen twentyfold.
    """
    stride = max(1, logits.shape[1] // ROWS)
    axes = np.stack([change[:, ::stride], logits[:, ::stride]])  # (2, n_classes, n_rows)
    y = np.ascontiguousarray(responses[:, ::stride])
    sizes = np.sqrt(np.vecdot(axes, axes).T / y.shape[1])  # (n_classes, 2)
    here = there = np.zeros_like(slopes)
    sums, hessian = _sums(here, axes, y)
    shift, hessian = slopes - sums, hessian + penalty
    step = _newton_step(slopes, hessian, sizes)
    if (_length(step, sizes) < SMALL).all():
        return step
    enough = np.vecdot(slopes, step) / 20  # negative, as is every slope along a Newton step
    for _ in range(40):
        there = here + step
        sums, hessian_there = _sums(there, axes, y)
        slopes_there = sums + shift + np.matvec(penalty, there)
        before = np.vecdot(slopes, step)
        left = np.divide(np.vecdot(slopes_there, step), before, out=np.zeros_like(before), where=before < 0)
        good = (left > -0.5)[:, None]
        here, slopes = np.where(good, there, here), np.where(good, slopes_there, slopes)
        hessian = np.where(good[:, :, None], hessian_there + penalty, hessian)
        newton = _newton_step(slopes, hessian, sizes)
        if good.all() and (np.vecdot(slopes, newton) >= enough).all():
            break
        step = np.where(good, newton, step / (1 - np.where(good, 0, left[:, None])))
    return there


def _sums(amounts: Array, axes: Floats, responses: Floats) -> tuple[Array, Array]:
    """Slopes (n_classes, 2) and Hessian (n_classes, 2, 2) of the mean cross-entropy at these (a, b)."""
    a, b = amounts.astype(axes.dtype).T[:, :, None]

    def of_block(columns: slice) -> Array:
        x = axes[:, :, columns]
        p = torch.sigmoid_(torch.from_numpy(a * x[0] + (1 + b) * x[1])).numpy()
        weighted = np.stack([p - responses[:, columns], *(p * (1 - p) * x)])  # (3, n_classes, block)
        return np.asarray(np.vecdot(weighted[:, None], x), dtype=np.float64)  # (3, 2, n_classes)

    n_classes, n_rows = responses.shape
    sums = sum(each(of_block, cut(n_rows, n_classes, BLOCK)), np.zeros((3, 2, n_classes))) / n_rows
    return sums[0].T, sums[1:].transpose(2, 0, 1)


def _newton_step(slopes: Array, hessian: Array, sizes: Array) -> Array:
    """-hessian⁻¹ · slopes, (n_classes, 2); a little is added to the diagonal: an axis may be 0, or both parallel.

    Where all trials are nearly certain there is no curvature left to say how far to go; `sizes`, (n_classes, 2), the
    root mean squares of the two rows of logits, does: no step changes them by much more than nine times themselves.
    """
    uu, uv, vv = hessian[:, 0, 0] * FIRM + TINY, hessian[:, 0, 1], hessian[:, 1, 1] * FIRM + TINY
    gu, gv = slopes.T
    step = (np.stack([uv * gv - vv * gu, uv * gu - uu * gv]) / (uu * vv - uv * uv)).T
    allowed = 9 * (1 + sizes[:, 1]) / np.maximum(_length(step, sizes), 1e-30)
    return np.asarray(step * np.minimum(allowed, 1)[:, None])


def _length(step: Array, sizes: Array) -> Array:
    """By how much a step changes the logits, root mean square at most, (n_classes,)."""
    return np.asarray(np.abs(step * sizes).sum(axis=1))
