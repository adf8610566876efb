"""What the theory expects of this experiment, from the data alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdlogit.asymptotics.predictions import predict
from hdlogit.inference import ClassInference


def theory_metrics(classes: Sequence[ClassInference], table: pd.DataFrame, level: float) -> dict[str, Any]:
    """Means over the classes; table: the `class_table`.

    Position on the map: kappa, signal (sd of the true logits), existence_threshold (kappa must be below it
    for a maximum-likelihood estimate to exist), smallest_n_trials (at which it does); these two are for the
    worst class. The rest is to be compared with measured values.
    """
    bounded = [c for c in classes if not c.separated]  # it knows nothing of the others
    expected = [predict(c.theory) for c in bounded]
    kappa, n_factors = float(classes[0].theory.kappa), len(classes[0].estimate) - 1
    means = {
        "train_cross_entropy": [e.training for e in expected],
        "test_cross_entropy": [e.held_out for e in expected],
        "test_corrected_cross_entropy": [e.debiased for e in expected],
        "test_best_cross_entropy": [e.best for e in expected],
        "bayes_cross_entropy": [e.bayes for e in expected],
        "classical_coverage": [c.expected_classical_coverage(level)[0] for c in bounded],
    }
    return {
        "n_trials": round(n_factors / kappa),
        "kappa": kappa,
        "signal": table.signal.mean(),
        "existence_threshold": table.existence_threshold.min(),
        "smallest_n_trials": int(table.smallest_n_trials.max()),
        "weight_slope": table.alpha.mean(),
        "residual_sd": float(np.mean([_residual_sd(c) for c in classes])),
        **{name: float(np.mean(values)) if values else None for name, values in means.items()},
    }


def _residual_sd(c: ClassInference) -> float:
    """Root-mean-square noise of the weights across their own direction, per sd of a factor."""
    across = float(np.mean((c.null_error**2 - c.along * c.estimate[:-1] ** 2) * c.scale**2))
    return math.sqrt(max(across, 0.0))  # with a single factor a difference of two estimates of the same
