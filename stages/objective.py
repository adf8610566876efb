"""What the exact fit minimises, class by class, and the coordinates it does so in.

For every class by itself, over n_trials trials and in nats per trial,

    objective(w, b) = mean_i [ -log sigmoid(±z_i) ] + ridge/2 · |w|²     z_i = x_i·w + b,  + for a yes, - for a no
    gradient(w, b)  = mean_i [ r_i (x_i, 1) ] + ridge · (w, 0)           r_i = sigmoid(z_i) - y_i

The factors are read in blocks of rows, once for the logits and, while the block is still in the cache, once
for the gradient; all classes share both products. No other copy of the factors is made, and no column of ones
for the bias.

Classes come first, (n_classes, ...), so that sums over trials run along memory. Products are made in the
precision of the factors, and their sums over blocks kept in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import logsigmoid

BLOCK = 2**22  # bytes of factors in a block


def blocks(factors: Tensor) -> list[slice]:
    """Slices of consecutive rows of `factors` (n_trials, n_factors), about BLOCK bytes each."""
    n_trials, row = len(factors), factors.shape[1] * factors.element_size()
    size = max(64, BLOCK // row)
    return [slice(start, min(start + size, n_trials)) for start in range(0, n_trials, size)]


@dataclass(frozen=True)
class Evaluation:
    """An objective at some points, class by class."""

    gradient: Tensor  # (n_classes, rank + 1), in the coordinates of the points
    max_gradient: Tensor  # (n_classes,), its largest |component| in the units of the factors
    variance: Tensor  # (n_classes,), mean squared residual
    worst: Tensor  # (n_classes,), largest |residual|: below 1/2, every trial is on its right side


@dataclass(frozen=True)
class Objective:
    """The objective over these trials, at points u of coordinates in which coefficients = u @ basis.

    A sample of the trials, with its factors in other units, has another basis for the same coordinates.
    """

    factors: Tensor  # (n_trials, n_factors)
    responses: Tensor  # (n_classes, n_trials), may be a view
    basis: Tensor  # (rank + 1, n_factors + 1)
    ridge: Tensor  # (n_factors + 1,), 0 for the bias

    def __len__(self) -> int:
        return len(self.factors)

    def logits(self, points: Tensor) -> Tensor:
        """(n_classes, n_trials) from points (n_classes, rank + 1)."""
        weights, bias = self._coefficients(points)
        if self.factors.dtype == torch.float32:
            return torch.addmm(bias, weights, self.factors.T)  # in single precision, blocks would only slow it down
        logits = self.factors.new_empty(len(points), len(self))
        for rows in blocks(self.factors):
            logits[:, rows] = torch.addmm(bias, weights, self.factors[rows].T)
        return logits

    def evaluate(self, points: Tensor, classes: Tensor, logits: Tensor | None = None) -> Evaluation:
        """Gradient and residuals of these classes; logits are made, and forgotten, by blocks unless given."""
        weights, bias = self._coefficients(points)
        gradient = points.new_zeros(len(points), len(self.ridge))
        variance, worst = points.new_zeros(2, len(points))
        for rows in blocks(self.factors) if logits is None else [slice(0, len(self))]:
            x = self.factors[rows]  # (block, n_factors)
            z = torch.addmm(bias, weights, x.T) if logits is None else logits[:, rows]  # (n_classes, block)
            residuals = torch.sigmoid(z).sub_(self.responses[classes, rows].to(z.dtype))
            gradient[:, :-1] += residuals @ x
            gradient[:, -1] += residuals.sum(1)
            variance += vecdot(residuals, residuals)
            worst = torch.maximum(worst, residuals.abs_().amax(1))
        gradient = gradient / len(self) + self.ridge * (points @ self.basis)
        return Evaluation(gradient @ self.basis.T, gradient.abs().amax(1), variance / len(self), worst)

    def loss(self, points: Tensor, classes: Tensor, logits: Tensor | None = None) -> Tensor:
        """Mean cross-entropy without the penalty, (n_classes,) in nats per trial."""
        weights, bias = self._coefficients(points)
        loss = points.new_zeros(len(points))
        for rows in blocks(self.factors):
            z = torch.addmm(bias, weights, self.factors[rows].T) if logits is None else logits[:, rows]
            right = torch.where(self.responses[classes, rows], z, -z)
            loss -= logsigmoid(right).sum(1)  # from logits: probabilities would round to 0 and 1
        return loss / len(self)

    def _coefficients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n_classes, n_factors) and bias (n_classes, 1), in the precision of the factors."""
        coefficients = (points @ self.basis).to(self.factors.dtype)
        return coefficients[:, :-1].contiguous(), coefficients[:, -1:]


def largest_gradient(factors: Tensor, responses: Tensor, coefficients: Tensor) -> Tensor:
    """How far from the maximum-likelihood estimate: max |component of the gradient| of every class, (n_classes,).

    factors (n_trials, n_factors), responses (n_trials, n_classes), coefficients (n_factors + 1, n_classes).
    """
    identity = torch.eye(len(coefficients), dtype=coefficients.dtype)
    objective = Objective(factors, responses.T, identity, torch.zeros_like(coefficients[:, 0]))
    return objective.evaluate(coefficients.T, torch.arange(coefficients.shape[1])).max_gradient


@dataclass(frozen=True)
class Coordinates:
    """u, in which weights = u[:-1] @ root * units, and the bias at the mean of the factors is 2 u[-1]."""

    mean: Tensor  # (n_factors,)
    units: Tensor  # (n_factors,), 1 / standard deviation; 0 for a factor that is constant
    root: Tensor  # (rank, n_factors)

    def basis(self) -> Tensor:
        """(rank + 1, n_factors + 1), for the factors as they are."""
        basis = self.basis_of_sample()
        basis[:-1, :-1] *= self.units
        basis[:-1, -1] = -basis[:-1, :-1] @ self.mean
        return basis

    def basis_of_sample(self) -> Tensor:
        """(rank + 1, n_factors + 1), for the factors in `sample`."""
        basis = torch.nn.functional.pad(self.root, (0, 1, 0, 1))
        basis[-1, -1] = 2
        return basis

    def sample(self, factors: Tensor, rows: Tensor) -> Tensor:
        """A copy of these rows in single precision, in units of standard deviations from the means."""
        sample = factors.new_empty(len(rows), factors.shape[1], dtype=torch.float32)
        for block in blocks(sample):
            chosen = factors[block] if len(rows) == len(factors) else factors[rows[block]]
            sample[block] = (chosen - self.mean).mul_(self.units)
        return sample


def sampled_rows(n_trials: int, most: int) -> Tensor:
    """A sample of at most `most` rows, in order: one at random from each run of k, always the same ones."""
    stride = -(-n_trials // max(1, most))
    starts = torch.arange(0, n_trials - stride + 1, stride)
    return starts + torch.randint(stride, starts.shape, generator=torch.Generator().manual_seed(0))


def standardise(factors: Tensor, ridge: float) -> Coordinates:
    """Coordinates in which the objective's Hessian at zero is the identity, or nearly so.

    That Hessian is cov(x)/4 + ridge for the weights, and 1/4 for the bias counted at the mean of the factors.
    A sample in single precision gives it well enough to steer by, unless factors seem to depend on one
    another there. Then all trials are asked, and directions in which the factors do not vary (constant,
    duplicated, dependent up to rounding: the rule of numpy's matrix_rank, applied to correlations) are left
    out. No logit needs them, and of many equal optima the fit then is the one with the smallest weights in
    units of the factors' standard deviations.
    """
    n_trials, n_factors = factors.shape
    mean, units, hessian = _hessian_at_zero(factors[:: max(1, n_trials // (16 * n_factors))], ridge, torch.float32)
    cholesky, failed = torch.linalg.cholesky_ex(hessian)
    if not failed and bool((cholesky.diagonal() ** 2 > 1e-4 * hessian.diagonal()).all()):
        root = torch.linalg.solve_triangular(cholesky, torch.eye(n_factors).to(hessian), upper=False)
        return Coordinates(mean, units, root)
    mean, units, hessian = _hessian_at_zero(factors, ridge, torch.float64)
    values, vectors = torch.linalg.eigh(hessian)
    kept = values > n_factors * torch.finfo(values.dtype).eps * values.max()
    return Coordinates(mean, units, (vectors[:, kept] / values[kept].sqrt()).T)


def _hessian_at_zero(factors: Tensor, ridge: float, precision: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and unit (1 / standard deviation, or 0) of every factor; the weights' Hessian in these units."""
    n_trials, n_factors = factors.shape
    mean = factors.new_zeros(n_factors, dtype=torch.float64)
    covariance = factors.new_zeros(n_factors, n_factors, dtype=precision)
    for rows in blocks(factors):
        mean += factors[rows].sum(0, dtype=torch.float64) / n_trials
    if not mean.isfinite().all():
        raise ValueError("factors must be finite numbers")
    for rows in blocks(factors):
        x = (factors[rows] - mean).to(precision)  # centred before the product: a large mean would eat its digits
        covariance.addmm_(x.T, x, alpha=1 / n_trials)
    deviations = covariance.diagonal().double().sqrt()
    units = torch.where(deviations > 1e-12 * mean.abs(), 1 / deviations, 0)
    hessian = covariance.double() * units.outer(units) / 4
    return mean, units, hessian + torch.diag(ridge * units**2)
