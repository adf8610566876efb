"""Coordinates in which the exact fit is easy, and the sample of the trials, in single precision, to steer by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hdlogit.compute import processes
from hdlogit.compute.threads import cut, each
from hdlogit.exact.objective import CPU, Array, Evaluation, Share, blocks, evaluation, product

PART = 2**21  # factors of the sample that a core takes at once
OFFSET = 10  # mean of a factor over its standard deviation that costs single precision little
ENOUGH = 64  # trials per factor from which their covariances are known well enough


class Sample:
    """A copy of some trials, or of all, in single precision, with factors as deviations from their means.

    Only process 0 has it. Its factors are in units of standard deviations from `standardise` on.
    """

    def __init__(self, factors: Tensor, responses: Tensor, most: int, device: torch.device = CPU) -> None:
        """At most `most` of the trials in factors (n_trials, n_factors) and responses (n_trials, n_classes).

        They are copied to this device. Raises ValueError where factors are not finite.
        """
        self.rows = rows = sampled_rows(len(factors), most)
        whole = len(rows) == len(factors)
        self.factors = torch.empty(len(rows), factors.shape[1], dtype=torch.float32, device=device)
        self.parts = cut(len(rows), factors.shape[1], PART)

        def chosen(block: slice) -> Tensor:
            return (factors[block] if whole else factors.index_select(0, rows[block])).to(device)

        def total(block: slice) -> Tensor:
            x = chosen(block).double()
            return product(x.new_ones(1, len(x)), x)[0]

        def copy(block: slice) -> None:
            self.factors[block] = chosen(block) - mean

        mean = torch.zeros(factors.shape[1], dtype=torch.float64, device=device)
        for part in each(total, blocks(self.factors)):
            mean += part
        mean /= len(rows)
        self.mean = mean.cpu().numpy()  # (n_factors,)
        _check_finite(self.mean)
        list(each(copy, blocks(self.factors)))
        self.responses = (responses if whole else responses[rows]).to(device).T.to(torch.float32).contiguous()

    def __len__(self) -> int:
        return len(self.factors)

    def standardise(self, coordinates: Coordinates, ridge: float) -> None:
        """Take the units of these coordinates."""
        if coordinates.mean is not self.mean:
            self.factors += torch.from_numpy(self.mean - coordinates.mean).to(self.factors)
        self.factors *= torch.from_numpy(coordinates.units).to(self.factors)
        self.basis = coordinates.basis_of_sample()  # (rank + 1, n_factors + 1)
        self.ridge = ridge * np.append(coordinates.units, 0) ** 2  # (n_factors + 1,)
        self.inverse = coordinates.inverse  # of the basis, if it has one

    def logits(self, points: Array) -> Tensor:
        """(n_classes, n_sampled) from points (n_classes, rank + 1)."""
        coefficients = torch.from_numpy(points @ self.basis).to(self.factors)
        logits = self.factors.new_empty(len(points), len(self))

        def write(rows: slice) -> None:
            torch.add(product(coefficients[:, :-1], self.factors[rows].T), coefficients[:, -1:], out=logits[:, rows])

        list(each(write, self.parts))
        return logits

    def evaluate(self, points: Array, residuals: Tensor) -> Evaluation:
        """The objective over the sample at these points, where its residuals (n_classes, n_sampled) are known."""
        gradient = residuals.new_zeros(len(points), len(self.ridge), dtype=torch.float64)
        for part in each(lambda rows: product(residuals[:, rows], self.factors[rows]), self.parts):
            gradient[:, :-1] += part
        gradient[:, -1] = residuals.sum(1)
        mean = gradient.cpu().numpy() / len(self)
        return evaluation(mean, residuals.abs().amax(1).cpu().numpy(), points, self.basis, self.ridge)


def sampled_rows(n_trials: int, most: int) -> Tensor:
    """A sample of at most `most` rows, in order: one at random from each run of k, always the same ones."""
    stride = -(-n_trials // max(1, most))
    starts = torch.arange(0, n_trials - stride + 1, stride)
    return starts + torch.randint(stride, starts.shape, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Coordinates:
    """u, in which weights = u[:-1] @ root * units, and the bias at the mean of the factors is 2 u[-1]."""

    mean: Array  # (n_factors,)
    units: Array  # (n_factors,), 1 / standard deviation; 0 for a factor that is constant
    root: Array  # (rank, n_factors)
    inverse: Array | None = None  # (n_factors + 1, n_factors + 1) of `basis_of_sample`, where the rank is full

    def suit_single_precision(self) -> bool:
        """Whether it can take the factors as they are: no large mean eats their digits, no exponent is too large."""
        sizes = np.concatenate([np.abs(self.mean), self.units, 1 / self.units[self.units > 0]])
        return bool((np.abs(self.mean) * self.units < OFFSET).all() and (sizes < 1e30).all())

    def basis(self) -> Array:
        """(rank + 1, n_factors + 1), for the factors as they are."""
        basis = self.basis_of_sample()
        basis[:-1, :-1] *= self.units
        basis[:-1, -1] = -basis[:-1, :-1] @ self.mean
        return basis

    def basis_of_sample(self) -> Array:
        """(rank + 1, n_factors + 1), for the factors in a `Sample` that takes these coordinates."""
        basis = np.pad(self.root, (0, 1))
        basis[-1, -1] = 2
        return basis


def standardise(sample: Sample, share: Share, ridge: float) -> Coordinates:
    """Coordinates in which the objective's Hessian at zero is the identity, or nearly so; `sample` takes them too.

    That Hessian is cov(x)/4 + ridge for the weights, and 1/4 for the bias counted at the mean of the factors.
    A sample in single precision gives it well enough to steer by, unless factors seem to depend on one
    another there. Then all trials are asked, and directions in which the factors do not vary (constant,
    duplicated, dependent up to rounding: the rule of numpy's matrix_rank, applied to correlations) are left
    out. No logit needs them, and of many equal optima the fit then is the one with the smallest weights in
    units of the factors' standard deviations. Raises ValueError where factors are not finite.
    """
    n_factors = share.factors.shape[1]
    x = sample.factors[:: max(1, len(sample) // (ENOUGH * n_factors))]
    products = x.new_zeros(n_factors, n_factors).double()
    for part in each(lambda rows: product(x[rows].T, x[rows]), cut(len(x), n_factors, PART), waiting=2):
        products += part
    covariance = products.cpu().numpy() / len(x)
    units, hessian = _hessian_at_zero(sample.mean, covariance, ridge)
    cholesky = _cholesky(hessian)
    if cholesky is not None:
        lower, identity = torch.from_numpy(cholesky), torch.eye(n_factors).double()
        root = torch.linalg.solve_triangular(lower, identity, upper=False).numpy()
        inverse = np.pad(cholesky, (0, 1))
        inverse[-1, -1] = 0.5
        coordinates = Coordinates(sample.mean, units, root, inverse)
    else:
        processes.tell("moments")
        mean, covariance = moments(share)
        _check_finite(mean)
        units, hessian = _hessian_at_zero(mean, covariance, ridge)
        values, vectors = np.linalg.eigh(hessian)
        kept = values > n_factors * np.finfo(values.dtype).eps * values.max()
        root = np.ascontiguousarray((vectors[:, kept] / np.sqrt(values[kept])).T)
        coordinates = Coordinates(mean, units, root)
    sample.standardise(coordinates, ridge)
    return coordinates


def _check_finite(mean: Array) -> None:
    if not np.isfinite(mean).all():
        raise ValueError("factors must be finite numbers")


def _cholesky(hessian: Array) -> Array | None:
    """Lower triangular L with L Lᵀ = hessian, unless the factors seem to depend on one another."""
    cholesky, failed = torch.linalg.cholesky_ex(torch.from_numpy(hessian))
    certain = cholesky.diagonal().square().numpy() > 1e-4 * np.diagonal(hessian)
    return None if failed or not certain.all() else cholesky.numpy()


def _hessian_at_zero(mean: Array, covariance: Array, ridge: float) -> tuple[Array, Array]:
    """Unit (1 / standard deviation, or 0) of every factor; the weights' Hessian in these units."""
    deviations = np.sqrt(np.diagonal(covariance))
    units = np.where(deviations > 1e-12 * np.abs(mean), 1 / np.where(deviations > 0, deviations, 1), 0)
    return units, covariance * np.outer(units, units) / 4 + np.diag(ridge * units**2)


def moments(share: Share) -> tuple[Array, Array]:
    """Mean and covariance of the factors of all processes; all call it together, each with its share."""
    factors, n_factors = share.factors, share.factors.shape[1]
    mean = factors.new_zeros(n_factors).double()
    covariance = factors.new_zeros(n_factors, n_factors).double()
    for part in each(lambda rows: factors[rows].sum(0, dtype=torch.float64), share.blocks):
        mean += part
    processes.total(mean)
    mean /= share.n_trials

    def products(rows: slice) -> Tensor:
        x = factors[rows].double() - mean  # centred before the product: a large mean would eat its digits
        return product(x.T, x)

    for part in each(products, share.blocks, waiting=2):
        covariance += part
    processes.total(covariance)
    return mean.cpu().numpy(), (covariance / share.n_trials).cpu().numpy()
