"""Standardised coefficients, and a preconditioner: bad units, correlation and offsets do a fit no harm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from hdlogit.compute.threads import cut, total
from hdlogit.exact.objective import Array, Floats, Trials

# least pivot of the correlation matrix; nearly: rounding of gradients shows
DEPENDENT, NEARLY_DEPENDENT = 0.01, 0.1
HEAVY_TAILED = 1e-3  # median / root mean square deviation, below which medians stand for mean and deviation
FAR_OUT = 30  # times a trial's usual distance from the centre, beyond which an outlier is drawn in


@dataclass(frozen=True)
class Coordinates:
    """Standardised coefficients v = (weights / units, bias at the centre), and the curvature in them."""

    center: Array  # (n_factors,)
    units: Array  # (n_factors,), 1 / standard deviation; 0 for a factor that is constant
    moments: Array  # (n_factors + 1,) * 2, some trials' mean of x xᵀ, with the bias's 1; not if `dependent`
    inverse: Floats  # (n_factors + 1, n_factors + 1), about that of the objective's Hessian in v at zero
    projector: Array  # (n_factors, n_factors), onto the directions in which the factors vary
    dependent: bool = False  # these are not all directions, or nearly so
    needs_double: bool = False  # single precision is not enough

    def coefficients(self, v: Array) -> Array:
        """(n_classes, n_factors + 1), for the factors as they are."""
        weights = v[:, :-1] * self.units
        return np.column_stack([weights, v[:, -1] - weights @ self.center])

    def standardised_gradient(self, gradient: Array) -> Array:
        """The gradient in v, from the gradient in the coefficients."""
        weights, bias = gradient[:, :-1], gradient[:, -1:]
        return np.column_stack([(weights - bias * self.center) * self.units, bias])

    @cached_property
    def gradient_units(self) -> Array:
        """(n_factors + 1,) powers of two over deviations, the nearest ones."""
        units = np.where(self.units > 0, self.units, 1)
        return np.append(np.where(self.units > 0, 2.0 ** np.round(np.log2(units)) / units, 0), 1)

    def largest(self, gradient: Array) -> Array:
        """Largest |component|, (n_classes,), of a gradient in v, in units of the power of two nearest to
        deviations.

        For factors of a standard deviation near 1 and a mean near 0 it is that in the coefficients; for
        others it does not depend on their units and offsets.
        """
        return np.asarray(np.abs(gradient * self.gradient_units).max(axis=1))


def coordinates_of(factors: Floats, ridge: float) -> Coordinates:
    """From some trials' factors (n, n_factors); `dependent` where a factor seems to follow from others.

    The covariance is shrunk towards the identity (Ledoit & Wolf, J. Multivariate Analysis 2004): where it is
    hardly known, preconditioning by it would do harm.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        center = factors.mean(0, dtype=np.float64)
        x = factors - center
        size = np.maximum(x.max(0), -x.min(0))
        x /= np.where(size > 0, size, 1)
        deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
        few = x[:: max(1, len(x) // 64)]
        middle = _median(few)
        spread = _median(np.abs(few - middle))
        # an outlier hides how the other values vary
        heavy = (spread > 0) & (spread < HEAVY_TAILED * deviation)
        middle, deviation = np.where(heavy, middle, 0), np.where(heavy, spread, deviation)
        center, units = center + size * middle, _inverse(size * deviation, center)
        z = np.ones((len(x), len(center) + 1), np.float32)  # enough for a preconditioner
        x -= middle
        np.divide(x, np.where(units > 0, deviation, np.inf), out=z[:, :-1], casting="same_kind")
    needs_double = bool((heavy | (units > 1e15) | (units < 1e-15) & (units > 0)).any())
    n, p = x.shape
    moments = total(lambda rows: (z[rows].T @ z[rows]).astype(np.float64), cut(n, p)) / n
    z, covariance = z[:, :-1], moments[:-1, :-1]
    distance = np.square(covariance - np.eye(p)).sum()
    fourth = np.square(np.einsum("ij,ij->i", z, z), dtype=np.float64).mean()
    noise = (fourth - np.square(covariance).sum()) / n
    shrinkage = 1.0 if noise >= 0.9 * distance else noise / distance
    sd = np.sqrt(np.diagonal(covariance))
    correlation = covariance / np.outer(sd, sd).clip(1e-30)
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(correlation.astype(np.float32)))
    # Its square tells how much of a factor does not follow from others.
    pivot = -1.0 if failed else float(lower.diagonal().min())
    dependent, needs_double = not pivot > DEPENDENT, needs_double or not pivot > NEARLY_DEPENDENT
    inverse = 4 * np.eye(p, dtype=np.float32)
    if not dependent and (shrinkage < 1 or ridge > 0):
        hessian = ((1 - shrinkage) * covariance + shrinkage * np.eye(p)) / 4
        hessian += np.diag(np.square(np.sqrt(ridge) * units))
        found = inverse_of(hessian.astype(np.float32))
        inverse = found if np.isfinite(found).all() else inverse
    return Coordinates(center, units, moments, _with_bias(inverse), np.eye(p), dependent, needs_double)


def independent_coordinates(c: Coordinates, trials: Trials, ridge: float) -> Coordinates:
    """The same from all trials, for factors that depend on one another. Raises ValueError where they are not
    finite.

    Directions in which the factors do not vary (constant, duplicated, dependent up to rounding: that of the
    moments, as in numpy's matrix_rank, and that of the factors as they are stored) are left out. No logit
    needs them, and of all equal optima the fit is then the one with the smallest standardised weights.
    """
    n, p = trials.factors.shape
    squares = total(lambda rows: np.square(trials.factors[rows] - c.center).sum(axis=0), trials.blocks)
    if not np.isfinite(squares).all():
        trials.refuse()
    # 0 if constant in the sample
    units = np.where(c.units > 0, c.units, _inverse(np.sqrt(squares / n), c.center))

    def moments(rows: slice) -> Array:
        x = (trials.factors[rows] - c.center) * units
        distance = np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
        x *= np.minimum(1, FAR_OUT * np.sqrt(p) / distance)
        return np.asarray(x.T @ x)

    covariance = total(moments, trials.blocks, waiting=2) / n
    values, vectors = np.linalg.eigh(covariance / 4 + np.diag(np.square(np.sqrt(ridge) * units)))
    offset = np.abs(c.center * units).max(initial=1)
    rounding = np.finfo(trials.factors.dtype).eps * offset  # of standardised factors
    varies = values > p * max(np.finfo(np.float64).eps * values.max(), rounding**2)
    vectors, values = vectors[:, varies], values[varies]
    inverse, projector = vectors / values @ vectors.T, vectors @ vectors.T
    found = replace(c, units=units, inverse=_with_bias(inverse), projector=projector)
    return replace(found, dependent=True, needs_double=True)


def inverse_of(positive: Floats) -> Floats:
    """The inverse of a positive definite matrix, in its precision; NaN if it is not positive definite."""
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(positive))
    if failed:
        return np.full_like(positive, np.nan)
    return np.ascontiguousarray(torch.cholesky_inverse(lower).numpy())


def _median(columns: Array) -> Array:
    """Median of each column; numpy's, which averages two values, takes three times as long."""
    return np.asarray(np.sort(columns, axis=0)[len(columns) // 2])


def _inverse(deviation: Array, center: Array) -> Array:
    """1 / deviation, and 0 where the deviation is only rounding."""
    return np.where(deviation > 1e-12 * np.abs(center), 1 / np.where(deviation > 0, deviation, 1), 0)


def _with_bias(inverse: Floats) -> Floats:
    inverse = np.pad(inverse, (0, 1))
    inverse[-1, -1] = 4  # the objective's curvature in the bias is at most 1/4
    return inverse
