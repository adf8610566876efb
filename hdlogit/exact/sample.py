"""A copy of some trials, or of all, in single precision and even coordinates, to steer by.

Its factors are deviations from a centre in units of standard deviations. Points u, (n_classes, rank + 1), are in
coordinates in which the objective's Hessian at zero is nearly the identity: bad units, correlation and offsets do no
harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import cut, each
from hdlogit.exact.objective import Array, Floats, Trials

FACTORS = 2**25  # numbers in the copy's factors: 128 MB in single precision
LOGITS = 2**22  # logits (n_classes · n_trials) of the copy
PER_FACTOR = 24  # trials per factor that it has at least, if there are so many: fewer are soon separable
HEAVY = 1e-3  # median over root mean square deviation, below which the median is taken
BLOCK = 3 * 2**18  # factors that a core takes at once


@dataclass(frozen=True)
class Coordinates:
    """Between coefficients, standardised coefficients v = (weights / units, bias at the centre), and points u."""

    center: Array  # (n_factors,)
    units: Array  # (n_factors,), 1 / standard deviation; 0 for a factor that is constant
    covariance: Array  # (n_factors, n_factors) of the standardised factors, among the trials `anchors`
    basis: Array | None  # (rank + 1, n_factors + 1), v = u @ basis; None for twice the identity
    dependent: bool = False  # some directions are left out, or nearly
    exactly: bool = False  # single precision is not enough

    @property
    def rank(self) -> int:
        """Number of coordinates, the bias's not counted."""
        return len(self.units) if self.basis is None else len(self.basis) - 1

    @cached_property
    def comparable(self) -> Array:
        """(n_factors + 1,), by which a gradient by v is by factors in units of the powers of two nearest to deviations.

        So it is that by coefficients for factors of a standard deviation near 1 and a mean near 0, and for others does
        not depend on their units and offsets.
        """
        units = np.where(self.units > 0, self.units, 1)
        return np.append(np.where(self.units > 0, 2.0 ** np.round(np.log2(units)) / units, 0), 1)

    def standardised(self, points: Array) -> Array:
        """v, (n_classes, n_factors + 1), from points."""
        return 2 * points if self.basis is None else points @ self.basis

    def coefficients(self, points: Array) -> Array:
        """(n_classes, n_factors + 1), for the factors as they are."""
        v = self.standardised(points)
        v[:, :-1] *= self.units
        v[:, -1] -= v[:, :-1] @ self.center
        return v

    def by_point(self, gradient: Array) -> Array:
        """The gradient by u from that by v."""
        return 2 * gradient if self.basis is None else gradient @ self.basis.T

    def by_standardised(self, gradient: Array) -> Array:
        """The gradient by v from that by coefficients."""
        return np.column_stack([(gradient[:, :-1] - gradient[:, -1:] * self.center) * self.units, gradient[:, -1]])

    def largest(self, gradient: Array) -> Array:
        """Largest |component|, (n_classes,), of a gradient by v, made comparable."""
        return np.asarray(np.abs(gradient * self.comparable).max(axis=1))


def sampled_rows(n_trials: int, most: int) -> NDArray[np.intp]:
    """At most `most` rows, in order: one at random from each run of equal length, always the same ones."""
    stride = -(-n_trials // most)
    starts = np.arange(0, n_trials - stride + 1, stride)
    return np.asarray(starts + np.random.default_rng(0).integers(stride, size=len(starts)))


def coordinates_of(factors: Floats, ridge: float) -> Coordinates:
    """From some trials' factors (n, n_factors).

    The covariance is shrunk towards the identity (Ledoit & Wolf, J. Multivariate Analysis 2004): where it is not
    told from that, whitening by it would do harm. `dependent` where a factor seems to follow from others.
    """
    x = factors.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        center = x.mean(0)
        x -= center
        size = np.abs(x).max(0)
        deviation = size * np.sqrt(np.square(x / np.where(size > 0, size, 1)).mean(0))
        units = np.where(deviation > 1e-12 * np.abs(center), 1 / np.where(deviation > 0, deviation, 1), 0)
        few = x[:: max(1, len(x) // 64)]
        middle = np.median(few, axis=0)
        spread = np.median(np.abs(few - middle), axis=0)
        heavy = (spread > 0) & (spread < HEAVY * deviation)  # an outlier would hide how all others vary
        center, units = np.where(heavy, center + middle, center), np.where(heavy, 1 / np.where(heavy, spread, 1), units)
        x -= np.where(heavy, middle, 0)
        z = (x * units).astype(np.float32)  # enough to steer by
    n, p = z.shape
    covariance = np.asarray(z.T @ z, dtype=np.float64) / n
    distance = np.square(covariance - np.eye(p)).sum()
    noise = (np.square(np.vecdot(z, z, dtype=np.float64)).sum() / n - np.square(covariance).sum()) / n
    shrinkage = 1.0 if noise >= 0.9 * distance else noise / distance
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(covariance.astype(np.float32)))
    dependent = bool(failed) or not (lower.diagonal() > 0.01).all()
    if dependent or (shrinkage == 1 and ridge == 0):
        return Coordinates(center, units, covariance, None, dependent, exactly=bool(heavy.any()))
    hessian = ((1 - shrinkage) * covariance + shrinkage * np.eye(p)) / 4 + (np.diag(ridge * units**2) if ridge else 0)
    return Coordinates(
        center, units, covariance, _with_bias(np.linalg.inv(np.linalg.cholesky(hessian))), exactly=bool(heavy.any())
    )


def independent_coordinates(mean: Array, covariance: Array, ridge: float) -> Coordinates:
    """From the moments of all trials, where factors depend on one another.

    Directions in which the factors do not vary (constant, duplicated, dependent up to rounding: the rule of numpy's
    matrix_rank, applied to correlations) are left out. No logit needs them, and of many equal optima the fit then is
    the one with the smallest weights in units of the factors' standard deviations.
    """
    deviation = np.sqrt(np.diagonal(covariance))
    units = np.where(deviation > 1e-12 * np.abs(mean), 1 / np.where(deviation > 0, deviation, 1), 0)
    correlation = covariance * np.outer(units, units)
    values, vectors = np.linalg.eigh(correlation / 4 + (np.diag(ridge * units**2) if ridge else 0))
    kept = values > len(values) * np.finfo(np.float64).eps * values.max()
    return Coordinates(mean, units, correlation, _with_bias((vectors[:, kept] / np.sqrt(values[kept])).T), True, True)


def _with_bias(basis: Array) -> Array:
    basis = np.pad(basis, (0, 1))
    basis[-1, -1] = 2  # the objective's curvature by the bias is at most 1/4
    return basis


@dataclass(frozen=True)
class Sample:
    """The copy, and sums over it. A shift of its gradient makes up for the trials and digits that it lacks."""

    coordinates: Coordinates
    factors: Floats  # (n_sampled, n_factors), standardised
    responses: Floats  # (n_classes, n_sampled)
    ridge: Array  # (n_factors + 1,), the penalty's Hessian by v
    parts: list[slice]  # of the sampled trials, for the threads
    anchors: slice  # the trials of which the coordinates have the covariance

    @classmethod
    def draw(cls, trials: Trials, ridge: float, exactly: bool, moments: tuple[Array, Array] | None = None) -> Sample:
        """`exactly`: in double precision. moments: of all trials, where factors depend on one another."""
        n_trials, n_factors = trials.factors.shape
        most = min(max(FACTORS // n_factors, PER_FACTOR * n_factors), max(1, LOGITS // trials.responses.shape[1]))
        rows = sampled_rows(n_trials, most)
        anchors = slice(None, None, max(1, len(rows) // max(2 * n_factors, 1024)))
        if moments is None:
            c = coordinates_of(trials.factors[rows[anchors]], ridge)
        else:
            c, anchors = independent_coordinates(*moments, ridge), slice(None)
        factors = np.empty((len(rows), n_factors), np.float64 if exactly or c.exactly else np.float32)

        parts = cut(len(factors), n_factors, BLOCK)

        def copy(part: slice) -> None:
            x = trials.factors[part if len(rows) == n_trials else rows[part]] - c.center
            np.multiply(x, c.units, out=factors[part], casting="same_kind")

        with np.errstate(over="ignore", invalid="ignore"):
            list(each(copy, parts))
        responses = trials.responses[rows].T.astype(factors.dtype, order="C")
        if moments is not None and len(rows) < n_trials:  # the anchors are the sample, not all trials
            mean = factors.mean(0)
            factors -= mean
            center = c.center + mean / np.where(c.units > 0, c.units, 1)
            c = Coordinates(center, c.units, factors.T @ factors / len(rows), c.basis, True, True)
        penalty = ridge * np.append(c.units, 0) ** 2 if ridge else np.zeros(n_factors + 1)
        return cls(c, factors, responses, penalty, parts, anchors)

    def logits(self, points: Array) -> Floats:
        """(n_classes, n_sampled)."""
        v = self.coordinates.standardised(points).astype(self.factors.dtype)
        logits = np.empty((len(points), len(self.factors)), self.factors.dtype)

        def write(rows: slice) -> None:
            np.add(v[:, :-1] @ self.factors[rows].T, v[:, -1:], out=logits[:, rows])

        list(each(write, self.parts))
        return logits

    def evaluate(self, points: Array, logits: Floats, responses: Floats) -> tuple[Array, Array]:
        """The gradient by v, (n_classes, n_factors + 1), and the largest |residual|, (n_classes,)."""

        def of_block(rows: slice) -> tuple[Floats, Floats, Floats]:
            residuals = torch.sigmoid(torch.from_numpy(logits[:, rows])).numpy()
            residuals -= responses[:, rows]
            return residuals @ self.factors[rows], residuals.sum(1), np.abs(residuals).max(1)

        gradient, worst = np.zeros((len(points), self.factors.shape[1] + 1)), np.zeros(len(points))
        for by_weights, by_bias, largest in each(of_block, self.parts):
            gradient[:, :-1] += by_weights
            gradient[:, -1] += by_bias
            worst = np.maximum(worst, largest)
        gradient /= len(self.factors)
        if self.ridge.any():
            gradient += self.ridge * self.coordinates.standardised(points)
        return gradient, worst
