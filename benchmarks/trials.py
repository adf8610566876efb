"""Simulated trials for the benchmarks of the exact fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def trials(n_trials: int, n_factors: int, n_classes: int, path: Path | None = None) -> tuple[Tensor, Tensor]:
    """Gaussian factors; logits of sd 16, as in the notebook, or less, so that an estimate safely exists."""
    crowding = n_factors / n_trials  # an estimate exists for 0.063 at size 16, for 0.3 at size 2
    size = 16 if crowding < 0.04 else 4 if crowding < 0.12 else 1
    rng = np.random.default_rng(1973)
    weights = rng.standard_normal((n_factors, n_classes)) * size / n_factors**0.5
    shape = (n_trials, n_factors)
    factors = np.lib.format.open_memmap(path, "w+", np.float64, shape) if path else np.empty(shape)
    responses = np.empty((n_trials, n_classes), dtype=bool)
    for start in range(0, n_trials, 8192):
        rows = slice(start, start + 8192)
        factors[rows] = rng.standard_normal(factors[rows].shape)
        chance = rng.random(responses[rows].shape)
        responses[rows] = factors[rows] @ weights > np.log(chance) - np.log1p(-chance)
    return torch.from_numpy(factors), torch.from_numpy(responses)
