"""Stage `evaluate`: score the fit on its own trials and on held-out ones, and compare it with the truth.

Without data/observer.npy (a person's own trials) everything that needs the truth is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages import statistics
from stages.errors import InputError, run
from stages.parameters import Evaluate, read
from stages.storage import Floats, Model, Outputs, Trials, read_checkpoints, read_model, read_observer, read_trials


def main() -> None:
    p = read(Evaluate)
    train, test = read_trials("train"), read_trials("test")
    observer, model, checkpoints = read_observer(), read_model(), read_checkpoints()
    fitted = model.coefficients
    for name, split in (("train", train), ("test", test)):
        check_shapes(name, split, fitted, observer, checkpoints)
    with Outputs("evaluate") as outputs:
        logits = outputs.scratch_array(test.responses.shape)
        statistics.write_logits(test.factors, fitted, out=logits)
        scores: dict[str, Any] = statistics.scores(logits, test.responses)
        histogram = {"fitted": statistics.histogram(logits, p.histogram_bins)}
        metrics: dict[str, Any] = {"test": scores}
        if observer is None:
            print("data/observer.npy is absent: what needs the truth is left out")
        else:
            truth = outputs.scratch_array(test.responses.shape)
            statistics.write_logits(test.factors, observer, out=truth)
            scores["bayes_cross_entropy"] = statistics.scores(truth, test.responses)["cross_entropy"]
            scores["excess_cross_entropy"] = statistics.excess(truth, logits)
            histogram["true"] = statistics.histogram(truth, p.histogram_bins)
            metrics["recovery"] = statistics.recovery(fitted, observer)

        line = statistics.recalibration(logits, test.responses)
        scores["calibration_intercept"], scores["calibration_slope"] = line or (None, None)
        curve = statistics.calibration_curve(logits, test.responses, p.calibration_bins)
        scores["calibration_error"] = curve.error

        models = np.stack([*checkpoints.values(), fitted])
        train_entropies = statistics.cross_entropies(train.factors, train.responses, models)
        test_entropies = statistics.cross_entropies(test.factors, test.responses, models)
        metrics["train"] = {"cross_entropy": float(train_entropies[-1])}
        metrics["fit"] = evidence(model)

        outputs.json("metrics.json", metrics)
        outputs.table("calibration.csv", vars(curve))
        outputs.table("histogram.csv", {**edges(p.histogram_bins), **histogram})
        outputs.table("coefficients.csv", coefficients_table(fitted, observer))
        trajectory: dict[str, Any] = {
            "epoch": list(checkpoints),
            "train_cross_entropy": train_entropies[:-1],
            "test_cross_entropy": test_entropies[:-1],
        }
        if observer is not None:
            trajectory["weight_slope"] = [statistics.weight_slope(w, observer) for w in checkpoints.values()]
        outputs.table("trajectory.csv", trajectory)


def check_shapes(
    name: str, trials: Trials, fitted: Floats, observer: Floats | None, checkpoints: dict[int, Floats]
) -> None:
    """Raise InputError unless the trials, the truth and every fit speak of the same factors and classes."""
    shape = (trials.factors.shape[1] + 1, trials.responses.shape[1])
    named = {"model.safetensors": fitted, "observer.npy": observer}
    named |= {f"checkpoints, epoch {epoch}": w for epoch, w in checkpoints.items()}
    for what, coefficients in named.items():
        if coefficients is not None and coefficients.shape != shape:
            found = (coefficients.shape[0] - 1, coefficients.shape[1])
            raise InputError(
                f"data/{what} has {found[0]} factors and {found[1]} classes, but data/{name} has {shape[0] - 1} and "
                f"{shape[1]}; `dvc repro` makes them fit"
            )


def evidence(model: Model) -> dict[str, Any]:
    """What the solver reported, over the classes: the most work, the largest gradient, and whether all converged."""
    reported = model.evidence
    return {
        "iterations": max(reported["iterations"]),
        "evaluations": max(reported["evaluations"]),
        "max_gradient": max(reported["max_gradient"]),
        "converged": all(reported["converged"]),
    }


def edges(n_bins: int) -> dict[str, Floats]:
    """Both ends of `n_bins` equal bins of a probability."""
    ends = np.linspace(0, 1, n_bins + 1)
    return {"low": ends[:-1], "high": ends[1:]}


def coefficients_table(fitted: Floats, observer: Floats | None) -> dict[str, Any]:
    """One row per class and factor, the bias last: class, factor, true (if known), fitted."""
    rows, n_classes = fitted.shape
    table: dict[str, Any] = {
        "class": np.repeat(np.arange(n_classes), rows),
        "factor": [*range(rows - 1), "bias"] * n_classes,
    }
    if observer is not None:
        table["true"] = observer.T.ravel()
    return {**table, "fitted": fitted.T.ravel()}


if __name__ == "__main__":
    run(main)
