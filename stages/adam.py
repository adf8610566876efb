"""The notebook's fit: minibatch Adam on the mean Bernoulli cross-entropy, at the speed of its arithmetic.

    loss(W)     = mean over trials i and classes k of  softplus(z_ik) - y_ik z_ik,     z = X W[:-1] + W[-1]
    gradient(W) = [X'R; 1'R] / (n n_classes),     R = sigmoid(z) - y

with X (n, n_factors), y and z (n, n_classes), W (n_factors + 1, n_classes), last row = bias.

The gradient is a formula, so nothing is recorded for autograd, and every step writes into buffers that exist already.
What remains is the memory traffic of gathering the shuffled trials and two matrix products per batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types
from torch.nn.functional import binary_cross_entropy_with_logits

from stages.model import LogisticRegression

EPSILON = 1e-8  # torch.optim.Adam's, which the notebook uses
SPAN_ELEMENTS = 2**18  # factors gathered at once: long enough to use all cores, short enough to stay in their caches


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), with AMSGrad's maximum (Reddi, Kale & Kumar 2018, algorithm 2), in place.

        m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2          u <- max(u, v) (amsgrad) or v
        x <- x - learning_rate (m / (1 - beta1^t)) / (sqrt(u / (1 - beta2^t)) + EPSILON)

    The same as `torch.optim.Adam`, less its bookkeeping, which costs more than these few thousand coefficients.
    """

    def __init__(
        self, coefficients: torch.Tensor, learning_rate: float, beta1: float, beta2: float, amsgrad: bool
    ) -> None:
        self.coefficients = coefficients
        self.gradient = torch.empty_like(coefficients)  # to be filled before each step
        self._rate, self._beta1, self._beta2 = learning_rate, beta1, beta2
        self._steps = 0
        self._mean, self._square = torch.zeros_like(coefficients), torch.zeros_like(coefficients)
        self._bound = torch.zeros_like(coefficients) if amsgrad else self._square
        self._scale = torch.empty_like(coefficients)

    def step(self) -> None:
        """Move the coefficients along the gradient that stands in `self.gradient`."""
        self._steps += 1
        self._mean.lerp_(self.gradient, 1 - self._beta1)
        self._square.mul_(self._beta2).addcmul_(self.gradient, self.gradient, value=1 - self._beta2)
        if self._bound is not self._square:
            torch.maximum(self._bound, self._square, out=self._bound)
        correction = float(np.sqrt(1 - self._beta2**self._steps))
        torch.sqrt(self._bound, out=self._scale)
        self._scale.add_(EPSILON * correction)
        rate = self._rate * correction / (1 - self._beta1**self._steps)
        self.coefficients.addcdiv_(self._mean, self._scale, value=-rate)


def epochs(
    model: LogisticRegression,
    factors: torch.Tensor,
    responses: torch.Tensor,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    amsgrad: bool,
    num_epochs: int,
    batch_size: int,
    seed: int,
) -> Iterator[float]:
    """Train `model` in place; after each epoch, yield the mean over its batches of the loss before the step, in nats.

    Args:
        model: its coefficients are the start, and hold the result of every epoch when that epoch is yielded.
        factors: (n_trials, n_factors), on the CPU, may be memory-mapped: only shuffled spans of it are copied.
        responses: (n_trials, n_classes), bool, likewise.
        seed: of the order of the trials; every epoch visits each trial once, the last batch may be smaller.
    """
    coefficients = model.coefficients()
    adam = Adam(coefficients, learning_rate, beta1, beta2, amsgrad)
    batches = _Batches(factors, responses, batch_size, coefficients)
    shuffle = torch.Generator().manual_seed(seed)
    # One thread of NumPy's BLAS is the fastest for products this small, and gives the same bits on any machine size.
    with threadpool_limits(1, user_api="blas"), torch.no_grad():
        for _ in range(num_epochs):
            loss = batches.descend(adam, torch.randperm(len(factors), generator=shuffle))
            model.load_coefficients(coefficients)
            yield loss


class _Batches:
    """One epoch after another: gather a span of shuffled trials, step through its batches, add up their losses."""

    def __init__(
        self, factors: torch.Tensor, responses: torch.Tensor, batch_size: int, coefficients: torch.Tensor
    ) -> None:
        self._factors, self._responses, self._size = factors, responses, min(batch_size, len(factors))
        n_factors, n_classes = factors.shape[1], responses.shape[1]
        self._span = self._size * max(1, SPAN_ELEMENTS // (self._size * n_factors))
        self._gathered = torch.empty(self._span, n_factors, dtype=factors.dtype)
        self._answers = torch.empty(self._span, n_classes, dtype=torch.bool)
        self._x = coefficients.new_empty(self._span, n_factors)
        if self._x.dtype == factors.dtype and self._x.device == factors.device:
            self._x = self._gathered  # nothing to convert
        self._y = coefficients.new_empty(self._span, n_classes)
        self._z = coefficients.new_empty(self._span, n_classes)
        self._residual = torch.empty_like(self._z)

    def descend(self, adam: Adam, order: torch.Tensor) -> float:
        """One step per batch of trials in `order` (n_trials,); returns the mean over batches of the batch losses."""
        total, n_batches = 0.0, -(-len(order) // self._size)
        for rows in torch.split(order, self._span):
            n = self._gather(rows)
            for step in self._steps(adam, n):
                step()
            losses = binary_cross_entropy_with_logits(self._z[:n], self._y[:n], reduction="none")
            total += float(sum(batch.mean() for batch in torch.split(losses, self._size)))
        return total / n_batches

    def _gather(self, rows: torch.Tensor) -> int:
        n = len(rows)
        torch.index_select(self._factors, 0, rows, out=self._gathered[:n])
        torch.index_select(self._responses, 0, rows, out=self._answers[:n])
        if self._x is not self._gathered:
            self._x[:n].copy_(self._gathered[:n])
        self._y[:n].copy_(self._answers[:n])
        return n

    @cache  # noqa: B019  # a view costs as much as a small product; there are two lengths, a full span's and the last's
    def _steps(self, adam: Adam, n: int) -> list[Callable[[], None]]:
        """What to call for each batch of the first `n` gathered trials."""
        parts = (torch.split(part[:n], self._size) for part in (self._x, self._y, self._z, self._residual))
        return [_step(adam, *batch) for batch in zip(*parts, strict=True)]


def _step(adam: Adam, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, residual: torch.Tensor) -> Callable[[], None]:
    """One step of `adam` on one batch, bound to its buffers: x (n, n_factors); y, z and residual (n, n_classes)."""
    bias, bias_gradient = adam.coefficients[-1], adam.gradient[-1]
    forward = _product(x, adam.coefficients[:-1], out=z)
    backward = _product(x.T, residual, out=adam.gradient[:-1])
    size = residual.numel()

    def step() -> None:
        forward()
        z.add_(bias)
        torch.sigmoid(z, out=residual)
        residual.sub_(y).div_(size)
        backward()
        torch.sum(residual, 0, out=bias_gradient)
        adam.step()

    return step


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    """out = a @ b, on the CPU by NumPy's BLAS: for these narrow shapes it is faster than torch's (see `make bench`)."""
    if a.is_cpu:
        return partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    return partial(torch.mm, a, b, out=out)
