"""Standardised coefficients, and a preconditioner: bad units, correlation and offsets do a fit no harm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import cut, total
from hdlogit.exact.objective import Array, Floats, Trials

CONSTANT = 1e-12  # deviation in units of the mean: what rounding leaves for a constant
SMALLEST, LARGEST = 1e-30, 1e30  # deviations that single precision can work with
FEW, HEAVY = 64, 1e-3  # trials for medians; median / standard deviation, below which medians stand for both
NEARLY_DEPENDENT = 0.01  # 1 − R² of a factor given others; with less, single precision is not enough
SINGULAR = {4: 1e-5, 8: 1e-11}  # eigenvalues of a matrix of unit diagonal that rounding (of so many bytes) may leave


@dataclass(frozen=True)
class Coordinates:
    """Standardised coefficients v = (weights / units, bias at the centre)."""

    center: Array  # (n_factors,)
    units: Array  # (n_factors,), 1 / standard deviation; 0 for a factor that is constant
    moments: Floats  # (n_factors + 1,) * 2, these trials' mean of x xᵀ, with the bias's 1
    inverse: Floats  # (n_factors + 1, n_factors + 1), about that of the objective's Hessian in v at zero
    needs_double: bool  # single precision is not enough

    def coefficients(self, v: Array) -> Array:
        """(n_classes, n_factors + 1), for the factors as they are."""
        weights = v[:, :-1] * self.units
        return np.column_stack([weights, v[:, -1] - weights @ self.center])

    def standardised_gradient(self, gradient: Array) -> Array:
        """The gradient in v, from the gradient in the coefficients."""
        weights, bias = gradient[:, :-1], gradient[:, -1:]
        return np.column_stack([(weights - bias * self.center) * self.units, bias])


def coordinates_of(trials: Trials, some: NDArray[np.intp], ridge: float) -> Coordinates:
    """From some trials; a factor that is constant in these has its deviation from all.

    The covariance is shrunk towards the identity (Ledoit & Wolf, J. Multivariate Analysis 2004): where it is
    hardly known, preconditioning by it would do harm. Raises ValueError where factors are not finite, or in
    impossible units.
    """
    n, p = len(some), trials.factors.shape[1]
    with np.errstate(all="ignore"):
        center = trials.factors[some].mean(axis=0, dtype=np.float64)
        x = trials.factors[some] - center
        deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / n)
        middle = np.median(x[:: max(1, n // FEW)], axis=0)
        spread = np.median(np.abs(x[:: max(1, n // FEW)] - middle), axis=0)
        heavy = (spread > 0) & (spread < HEAVY * deviation)  # an outlier hides how the other values vary
        middle, deviation = np.where(heavy, middle, 0), np.where(heavy, spread, deviation)
        center += middle
        constant = deviation <= CONSTANT * np.abs(center)
        if constant.any():
            squares = total(lambda rows: np.square(trials.factors[rows] - center).sum(axis=0), trials.blocks)
            deviation[constant] = np.sqrt(squares[constant] / len(trials.factors))
            constant = deviation <= CONSTANT * np.abs(center)
    if not np.isfinite(deviation).all():
        trials.refuse()
    for j in np.flatnonzero(~constant & ((deviation < SMALLEST) | (deviation > LARGEST))):
        raise ValueError(f"factor {j} has a standard deviation of {deviation[j]:.1g}: use other units")
    deviation[constant] = np.inf
    z = np.ones((n, p + 1))
    np.divide(x - middle, deviation, out=z[:, :-1])
    moments = _moments(z.astype(np.float32))
    if needs_double := bool(heavy.any()) or _nearly_singular(moments[:-1, :-1]):
        moments = _moments(z)
    covariance, identity = moments[:-1, :-1], np.eye(p)
    distance = np.square(covariance - identity).sum()
    noise = (np.square(np.vecdot(z, z) - 1).mean() - np.square(covariance).sum()) / n
    shrinkage = min(1.0, noise / max(distance, 1e-300))
    hessian = ((1 - shrinkage) * covariance + shrinkage * identity) / 4 + np.diag(ridge / deviation**2)
    precision = np.float64 if needs_double else np.float32  # enough for a preconditioner
    inverse = pseudo_inverse_of(hessian) if needs_double else inverse_of(hessian.astype(np.float32))
    inverse = np.pad(inverse, (0, 1))
    inverse[-1, -1] = 4  # the objective's curvature in the bias is at most 1/4
    return Coordinates(center, 1 / deviation, moments.astype(precision), inverse, needs_double)


def inverse_of(positive: Floats) -> Floats:
    """The inverse of a positive definite matrix, in its precision; very large where it is only semidefinite."""
    size = np.sqrt(np.maximum(np.diagonal(positive), 1e-30))
    scaled = torch.from_numpy(positive / size / size[:, None])
    scaled.diagonal().add_(SINGULAR[positive.itemsize])
    lower, failed = torch.linalg.cholesky_ex(scaled)
    if failed:
        return np.full_like(positive, np.nan)
    return np.asarray(torch.cholesky_inverse(lower).numpy() / size / size[:, None])


def pseudo_inverse_of(semidefinite: Array) -> Array:
    """0 in directions in which the factors do not vary: there rounding would add up."""
    size = np.sqrt(np.maximum(np.diagonal(semidefinite), 1e-30))
    scaled = semidefinite / size / size[:, None]
    return np.asarray(np.linalg.pinv(scaled, SINGULAR[8], hermitian=True) / size / size[:, None])


def _moments(z: Floats) -> Array:
    return total(lambda rows: (z[rows].T @ z[rows]).astype(np.float64), cut(*z.shape)) / len(z)


def _nearly_singular(covariance: Array) -> bool:
    sd = np.sqrt(np.diagonal(covariance)).clip(1e-30)
    correlation = torch.from_numpy((covariance / np.outer(sd, sd)).astype(np.float32))
    lower, failed = torch.linalg.cholesky_ex(correlation)
    return bool(failed) or float(lower.diagonal().min()) ** 2 < NEARLY_DEPENDENT
