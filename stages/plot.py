"""Stage `plot`: draw what `train` and `evaluate` have written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from stages.errors import InputError, run_stage
from stages.figures import fits, inference, predictions, style
from stages.files.reading import AGAIN, Table, read_json, read_table
from stages.files.writing import Outputs
from stages.parameters import Plot, read_parameters

Page = Callable[..., AbstractContextManager[list[Axes]]]

CALIBRATION = ("predicted", "observed", "low", "high")


def main() -> None:
    p = read_parameters().plot
    metrics = read_json("metrics.json", "train.cross_entropy", "test.calibration_slope", "fit.ridge")
    tables = {
        "coefficients": read_table("coefficients.csv", "class", "fitted"),
        "loss": read_table("loss.csv", "epoch", "loss"),
        "calibration": read_table("calibration.csv", "responses", *CALIBRATION),
        "trajectory": read_table("trajectory.csv", "epoch", "train_cross_entropy", "test_cross_entropy"),
        "histogram": read_table("histogram.csv", "low", "high", "fitted"),
    }
    check_whole(tables)
    with Outputs("plot") as outputs:

        def page(name: str, **shape: Any) -> AbstractContextManager[list[Axes]]:
            return style.page(outputs.path(f"figures/{name}.png"), p.dpi, **shape)

        draw_coefficients(page, p, tables["coefficients"], metrics)
        draw_predictions(page, tables["calibration"], tables["histogram"], metrics["test"])
        if len(tables["loss"]["epoch"]) > 1:  # an exact fit has one end and no history
            draw_history(page, tables["loss"], tables["trajectory"], metrics)
        if "inference" in metrics:
            draw_inference(page, p, tables["calibration"], metrics)


def draw_coefficients(page: Page, p: Plot, coefficients: Table, metrics: dict[str, Any]) -> None:
    """The weights of one class, all biases, and all of them against the truth, where it is known."""
    is_bias = [factor == "bias" for factor in coefficients["factor"]]
    weights, biases = one_class(coefficients, p.class_index), rows(coefficients, is_bias)
    with page("biases") as [ax]:
        fits.biases(ax, biases["fitted"], biases.get("true"))
    with page("weights", size=(8, 3.4)) as [ax]:
        fits.weights(ax, p.class_index, weights["fitted"], weights.get("true"))
    if "true" in coefficients:
        with page("recovery", size=(4.2, 4.2)) as [ax]:
            slope = metrics["recovery"]["weight_slope"]
            fits.recovery(ax, coefficients["true"], coefficients["fitted"], is_bias, slope)


def draw_predictions(page: Page, calibration: Table, histogram: Table, test: dict[str, Any]) -> None:
    """Held-out probabilities of yes, and whether they are right."""
    with page("probabilities") as [ax]:
        predictions.probabilities(ax, histogram["low"], histogram["high"], histogram["fitted"], histogram.get("true"))
    with page("calibration", size=(4.2, 4.2)) as [ax]:
        curve = (calibration[key] for key in CALIBRATION)
        predictions.calibration(ax, *curve, slope=test["calibration_slope"])


def draw_history(page: Page, loss: Table, trajectory: Table, metrics: dict[str, Any]) -> None:
    """Loss, cross-entropies and size of the weights over the epochs of Adam."""
    bayes = metrics["test"].get("bayes_cross_entropy")
    with page("loss") as [ax]:
        fits.loss(ax, loss["epoch"], loss["loss"], metrics["train"]["cross_entropy"], bayes)
    with page("trajectory", size=(5.2, 4.6), rows=2 if "weight_slope" in trajectory else 1) as [ax, *below]:
        x = trajectory["epoch"]
        fits.trajectory(ax, x, trajectory["train_cross_entropy"], trajectory["test_cross_entropy"], bayes)
        for panel in below:
            fits.slopes(panel, x, trajectory["weight_slope"])
        [ax, *below][-1].set_xlabel("epoch, counted from 1")


def draw_inference(page: Page, p: Plot, calibration: Table, metrics: dict[str, Any]) -> None:
    """What an exact fit allows to say."""
    test, theory, level = metrics["test"], metrics["theory"], metrics["inference"]["level"]
    with page("predictions", size=(4.2, 4.2)) as [ax]:
        curves, slopes = {"fitted": calibration}, {"fitted": test["calibration_slope"]}
        for name in ("debiased", "best"):
            curves[name] = read_table(f"inference/calibration_{name}.csv", *CALIBRATION)
            slopes[name] = test[name]["calibration_slope"]
        predictions.predictions(ax, {n: {key: t[key] for key in CALIBRATION} for n, t in curves.items()}, slopes)
    table = read_table("inference/coefficients.csv", "class", "estimate", "corrected", "low", "high")
    weights = one_class(table, p.class_index)
    with page("intervals", size=(8, 4.2), columns=2) as panels:
        x, draw = weights.get("true", weights["factor"]), partial(inference.intervals, truth="true" in weights)
        title = f"{100 * level:g} % intervals, class {p.class_index}"
        low, high = weights["classical_low"], weights["classical_high"]
        draw(panels[0], f"Classical {title}", x, weights["estimate"], low, high)
        draw(panels[1], f"Corrected {title}", x, weights["corrected"], weights["low"], weights["high"])
    if "coverage" in metrics["inference"]:
        with page("coverage") as [ax]:
            each = read_table("inference/classes.csv", "class", "classical_coverage", "coverage")
            n_weights = len(weights["factor"])
            inference.coverage(ax, each["class"], each["classical_coverage"], each["coverage"], level, n_weights)
    with page("map", size=(5.6, 3.8)) as [ax]:
        grid = read_table("inference/map.csv", "signal", "kappa", "alpha")
        inference.existence_map(ax, grid["signal"], grid["kappa"], grid["alpha"], (theory["signal"], theory["kappa"]))
    with page("planning", size=(5.6, 5.6), rows=2) as [above, below]:
        plan = read_table("inference/planning.csv", "n_trials", "weight_rmse", "test_cross_entropy")
        inference.planning(above, below, plan, theory["n_trials"], measured(metrics))


def measured(metrics: dict[str, Any]) -> dict[str, float | None]:
    """What was measured of the curves of the planning figure; nothing with ridge: they are for maximum likelihood."""
    if metrics["fit"]["ridge"] > 0:
        return {}
    recovered = metrics.get("recovery", {})
    return {
        "weight_rmse": recovered.get("weight_rmse"),
        "debiased_weight_rmse": recovered.get("corrected", {}).get("weight_rmse"),
        "test_cross_entropy": metrics["test"]["cross_entropy"],
        "test_best_cross_entropy": metrics["test"]["best"]["cross_entropy"],
    }


def check_whole(tables: dict[str, Table]) -> None:
    """Raise InputError if a table was cut off at the end of a line: each is counted against another."""
    loss, coefficients, histogram = tables["loss"]["epoch"], tables["coefficients"], tables["histogram"]
    counts = {
        "loss": (len(loss), tables["trajectory"]["epoch"][-1] + 1 if len(loss) > 1 else 1),
        "coefficients": (coefficients["factor"].count("bias"), max(coefficients["class"]) + 1),
        "calibration": (sum(tables["calibration"]["responses"]), sum(histogram["fitted"])),
    }
    for name, (found, wanted) in counts.items():
        if found != wanted:
            raise InputError(
                f"data/{name}.csv is cut off, or another table is: it counts {found:g} where {wanted:g} are wanted; "
                f"{AGAIN}"
            )


def one_class(table: Table, index: int) -> Table:
    """The weights of one class."""
    pairs = zip(table["class"], table["factor"], strict=True)
    return rows(table, [k == index and factor != "bias" for k, factor in pairs])


def rows(table: Table, wanted: list[bool]) -> Table:
    """The `wanted` rows of a table."""
    return {key: [v for v, keep in zip(column, wanted, strict=True) if keep] for key, column in table.items()}


if __name__ == "__main__":
    run_stage(main)
