"""What the theory expects of an experiment like this one, and of other numbers of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdlogit.asymptotics.existence import existence_threshold
from hdlogit.asymptotics.planning import base_rate_for, intercept_for, plan, smallest_n_trials
from hdlogit.asymptotics.predictions import predict
from hdlogit.asymptotics.theory import solve
from hdlogit.inference import ClassInference

FRACTIONS = np.array([0.001, 0.2, 0.4, 0.6, 0.75, 0.85, 0.93, 0.97, 0.99])  # of the existence threshold


def theory_metrics(classes: Sequence[ClassInference], table: pd.DataFrame, level: float) -> dict[str, Any]:
    """What the theory expects of this experiment, from the data alone: means over the classes.

    Position on the map: kappa, signal (sd of the true logits), existence_threshold (kappa must be below it
    for a maximum-likelihood estimate to exist), smallest_n_trials (at which it does); these two are for the
    worst class. The rest is to be compared with measured values. table: the `class_table`.
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


def planning_table(classes: Sequence[ClassInference], n_trials: int) -> pd.DataFrame:
    """Weight errors and held-out cross-entropy to expect with other numbers of trials, for such an observer.

    It has the root-mean-square signal of the classes, and their mean base rate (of the rarer response) and
    rates; its factors are correlated as these are. Maximum likelihood, from where it exists to a hundred
    times this experiment. Errors are in logits per standard deviation of a factor.
    """
    n_factors = len(classes[0].scale)
    signal = float(np.sqrt(np.mean([c.signal**2 for c in classes])))
    base_rate, guess_rate, lapse_rate = map(float, np.mean([_rarer(c) for c in classes], axis=0))
    rates = guess_rate, lapse_rate
    first = smallest_n_trials(n_factors, signal, intercept_for(base_rate, signal, *rates), *rates)
    sizes = sorted({int(n) for n in np.geomspace(1.01 * first + 1, 100 * max(n_trials, first), 40)})
    scale = signal / math.sqrt(n_factors)  # the root-mean-square true weight
    rows = [
        {
            "n_trials": line.n_trials,
            "weight_rmse": scale * (line.weight_error or 0),
            "corrected_weight_rmse": scale * (line.debiased_weight_error or 0),
            "classical_coverage": line.classical_coverage,
            "test_cross_entropy": line.held_out,
            "test_best_cross_entropy": line.best,
            "bayes_cross_entropy": line.bayes,
        }
        for line in plan(n_factors, signal, base_rate, sizes, *rates, classes[0].inflation)
        if line.exists
    ]
    return pd.DataFrame(rows)


def _rarer(c: ClassInference) -> tuple[float, float, float]:
    """Probability of the rarer response, and rates: where no is rarer, guess and lapse rate are exchanged."""
    yes = base_rate_for(float(c.theory.intercept), c.signal, c.guess_rate, c.lapse_rate)
    return (yes, c.guess_rate, c.lapse_rate) if yes <= 0.5 else (1 - yes, c.lapse_rate, c.guess_rate)


def map_table(largest_signal: float) -> pd.DataFrame:
    """The map: alpha* over signal and kappa, intercept 0."""
    rows = []
    for signal in largest_signal * np.linspace(0, 1, 18) ** 1.5:  # denser where the frontier bends
        kappas = existence_threshold(float(signal)) * FRACTIONS
        rows += [(signal, kappa, solve(float(kappa), float(signal)).alpha) for kappa in kappas]
    return pd.DataFrame(rows, columns=["signal", "kappa", "alpha"])
