"""Stage `plot`: draw what `train` and `evaluate` have written, and put it on a page, data/report.html."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from stages.figures import fits, inference, predictions, style
from stages.files import DATA
from stages.files.account import named, read_account
from stages.files.errors import InputError, run_stage
from stages.files.parameters import read_parameters
from stages.files.results import chosen_class, one_class, read_class, read_columns, rows
from stages.files.tables import AGAIN, Table, read_json, read_lines
from stages.files.writing import Outputs
from stages.page.render import MEDIA, Run, render

NewFigure = Callable[..., AbstractContextManager[list[Axes]]]

SOURCES = {"test": "held-out", "loo": "leave-one-out", "train": "training"}  # predictions
HASHED = ("train/factors.npy", "train/responses.npy", "model.safetensors")  # the page says which trials and model

CALIBRATION = ("predicted", "observed", "low", "high")
PLANNING = (
    "weight_rmse",
    "debiased_weight_rmse",
    "test_cross_entropy",
    "test_best_cross_entropy",
    "bayes_cross_entropy",
)
REPLICATION = (
    "plain",
    "plain_error",
    "corrected",
    "corrected_error",
    "covered",
)  # undefined for a group without an estimate
ESTIMATES = ("class", "estimate", "classical_low", "classical_high", "corrected", "low", "high")


def main() -> None:
    parameters = read_parameters()
    p = parameters.plot
    metrics = read_json("metrics.json")
    source = next((name for name in SOURCES if name in metrics), "train")
    scored = metrics[source]
    true = ("true",) if "recovery" in metrics else ()
    on_test = ("test_cross_entropy",) if "test" in metrics else ()
    slope = ("weight_slope",) if "recovery" in metrics else ()
    tables = {
        "coefficients": read_columns("coefficients.csv", "class", "factor", "fitted", *true),
        "loss": read_columns("loss.csv", "epoch", "loss"),
        "calibration": read_columns("calibration.csv", "responses", *CALIBRATION),
        "trajectory": read_columns("trajectory.csv", "epoch", "train_cross_entropy", *on_test, *slope),
        "histogram": read_columns("histogram.csv", "low", "high", "fitted"),
    }
    if {"true" in tables["coefficients"], "weight_slope" in tables["trajectory"]} != {"recovery" in metrics}:
        raise InputError(f"data/metrics.json and data/coefficients.csv do not belong together; {AGAIN}")
    inferred = read_columns("inference/coefficients.csv", *ESTIMATES, *true) if "inference" in metrics else None
    kind = next((kind for kind in MEDIA if kind in p.formats), p.formats[0])
    figures: dict[str, tuple[Path, tuple[float, float]]] = {}  # for the page: the file, and its size
    shown, account = inferred or tables["coefficients"], read_account()
    chosen = chosen_class(shown, account["classes"] if account else [], p.class_index)
    with Outputs("plot") as outputs:

        def figure(name: str, **shape: Any) -> AbstractContextManager[list[Axes]]:
            path = outputs.path(f"figures/{name}.png")
            figures[name] = path.with_suffix(f".{kind}"), shape.get("size", style.SIZE)
            return style.figure(path, p.dpi, p.formats, **shape)

        draw_coefficients(figure, chosen, tables["coefficients"], inferred, metrics)
        draw_predictions(figure, tables["calibration"], tables["histogram"], scored, SOURCES[source])
        if len(tables["loss"]["epoch"]) > 1:  # an exact fit has one loss and no history
            draw_history(figure, tables["loss"], tables["trajectory"], metrics)
        if inferred is not None:
            draw_intervals(figure, chosen, inferred, metrics)
            draw_curve(figure, chosen)
            draw_theory(figure, tables["calibration"], scored, metrics)
        if "replication" in metrics:
            draw_replication(figure, chosen, metrics["replication"])
        outputs.text(
            "report.html",
            render(
                Run(
                    parameters.model_dump(mode="json"),
                    metrics,
                    shown,
                    tables["trajectory"],
                    drawn=chosen,
                    answer=read_lines("inference/answer.txt"),
                    notices=read_lines("inference/left_out.txt"),
                    description=account,
                    figures=figures,
                    hashed=[DATA / name for name in HASHED],
                )
            ),
        )


def draw_coefficients(
    figure: NewFigure, chosen: str, coefficients: Table, inferred: Table | None, metrics: dict[str, Any]
) -> None:
    """The weights of one class, all biases, and all of them against the truth, where it is known."""
    table = inferred or coefficients
    weights, biases = one_class(table, chosen), rows(table, [factor == "bias" for factor in table["factor"]])
    with figure("biases") as [ax]:
        fits.biases(ax, biases["class"], *estimates(biases), biases.get("true"))
    with figure("weights", size=(8, 3.8)) as [ax]:
        name = named(weights["class"][0], "class")
        fits.weights(ax, name, weights["factor"], *estimates(weights), weights.get("true"))
    if "true" in coefficients:
        with figure("recovery", size=(4.4, 4.4)) as [ax]:
            slope = metrics["recovery"]["weight_slope"]
            is_bias = [factor == "bias" for factor in coefficients["factor"]]
            fits.recovery(ax, coefficients["true"], coefficients["fitted"], is_bias, slope)


def draw_predictions(
    figure: NewFigure, calibration: Table, histogram: Table, scored: dict[str, Any], source: str
) -> None:
    """Predicted probabilities of yes, and whether they are right."""
    with figure("probabilities") as [ax]:
        edges = histogram["low"], histogram["high"]
        predictions.probabilities(ax, *edges, histogram["fitted"], histogram.get("true"), source)
    with figure("calibration", size=(4.6, 4.8)) as [ax]:
        predictions.calibration(ax, calibration, recalibration(scored), source)


def recalibration(scores: dict[str, Any]) -> predictions.Line:
    """Intercept and slope of the line that would recalibrate predictions; None where the data define none."""
    intercept, slope = scores.get("calibration_intercept"), scores.get("calibration_slope")
    return None if intercept is None or slope is None else (intercept, slope)


def draw_history(figure: NewFigure, loss: Table, trajectory: Table, metrics: dict[str, Any]) -> None:
    """Loss, cross-entropies and size of the weights over the epochs of Adam."""
    bayes = metrics.get("test", {}).get("bayes_cross_entropy")
    with figure("loss") as [ax]:
        fits.loss(ax, loss["epoch"], loss["loss"], metrics["train"]["cross_entropy"], bayes)
    panels = (
        {"rows": 2, "heights": (1.7, 1), "size": (5.8, 5.6)} if "weight_slope" in trajectory else {"size": (5.8, 4)}
    )
    with figure("trajectory", **panels) as [ax, *below]:
        x = trajectory["epoch"]
        fits.trajectory(ax, x, trajectory["train_cross_entropy"], trajectory.get("test_cross_entropy"), bayes)
        for panel in below:
            fits.slopes(panel, x, trajectory["weight_slope"])
        [ax, *below][-1].set_xlabel("epoch, counted from 1")
        style.legend_below(ax)


def draw_intervals(figure: NewFigure, chosen: str, inferred: Table, metrics: dict[str, Any]) -> None:
    """Classical and corrected weights with their intervals, and whether these hold the truth, where it is known."""
    weights, level = one_class(inferred, chosen), metrics["inference"]["level"]
    name, true = named(weights["class"][0], "class"), weights.get("true")
    plain, corrected = estimates(weights)
    assert corrected is not None
    with figure("forest", size=fits.forest_size(len(weights["factor"]))) as [ax]:
        fits.forest(ax, name, weights["factor"], plain, corrected, true)
    if true is None:
        return
    with figure("intervals", size=(8, 4.2), columns=2) as panels:
        title = f"{100 * level:g} % intervals, {name}"
        inference.intervals(panels[0], f"Classical {title}", true, plain)
        inference.intervals(panels[1], f"Corrected {title}", true, corrected)
    with figure("coverage", size=(5.8, 4.2)) as [ax]:
        each = read_columns("inference/classes.csv", "class", "classical_coverage", "coverage")
        n_weights = len(weights["factor"])
        inference.coverage(ax, each["class"], each["classical_coverage"], each["coverage"], level, n_weights)


def draw_curve(figure: NewFigure, chosen: str) -> None:
    """The psychometric curve of one class."""
    rates = read_class("classes", chosen, "guess_rate", "lapse_rate")
    bins = read_class("curve_bins", chosen, "index", "observed", "low", "high")
    smooth = read_class("curve", chosen, "grid", "fitted", "logistic")
    with figure("psychometric", size=(5.2, 4.4)) as [ax]:
        observed = style.Estimates(*(bins[key] for key in ("observed", "low", "high")))
        curves = {"index": smooth["grid"]} | {k: smooth[k] for k in ("fitted", "logistic", "true") if k in smooth}
        name = named(bins["class"][0], "class")
        predictions.psychometric(
            ax, name, bins["index"], observed, curves, rates["guess_rate"][0], rates["lapse_rate"][0]
        )


def draw_theory(figure: NewFigure, calibration: Table, scored: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Better predictions, and what the theory expects with this and with other numbers of trials."""
    theory = metrics["theory"]
    with figure("predictions", size=(4.6, 4.8)) as [ax]:
        curves, lines = {"fitted": calibration}, {"fitted": recalibration(scored)}
        for name in ("debiased", "best"):
            curves[name] = read_columns(f"inference/calibration_{name}.csv", *CALIBRATION)
            lines[name] = recalibration(scored[name])
        predictions.predictions(ax, curves, lines)
    with figure("map", size=(5.6, 4)) as [ax]:
        grid = read_columns("inference/map.csv", "signal", "kappa", "alpha")
        if len(set(Counter(grid["signal"]).values())) > 1:
            raise InputError(f"data/inference/map.csv is cut off: not every signal has as many lines; {AGAIN}")
        inference.existence_map(ax, grid["signal"], grid["kappa"], grid["alpha"], (theory["signal"], theory["kappa"]))
    with figure("planning", size=(5.6, 5.6), rows=2) as [above, below]:
        plan = read_columns("inference/planning.csv", "n_trials", *PLANNING)
        inference.planning(above, below, plan, theory["n_trials"], measured(scored, metrics))


def draw_replication(figure: NewFigure, chosen: str, metrics: dict[str, Any]) -> None:
    """Each group's weights of one class against those of all others, with 95 % intervals."""
    table = read_class("replication", chosen, "group", *REPLICATION)
    means = {key: (metrics[f"{key}_slope"], metrics[f"{key}_slope_error"]) for key in ("plain", "corrected")}
    if None in [*means["plain"], *means["corrected"]]:  # of fewer than two groups
        return

    def with_error(key: str) -> style.Estimates:
        pairs = [*zip(table[key], table[f"{key}_error"], strict=True)]
        return style.Estimates(table[key], *([m + z * error for m, error in pairs] for z in (-1.96, 1.96)))

    with figure("replication", size=(8, 4.2)) as [ax]:
        inference.replication(ax, table["group"], with_error("plain"), with_error("corrected"), means)


def estimates(table: Table) -> tuple[style.Estimates, style.Estimates | None]:
    """Fitted coefficients, and after an exact fit their intervals and the corrected ones with theirs."""
    if "corrected" not in table:
        return style.Estimates(table["fitted"]), None
    classical, corrected = ("estimate", "classical_low", "classical_high"), ("corrected", "low", "high")
    return style.Estimates(*(table[key] for key in classical)), style.Estimates(*(table[key] for key in corrected))


def measured(scored: dict[str, Any], metrics: dict[str, Any]) -> dict[str, float | None]:
    """Measured values for the planning figure; none with ridge, as its curves are for maximum likelihood."""
    if metrics["fit"]["ridge"] > 0:
        return {}
    recovered = metrics.get("recovery", {})
    return {
        "weight_rmse": recovered.get("weight_rmse"),
        "debiased_weight_rmse": recovered.get("corrected", {}).get("weight_rmse"),
        "test_cross_entropy": scored["cross_entropy"],
        "test_best_cross_entropy": scored["best"]["cross_entropy"],
    }


if __name__ == "__main__":
    run_stage(main)
