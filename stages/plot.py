"""Stage `plot`: draw what `evaluate` and `train` have written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from matplotlib.axes import Axes

from stages import figures
from stages.errors import InputError, run
from stages.parameters import Plot, read_parameters
from stages.storage import Outputs, read_metrics, read_table

Table = dict[str, list[Any]]
Page = Callable[..., AbstractContextManager[list[Axes]]]

CALIBRATION = ("predicted", "observed", "low", "high")


def main() -> None:
    p = read_parameters().plot
    coefficients = read_table("coefficients.csv", "class", "fitted")
    metrics = read_metrics("train.cross_entropy", "test.calibration_slope", "fit.ridge")
    test, train = metrics["test"], metrics["train"]
    n_classes = int(max(coefficients["class"])) + 1
    if p.class_index >= n_classes:
        raise InputError(
            f"params.yaml: plot.class_index = {p.class_index}, but it must be below the number of classes, {n_classes}"
        )
    weights = select(coefficients, lambda row: row["class"] == p.class_index and row["factor"] != "bias")
    biases = select(coefficients, lambda row: row["factor"] == "bias")
    loss = read_table("loss.csv", "epoch", "loss")
    calibration = read_table("calibration.csv", "responses", *CALIBRATION)
    trajectory = read_table("trajectory.csv", "epoch", "train_cross_entropy", "test_cross_entropy")
    histogram = read_table("histogram.csv", "low", "high", "fitted")
    check_whole(loss, trajectory, biases, n_classes, calibration, histogram)
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
            curve = (calibration[key] for key in CALIBRATION)
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
        if "inference" in metrics:
            draw_inference(page, p, metrics, calibration)


def draw_inference(page: Page, p: Plot, metrics: dict[str, Any], calibration: Table) -> None:
    """The figures of what an exact fit allows to say."""
    test, theory, level = metrics["test"], metrics["theory"], metrics["inference"]["level"]
    names = ("fitted", "debiased", "best")
    with page("predictions", size=(4.2, 4.2)) as [ax]:
        others = [read_table(f"inference/calibration_{name}.csv", *CALIBRATION) for name in names[1:]]
        curves = [{key: table[key] for key in CALIBRATION} for table in (calibration, *others)]
        slopes = [part["calibration_slope"] for part in (test, test["debiased"], test["best"])]
        figures.predictions(ax, dict(zip(names, curves, strict=True)), dict(zip(names, slopes, strict=True)))
    table = read_table("inference/coefficients.csv", "class", "estimate", "corrected", "low", "high")
    weights = select(table, lambda row: row["class"] == p.class_index and row["factor"] != "bias")
    with page("intervals", size=(8, 4.2), columns=2) as panels:
        for ax, name, middle, low, high in (
            (panels[0], "Classical", "estimate", "classical_low", "classical_high"),
            (panels[1], "Corrected", "corrected", "low", "high"),
        ):
            x = weights.get("true", weights["factor"])
            title = f"{name} {100 * level:g} % intervals, class {p.class_index}"
            figures.intervals(ax, title, x, weights[middle], weights[low], weights[high], "true" in weights)
    if "coverage" in metrics["inference"]:
        with page("coverage") as [ax]:
            each = read_table("inference/classes.csv", "class", "classical_coverage", "coverage")
            n_weights = len(weights["factor"])
            figures.coverage(ax, each["class"], each["classical_coverage"], each["coverage"], level, n_weights)
    with page("map", size=(5.6, 3.8)) as [ax]:
        grid = read_table("inference/map.csv", "signal", "kappa", "alpha")
        figures.existence_map(ax, grid["signal"], grid["kappa"], grid["alpha"], (theory["signal"], theory["kappa"]))
    with page("planning", size=(5.6, 5.6), rows=2) as [above, below]:
        plan = read_table("inference/planning.csv", "n_trials", "weight_rmse", "test_cross_entropy")
        recovered = metrics.get("recovery", {})
        measured = {
            "weight_rmse": recovered.get("weight_rmse"),
            "debiased_weight_rmse": recovered.get("corrected", {}).get("weight_rmse"),
            "test_cross_entropy": test["cross_entropy"],
            "test_best_cross_entropy": test["best"]["cross_entropy"],
        }
        if metrics["fit"]["ridge"] > 0:  # the curves are those of maximum likelihood
            measured = {}
        figures.planning(above, below, plan, theory["n_trials"], measured)


def check_whole(
    loss: Table, trajectory: Table, biases: Table, n_classes: int, calibration: Table, histogram: Table
) -> None:
    """Raise InputError if a table was cut off at the end of a line: each is counted against another."""
    counts = {
        "loss.csv": (len(loss["epoch"]), trajectory["epoch"][-1] + 1 if len(loss["epoch"]) > 1 else 1),
        "coefficients.csv": (len(biases["factor"]), n_classes),
        "calibration.csv": (sum(calibration["responses"]), sum(histogram["fitted"])),
    }
    for name, (found, wanted) in counts.items():
        if found != wanted:
            raise InputError(
                f"data/{name} is cut off, or another is: it counts {found:g} where {wanted:g} are wanted; `dvc repro` "
                "makes it"
            )


def select(table: Table, wanted: Callable[[dict[str, Any]], bool]) -> Table:
    """The rows of `table` that are `wanted`."""
    rows = [row for values in zip(*table.values(), strict=True) if wanted(row := dict(zip(table, values, strict=True)))]
    return {key: [row[key] for row in rows] for key in table}


if __name__ == "__main__":
    run(main)
