"""Stage `evaluate`: score the fit on its own trials and on held-out ones, and say how far it can be trusted.

Without data/observer.npy (a person's own trials) all that needs the truth is left out; without an exact fit, all
that its theory predicts. A class (yes/no response) without an estimate is left out, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hdlogit.inference.double_pass import double_pass
from hdlogit.scores.calibration import calibration_curve
from hdlogit.scores.predictions import cross_entropies
from hdlogit.scores.recovery import recovery
from stages.files.account import named
from stages.files.errors import SAID, InputError, run_stage
from stages.files.parameters import read_parameters
from stages.files.reading import Fit
from stages.files.writing import Outputs
from stages.tables import inference, inferred, planning, psychometric, scores, theory
from stages.tables.answer import together, trustworthy, unanswered
from stages.tables.inferred import Inferred
from stages.tables.scores import Predictions
from stages.tables.smooth import smooth_table

if TYPE_CHECKING:
    from hdlogit.inference.replication import Replication  # brings torch

Metrics = dict[str, Any]
Groups = Sequence["Replication | None"]  # of each class


def main() -> None:
    """Infer from the fit, predict, and write one file after the other."""
    p = read_parameters().evaluate
    whole, results = inferred.read_and_infer(p)
    fit = inferred.estimated(whole, results)
    answered = inferred.with_inference(fit, results, p)
    with Outputs("evaluate") as outputs:
        predictions = {"test": scores.fitted_predictions(fit, fit.test)} if len(fit.test.factors) else {}
        if predictions and not np.isfinite(predictions["test"].logits["fitted"]).all():
            raise InputError("data/test/factors.npy: a factor is not finite; look for NaN and infinite ones")
        if answered:
            if predictions:
                predictions["test"] = inferred.with_corrected(predictions["test"], fit, results)
            predictions["loo"] = inferred.left_out_predictions(answered)
        predictions = predictions or {"train": scores.fitted_predictions(fit, fit.train)}
        source, shown = next(iter(predictions.items()))
        curve = calibration_curve(shown.logits["fitted"], shown.responses, p.calibration_bins)
        outputs.table("calibration.csv", vars(curve))
        outputs.table("coefficients.csv", scores.fitted_table(fit))
        outputs.table("trajectory.csv", scores.trajectory_table(fit))
        metrics: Metrics = {}
        if source == "test":
            metrics["test"] = scores.prediction_metrics(shown, curve.error)
        if fit.observer is not None:
            metrics["recovery"] = recovery(fit.coefficients, fit.observer.coefficients)
        metrics["train"] = {"cross_entropy": float(*cross_entropies(*fit.train, fit.coefficients[None]))}
        notices, answer = general_notices(fit, source), list[str]()
        if answered:
            metrics["loo"] = scores.prediction_metrics(predictions["loo"])
            groups, lines = write_replication(outputs, answered, metrics)
            answer = write_inference(outputs, answered, shown, groups, metrics)
            notices += lines
        metrics["fit"] = scores.solver_metrics(fit)
        outputs.json("metrics.json", metrics)
        notes = {name: c.note for name, c in results.items() if c.note and not c.separated}
        answer += [f"{named(name, 'class')}: {note}" for name, note in notes.items()]
        answer += unanswered(fit.missing, results, fit.separating)
        if p.smooth:
            kernels, lines = smooth_table(whole, p)
            answer += lines
            if len(kernels):
                outputs.table("inference/smooth.csv", kernels)
        for name, lines in (("left_out", notices), ("answer", answer)):
            if lines:
                outputs.text(f"inference/{name}.txt", "\n".join(lines))
    for line in dict.fromkeys(notices if SAID in os.environ else notices + answer):
        print(line)


def write_inference(
    outputs: Outputs, answered: Inferred, shown: Predictions, groups: Groups, metrics: Metrics
) -> list[str]:
    """The tables of the classes that have an inference, and their metrics; gives the answer in words."""
    fit, level, n_trials = answered.fit, answered.p.interval_level, len(answered.fit.train.factors)
    asked, coefficients = inference.ask(answered), inference.coefficient_table(answered)
    classes = theory.class_table(answered)
    situations = inference.situations(answered, asked, groups)
    bins, curve = inference.curve_tables(answered)
    tables = {
        "coefficients": coefficients,
        "classes": classes.assign(verdict=[one.verdict for one in situations]),
        "questions": inference.question_table(answered, asked),
        "usefulness": inference.usefulness_table(answered, asked),
        "curve_bins": bins,
        "curve": curve,
    }
    # Of classes that are separated nobody knows what their infinite weights need.
    bounded = {name: c for name, c in zip(fit.classes, answered.classes, strict=True) if not c.separated}
    if bounded:
        tables["goals"] = planning.goal_table(bounded, n_trials, len(fit.labels))
    along = psychometric.along(answered)
    tables["psychometric"] = psychometric.psychometric_table(answered, along)
    tables["psychometric_points"] = psychometric.points_table(answered, along)
    if fit.account:
        tables["terms"] = inference.term_table(answered, fit.account["terms"])
    best = calibration_curve(shown.logits["best"], shown.responses, answered.p.calibration_bins)
    tables["calibration_best"] = pd.DataFrame(vars(best))
    for name, table in tables.items():
        if len(table):
            outputs.table(f"inference/{name}.csv", table)
    metrics["inference"] = {"level": level}
    metrics["theory"] = theory.theory_metrics(classes, float(answered.classes[0].theory.kappa), len(fit.factors))
    if fit.observer is not None:
        metrics["inference"] |= inference.coverages(coefficients)
        metrics["recovery"] |= inference.corrected_recovery(answered)
    lines = trustworthy(n_trials, len(fit.factors), situations)
    holds = {one.name: not one.lacks for one in situations}
    lines += psychometric.in_words(tables["psychometric"], level, holds)
    return [*lines, *together(dict(tables.get("terms", {})), len(fit.factors))]


def write_replication(outputs: Outputs, answered: Inferred, metrics: Metrics) -> tuple[Groups, list[str]]:
    """The table of groups against one another, and its metrics; gives each class's, and notices."""
    fit, none = answered.fit, [None] * len(answered.classes)
    if fit.groups is None:
        return none, []
    is_shrunk = fit.evidence["ridge"] or any(fit.shrinkage[name] for name in fit.classes)
    if is_shrunk or (fit.groups == fit.groups[0]).all():
        return none, ["replication is left out: it needs two groups, and no ridge and shrinkage"]
    from stages.tables import replication  # brings torch

    classes = replication.replications(answered)
    by_name = dict(zip(fit.classes, classes, strict=True))
    outputs.table("inference/replication.csv", replication.replication_table(by_name, fit.labels))
    passes = double_pass(*fit.train, fit.groups)
    metrics["replication"] = replication.replication_metrics(classes, passes)
    lines = [replication.double_pass_line(fit.classes, passes)] if passes else []
    return [one if one.corrected.df else None for one in classes], lines


def general_notices(fit: Fit, source: str) -> list[str]:
    """Lines on what is left out of all classes."""
    lines = list[str]()
    if fit.evidence["solver"] != "exact":
        lines.append("intervals and corrections are left out: they are for exact fits, train.solver: exact")
    if fit.evidence["ridge"] or any(fit.shrinkage.values()):
        lines.append("what the model may lack is tested only in fits without ridge and shrinkage")
    if source != "test":
        shown = "leave-one-out predictions" if source == "loo" else "the training trials, which flatters it"
        lines.append(f"no trials are held out: calibration.csv is of {shown}")
    return lines


if __name__ == "__main__":
    run_stage(main)
