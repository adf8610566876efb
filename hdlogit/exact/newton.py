"""Newton's method, which decides where the descent cannot, and polishes where it has converged.

For one class, over all trials and in double precision, it is slow. With the Hessian H = Σ p_i (1 − p_i) x_i
x_iᵀ (a sum, no mean) and the step δ = −H⁻¹g, |x_i·δ| < 1 for all trials proves that the estimate exists:
with q_i = |r_i| + s_i p_i (1 − p_i) x_i·δ in the place of |r_i|, Σ q_i s_i x_i is 0, and q_i > 0 as p_i (1 −
p_i) <= |r_i| (`hdlogit.exact.existence`). Half of that leaves room for rounding, and what rounding may have
done to g counts as well: along a factor that only one trial has, that is all there is. A step that leads
too far is halved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.compute.threads import cut, each, total
from hdlogit.exact.coordinates import inverse_of, pseudo_inverse_of
from hdlogit.exact.objective import Array, misfits
from hdlogit.exact.sample import Sample

STEPS = 60
POLISHING = 12  # steps at most
POLISHED_AT_ONCE = 2**24  # numbers in Hessians
SINGULAR = 1e-8  # eigenvalue of a Hessian of unit diagonal: with less, rounding leaves no proof
ROUNDING = 16 * np.finfo(np.float64).eps  # of a gradient, as a fraction of the sum of its terms' sizes


def newton(sample: Sample, k: int, v: Array, tolerance: float, known: bool = False) -> tuple[bool | None, Array]:
    """Whether the estimate of class k exists (if not known), and where Newton's method from v (n_factors +
    1,) ended.

    True: at the estimate, if rounding allows the tolerance. False: at a point that separates the responses.
    None: with neither a proof nor a separation.
    """
    exists = known or None
    may_be_separated = sample.trials.hard[k] and not sample.ridge.any()
    before = np.inf
    for _ in range(STEPS):
        hessian, gradient, sizes, separated = _derivatives(sample, k, v)
        if separated and may_be_separated:
            return False, v
        mean = gradient / len(sample.trials.factors)
        sample.report(mean)
        largest = float(np.abs(mean).max())
        # so close, only rounding prevents it
        arrived = exists and (largest <= tolerance or largest > before / 2)
        inverse, regular = _inverse(hessian)
        step = -inverse @ gradient
        if arrived or not np.isfinite(step).all():
            break
        in_doubt = np.abs(inverse) @ (ROUNDING * sizes)  # of the step
        if regular and _largest_change(sample, step, in_doubt) < 0.5:
            exists, before = True, largest
        v = v + _length(sample, k, v, step) * step
    return exists, v


def _factors(sample: Sample, rows: slice) -> Array:
    """Of all trials, standardised in double precision: (rows, n_factors + 1)."""
    x = (sample.trials.factors[rows] - sample.coordinates.center) * sample.coordinates.units
    return np.column_stack([x, np.ones(len(x))])


def _derivatives(sample: Sample, k: int, v: Array) -> tuple[Array, Array, Array, bool]:
    """Of n_trials times the objective of class k: Hessian, gradient, the sum of the sizes of its terms; and
    whether every residual is below 1/2.
    """

    def of_block(rows: slice) -> tuple[Array, Array, Array, NDArray[np.intp]]:
        x, y = _factors(sample, rows), sample.trials.responses[rows, k].astype(np.float64)
        p, q = expit(x @ v), expit(-(x @ v))
        r = (1 - y) * p - y * q  # p − y, to its last digit
        weighted = x * np.sqrt(p * q)[:, None]
        return weighted.T @ weighted, r @ x, np.abs(r) @ np.abs(x), misfits(r[None])

    hessian, gradient, sizes, n_misfits = total(of_block, sample.trials.blocks, waiting=2)
    penalty = sample.ridge * len(sample.trials.factors)
    return hessian + np.diag(penalty), gradient + penalty * v, sizes, not n_misfits.any()


def _inverse(hessian: Array) -> tuple[Array, bool]:
    """H⁻¹, and whether rounding leaves a proof: the eigenvalues of H, scaled to a unit diagonal."""
    inverse = np.asarray(inverse_of(hessian), np.float64)
    return inverse, bool(np.vdot(np.diagonal(inverse), np.diagonal(hessian)) < 1 / SINGULAR)


def _largest_change(sample: Sample, step: Array, in_doubt: Array) -> float:
    """The largest |x_i·step| of all trials, with what is in doubt of it."""

    def of_block(rows: slice) -> float:
        x = _factors(sample, rows)
        return float((np.abs(x @ step) + np.abs(x) @ in_doubt).max())

    return max(each(of_block, sample.trials.blocks))


def _length(sample: Sample, k: int, v: Array, step: Array) -> float:
    """What fraction of the step to take: halved until the slope along it rises to at most half of that at v."""

    def slope(length: float) -> float:
        gradient = sample.evaluate((v + length * step)[None], np.array([k]))[2]
        return float(gradient[0] @ step)

    first, length = slope(0.0), 1.0
    while first < 0 and slope(length) > -first / 2:  # else it is rounding
        length /= 2
    return length


# --- polishing


def polished(sample: Sample, classes: NDArray[np.intp], v: Array) -> Array:
    """Steps from v (n, n_factors + 1), where these n classes have converged, for as long as they gain.

    So the gradient is only rounding, and the weights in float32 are the same on any processor. The steps are
    Newton's but for the Hessian, which is that at v, in the precision of the copy: each gains several
    digits.
    """
    v = v.copy()
    for some in cut(len(v), v.shape[1] ** 2, POLISHED_AT_ONCE):
        inverses = np.array([_inverse_hessian(sample, w) for w in v[some]])
        gradient = sample.evaluate(v[some], classes[some])[2]
        for _ in range(POLISHING):
            there = v[some] - np.matvec(inverses, gradient)
            gradient_there = sample.evaluate(there, classes[some])[2]
            better = np.abs(gradient_there).max(1, keepdims=True) < np.abs(gradient).max(1, keepdims=True) / 2
            if not better.any():
                break
            v[some] = np.where(better, there, v[some])
            gradient = np.where(better, gradient_there, gradient)
    return v


def _inverse_hessian(sample: Sample, v: Array) -> Array:
    """Of the objective of a class at v, from the copy."""

    def of_part(part: int) -> Array:
        logits = sample.logits(v[None], part)[0]
        weighted = sample.factors[part] * np.sqrt(expit(logits) * expit(-logits))[:, None]
        return np.asarray(weighted.T @ weighted, np.float64)

    hessian = total(of_part, range(len(sample.factors)), waiting=2) / sample.n_trials + np.diag(sample.ridge)
    inverse = pseudo_inverse_of if sample.coordinates.needs_double else inverse_of
    return np.asarray(inverse(hessian), np.float64)
