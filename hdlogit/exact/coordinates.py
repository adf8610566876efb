"""Standardised coefficients, and a preconditioner: bad units, correlation and offsets do a fit no harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import total
from hdlogit.exact.objective import Array, Floats, Trials

Rows = slice | NDArray[np.intp]

CONSTANT = 1e-12  # deviation in units of the mean: what rounding leaves for a constant
SMALLEST, LARGEST = 1e-30, 1e30  # deviations that single precision can work with
FEW, HEAVY = 64, 1e-3  # trials for medians; median / standard deviation, below which medians stand for both
NEARLY_DEPENDENT = 0.01  # 1 − R² of a factor given others; with less, single precision is not enough
DEPENDENT = 1e-10  # with less, its weight is not determined: as in `hdlogit.inference`


class DependentFactors(Exception):  # noqa: N818  # what is to be done, no error
    """Some factors are constant, or follow from others; `independent` (n,) are those that do not."""

    def __init__(self, independent: NDArray[np.intp]) -> None:
        self.independent = independent


@dataclass(frozen=True)
class Coordinates:
    """Standardised coefficients v = (weights / units, bias at the centre)."""

    center: Array  # (n_factors,)
    units: Array  # (n_factors,), 1 / standard deviation
    inverse: Floats  # (n_factors + 1, n_factors + 1), about that of the objective's Hessian in v at zero
    nearly_dependent: bool  # single precision is not enough

    def coefficients(self, v: Array) -> Array:
        """(n_classes, n_factors + 1), for the factors as they are."""
        weights = v[:, :-1] * self.units
        return np.column_stack([weights, v[:, -1] - weights @ self.center])

    def standardised_gradient(self, gradient: Array) -> Array:
        """The gradient in v, from the gradient in the coefficients."""
        weights, bias = gradient[:, :-1], gradient[:, -1:]
        return np.column_stack([(weights - bias * self.center) * self.units, bias])


def coordinates_of(trials: Trials, some: NDArray[np.intp], ridge: float) -> Coordinates:
    """From some trials; from all where a factor seems to be constant, or to follow from others, in these.

    The covariance of few trials is shrunk towards the identity (Ledoit & Wolf, J. Multivariate Analysis 2004):
    where it is hardly known, preconditioning by it would do harm.

    Raises DependentFactors where all trials confirm it, and ridge does not help.
    """
    factors = trials.factors
    with np.errstate(all="ignore"):
        few = factors[some[:: max(1, len(some) // FEW)]]
        usual = np.median(few, axis=0), np.median(np.abs(few - np.median(few, axis=0)), axis=0)
        center, deviation, moments, fourth = _moments(factors, [some], np.float32, usual)
        varies = (deviation > np.maximum(SMALLEST, CONSTANT * np.abs(center))) & (deviation < LARGEST)
        if varies.all() and _least_unexplained(moments) > NEARLY_DEPENDENT:
            distance = np.square(moments - np.eye(len(center))).sum()
            noise = (fourth - np.square(moments).sum()) / len(some)
            shrinkage = min(1.0, noise / max(distance, 1e-300))
            hessian = ((1 - shrinkage) * moments + shrinkage * np.eye(len(center))) / 4
            hessian += np.diag(ridge / deviation**2)
            return Coordinates(center, 1 / deviation, _with_bias(inverse_of(hessian.astype(np.float32))), False)
        center, deviation, moments, _ = _moments(factors, trials.blocks, np.float64, usual)
        hessian = moments / 4 + np.diag(ridge / deviation**2)
    if not np.isfinite(deviation).all():
        trials.refuse()
    varies = np.flatnonzero(deviation > CONSTANT * np.abs(center))
    for j in varies[(deviation[varies] < SMALLEST) | (deviation[varies] > LARGEST)]:
        raise ValueError(f"factor {j} has a standard deviation of {deviation[j]:.1g}: use other units")
    size = np.sqrt(np.diagonal(hessian)[varies])
    independent = varies[_independent(hessian[np.ix_(varies, varies)] / size / size[:, None])]
    if len(independent) < len(center):
        if not len(independent):
            raise ValueError("no factor varies")
        raise DependentFactors(independent)
    return Coordinates(center, 1 / deviation, _with_bias(inverse_of(hessian)), True)


def inverse_of(positive: Floats) -> Floats:
    """The inverse of a positive definite matrix, in its precision; NaN if it is not positive definite."""
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(positive))
    if failed:
        return np.full_like(positive, np.nan)
    return np.ascontiguousarray(torch.cholesky_inverse(lower).numpy())


def _moments(
    factors: Floats, parts: Sequence[Rows], precision: type, usual: tuple[Array, Array]
) -> tuple[Array, Array, Array, float]:
    """Of each factor centre and deviation: mean and sd, or the usual ones, where the tails are heavy. Of
    factors in these units the mean of z zᵀ, and of (z·z)².
    """
    n = sum(len(factors[rows]) for rows in parts)
    center = total(lambda rows: factors[rows].sum(axis=0, dtype=np.float64), parts) / n

    def squares(rows: Rows) -> Array:
        x = factors[rows] - center
        return np.asarray(np.einsum("ij,ij->j", x, x))

    deviation, (middle, spread) = np.sqrt(total(squares, parts) / n), usual
    heavy = (spread > 0) & (spread < HEAVY * deviation)  # an outlier hides how the other values vary
    center, deviation = np.where(heavy, middle, center), np.where(heavy, spread, deviation)

    def products(rows: Rows) -> tuple[Array, float]:
        z = ((factors[rows] - center) / deviation).astype(precision)
        return (z.T @ z).astype(np.float64), float(np.square(np.vecdot(z, z)).sum())

    moments, fourth = total(products, parts, waiting=2)
    return center, deviation, moments / n, fourth / n


def _least_unexplained(correlation: Array) -> float:
    """The least 1 − R² of a factor given those before it; 0 where one is a combination of these."""
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(correlation.astype(np.float32)))
    return 0.0 if failed else float(lower.diagonal().min()) ** 2


def _independent(left: Array) -> list[int]:
    """Factors that do not follow from those before them, by Cholesky's elimination of a unit-diagonal matrix."""
    independent = []
    for j in range(len(left)):
        if left[j, j] > DEPENDENT:
            independent.append(j)
            left[j + 1 :, j + 1 :] -= np.outer(left[j, j + 1 :] / left[j, j], left[j, j + 1 :])
    return independent


def _with_bias(inverse: Floats) -> Floats:
    inverse = np.pad(inverse, (0, 1))
    inverse[-1, -1] = 4  # the objective's curvature in the bias is at most 1/4
    return inverse
