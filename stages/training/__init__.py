"""The two fits as the stage `train` runs them: with progress bars, and with the results to store."""

from __future__ import annotations

from typing import Any, NamedTuple

from stages.files.reading import Floats


class Fitted(NamedTuple):
    """What `train` writes. Coefficients are (n_factors + 1, n_classes), last row = bias."""

    coefficients: Floats
    checkpoints: dict[int, Floats]  # coefficients after these epochs; of an exact fit as if after one
    losses: dict[str, Any]  # the table loss.csv: epoch, loss
    evidence: dict[str, Any]  # solver, ridge, checkpoints (epochs); of each class max_gradient, converged,
    # shrinkage, reasons (why it has no estimate, or None), and if any is separated, separating (by which factors)
