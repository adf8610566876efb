"""Scores of predictions and of the solver, and the true coefficients where these are known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdlogit.psychometric.function import Floats, cross_entropy, log_odds
from hdlogit.scores import calibration, predictions, recovery
from hdlogit.scores.predictions import Booleans, mean
from stages.files.reading import Fit, Trials

CORRECTED = ("corrected", "best")
OF_CORRECTED = ("cross_entropy", "brier", "calibration_intercept", "calibration_slope")


class Predictions(NamedTuple):
    """Predictions of the same responses; all (n_trials, n_classes)."""

    responses: Booleans
    logits: dict[str, Floats]  # fitted; where there are any: true, corrected, best


def fitted_predictions(fit: Fit, trials: Trials) -> Predictions:
    """By the fit, and where it is known by the true observer."""
    logits = {"fitted": _logits(trials.factors, fit.coefficients)}
    if fit.observer is not None:
        logits["true"] = log_odds(_logits(trials.factors, fit.observer.coefficients), *fit.observer.rates)
    return Predictions(trials.responses, logits)


def _logits(factors: Floats, coefficients: Floats) -> Floats:
    logits: Floats = np.empty((len(factors), coefficients.shape[1]))
    predictions.write_logits(factors, coefficients, out=logits)  # block by block
    return logits


def prediction_metrics(predicted: Predictions, calibration_error: float | None = None) -> dict[str, Any]:
    """Scores of the fitted logits, what is lost to the true observer, and scores of the corrected logits."""
    responses, logits = predicted
    metrics = _scores(logits["fitted"], responses)
    if calibration_error is not None:
        metrics["calibration_error"] = calibration_error
    if "true" in logits:
        metrics["bayes_cross_entropy"] = mean(cross_entropy, logits["true"], responses)
        metrics["excess_cross_entropy"] = predictions.excess(logits["true"], logits["fitted"])
    for name in CORRECTED:
        if name in logits:
            scores = _scores(logits[name], responses)
            metrics[name] = {key: scores[key] for key in OF_CORRECTED}
    return metrics


def _scores(logits: Floats, responses: Booleans) -> dict[str, Any]:
    """Cross-entropy, accuracy, Brier score, and the line that would recalibrate the predictions."""
    intercept, slope = calibration.recalibration(logits, responses) or (None, None)
    scores = predictions.scores(logits, responses)
    return {**scores, "calibration_intercept": intercept, "calibration_slope": slope}


def names_table(fit: Fit) -> pd.DataFrame:
    """One row per class and factor, the bias last: class, factor, and if it is known the true coefficient."""
    rows, n_classes = fit.coefficients.shape
    names = {"class": np.repeat(fit.classes, rows), "factor": [*fit.factors, "bias"] * n_classes}
    table = pd.DataFrame(names)
    return table if fit.observer is None else table.assign(true=fit.observer.coefficients.T.ravel())


def fitted_table(fit: Fit) -> pd.DataFrame:
    """The fitted coefficients, beside the true ones."""
    return names_table(fit).assign(fitted=fit.coefficients.T.ravel())


def trajectory_table(fit: Fit) -> pd.DataFrame:
    """Cross-entropies (nats per response) and size of the weights at each checkpoint."""
    models, table = np.stack([*fit.checkpoints.values()]), pd.DataFrame({"epoch": [*fit.checkpoints]})
    for split, trials in (("train", fit.train), ("test", fit.test)):
        if len(trials.factors):
            table[f"{split}_cross_entropy"] = predictions.cross_entropies(*trials, models)
    if fit.observer is not None:
        table["weight_slope"] = [recovery.weight_slope(w, fit.observer.coefficients) for w in models]
    return table


def solver_metrics(fit: Fit) -> dict[str, Any]:
    """What the solver reported on all classes: whether all converged, and the largest gradient."""
    metrics = {
        "converged": all(fit.evidence["converged"]),
        "max_gradient": max(fit.evidence["max_gradient"]),
        "ridge": fit.evidence["ridge"],
    }
    return metrics | {"classes_without_estimate": len(fit.missing)} if fit.missing else metrics
