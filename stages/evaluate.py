"""Stage `evaluate`: score the fit on its own trials and on held-out ones, and say how far it can be trusted.

Without data/observer.npy (a person's own trials) everything that needs the truth is left out; without an exact fit
everything that the theory of exact fits says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hdlogit.scores import statistics
from stages.errors import InputError, run
from stages.parameters import Evaluate, read_parameters
from stages.storage import Floats, Model, Outputs, Trials, read_checkpoints, read_model, read_observer, read_trials

Metrics = dict[str, Any]


def main() -> None:
    p = read_parameters().evaluate
    train, test = read_trials("train"), read_trials("test")
    observer, model = read_observer(), read_model()
    checkpoints = read_checkpoints(model.evidence["checkpoints"])
    check_shapes({"train": train, "test": test}, model.coefficients, observer, checkpoints)
    if observer is None:
        print("data/observer.npy is absent: what needs the truth is left out")
    with Outputs("evaluate") as outputs:
        logits = outputs.scratch_array(test.responses.shape)
        statistics.write_logits(test.factors, model.coefficients, out=logits)
        if not statistics.all_finite(logits):
            raise InputError("data/test/factors.npy holds NaN or infinite factors; they must be finite")
        metrics: Metrics = {"fit": evidence(model)}
        metrics["train"] = {"cross_entropy": trace(train, test, model, observer, checkpoints, outputs)}
        metrics["test"] = score(logits, test, observer, p, outputs)
        if observer is not None:
            metrics["recovery"] = statistics.recovery(model.coefficients, observer)
        judge(train, test, model, logits, observer, p, metrics, outputs)
        outputs.json("metrics.json", metrics)


def evidence(model: Model) -> Metrics:
    """What the solver reported, over the classes: the most work, the largest gradient, and whether all converged."""
    reported = model.evidence
    return {
        "iterations": max(reported["iterations"]),
        "evaluations": max(reported["evaluations"]),
        "pilot_evaluations": reported["pilot_evaluations"],
        "max_gradient": max(reported["max_gradient"]),
        "converged": all(reported["converged"]),
        "ridge": reported["ridge"],
    }


def trace(
    train: Trials,
    test: Trials,
    model: Model,
    observer: Floats | None,
    checkpoints: dict[int, Floats],
    outputs: Outputs,
) -> float:
    """Write the table of the checkpoints, and that of the coefficients; returns the model's training cross-entropy."""
    models = np.stack([*checkpoints.values(), model.coefficients])
    on_train = statistics.cross_entropies(train.factors, train.responses, models)
    on_test = statistics.cross_entropies(test.factors, test.responses, models[:-1])
    trajectory: dict[str, Any] = {
        "epoch": list(checkpoints),
        "train_cross_entropy": on_train[:-1],
        "test_cross_entropy": on_test,
    }
    if observer is not None:
        trajectory["weight_slope"] = [statistics.weight_slope(w, observer) for w in checkpoints.values()]
    outputs.table("trajectory.csv", trajectory)
    rows = coefficient_rows(model.coefficients.shape, observer)
    outputs.table("coefficients.csv", {**rows, "fitted": model.coefficients.T.ravel()})
    return float(on_train[-1])


def score(logits: Floats, test: Trials, observer: Floats | None, p: Evaluate, outputs: Outputs) -> Metrics:
    """Held-out metrics of the fitted logits (n_test_trials, n_classes), and the tables behind their figures."""
    scores = prediction_scores(logits, test)
    curve = statistics.calibration_curve(logits, test.responses, p.calibration_bins)
    histogram = {"fitted": statistics.histogram(logits, p.histogram_bins)}
    scores["calibration_error"] = curve.error
    if observer is not None:
        truth = outputs.scratch_array(test.responses.shape)
        statistics.write_logits(test.factors, observer, out=truth)
        scores["bayes_cross_entropy"] = statistics.scores(truth, test.responses)["cross_entropy"]
        scores["excess_cross_entropy"] = statistics.excess(truth, logits)
        histogram["true"] = statistics.histogram(truth, p.histogram_bins)
    ends = np.linspace(0, 1, p.histogram_bins + 1)
    outputs.table("calibration.csv", vars(curve))
    outputs.table("histogram.csv", {"low": ends[:-1], "high": ends[1:], **histogram})
    return scores


def prediction_scores(logits: Floats, test: Trials) -> Metrics:
    """Scores of held-out predictions, and the line that would recalibrate them."""
    line = statistics.recalibration(logits, test.responses)
    intercept, slope = line or (None, None)
    scores: Metrics = statistics.scores(logits, test.responses)
    return {**scores, "calibration_intercept": intercept, "calibration_slope": slope}


def judge(
    train: Trials,
    test: Trials,
    model: Model,
    logits: Floats,
    observer: Floats | None,
    p: Evaluate,
    metrics: Metrics,
    outputs: Outputs,
) -> None:
    """Add to `metrics`, and write below inference/, how far an exact fit can be trusted; or print why not."""
    if model.evidence["solver"] != "lbfgs":
        leave_out("they hold for an exact fit (train.solver: lbfgs)", outputs)
        return
    from stages import trust  # and with it scipy: only what needs it pays for it
    from hdlogit.asymptotics.existence import OutsideTheory
    from hdlogit.inference.infer import UntrustedFit, infer

    ridge = model.evidence["ridge"]
    try:
        classes = infer(train.factors, train.responses, model.coefficients, ridge)
    except (OutsideTheory, UntrustedFit) as reason:
        leave_out(str(reason), outputs)
        return
    debiased, best = (outputs.scratch_array(logits.shape) for _ in range(2))
    trust.write_corrected_logits(classes, logits, debiased, best)
    for name, corrected in (("debiased", debiased), ("best", best)):
        scores = prediction_scores(corrected, test)
        metrics["test"][name] = {key: scores[key] for key in ("cross_entropy", "brier", "calibration_slope")}
        curve = statistics.calibration_curve(corrected, test.responses, p.calibration_bins)
        outputs.table(f"inference/calibration_{name}.csv", vars(curve))

    table = trust.coefficient_table(classes, p.interval_level)
    by_class = trust.class_table(classes, train.factors.shape[1])
    metrics["theory"] = trust.theory_metrics(classes, by_class, ridge, p.interval_level)
    metrics["inference"] = {"level": p.interval_level}
    if observer is not None:
        by_class |= trust.coverage(table, observer)
        for name in ("classical_coverage", "coverage"):
            metrics["inference"][name] = float(by_class[name].mean())
        metrics["recovery"]["residual_sd"] = statistics.residual_sd(model.coefficients, observer)
        metrics["recovery"]["corrected"] = statistics.recovery(trust.corrected_coefficients(classes), observer)
    outputs.table("inference/classes.csv", by_class)
    outputs.table("inference/coefficients.csv", {**coefficient_rows(model.coefficients.shape, observer), **table})
    outputs.table("inference/planning.csv", trust.planning_table(classes, train.factors, train.responses))
    outputs.table("inference/map.csv", trust.map_table(max(1.25 * metrics["theory"]["signal"], 1)))


def leave_out(reason: str, outputs: Outputs) -> None:
    """Say why there is nothing else below inference/."""
    line = f"intervals, corrections and theory are left out: {reason}"
    print(line)
    outputs.text("inference/left_out.txt", line)


def check_shapes(
    splits: dict[str, Trials], fitted: Floats, observer: Floats | None, checkpoints: dict[int, Floats]
) -> None:
    """Raise InputError unless the trials, the truth and every fit speak of the same factors and classes."""
    named = {"model.safetensors": fitted, "observer.npy": observer}
    named |= {f"checkpoints, epoch {epoch}": w for epoch, w in checkpoints.items()}
    for name, trials in splits.items():
        shape = (trials.factors.shape[1] + 1, trials.responses.shape[1])
        for what, coefficients in named.items():
            if coefficients is not None and coefficients.shape != shape:
                found = (coefficients.shape[0] - 1, coefficients.shape[1])
                raise InputError(
                    f"data/{what} has {found[0]} factors and {found[1]} classes, but data/{name} has {shape[0] - 1} "
                    f"and {shape[1]}; `dvc repro` makes them fit"
                )


def coefficient_rows(shape: tuple[int, ...], observer: Floats | None) -> dict[str, Any]:
    """One row per class and factor, the bias last, of coefficients of this shape: class, factor, true (if known)."""
    rows, n_classes = shape
    names = {"class": np.repeat(np.arange(n_classes), rows), "factor": [*range(rows - 1), "bias"] * n_classes}
    return names if observer is None else {**names, "true": observer.T.ravel()}


if __name__ == "__main__":
    run(main)
