"""Scores of the fit on its own trials and on held-out ones, and its recovery of the true coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hdlogit.psychometric.function import Floats
from hdlogit.scores import calibration, predictions, recovery
from hdlogit.scores.predictions import Booleans
from stages.files.reading import Evidence, Trials
from stages.parameters import Evaluate
from stages.tables import Findings, Table


def held_out(logits: Mapping[str, Floats], responses: Booleans, p: Evaluate) -> Findings:
    """Of held-out `logits` (n_test_trials, n_classes) named `fitted`, and `true` where the observer is known."""
    fitted, true = logits["fitted"], logits.get("true")
    scores = prediction_scores(fitted, responses)
    curve = calibration.calibration_curve(fitted, responses, p.calibration_bins)
    scores["calibration_error"] = curve.error
    if true is not None:
        scores["bayes_cross_entropy"] = predictions.scores(true, responses)["cross_entropy"]
        scores["excess_cross_entropy"] = predictions.excess(true, fitted)
    ends = np.linspace(0, 1, p.histogram_bins + 1)
    counts = {name: calibration.histogram(z, p.histogram_bins) for name, z in logits.items()}
    tables = {"calibration.csv": vars(curve), "histogram.csv": {"low": ends[:-1], "high": ends[1:], **counts}}
    return Findings({"test": scores}, tables)


def prediction_scores(logits: Floats, responses: Booleans) -> dict[str, Any]:
    """Cross-entropy, accuracy, Brier score, and the line that would recalibrate the predictions."""
    intercept, slope = calibration.recalibration(logits, responses) or (None, None)
    scores = predictions.scores(logits, responses)
    return {**scores, "calibration_intercept": intercept, "calibration_slope": slope}


def recovered(coefficients: Floats, observer: Floats | None) -> Findings:
    """The table of coefficients, and how close they come to the observer's, both (n_factors + 1, n_classes)."""
    table = {**coefficient_rows(coefficients.shape, observer), "fitted": coefficients.T.ravel()}
    metrics = {} if observer is None else {"recovery": recovery.recovery(coefficients, observer)}
    return Findings(metrics, {"coefficients.csv": table})


def coefficient_rows(shape: tuple[int, ...], observer: Floats | None) -> Table:
    """One row per class and factor, the bias last, of coefficients of this shape: class, factor, true (if known)."""
    rows, n_classes = shape
    names = {"class": np.repeat(np.arange(n_classes), rows), "factor": [*range(rows - 1), "bias"] * n_classes}
    return names if observer is None else {**names, "true": observer.T.ravel()}


def trajectory(
    train: Trials, test: Trials, coefficients: Floats, checkpoints: Mapping[int, Floats], observer: Floats | None
) -> Findings:
    """The training cross-entropy of the fit, and the table of its checkpoints."""
    models = np.stack([*checkpoints.values(), coefficients])
    on_train = predictions.cross_entropies(train.factors, train.responses, models)
    on_test = predictions.cross_entropies(test.factors, test.responses, models[:-1])
    table: dict[str, Any] = {
        "epoch": [*checkpoints],
        "train_cross_entropy": on_train[:-1],
        "test_cross_entropy": on_test,
    }
    if observer is not None:
        table["weight_slope"] = [recovery.weight_slope(w, observer) for w in checkpoints.values()]
    return Findings({"train": {"cross_entropy": float(on_train[-1])}}, {"trajectory.csv": table})


def evidence(reported: Evidence) -> Findings:
    """What the solver reported, over the classes: the most work, the largest gradient, and whether all converged."""
    fit = {
        "converged": all(reported.converged),
        "max_gradient": max(reported.max_gradient),
        "iterations": max(reported.iterations),
        "evaluations": max(reported.evaluations),
        "ridge": reported.ridge,
    }
    return Findings({"fit": fit})
