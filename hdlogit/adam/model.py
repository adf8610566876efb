"""The notebook's model: a linear layer whose outputs are the logits of n_classes independent yes/no responses."""

from __future__ import annotations

import torch


class LogisticRegression(torch.nn.Module):
    """logits = factors @ weight.T + bias, with weight (n_classes, n_factors) and bias (n_classes,).

    The initial coefficients are those of `torch.nn.Linear`: uniform within +-1 / sqrt(n_factors), from torch's own
    stream. The sigmoid belongs to the loss, which is computed from logits.
    """

    def __init__(self, n_factors: int, n_classes: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        # Drawn on the CPU, so that one seed gives the same start on every device.
        self.linear = torch.nn.Linear(n_factors, n_classes, dtype=dtype).to(device)

    def forward(self, factors: torch.Tensor) -> torch.Tensor:  # (n, n_factors) -> (n, n_classes)
        return self.linear(factors)  # type: ignore[no-any-return]  # torch types a module's call as Any

    @torch.no_grad()
    def load_coefficients(self, coefficients: torch.Tensor) -> None:
        """Take over `coefficients` (n_factors + 1, n_classes), last row = bias."""
        self.linear.weight.copy_(coefficients[:-1].T)
        self.linear.bias.copy_(coefficients[-1])

    @torch.no_grad()
    def coefficients(self) -> torch.Tensor:
        """A copy of weight and bias as (n_factors + 1, n_classes), last row = bias."""
        return torch.vstack([self.linear.weight.T, self.linear.bias])
