"""Stage `evaluate`: score the fit on its own trials and on held-out ones, and report how far it can be trusted.

Without data/observer.npy (a person's own trials) everything that needs the truth is left out; without an exact fit,
everything that the theory of exact fits predicts. Each class (yes/no response) without an estimate is left out, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from hdlogit.inference.double_pass import double_pass
from hdlogit.scores.calibration import calibration_curve
from hdlogit.scores.recovery import recovery
from stages.files.account import named
from stages.files.errors import InputError, run_stage
from stages.files.fit import Fit
from stages.files.parameters import read_parameters
from stages.files.reading import Floats, read_groups
from stages.files.writing import Outputs
from stages.tables import inference, inferred, scores, theory
from stages.tables.answer import Agreement, together, trustworthy, without_estimate
from stages.tables.goals import goal_table
from stages.tables.inferred import Inferred
from stages.tables.scores import CORRECTED, Predictions
from stages.tables.smooth import smooth_table

LARGEST_LOGIT = 1e6  # a single wrong one beyond it would decide the mean over all trials


def main() -> None:
    """Infer from the fit, predict, and write one file after the other."""
    p = read_parameters().evaluate
    whole, fit, results = inferred.read_and_infer(p)
    fit = inferred.refined(fit, results)
    found = inferred.with_inference(fit, results, p)
    with Outputs("evaluate") as outputs:
        predictions = {"test": scores.fitted_predictions(fit, fit.test)} if len(fit.test.factors) else {}
        if predictions:
            refuse_large(predictions["test"].logits["fitted"], fit.classes)
        if found:
            if predictions:
                predictions["test"] = inferred.with_corrected(predictions["test"], fit, results)
            predictions["loo"] = inferred.left_out_predictions(found)
        predictions = predictions or {"train": scores.fitted_predictions(fit, fit.train)}
        source, shown = next(iter(predictions.items()))
        curve = calibration_curve(shown.logits["fitted"], shown.responses, p.calibration_bins)
        outputs.table("calibration.csv", vars(curve))
        outputs.table("histogram.csv", scores.histogram_table(shown, p.histogram_bins))
        outputs.table("coefficients.csv", scores.fitted_table(fit))
        outputs.table("trajectory.csv", scores.trajectory_table(fit))
        metrics: dict[str, Any] = {}
        if source == "test":
            metrics["test"] = scores.prediction_metrics(shown, curve.error)
        if fit.observer is not None:
            metrics["recovery"] = recovery(fit.coefficients, fit.observer.coefficients)
        metrics["train"] = {"cross_entropy": scores.training_cross_entropy(fit)}
        notices, answer = inferred.class_notices(fit.classes, results), []
        if found:
            metrics["loo"] = scores.prediction_metrics(predictions["loo"])
            groups, lines = write_replication(outputs, found, metrics)
            answer = write_inference(outputs, found, shown, groups, metrics)
            notices += lines
        metrics["fit"] = scores.solver_metrics(whole)
        outputs.json("metrics.json", metrics)
        notices += general_notices(whole, source)
        answer += inferred.missing_inference(fit, results) + without_estimate(whole.missing, whole.separating)
        if p.smooth:
            kernels, lines = smooth_table(whole, p)
            answer += lines
            if kernels:
                outputs.table("inference/smooth.csv", kernels)
        for name, lines in (("left_out", notices), ("answer", answer)):
            if lines:
                outputs.text(f"inference/{name}.txt", "\n".join(lines))
    print(*dict.fromkeys([*notices, *answer]), sep="\n")  # what is left out may be the answer


def refuse_large(logits: Floats, classes: Sequence[str]) -> None:
    """Raise InputError for the first held-out logit that is NaN or beyond LARGEST_LOGIT."""
    wrong = np.argwhere(~(np.abs(logits) <= LARGEST_LOGIT))
    if len(wrong):
        trial, k = wrong[0]
        raise InputError(
            f"data/test/factors.npy, trial {trial}: the logit of {named(classes[k], 'class')} is "
            f"{logits[trial, k]:.3g}, not within ±{LARGEST_LOGIT:g}: a factor is damaged, or in other units than "
            "those of the training trials (or the fit has diverged)"
        )


def write_inference(
    outputs: Outputs,
    found: Inferred,
    shown: Predictions,
    groups: Sequence[Agreement | None],
    metrics: dict[str, Any],
) -> list[str]:
    """The tables of an exact fit, and its sections of the metrics; gives the answer in words. groups: of each class."""
    fit, p, n_trials = found.fit, found.p, len(found.fit.train.factors)
    coefficients = inference.coefficient_table(found)
    labels = fit.description.groups if fit.description else []
    asked = inference.ask(found, read_groups(fit.train, len(labels)) if labels else None)
    classes = inference.class_table(found, coefficients, asked)
    expected = theory.theory_metrics(found.classes, classes, p.interval_level)
    bins, curve = inference.curve_tables(found)
    outputs.table("inference/coefficients.csv", coefficients)
    if lacking := inference.question_table(found, asked):
        outputs.table("inference/questions.csv", lacking)
    outputs.table("inference/usefulness.csv", inference.usefulness_table(found, asked))
    outputs.table("inference/curve_bins.csv", bins)
    outputs.table("inference/curve.csv", curve)
    outputs.table("inference/map.csv", theory.map_table(max(1.25 * expected["signal"], 1)))
    outputs.table("inference/goals.csv", goal_table(fit.classes, found.classes))
    outputs.table("inference/planning.csv", theory.planning_table(found.classes, n_trials))
    for name in CORRECTED:
        calibration = calibration_curve(shown.logits[name], shown.responses, p.calibration_bins)
        outputs.table(f"inference/calibration_{name}.csv", vars(calibration))
    terms = inference.term_table(found, fit.description.terms) if fit.description else {}
    if terms:
        outputs.table("inference/terms.csv", terms)
    metrics["inference"], metrics["theory"] = inference.coverage_metrics(found, classes), expected
    if fit.observer is not None:
        metrics["recovery"] |= inference.corrected_recovery(found)
    situations = inference.situations(found, classes, coefficients, asked, groups)
    verdicts = [one.verdict(p.interval_level, len(situations)) for one in situations]
    outputs.table("inference/classes.csv", classes | {"verdict": verdicts})
    lines = trustworthy(n_trials, len(fit.factors), p.interval_level, situations, estimated=found.rates_estimated)
    return [*lines, *together(terms, len(fit.factors))]


def write_replication(
    outputs: Outputs, found: Inferred, metrics: dict[str, Any]
) -> tuple[Sequence[Agreement | None], list[str]]:
    """The table of groups of trials against one another, and its metrics; gives what the answer needs to know of each
    class, and lines on what is left out or shared.
    """
    from stages.tables import replication  # brings torch

    fit, labels = found.fit, found.fit.description.groups if found.fit.description else []
    none: list[Agreement | None] = [None] * len(found.classes)
    if not labels:
        return none, []
    if fit.evidence.ridge or any(fit.evidence.shrinkage):
        return none, ["replication across groups is left out: it is for fits without ridge and shrinkage"]
    groups = read_groups(fit.train, len(labels))
    if (groups == groups[0]).all():
        return none, ["replication is left out: there is one group only"]
    total = len(labels) * len(found.classes)
    with tqdm(total=total, unit="group", desc="replication", disable=None, leave=False) as progress:
        classes = replication.replications(found, groups, progress.update)
    outputs.table("inference/replication.csv", replication.replication_table(fit.classes, classes, labels))
    passes = double_pass(fit.train.factors, fit.train.responses, groups)
    metrics["replication"] = replication.replication_metrics(classes, passes)
    lines = [replication.double_pass_line(fit.classes, passes)] if passes else []
    return [replication.agreement(one) for one in classes], lines


def general_notices(whole: Fit, source: str) -> list[str]:
    """Lines on what is left out of all classes, or of those that have no estimate."""
    lines = [f"{named(name, 'class')} is left out: {reason}" for name, reason in whole.missing.items()]
    if whole.evidence.solver != "exact":
        lines.insert(0, "intervals and corrections are left out: they are for exact fits, train.solver: exact")
    if source != "test":
        shown = "leave-one-out predictions" if source == "loo" else "the training trials, which flatters it"
        lines.append(f"no trials are held out: calibration.csv and histogram.csv are of {shown}")
    if whole.observer is None and whole.description is None:
        lines.append("data/observer.npy is absent: what needs the truth is left out")
    return lines


if __name__ == "__main__":
    run_stage(main)
