"""The two fits as the stage `train` runs them: with progress bars, and with the results to store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.files.reading import Floats


@dataclass(frozen=True)
class Fitted:
    """What `train` writes. Coefficients are (n_factors + 1, n_classes), last row = bias."""

    coefficients: Floats
    checkpoints: dict[int, Floats]  # coefficients after these epochs; of an exact fit as if after one
    losses: dict[str, Any]  # the table loss.csv: epoch, loss
    evidence: dict[str, Any]  # `stages.files.reading.Evidence`
