"""Where each class is on the map of the theory, and what that expects of this experiment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from hdlogit.asymptotics.existence import existence_threshold
from hdlogit.asymptotics.planning import smallest_n_trials
from hdlogit.asymptotics.predictions import predict
from hdlogit.inference import ClassInference
from stages.tables.inferred import Inferred

EXPECTED = {  # columns of the `class_table` -> properties of `Expected`
    "train_cross_entropy": "training",
    "test_cross_entropy": "held_out",
    "test_corrected_cross_entropy": "corrected",
    "test_best_cross_entropy": "best",
    "bayes_cross_entropy": "bayes",
}


def class_table(inferred: Inferred) -> pd.DataFrame:
    """One row per class. What is expected is to be compared with measured values.

    signal: sd of the true logits; existence_threshold: kappa must be below it for a maximum-likelihood
    estimate to exist; smallest_n_trials: at which it does; inflation: of the variance of a weight by
    correlations of factors; fitted_jointly, rates_estimated: 1 if weights and
    rates were.
    """
    rows = []
    for name, c in zip(inferred.fit.classes, inferred.classes, strict=True):
        observer = c.signal, float(c.theory.intercept), c.guess_rate, c.lapse_rate
        row = {
            "class": name,
            **dict(zip(("signal", "intercept", "guess_rate", "lapse_rate"), observer, strict=True)),
            "alpha": c.theory.alpha,
            "inflation": c.inflation,
            "existence_threshold": existence_threshold(*observer),
            "smallest_n_trials": smallest_n_trials(len(inferred.fit.factors), *observer),
            "fitted_jointly": int(c.profiles is not None),
            "rates_estimated": int(None in c.link.known),
            "residual_sd": _residual_sd(c),
        }
        if not c.separated:  # the theory knows nothing of the others
            expected = predict(c.theory)
            row |= {column: getattr(expected, key) for column, key in EXPECTED.items()}
            row["classical_coverage"] = c.expected_classical_coverage(inferred.p.interval_level)[0]
        rows.append(row)
    return pd.DataFrame(rows)


def theory_metrics(table: pd.DataFrame, kappa: float, n_factors: int) -> dict[str, Any]:
    """Means over the classes, but for where an estimate exists: of the worst. table: the `class_table`."""
    means = table.reindex(columns=[*EXPECTED, "classical_coverage"]).mean()
    return {
        "n_trials": round(n_factors / kappa),
        "kappa": kappa,
        "signal": table.signal.mean(),
        "existence_threshold": table.existence_threshold.min(),
        "smallest_n_trials": int(table.smallest_n_trials.max()),
        "weight_slope": table.alpha.mean(),
        "residual_sd": table.residual_sd.mean(),
        **{name: None if math.isnan(mean) else mean for name, mean in means.items()},
    }


def _residual_sd(c: ClassInference) -> float:
    """Root-mean-square noise of the weights across their own direction, per sd of a factor."""
    across = float(np.mean((c.null_error**2 - c.along * c.estimate[:-1] ** 2) * c.scale**2))
    return math.sqrt(max(across, 0.0))  # with a single factor a difference of two estimates of the same
