"""The notebook's fit: minibatch Adam on the mean Bernoulli cross-entropy.

    loss(W)     = mean over trials i and classes k of  softplus(z_ik) - y_ik z_ik,     z = X W
    gradient(W) = X'R / (n n_classes),     R = sigmoid(z) - y

with X (n, n_factors + 1), last column = 1, y and z (n, n_classes), W (n_factors + 1, n_classes), last row =
bias.

The gradient is a formula, so nothing is recorded for autograd: a step is two narrow products and the update.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hdlogit.compute.threads import single_threaded_blas


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
        memory = self.coefficients.new_ones(self._batch_size, len(self.coefficients))
        with single_threaded_blas():
            for _ in range(num_epochs):
                order = torch.randperm(len(self._factors), generator=self._shuffle)
                losses = [self._step(trials, memory) for trials in torch.split(order, self._batch_size)]
                yield float(torch.stack(losses).mean(dtype=torch.float64))

    def _step(self, trials: Tensor, memory: Tensor) -> Tensor:
        """One batch: the update, and the loss before it. memory: allocating it takes as long as a step."""
        x = memory[: len(trials)]
        if x.is_cpu and x.dtype == self._factors.dtype:
            torch.index_select(self._factors, 0, trials, out=x[:, :-1])  # spares a copy
        else:
            x[:, :-1] = self._factors.index_select(0, trials)
        y = self._responses.index_select(0, trials).to(x)
        z = _product(x, self.coefficients)
        residual = torch.sigmoid(z).sub_(y).div_(y.numel())  # (n, n_classes)
        self._gradient.copy_(_product(x.T, residual))
        self._steps.add_(1)
        self._update()
        return binary_cross_entropy_with_logits(z, y)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, on the CPU by NumPy's BLAS, which for these narrow shapes is faster than torch's."""
    return torch.from_numpy(a.numpy() @ b.numpy()) if a.is_cpu else a @ b
