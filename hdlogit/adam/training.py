"""The notebook's fit: minibatch Adam on the mean Bernoulli cross-entropy.

    loss(W)     = mean over trials i and classes k of  softplus(z_ik) - y_ik z_ik,     z = X W
    gradient(W) = X'R / (n n_classes),     R = sigmoid(z) - y

with X (n, n_factors + 1), last column = 1, y and z (n, n_classes), W (n_factors + 1, n_classes), last row =
bias.

The gradient is a formula, so nothing is recorded for autograd: a step is two narrow matrix products and the
update. Shuffled trials are gathered, and losses computed, for several steps at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hdlogit.compute.threads import single_threaded_blas

SPAN_ELEMENTS = 2**18  # numbers gathered at once: few enough to be still in the cache when their step is made
SPAN_BATCHES = 64  # at most: small batches cost more for their tensors than for their trials


class Span(NamedTuple):
    """The trials of a few successive batches."""

    factors: Tensor  # (n, n_factors + 1), last column = 1
    responses: Tensor  # (n, n_classes)
    logits: Tensor  # (n, n_classes), each batch's before its step
    sizes: list[int]  # of each batch, n together


def initial_coefficients(
    n_factors: int,
    n_classes: int,
    seed: int,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """As `torch.nn.Linear` has them after `torch.manual_seed(seed)`: (n_factors + 1, n_classes), last row =
    bias.

    Uniform within ±1 / sqrt(n_factors). Drawn on the CPU.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        linear = torch.nn.Linear(n_factors, n_classes, dtype=dtype)
        return torch.vstack([linear.weight.T, linear.bias])


class Training:
    """Epochs of Adam over shuffled batches.

    Kingma & Ba 2015, algorithm 1; amsgrad: Reddi, Kale & Kumar 2018, algorithm 2; both as in
    `torch.optim.Adam`.

    coefficients: (n_factors + 1, n_classes), last row = bias: where to start. `.coefficients` is a copy that
        every step changes in place, on the same device and in the same dtype, which are also those of the
        arithmetic.
    factors: (n_trials, n_factors), on the CPU, may be memory-mapped: only shuffled spans of it are copied.
    responses: (n_trials, n_classes), bool or soft in [0, 1], likewise.
    seed: of the order of the trials. Every epoch visits each trial once; its last batch may be smaller.
    """

    def __init__(
        self,
        coefficients: Tensor,
        factors: Tensor,
        responses: Tensor,
        *,
        learning_rate: float,
        beta1: float,
        beta2: float,
        amsgrad: bool,
        batch_size: int,
        seed: int,
    ) -> None:
        self.coefficients = coefficients.detach().clone(memory_format=torch.contiguous_format)
        self._factors, self._responses = factors, responses
        self._batch_size = min(batch_size, len(factors))
        zeros = torch.zeros_like(self.coefficients)
        self._gradient, (m, v, *largest_v) = zeros.clone(), [zeros.clone() for _ in range(2 + amsgrad)]
        self._steps = zeros.new_zeros((), dtype=torch.float32)  # so far, as torch counts them
        # What torch.optim.Adam(fused=True) calls in the end; its bookkeeping takes several times as long.
        self._update = partial(
            torch._fused_adam_,
            *([self.coefficients], [self._gradient], [m], [v], largest_v, [self._steps]),
            **{"lr": learning_rate, "beta1": beta1, "beta2": beta2, "amsgrad": amsgrad},
            **{"eps": 1e-8, "weight_decay": 0.0, "maximize": False},
        )
        self._shuffle = torch.Generator().manual_seed(seed)

    def epochs(self, num_epochs: int) -> Iterator[float]:
        """Run so many epochs more; yield each one's mean over batches of the loss before a step (nats)."""
        n_trials, width = len(self._factors), max(self._factors.shape[1], self._responses.shape[1])
        length = self._batch_size * min(max(SPAN_ELEMENTS // (self._batch_size * width), 1), SPAN_BATCHES)
        memory = self._memory(length)
        with single_threaded_blas():
            for _ in range(num_epochs):
                total = torch.zeros((), dtype=torch.float64)
                for trials in torch.split(torch.randperm(n_trials, generator=self._shuffle), length):
                    span = self._gather(memory, trials)
                    self._descend(span)
                    total += _loss(span)
                yield float(total) / -(-n_trials // self._batch_size)

    def _memory(self, length: int) -> list[Tensor]:
        """For factors, responses and logits of any span: to allocate them anew takes as long as a step."""
        factors = self.coefficients.new_ones(length, len(self.coefficients))
        return [factors, *(factors.new_empty(length, self._responses.shape[1]) for _ in range(2))]

    def _gather(self, memory: list[Tensor], trials: Tensor) -> Span:
        factors, responses, logits = (part[: len(trials)] for part in memory)
        if factors.is_cpu and factors.dtype == self._factors.dtype:
            torch.index_select(self._factors, 0, trials, out=factors[:, :-1])  # spares a copy
        else:
            factors[:, :-1] = self._factors.index_select(0, trials)
        responses.copy_(self._responses.index_select(0, trials))
        return Span(factors, responses, logits, [*map(len, torch.split(trials, self._batch_size))])

    def _descend(self, span: Span) -> None:
        """A step for each batch."""
        parts = (torch.split(tensor, span.sizes) for tensor in (span.factors, span.responses, span.logits))
        for x, y, z in zip(*parts, strict=True):
            _product(x, self.coefficients, out=z)
            residual = torch.sigmoid(z).sub_(y).div_(y.numel())  # (n, n_classes)
            _product(x.T, residual, out=self._gradient)
            self._steps.add_(1)
            self._update()


def _loss(span: Span) -> float:
    """The sum over batches of the loss before the step, in nats."""
    losses = binary_cross_entropy_with_logits(span.logits, span.responses, reduction="none").mean(1)
    return sum(float(part.mean(dtype=torch.float64)) for part in torch.split(losses, span.sizes))


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """out = a @ b, on the CPU by NumPy's BLAS, which for these narrow shapes is faster than torch's."""
    if out.is_cpu:
        np.matmul(a.numpy(), b.numpy(), out=out.numpy())
    else:
        torch.mm(a, b, out=out)
