"""The notebook's fit: minibatch Adam on the mean Bernoulli cross-entropy, at the speed of its arithmetic.

    loss(W)     = mean over trials i and classes k of  softplus(z_ik) - y_ik z_ik,     z = X W[:-1] + W[-1]
    gradient(W) = [X'R; 1'R] / (n n_classes),     R = sigmoid(z) - y

with X (n, n_factors), y and z (n, n_classes), W (n_factors + 1, n_classes), last row = bias.

The gradient is a formula, so nothing is recorded for autograd, and every step writes into buffers that exist already.
What remains is two matrix products per batch and, as costly, gathering the shuffled trials; a second thread does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from hdlogit.adam.model import LogisticRegression
from hdlogit.compute import processes
from hdlogit.compute.threads import quietly

State = dict[str, NDArray[Any]]  # of a training, between two epochs

EPSILON = 1e-8  # torch.optim.Adam's, which the notebook uses
SPAN_ELEMENTS = 2**19  # factors gathered at once: long enough for the threads to meet rarely, short enough for caches
SPAN_BATCHES = 64  # at most: small batches have views of their own, which cost more than their trials


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

    def state(self) -> State:
        """Coefficients and moments."""
        tensors = {"coefficients": self.coefficients, "mean": self._mean, "square": self._square, "bound": self._bound}
        return {"steps": np.array(self._steps), **{k: v.cpu().numpy().copy() for k, v in tensors.items()}}

    def restore(self, state: State) -> None:
        """Take them over."""
        self._steps = int(state["steps"])
        for name in ("coefficients", "mean", "square", "bound"):
            mine = self.coefficients if name == "coefficients" else getattr(self, f"_{name}")
            mine.copy_(torch.from_numpy(state[name]))


class Training:
    """Epochs of Adam over shuffled batches, for one process or for several that share every batch out.

    model: its coefficients are the start, and hold the result of every epoch when that epoch is yielded.
    factors: (n_trials, n_factors), on the CPU, may be memory-mapped: only shuffled spans of it are copied.
    responses: (n_trials, n_classes), bool, likewise.
    seed: of the order of the trials; every epoch visits each trial once, the last batch may be smaller.
    """

    def __init__(
        self,
        model: LogisticRegression,
        factors: torch.Tensor,
        responses: torch.Tensor,
        *,
        learning_rate: float,
        beta1: float,
        beta2: float,
        amsgrad: bool,
        batch_size: int,
        seed: int,
    ) -> None:
        self._model, self._factors, self._responses = model, factors, responses
        self._adam = Adam(model.coefficients(), learning_rate, beta1, beta2, amsgrad)
        self._size = min(batch_size, len(factors))
        self._shuffle = torch.Generator().manual_seed(seed)
        self._begun, self._before = -1, torch.empty(0)  # the last epoch begun, and the generator's state before it
        self._done = 0  # epochs

    def epochs(self, num_epochs: int) -> Iterator[float]:
        """Those that are left of so many; of each, the mean over its batches of the loss before the step, in nats."""
        n_trials, size = len(self._factors), self._size
        width = max(self._factors.shape[1], self._responses.shape[1])
        length = size * min(max(1, SPAN_ELEMENTS // (size * width)), -(-n_trials // size), SPAN_BATCHES)
        spans = [_Span(self._factors, self._responses, length, size, self._adam) for _ in range(2)]
        loaded = _loaded(spans, self._shuffled(length, num_epochs))
        n_batches, n_spans = -(-n_trials // size), -(-n_trials // length)
        with quietly(), torch.no_grad():  # the second core gathers
            for _ in range(self._done, num_epochs):
                total = torch.zeros(1, dtype=torch.float64)
                for _ in range(n_spans):
                    total += next(loaded).descend()
                processes.total(total)
                self._model.load_coefficients(self._adam.coefficients)
                self._done += 1
                yield float(total) / n_batches

    def _shuffled(self, length: int, num_epochs: int) -> Iterator[torch.Tensor]:
        """The trials of epoch after epoch, each in an order of its own, `length` at a time."""
        for epoch in range(self._done, num_epochs):
            self._begun, self._before = epoch, self._shuffle.get_state()
            yield from torch.split(torch.randperm(len(self._factors), generator=self._shuffle), length)

    def state(self) -> State:
        """Everything that the epochs to come depend on."""
        ahead = self._begun == self._done  # the next epoch's first trials are being gathered already
        shuffle = self._before if ahead else self._shuffle.get_state()
        return {"done": np.array(self._done), "shuffle": shuffle.numpy(), **self._adam.state()}

    def restore(self, state: State) -> None:
        """Go on where `state` was asked for: to the last bit as if there had been no stop."""
        self._done = int(state["done"])
        self._shuffle.set_state(torch.from_numpy(state["shuffle"]))
        self._adam.restore(state)
        self._model.load_coefficients(self._adam.coefficients)


def _loaded(spans: list[_Span], rows: Iterator[torch.Tensor]) -> Iterator[_Span]:
    """Spans with their trials, of which the next is always being gathered in the background."""
    with ThreadPoolExecutor(1) as background:
        coming: Future[_Span] | None = None
        for span, trials in zip(cycle(spans), rows, strict=False):
            gathering = background.submit(span.gather, trials)  # the caller is done with this one: there are two
            if coming is not None:
                yield coming.result()
            coming = gathering
        if coming is not None:
            yield coming.result()


class _Span:
    """Buffers for a few batches of shuffled trials: gathered at once, and then descended one after another."""

    def __init__(
        self, factors: torch.Tensor, responses: torch.Tensor, length: int, batch_size: int, adam: Adam
    ) -> None:
        self._factors, self._responses = factors, responses
        self._size, self._adam = batch_size, adam
        n_factors, n_classes = factors.shape[1], responses.shape[1]
        self._gathered = torch.empty(length, n_factors, dtype=factors.dtype)
        self._answers = torch.empty(length, n_classes, dtype=torch.bool)
        self._x = adam.coefficients.new_empty(length, n_factors)
        if self._x.dtype == factors.dtype and self._x.device == factors.device:
            self._x = self._gathered  # nothing to convert
        self._y = adam.coefficients.new_empty(length, n_classes)
        self._z = adam.coefficients.new_empty(length, n_classes)
        self._residual = adam.coefficients.new_empty(batch_size, n_classes)
        self._length = 0
        self._steps: dict[int, tuple[list[tuple[int, int]], list[Callable[[], None]]]] = {}

    def gather(self, rows: torch.Tensor) -> _Span:
        """Fetch this process's share of each batch of the trials `rows` (at most `length`,); returns itself."""
        self._length = len(rows)
        if processes.joined():
            batches = torch.split(rows, self._size)
            rows = torch.cat([batch[processes.share(len(batch))] for batch in batches])
        n = len(rows)
        torch.index_select(self._factors, 0, rows, out=self._gathered[:n])
        torch.index_select(self._responses, 0, rows, out=self._answers[:n])
        if self._x is not self._gathered:
            self._x[:n].copy_(self._gathered[:n])
        self._y[:n].copy_(self._answers[:n])
        return self

    def descend(self) -> float:
        """One step of Adam per batch; returns this process's part of the sum of their losses, each before its step."""
        n = self._length
        if n not in self._steps:  # making views costs as much as a small product; there are but two lengths
            self._steps[n] = self._bind(n)
        batches, steps = self._steps[n]
        for step in steps:
            step()
        used = sum(share for _, share in batches)
        losses = binary_cross_entropy_with_logits(self._z[:used], self._y[:used], reduction="none")
        parts = torch.split(losses, [share for _, share in batches])
        n_classes = losses.shape[1]
        return float(sum(part.sum() / (size * n_classes) for part, (size, _) in zip(parts, batches, strict=True)))

    def _bind(self, n: int) -> tuple[list[tuple[int, int]], list[Callable[[], None]]]:
        """Size and share of each batch of `n` trials, and what to call for it."""
        sizes = [min(self._size, n - start) for start in range(0, n, self._size)]
        batches = [(size, len(range(size)[processes.share(size)])) for size in sizes]
        shares = [share for _, share in batches]
        parts = (torch.split(part[: sum(shares)], shares) for part in (self._x, self._y, self._z))
        steps = [
            _step(self._adam, x, y, z, self._residual[: len(x)], size)
            for x, y, z, size in zip(*parts, sizes, strict=True)
        ]
        return batches, steps


def _step(
    adam: Adam, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, residual: torch.Tensor, size: int
) -> Callable[[], None]:
    """One step of `adam` on a batch of `size` trials, of which this process has x (n, n_factors) and y (n, n_classes).

    Bound to its buffers; z and residual are (n, n_classes).
    """
    bias, bias_gradient = adam.coefficients[-1], adam.gradient[-1]
    forward = _product(x, adam.coefficients[:-1], out=z)
    backward = _product(x.T, residual, out=adam.gradient[:-1])
    count, joined = size * y.shape[1], processes.joined()

    def step() -> None:
        forward()
        z.add_(bias)
        torch.sigmoid(z, out=residual)
        residual.sub_(y).div_(count)
        backward()
        torch.sum(residual, 0, out=bias_gradient)
        if joined:
            processes.total(adam.gradient)
        adam.step()

    return step


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    """out = a @ b, on the CPU by NumPy's BLAS: for these narrow shapes it is faster than torch's (see `make bench`)."""
    if a.is_cpu:
        return partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    return partial(torch.mm, a, b, out=out)
