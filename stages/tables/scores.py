"""Scores of the fit on its own trials and on held-out ones, and its recovery of the true coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hdlogit.psychometric.function import Floats
from hdlogit.scores import calibration, predictions, recovery
from hdlogit.scores.predictions import Booleans
from stages.parameters import Evaluate
from stages.tables import Findings, Fit, Table


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


def recovered(fit: Fit) -> Findings:
    """The table of coefficients, and how close they come to the observer's."""
    table = {**coefficient_rows(fit), "fitted": fit.coefficients.T.ravel()}
    if fit.observer is None:
        return Findings(tables={"coefficients.csv": table})
    metrics = {"recovery": recovery.recovery(fit.coefficients, fit.observer.coefficients)}
    return Findings(metrics, {"coefficients.csv": table})


def coefficient_rows(fit: Fit) -> Table:
    """One row per class and factor, the bias last: class, factor, true (if known)."""
    rows, n_classes = fit.coefficients.shape
    names = {"class": np.repeat(fit.classes, rows), "factor": [*range(rows - 1), "bias"] * n_classes}
    return names if fit.observer is None else {**names, "true": fit.observer.coefficients.T.ravel()}


def trajectory(fit: Fit) -> Findings:
    """The training cross-entropy of the fit, and the table of its checkpoints."""
    models = np.stack([*fit.checkpoints.values(), fit.coefficients])
    on_train = predictions.cross_entropies(fit.train.factors, fit.train.responses, models)
    on_test = predictions.cross_entropies(fit.test.factors, fit.test.responses, models[:-1])
    table: dict[str, Any] = {
        "epoch": [*fit.checkpoints],
        "train_cross_entropy": on_train[:-1],
        "test_cross_entropy": on_test,
    }
    if fit.observer is not None:
        table["weight_slope"] = [recovery.weight_slope(w, fit.observer.coefficients) for w in fit.checkpoints.values()]
    return Findings({"train": {"cross_entropy": float(on_train[-1])}}, {"trajectory.csv": table})


def evidence(fit: Fit) -> Findings:
    """What the solver reported, over the classes: the most work, the largest gradient, and whether all converged."""
    reported, n_classes = fit.evidence, len(fit.evidence.reasons)
    metrics = {
        "converged": all(reported.converged),
        "max_gradient": max(reported.max_gradient),
        "iterations": max(reported.iterations),
        "evaluations": max(reported.evaluations),
        "ridge": reported.ridge,
    }
    if len(fit.classes) < n_classes:
        metrics["classes_without_estimate"] = n_classes - len(fit.classes)
    lines = [f"class {k} is left out: {reason}" for k, reason in enumerate(reported.reasons) if reason]
    return Findings({"fit": metrics}, notices=lines)
