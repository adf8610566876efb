"""What the exact fit minimises, class by class.

For every class by itself, over n_trials trials and in nats per trial,

    objective(w, b) = mean_i [ -log sigmoid(±z_i) ] + ridge/2 · |w|²     z_i = x_i·w + b,  + for a yes, - for a no
    gradient(w, b)  = mean_i [ r_i (x_i, 1) ] + ridge · (w, 0)           r_i = sigmoid(z_i) - y_i

The factors are read in blocks of rows, once for the logits and, while the block is still in the cache, once
for the gradient; all classes share both products. No other copy of the factors is made, and no column of ones
for the bias.

Classes come first, (n_classes, ...), so that sums over trials run along memory. Sums over blocks are kept in
float64, whatever the precision of the products. What has a length of trials is torch's, on
the CPU or on CUDA; what has a length of coefficients is NumPy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from hdlogit.compute import processes
from hdlogit.compute.threads import cut, each, quietly

Array = NDArray[np.float64]

CPU = torch.device("cpu")
BLOCK = {"cpu": 2**19, "cuda": 2**25}  # factors in a block: 4 MB in float64 on the CPU
COPIED = 2**22  # responses of a process that are copied, class by class: sums along rows are faster


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a @ b; on the CPU by NumPy's BLAS, which is faster than torch's at these narrow shapes."""
    return a @ b if a.is_cuda else torch.from_numpy(a.numpy() @ b.numpy())


def dots(a: Tensor, b: Tensor) -> Array:
    """The dot products of rows of a and b, both (m, n): (m,) in float64."""
    found = torch.linalg.vecdot(a, b).cpu().numpy() if a.is_cuda else np.vecdot(a.numpy(), b.numpy())
    return np.asarray(found, dtype=np.float64)


def blocks(factors: Tensor, device: torch.device | None = None) -> list[slice]:
    """Slices of consecutive rows of `factors` (n_trials, n_factors), at most BLOCK numbers each or one row."""
    n_trials, n_factors = factors.shape
    return cut(n_trials, n_factors, BLOCK[(device or factors.device).type])


@dataclass(frozen=True)
class Evaluation:
    """An objective at some points, class by class."""

    gradient: Array  # (n_classes, rank + 1), in the coordinates of the points
    max_gradient: Array  # (n_classes,), largest |component| of the gradient by coefficients, in units asked for
    worst: Array  # (n_classes,), largest |residual|: below 1/2, every trial is on its right side
    loss: Array | None = None  # (n_classes,), mean cross-entropy without the penalty, nats per trial, where asked for


@dataclass(frozen=True)
class Share:
    """The trials of this process, and the blocks over which it sums."""

    factors: Tensor  # (n_rows, n_factors)
    responses: Tensor  # (n_classes, n_rows) bool, may be a view
    blocks: list[slice]  # of these rows
    n_trials: int  # of all processes

    @classmethod
    def of(cls, factors: Tensor, responses: Tensor, device: torch.device = CPU) -> Share:
        """This process's of the trials in factors (n_trials, n_factors) and responses (n_trials, n_classes).

        They are moved to this device. All trials are cut into blocks and a process has whole blocks, consecutive ones:
        single precision then rounds the same sums, however many processes there are.
        """
        everyone = blocks(factors, device)
        own = everyone[processes.share(len(everyone))]
        start, stop = (own[0].start, own[-1].stop) if own else (0, 0)
        by_class = responses[start:stop].to(device).T
        if by_class.numel() <= COPIED:
            by_class = by_class.contiguous()
        here = [slice(block.start - start, block.stop - start) for block in own]
        return cls(factors[start:stop].to(device), by_class, here, len(factors))


def sums(
    share: Share,
    coefficients: Array,
    classes: NDArray[np.intp],
    dtype: torch.dtype,
    with_loss: bool,
) -> tuple[Array, Array, Array]:
    """Over all trials: sums of gradients (n, n_factors + 1) and losses (n,), and the largest |residual| (n,).

    coefficients are (n, n_factors + 1), of these n classes. All processes call this together, each with its share;
    logits are made, and forgotten, by blocks. Products are of this dtype; losses are 0 unless asked for.
    """
    ready = torch.from_numpy(coefficients).to(share.factors.device, dtype)
    weights, bias = ready[:, :-1], ready[:, -1:]
    everyone, chosen = len(classes) == len(share.responses), torch.from_numpy(classes)

    zero = ready.new_zeros(len(ready))

    def of_block(rows: slice) -> tuple[Tensor, ...]:
        x = share.factors[rows].to(dtype)  # (block, n_factors)
        yes = (share.responses[:, rows] if everyone else share.responses[chosen, rows]).to(dtype)  # (n, block)
        logits = product(weights, x.T).add_(bias)
        # From logits: probabilities would round to 0 and 1.
        loss = logsigmoid((2 * yes - 1).mul_(logits)).sum(1).neg_() if with_loss else zero
        residuals = torch.sigmoid_(logits).sub_(yes)
        return product(residuals, x), residuals.sum(1), loss, residuals.abs().amax(1)

    gradient, loss, worst = torch.zeros_like(ready, dtype=torch.float64), zero.double(), zero.clone()
    for by_weight, by_bias, loss_here, worst_here in each(of_block, share.blocks):
        gradient[:, :-1] += by_weight
        gradient[:, -1] += by_bias
        loss += loss_here
        worst = torch.maximum(worst, worst_here)
    processes.total(gradient, loss)
    processes.largest(worst)
    return gradient.cpu().numpy(), loss.cpu().numpy(), worst.cpu().numpy()


@dataclass(frozen=True)
class Objective:
    """The objective over all trials, at points u of coordinates in which coefficients = u @ basis.

    This process has a share of the trials; the others are told to add theirs.
    """

    share: Share
    basis: Array  # (rank + 1, n_factors + 1)
    ridge: Array  # (n_factors + 1,), 0 for the bias
    dtype: torch.dtype = torch.float64  # of the products; blocks of other factors are converted
    units: Array | float = 1.0  # (n_factors + 1,), of the components that max_gradient compares
    with_loss: bool = True

    def evaluate(self, points: Array, classes: NDArray[np.intp]) -> Evaluation:
        """Everything of these classes."""
        coefficients = points @ self.basis
        asked = (coefficients, classes, self.dtype, self.with_loss)
        processes.tell("sums", *asked)
        gradient, loss, worst = sums(self.share, *asked)
        n_trials = self.share.n_trials
        mean_loss = loss / n_trials if self.with_loss else None
        return evaluation(gradient / n_trials, worst, points, self.basis, self.ridge, mean_loss, self.units)


def evaluation(
    mean: Array,
    worst: Array,
    points: Array,
    basis: Array,
    ridge: Array,
    loss: Array | None = None,
    units: Array | float = 1.0,
) -> Evaluation:
    """From the gradient of the mean cross-entropy by coefficients, (n_classes, n_factors + 1)."""
    if ridge.any():
        mean = mean + ridge * (points @ basis)
    return Evaluation(mean @ basis.T, np.abs(mean * units).max(axis=1), worst, loss)


def largest_gradient(factors: Tensor, responses: Tensor, coefficients: Tensor) -> Tensor:
    """How far from the maximum-likelihood estimate: max |component of the gradient| of every class, (n_classes,).

    factors (n_trials, n_factors), responses (n_trials, n_classes), coefficients (n_factors + 1, n_classes).
    """
    with quietly():
        classes = np.arange(coefficients.shape[1])
        gradient, _, _ = sums(Share.of(factors, responses), coefficients.T.numpy(), classes, torch.float64, False)
    return torch.from_numpy(np.abs(gradient).max(axis=1) / len(factors))
