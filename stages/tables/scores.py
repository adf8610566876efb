"""Scores of the fit on its own trials and on held-out ones, and its recovery of the true coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hdlogit.psychometric.function import Floats
from hdlogit.scores import calibration, predictions, recovery
from hdlogit.scores.predictions import Booleans
from stages.files.account import named
from stages.files.fit import Fit
from stages.files.parameters import Evaluate
from stages.tables import Findings, Table
from stages.tables.answer import without_estimate


def predicted(fit: Fit, logits: Mapping[str, Floats], p: Evaluate) -> Findings:
    """Scores and calibration on held-out trials, from their logits (n, n_classes) `fitted` and, if known, `true`."""
    if not len(fit.test.factors):
        return Findings()
    fitted, true = logits["fitted"], logits.get("true")
    scores = prediction_scores(fitted, fit.test.responses)
    tables = calibrated(logits, fit.test.responses, p)
    scores["calibration_error"] = calibration.calibration_curve(fitted, fit.test.responses, p.calibration_bins).error
    if true is not None:
        scores["bayes_cross_entropy"] = predictions.scores(true, fit.test.responses)["cross_entropy"]
        scores["excess_cross_entropy"] = predictions.excess(true, fitted)
    return Findings({"test": scores}, tables)


def calibrated(logits: Mapping[str, Floats], responses: Booleans, p: Evaluate) -> dict[str, Table]:
    """The calibration curve of the `fitted` logits, and histograms of the probabilities of all logits."""
    ends = np.linspace(0, 1, p.histogram_bins + 1)
    counts = {name: calibration.histogram(z, p.histogram_bins) for name, z in logits.items()}
    return {
        "calibration.csv": vars(calibration.calibration_curve(logits["fitted"], responses, p.calibration_bins)),
        "histogram.csv": {"low": ends[:-1], "high": ends[1:], **counts},
    }


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
    names = {"class": np.repeat(fit.classes, rows), "factor": [*fit.factors, "bias"] * n_classes}
    return names if fit.observer is None else {**names, "true": fit.observer.coefficients.T.ravel()}


def trajectory(fit: Fit) -> Findings:
    """The training cross-entropy of the fit, and the table of its checkpoints."""
    models = np.stack([*fit.checkpoints.values(), fit.coefficients])
    on_train = predictions.cross_entropies(fit.train.factors, fit.train.responses, models)
    table: dict[str, Any] = {"epoch": [*fit.checkpoints], "train_cross_entropy": on_train[:-1]}
    if len(fit.test.factors):
        on_test = predictions.cross_entropies(fit.test.factors, fit.test.responses, models[:-1])
        table["test_cross_entropy"] = on_test
    if fit.observer is not None:
        table["weight_slope"] = [recovery.weight_slope(w, fit.observer.coefficients) for w in fit.checkpoints.values()]
    return Findings({"train": {"cross_entropy": float(on_train[-1])}}, {"trajectory.csv": table})


def evidence(fit: Fit) -> Findings:
    """What the solver reported on all classes: the largest gradient, and whether all converged."""
    reported = fit.evidence
    metrics = {
        "converged": all(reported.converged),
        "max_gradient": max(reported.max_gradient),
        "ridge": reported.ridge,
    }
    missing = [(name, reason) for name, reason in zip(fit.classes, reported.reasons, strict=True) if reason]
    if missing:
        metrics["classes_without_estimate"] = len(missing)
    answer = without_estimate(dict(missing), fit.separating)
    notices = [f"{named(name, 'class')} is left out: {reason}" for name, reason in missing]
    return Findings({"fit": metrics}, {}, notices, answer)
