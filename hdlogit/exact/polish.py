"""From a gradient below the tolerance to one that is only rounding: so weights in float32 are the same everywhere.

Newton's method in double precision, for all classes at once. No Hessian is formed: each step comes from conjugate
gradients (Hestenes & Stiefel, J. Research of the National Bureau of Standards 1952), with two products with the copied
factors an iteration. These may be in single precision, as the gradient that a step must remove is not (iterative
refinement): a step takes some five digits off.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import each
from hdlogit.exact.objective import Array, Floats
from hdlogit.exact.sample import Sample

STEPS, ITERATIONS = 6, 300  # at most, Newton's and those of conjugate gradients for each
LEFT = 1e-5  # of a gradient, after a step: more than single precision allows
ROUNDING = 1e-16  # of the gradient, about


def polish_from(sample: Sample, v: Array, classes: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Newton's steps from v (n, n_factors + 1) of n classes, where they have converged; the sample must be all trials.

    A class takes steps for as long as each makes its gradient at least two times smaller. Returns coefficients, loss
    and gradient, as `Sample.evaluate` does.
    """
    coefficients, loss, gradient, _ = sample.evaluate(v, classes)
    v, largest, going = v.copy(), sample.coordinates.largest, np.arange(len(v))
    for _ in range(STEPS):
        going = going[largest(gradient[going]) > ROUNDING]
        if not len(going):
            break
        there = v[going] + _step(sample, v[going], gradient[going])
        *found, new, _ = sample.evaluate(there, classes[going])
        better = largest(new) < largest(gradient[going]) / 2
        going = going[better]
        for old, changed in zip((v, coefficients, loss, gradient), (there, *found, new), strict=True):
            old[going] = changed[better]
    return coefficients, loss, gradient


def _step(sample: Sample, v: Array, gradient: Array) -> Array:
    """-hessian⁻¹ · gradient (n, n_factors + 1) of each class at v, nearly."""
    parts, inverse = range(len(sample.factors)), sample.coordinates.inverse

    def logits(direction: Array, k: int) -> Floats:
        out = np.empty((len(direction), len(sample.factors[k])), sample.factors[k].dtype)
        sample.logits(direction, k, out)
        return out

    def curvature(k: int) -> Floats:
        p = torch.sigmoid(torch.from_numpy(logits(v, k))).numpy()
        return np.asarray(p * (1 - p))

    curvatures = list(each(curvature, parts))

    def product(direction: Array) -> Array:
        total = sum(each(lambda k: logits(direction, k) * curvatures[k] @ sample.factors[k], parts), np.zeros_like(v))
        return total / sample.n_trials + sample.ridge * direction

    def precondition(residual: Array) -> tuple[Array, Array]:
        z = np.asarray(residual.astype(inverse.dtype) @ inverse, dtype=np.float64)
        return z, np.vecdot(residual, z)

    residual, step = -gradient, np.zeros_like(v)
    direction, size = precondition(residual)
    enough = np.square(np.maximum(LEFT, ROUNDING / sample.coordinates.largest(gradient))) * size
    for _ in range(ITERATIONS):
        if not (running := size > enough).any():
            break
        change, none = product(direction), np.zeros_like(size)
        length = np.divide(size, np.vecdot(direction, change), out=none.copy(), where=running)[:, None]
        step, residual = step + length * direction, residual - length * change
        z, new = precondition(residual)
        direction = z + np.divide(new, size, out=none, where=running)[:, None] * direction
        size = new
    return step
