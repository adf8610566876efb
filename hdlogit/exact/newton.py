"""Newton's method for one class, over all trials and in double precision: slow, but decides where the descent cannot.

With the Hessian H = Σ p_i (1 − p_i) x_i x_iᵀ (a sum, no mean) and the step δ = −H⁻¹g, |x_i·δ| < 1 for all trials proves
that the estimate exists: with q_i = |r_i| + s_i p_i (1 − p_i) x_i·δ in the place of |r_i|, Σ q_i s_i x_i is 0, and
q_i > 0 as p_i (1 − p_i) <= |r_i| (`hdlogit.exact.existence`). Half of that leaves room for rounding, and what rounding
may have done to g counts as well: along a factor that only one trial has, that is all there is. Where a step leads too
far its length is bisected, as no curvature tells how far an outlier is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.compute.threads import cut, total
from hdlogit.exact.coordinates import inverse_of
from hdlogit.exact.objective import Array, Floats, misfits
from hdlogit.exact.sample import Sample

STEPS, BISECTIONS = 60, 100
POLISHING = 12  # steps at most
POLISHED_AT_ONCE = 2**24  # numbers in Hessians: 128 MB
SINGULAR = 1e-8  # eigenvalue of a Hessian of unit diagonal: with less, rounding leaves no proof
SMALLEST = 1e-14  # with less, no step
ROUNDING = 16 * np.finfo(np.float64).eps  # of a gradient, as a fraction of the sum of its terms' sizes


def newton(
    sample: Sample,
    k: int,
    v: Array,
    tolerance: float,
    progress: Callable[[Array], None],
    exists: bool | None = None,
) -> tuple[bool | None, Array]:
    """Whether the estimate of class k exists (if not known), and where Newton's method from v (n_factors + 1,) ended.

    True: at the estimate, if rounding allows the tolerance. False: at a point that separates the responses. None:
    with neither a proof nor a separation.
    """
    one, before = _Class(sample, k), np.inf
    for _ in range(STEPS):
        hessian, gradient, sizes, separated = one.derivatives(v)
        if separated and sample.trials.hard[k] and not sample.ridge.any():
            return False, v
        mean = gradient[None] / len(sample.trials.factors)
        largest = float(sample.coordinates.largest(mean)[0])
        progress(mean)
        arrived = exists and (largest <= tolerance or largest > before / 2)  # so close, only rounding prevents it
        root = one.inverse_root(hessian, SMALLEST if exists else SINGULAR)
        step = -root @ (root.T @ gradient)
        if arrived or not np.isfinite(step).all():
            break
        in_doubt = np.abs(root) @ (np.abs(root).T @ (ROUNDING * sizes))  # of the step
        if one.is_shorter(step, in_doubt, than=0.5):
            exists, before = True, largest
        v = v + one.length(v, step) * step
    return exists, v


def polished(sample: Sample, classes: NDArray[np.intp], v: Array) -> Array:
    """Steps from v (n, n_factors + 1), where these n classes have converged, for as long as they gain.

    So the gradient is only rounding, and the weights in float32 are the same on any processor. They are Newton's
    but for the Hessian, which is that at v, in the precision of the copy: each step gains several digits.
    """
    v = v.copy()
    for some in cut(len(v), v.shape[1] ** 2, POLISHED_AT_ONCE):
        inverses = np.array([_inverse_hessian(sample, k, w) for k, w in zip(classes[some], v[some], strict=True)])
        gradient = sample.evaluate(v[some], classes[some])[2]
        for _ in range(POLISHING):
            there = v[some] - np.matvec(inverses, gradient)
            gradient_there = sample.evaluate(there, classes[some])[2]
            better = sample.coordinates.largest(gradient_there) < sample.coordinates.largest(gradient) / 2
            if not better.any():
                break
            v[some] = np.where(better[:, None], there, v[some])
            gradient = np.where(better[:, None], gradient_there, gradient)
    return v


def _inverse_hessian(sample: Sample, k: int, v: Array) -> Floats:
    """Of the mean objective of class k at v, from the copy, in the directions in which factors vary."""

    def of_part(part: int) -> Array:
        logits = sample.logits(v[None], part)[0]
        weighted = sample.factors[part] * np.sqrt(expit(logits) * expit(-logits))[:, None]
        return np.asarray(weighted.T @ weighted, np.float64)

    hessian = total(of_part, range(len(sample.factors)), waiting=2) / sample.n_trials + np.diag(sample.ridge)
    c = sample.coordinates
    if c.dependent:
        hessian[:-1, :-1] += np.eye(len(c.projector)) - c.projector
    inverse = inverse_of(hessian.astype(sample.factors[0].dtype))
    if c.dependent:
        inverse[:-1] = c.projector @ inverse[:-1]
    return inverse


@dataclass(frozen=True)
class _Class:
    """One class's objective, summed over all trials, in standardised coefficients."""

    sample: Sample
    k: int

    @property
    def penalty(self) -> Array:
        return self.sample.ridge * len(self.sample.trials.factors)

    def factors(self, rows: slice) -> Array:
        c = self.sample.coordinates
        x = (self.sample.trials.factors[rows] - c.center) * c.units
        return np.column_stack([x, np.ones(len(x))])

    def residuals(self, logits: Array, rows: slice) -> tuple[Array, Array]:
        """p − y, to its last digit, and p (1 − p)."""
        p, q = expit(logits), expit(-logits)
        y = self.sample.trials.responses[rows, self.k].astype(np.float64)
        return (1 - y) * p - y * q, p * q

    def derivatives(self, v: Array) -> tuple[Array, Array, Array, bool]:
        """Hessian, gradient, the sum of the sizes of its terms, and whether every residual is below 1/2."""

        def of_block(rows: slice) -> tuple[Array, Array, Array, NDArray[np.intp]]:
            x = self.factors(rows)
            r, curvature = self.residuals(x @ v, rows)
            weighted = x * np.sqrt(curvature)[:, None]
            return weighted.T @ weighted, r @ x, np.abs(r) @ np.abs(x), misfits(r[None])

        hessian, gradient, sizes, n_misfits = total(of_block, self.sample.trials.blocks, waiting=2)
        return hessian + np.diag(self.penalty), gradient + self.penalty * v, sizes, not n_misfits.any()

    def inverse_root(self, hessian: Array, singular: float) -> Array:
        """R with R Rᵀ the inverse of H in the directions in which factors vary; NaN where H is singular."""
        projector = self.sample.coordinates.projector
        rank = round(projector.trace()) + 1
        diagonal = np.diagonal(hessian)[:, None]
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1))
        try:
            values, vectors = np.linalg.eigh(hessian / scale / scale.T)
        except np.linalg.LinAlgError:  # not finite
            values = np.zeros(len(hessian))
        if not values[-rank] > singular:
            return np.full((len(hessian), rank), np.nan)
        root = vectors[:, -rank:] / np.sqrt(values[-rank:]) / scale
        root[:-1] = projector @ root[:-1]
        return np.asarray(root)

    def is_shorter(self, step: Array, in_doubt: Array, than: float) -> bool:
        """Whether |x_i·step|, with what is in doubt of it, is less than that for every trial."""

        def longer(rows: slice) -> int:
            x = self.factors(rows)
            return int(np.count_nonzero(np.abs(x @ step) + np.abs(x) @ in_doubt >= than))

        return total(longer, self.sample.trials.blocks) == 0

    def length(self, v: Array, step: Array) -> float:
        """What fraction of the step to take: all, or to where the slope along it is at most half of that at v."""

        def slope(length: float) -> float:
            gradient = self.sample.evaluate((v + length * step)[None], np.array([self.k]))[2]
            return float(gradient[0] @ step)

        first, low, high, length = slope(0.0), 0.0, 1.0, 1.0
        for _ in range(BISECTIONS if first < 0 else 0):  # else it is rounding
            here = slope(length)
            if abs(here) <= -first / 2 or (here < 0 and length == 1):
                break
            low, high = (length, high) if here < 0 else (low, length)
            length = (low + high) / 2
        return length
