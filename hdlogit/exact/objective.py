"""What the exact fit minimises, class by class, over all trials and in double precision.

For every class by itself, over n_trials trials and in nats per trial, with responses 0 <= y_i <= 1,

    objective(w, b) = mean_i [ log(1 + exp(z_i)) - y_i z_i ] + ridge/2 · |w|²      z_i = x_i·w + b
    gradient(w, b)  = mean_i [ r_i (x_i, 1) ] + ridge · (w, 0)                     r_i = sigmoid(z_i) - y_i

The factors are read in blocks of rows, for the logits and, while a block is still in the cache, for the
gradient; all classes share both products. Classes come first, (n_classes, ...): sums over trials run along
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import logsigmoid

from hdlogit.compute.threads import cut, single_threaded_blas, total

Array = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Trials:
    """All trials, and sums over them."""

    factors: Floats  # (n_trials, n_factors) float64 or float32, may be memory-mapped
    responses: NDArray[Any]  # (n_trials, n_classes) bool, or floating in [0, 1]

    @cached_property
    def hard(self) -> Mask:
        """(n_classes,), whether no response of a class is between 0 and 1."""
        y = self.responses
        return np.ones(y.shape[1], dtype=np.bool_) if y.dtype == np.bool_ else ((y == 0) | (y == 1)).all(0)

    @property
    def blocks(self) -> list[slice]:
        """The rows, block by block."""
        return cut(len(self.factors), self.factors.shape[1] + self.responses.shape[1])

    def evaluate(self, coefficients: Array, classes: NDArray[np.intp]) -> tuple[Array, Array, Mask]:
        """Without the penalty: loss (n,) and gradient (n, n_factors + 1) of these n classes, and whether
        every trial's residual is below 1/2, (n,).
        """
        weights, bias = coefficients[:, :-1], coefficients[:, -1:]

        def of_block(rows: slice) -> tuple[Array, Array, NDArray[np.intp]]:
            x = self.factors[rows].astype(np.float64, copy=False)
            y = self.responses[rows][:, classes].T.astype(np.float64)  # (n, block)
            logits = weights @ x.T + bias
            z = torch.from_numpy(logits)
            loss = -logsigmoid(-z).sum(1).numpy() - np.vecdot(y, logits)  # probabilities round to 0 and 1
            residuals = torch.sigmoid_(z).numpy() - y
            return loss, np.column_stack([residuals @ x, residuals.sum(axis=1)]), misfits(residuals)

        loss, gradient, n_misfits = total(of_block, self.blocks)
        return loss / len(self.factors), gradient / len(self.factors), n_misfits == 0

    def refuse(self) -> NoReturn:
        """Raise ValueError naming a factor that is not finite."""
        for block in cut(*self.factors.shape):
            wrong = np.argwhere(~np.isfinite(self.factors[block]))
            if len(wrong):
                row, column = block.start + wrong[0, 0], wrong[0, 1]
                where = f"that of trial {row}, factor {column} is {self.factors[row, column]}"
                raise ValueError(f"factors must be finite numbers, but {where}")
        raise ValueError("factors must be finite numbers, and their squares, too")


def misfits(residuals: Floats) -> NDArray[np.intp]:
    """How many trials of each class (n, n_trials) have a residual of 1/2 or more; none, if logits separate"""
    return np.asarray(np.count_nonzero(np.abs(residuals) >= 0.5, axis=1))


def check(factors: Floats, responses: NDArray[Any], ridge: float, tolerance: float) -> None:
    """Raise ValueError for what cannot be fitted: see `hdlogit.exact.fit`."""
    shapes = factors.shape, responses.shape
    if [len(shape) for shape in shapes] != [2, 2] or len(factors) != len(responses) or 0 in sum(shapes, ()):
        raise ValueError(
            "factors must be (n_trials, n_factors) and responses (n_trials, n_classes), "
            f"none of these 0, got {shapes[0]} and {shapes[1]}"
        )
    if factors.dtype not in (np.float64, np.float32):
        raise ValueError(f"factors must be float64 or float32, got {factors.dtype}")
    low, high = responses.min(), responses.max()
    if responses.dtype != np.bool_ and not (responses.dtype.kind == "f" and low >= 0 and high <= 1):
        given = f"{responses.dtype} from {low} to {high}"
        raise ValueError(f"responses must be bool, or floating numbers in [0, 1]; these are {given}")
    if not 0 <= ridge < np.inf or not tolerance > 0:
        raise ValueError(f"ridge must be >= 0 and tolerance > 0, got {ridge} and {tolerance}")


def largest_gradient(factors: Floats, responses: NDArray[Any], coefficients: Array) -> Array:
    """How far from the maximum-likelihood estimate: max |gradient's component| of each class, (n_classes,).

    factors (n_trials, n_factors), responses (n_trials, n_classes), coefficients (n_factors + 1, n_classes).
    """
    with single_threaded_blas():
        points = coefficients.T.astype(np.float64)
        gradient = Trials(factors, responses).evaluate(points, np.arange(len(points)))[1]
        return np.asarray(np.abs(gradient).max(axis=1))
