"""Newton's method for one class, over all trials and in double precision: slow, but decides where the descent cannot.

With the Hessian H (a sum over trials, no mean), the decrement λ² = gᵀH⁻¹g and leverages w_i = x_iᵀH⁻¹x_i, all of them
at one point, λ max_i √w_i < 1 proves that the estimate exists, as |σ''| <= σ' (Sun & Tran-Dinh, Mathematical
Programming 2019). λ counts what rounding may have done to g: along a factor that only one trial has, that is all there
is. Where a step leads too far its length is bisected, as no curvature tells how far an outlier is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hdlogit.compute.threads import each
from hdlogit.exact.objective import Array, Trials
from hdlogit.exact.sample import Sample

STEPS, BISECTIONS = 60, 100
SINGULAR = 1e-8  # eigenvalue of a Hessian of unit diagonal: less is rounding, and proves nothing
ROUNDING = 16 * np.finfo(np.float64).eps  # of a gradient, as a fraction of the sum of its terms' sizes


def newton(
    sample: Sample, k: np.intp, v: Array, tolerance: float, progress: Callable[[int, Array], None]
) -> tuple[bool | None, Array]:
    """Whether the estimate of class k exists, and where Newton's method from v (n_factors + 1,) ended.

    True: at the estimate, if rounding allows the tolerance. False: at a point that separates the responses. None:
    with neither a proof nor a separation.
    """
    trials, one = sample.trials, _Class(sample, k)
    exists, before = None, np.inf
    projector = sample.coordinates.projector
    rank = round(projector.trace()) + 1
    for turn in range(STEPS):
        hessian, gradient, size, worst = one.derivatives(v)
        gradient_per_trial = gradient[None] / len(trials.factors)
        progress(turn + 1, gradient_per_trial)
        if worst < 0.5 and trials.hard[k] and not one.penalty.any():
            return False, v
        largest = sample.coordinates.largest(gradient_per_trial)[0]
        root = _inverse_root(hessian, rank)
        downhill = root.T @ gradient
        step = -root @ downhill
        step[:-1] = projector @ step[:-1]
        decrement = np.linalg.norm(downhill) + ROUNDING * np.linalg.norm(np.abs(root).T @ size)
        arrived = exists and (largest <= tolerance or largest > before / 2)  # so close, only rounding prevents it
        if arrived or not np.isfinite(step).all():
            break
        length, leverage = one.search(v, step, root)
        if decrement * np.sqrt(leverage) < 0.5:
            exists, before = True, largest
        v = v + length * step
    return exists, v


@dataclass(frozen=True)
class _Class:
    """One class's objective, summed over all trials, in standardised coefficients."""

    sample: Sample
    k: np.intp

    @property
    def trials(self) -> Trials:
        return self.sample.trials

    @cached_property
    def penalty(self) -> Array:
        return self.sample.ridge * len(self.trials.factors)

    def factors(self, rows: slice) -> Array:
        c = self.sample.coordinates
        x = (self.trials.factors[rows] - c.center) * c.units
        return np.column_stack([x, np.ones(len(x))])

    def residuals(self, logits: Array, rows: slice) -> tuple[Array, Array]:
        """p − y, to its last digit, and p (1 − p)."""
        p, q = (torch.sigmoid(torch.from_numpy(z)).numpy() for z in (logits, -logits))
        y = self.trials.responses[rows, self.k].astype(np.float64)
        return (1 - y) * p - y * q, p * q

    def derivatives(self, v: Array) -> tuple[Array, Array, Array, float]:
        """Hessian, gradient, the sum of the sizes of its terms, and the largest |residual|."""

        def of_block(rows: slice) -> tuple[Array, float]:
            x = self.factors(rows)
            r, curvature = self.residuals(x @ v, rows)
            weighted = x * np.sqrt(curvature)[:, None]
            return np.vstack([weighted.T @ weighted, r @ x, np.abs(r) @ np.abs(x)]), float(np.abs(r).max())

        total, worst = np.zeros((len(v) + 2, len(v))), 0.0
        for part, largest in each(of_block, self.trials.blocks, waiting=2):
            total += part
            worst = max(worst, largest)
        return total[:-2] + np.diag(self.penalty), total[-2] + self.penalty * v, total[-1], worst

    def search(self, v: Array, step: Array, root: Array) -> tuple[float, float]:
        """What fraction of the step to take, and max_i w_i."""

        def of_block(rows: slice) -> tuple[Array, Array, float]:
            x = self.factors(rows)
            return x @ v, x @ step, float(np.square(x @ root).sum(1).max())

        blocks = self.trials.blocks
        lines = list(each(of_block, blocks))

        def slope(length: float) -> float:
            total = 0.0
            for rows, (logits, change, _) in zip(blocks, lines, strict=True):
                total += float(self.residuals(logits + length * change, rows)[0] @ change)
            return total + float(self.penalty * (v + length * step) @ step)

        first, low, high, length = slope(0.0), 0.0, 1.0, 1.0
        for _ in range(BISECTIONS if first < 0 else 0):  # else it is rounding
            here = slope(length)
            if abs(here) <= -first / 2 or (here < 0 and length == 1):
                break
            low, high = (length, high) if here < 0 else (low, length)
            length = (low + high) / 2
        return length, max(largest for *_, largest in lines)


def _inverse_root(hessian: Array, rank: int) -> Array:
    """R (n_factors + 1, rank), with R Rᵀ the inverse of H where factors vary; NaN where H is singular to rounding."""
    diagonal = np.diagonal(hessian)[:, None]
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1))
    try:
        values, vectors = np.linalg.eigh(hessian / scale / scale.T)
    except np.linalg.LinAlgError:  # not finite
        values = np.zeros(len(hessian))
    if not values[-rank] > SINGULAR:
        return np.full((len(hessian), rank), np.nan)
    return np.asarray(vectors[:, -rank:] / np.sqrt(values[-rank:]) / scale)
