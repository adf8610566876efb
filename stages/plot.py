"""Stage `plot`: draw what `evaluate` and `train` have written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from matplotlib.axes import Axes

from stages import figures
from stages.errors import InputError, run
from stages.parameters import Plot, read
from stages.storage import Outputs, read_metrics, read_table


def main() -> None:
    p = read(Plot)
    coefficients, metrics = read_table("coefficients.csv", "class", "factor", "fitted"), read_metrics()
    test, train = metrics["test"], metrics["train"]
    n_classes = int(max(coefficients["class"])) + 1
    if p.class_index >= n_classes:
        raise InputError(
            f"params.yaml: plot.class_index = {p.class_index}, but it must be below the number of classes, {n_classes}"
        )
    weights = select(coefficients, lambda row: row["class"] == p.class_index and row["factor"] != "bias")
    biases = select(coefficients, lambda row: row["factor"] == "bias")
    loss = read_table("loss.csv", "epoch", "loss")
    calibration = read_table("calibration.csv", "predicted", "observed", "low", "high")
    trajectory = read_table("trajectory.csv", "epoch", "train_cross_entropy", "test_cross_entropy")
    histogram = read_table("histogram.csv", "low", "high", "fitted")
    bayes = test.get("bayes_cross_entropy")

    with Outputs("plot") as outputs:

        def page(name: str, **shape: Any) -> AbstractContextManager[list[Axes]]:
            return figures.page(outputs.path(f"figures/{name}.png"), p.dpi, **shape)

        with page("probabilities") as [ax]:
            figures.probabilities(ax, histogram["low"], histogram["high"], histogram["fitted"], histogram.get("true"))
        with page("biases") as [ax]:
            figures.biases(ax, biases["fitted"], biases.get("true"))
        with page("weights", size=(8, 3.4)) as [ax]:
            figures.weights(ax, p.class_index, weights["fitted"], weights.get("true"))
        with page("calibration", size=(4.2, 4.2)) as [ax]:
            curve = (calibration[key] for key in ("predicted", "observed", "low", "high"))
            figures.calibration(ax, *curve, slope=test["calibration_slope"])
        if len(loss["epoch"]) > 1:  # an exact fit has one end and no history
            with page("loss") as [ax]:
                figures.loss(ax, loss["epoch"], loss["loss"], train["cross_entropy"], bayes)
            with page("trajectory", size=(5.2, 4.6), rows=2 if "weight_slope" in trajectory else 1) as [ax, *below]:
                figures.trajectory(
                    ax, trajectory["epoch"], trajectory["train_cross_entropy"], trajectory["test_cross_entropy"], bayes
                )
                for panel in below:
                    figures.slopes(panel, trajectory["epoch"], trajectory["weight_slope"])
                [ax, *below][-1].set_xlabel("epoch, counted from 1")
        if "true" in coefficients:
            with page("recovery", size=(4.2, 4.2)) as [ax]:
                is_bias = [factor == "bias" for factor in coefficients["factor"]]
                slope = metrics["recovery"]["weight_slope"]
                figures.recovery(ax, coefficients["true"], coefficients["fitted"], is_bias, slope)


def select(table: dict[str, list[Any]], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, list[Any]]:
    """The rows of `table` that are `wanted`."""
    rows = [row for values in zip(*table.values(), strict=True) if wanted(row := dict(zip(table, values, strict=True)))]
    return {key: [row[key] for row in rows] for key in table}


if __name__ == "__main__":
    run(main)
