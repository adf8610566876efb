"""Predicted probabilities of yes, and whether they are right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.style import (
    CLASSICAL,
    CLASSICAL_POINTS,
    CORRECTED,
    CORRECTED_POINTS,
    DATA,
    FAINT,
    TRUTH,
    class_of,
    heading,
    panels,
)

SOURCES = {"test": "held-out", "loo": "leave-one-out", "train": "training"}  # predictions, the best first


def source(metrics: Any) -> str:
    """The section of the metrics whose predictions are drawn."""
    return next(name for name in SOURCES if name in metrics)


def probabilities(figure: Figure, histogram: pd.DataFrame, metrics: Any) -> None:
    """Histogram of the probability of yes.

    How many responses were all but certain (left and right) and how many were open (middle).
    """
    [ax] = panels(figure, 5.2, 3.4)
    edges = [*histogram.low, histogram.high.iloc[-1]]
    counts = histogram.drop(columns=["low", "high"]).clip(lower=0.5)  # where the logarithmic axis starts
    if "true" in counts:
        ax.stairs(counts.true, edges, baseline=0.5, color=FAINT, fill=True, alpha=0.5, label="true")
    ax.stairs(counts.fitted, edges, baseline=0.5, color=CLASSICAL, label="fitted", lw=1.6, clip_on=False)
    ylabel = f"{SOURCES[source(metrics)]} predictions per bin"
    ax.set(xlabel="probability of yes", ylabel=ylabel, xlim=(-0.02, 1.02))
    style.logarithmic(ax.yaxis)
    ax.set_ylim(0.5, 4 * counts.to_numpy().max())  # with room for the legend
    heading(ax, "Probability of yes, true and fitted" if "true" in counts else "Probability of yes")
    ax.legend(loc="upper center", ncols=2)


def calibration(figure: Figure, curve: pd.DataFrame, metrics: Any) -> None:
    """Observed against predicted probability of yes.

    On the dashed line, predictions mean what they say. A flatter line: they are too sure of themselves.
    """
    name = source(metrics)
    drawn = ("observed", curve, metrics[name], 0, CLASSICAL_POINTS)
    calibration_curves(figure, f"Calibration of {SOURCES[name]} predictions", drawn)


def calibrations(
    figure: Figure, fitted: pd.DataFrame, corrected: pd.DataFrame, best: pd.DataFrame, metrics: Any
) -> None:
    """Calibration of the classical fit, of corrected weights and of the best prediction.

    Weights of the right size still predict too boldly where each of them has an error; the best prediction
    shrinks them further.
    """
    scores, triangles = metrics[source(metrics)], {"color": DATA, "fmt": "^", "mfc": "white", "ms": 4}
    calibration_curves(
        figure,
        "Calibration of three predictions",
        ("classical", fitted, scores, -3, CLASSICAL_POINTS),
        ("corrected weights", corrected, scores["corrected"], 0, triangles),
        ("best prediction", best, scores["best"], 3, CORRECTED_POINTS),
    )


def calibration_curves(
    figure: Figure, title: str, *curves: tuple[str, pd.DataFrame, Any, float, Mapping[str, Any]]
) -> None:
    """Each curve (words, bins, scores, dodge, look), on logit axes, with the line that would recalibrate it.

    Bins with only yes or only no stand at the edge of the axes.
    """
    [ax] = panels(figure, 4.6, 4.8)
    edge = style.logit_axes(ax, pd.concat([curve[["predicted", "observed"]] for _, curve, *_ in curves]))
    for words, curve, scores, dodge, look in curves:
        slope = scores.get("calibration_slope")  # None where the data define none
        label = words if slope is None else f"{words}, slope {slope:.3f}"
        bins = curve[["predicted", "observed", "low", "high"]].clip(edge, 1 - edge)
        estimates = bins[["observed", "low", "high"]]
        style.points(ax, bins.predicted, estimates, dodge=dodge, label=label, clip_on=False, **look)
        if slope is not None:
            ends = np.array([edge, 1 - edge])
            logits = scores["calibration_intercept"] + slope * np.log(ends / (1 - ends))
            ax.plot(ends, 0.5 + 0.5 * np.tanh(logits / 2), lw=1, color=look["color"])  # cannot overflow
    ax.set(xlabel="predicted probability of yes", ylabel="observed fraction of yes")
    heading(ax, title, "bars: 95 % interval of each bin; slope below 1: overconfident")
    ax.legend(loc="upper left")


def psychometric(
    figure: Figure, bins: pd.DataFrame, curve: pd.DataFrame, classes: pd.DataFrame, metrics: Any, /
) -> None:
    """Psychometric curve of one class: fraction of yes over the fitted index.

    Points off the curve show what a logistic function misses: guesses, lapses, another shape.
    """
    [ax] = panels(figure, 5.2, 4.4)
    rates = classes[classes["class"] == curve["class"].iloc[0]].iloc[0]
    guess_rate, lapse_rate = rates.guess_rate, rates.lapse_rate
    has_rates = guess_rate > 0 or lapse_rate > 0
    low, high = rising_part(curve.grid, (curve.fitted - guess_rate) / (1 - guess_rate - lapse_rate))
    inside = bins[bins["index"].between(low, high)]
    look: dict[str, Any] = {"clip_on": False, "color": DATA, "fmt": "o", "ms": 4, "zorder": 2}
    style.points(ax, inside["index"], inside[["observed", "low", "high"]], label="responses", **look)
    for key, label, color, line, width in (
        ("logistic", "logistic, without these rates", CLASSICAL, "-.", 1.2),
        ("fitted", "with guess and lapse rates" if has_rates else "fitted", CORRECTED, "-", 1.6),
        ("true", "true", TRUTH, "--", 1.2),
    ):
        if key in curve and (has_rates or key != "logistic"):  # else the fitted curve is the logistic one
            ax.plot(curve.grid, curve[key], ls=line, lw=width, color=color, label=label, zorder=3)
    for height, words, edge, side in (  # each label where the curve is at its other end
        (guess_rate, f"guess rate {guess_rate:.3g}", 0.98, "right"),
        (1 - lapse_rate, f"lapse rate {lapse_rate:.3g}", 0.02, "left"),
    ):
        if 0 < height < 1:
            ax.axhline(height, color=CORRECTED, lw=0.8, ls=":")
            across = ax.get_yaxis_transform()
            ax.text(edge, height, words, transform=across, ha=side, va="bottom", fontsize=8, color=DATA)
    ax.set(xlabel="fitted index (expected logit)", xlim=(low, high))
    ax.set(ylabel="probability of yes", ylim=(-0.02, 1.02))
    note = "bars: 95 % intervals of the fraction of yes in a bin of equally many trials"
    if beyond := len(bins) - len(inside):
        note += f"\n{beyond} of {len(bins)} bins lie beyond the edges, where the curve is flat"
    heading(ax, f"Psychometric curve of {class_of(curve)}", note)
    style.legend_below(ax)


def rising_part(grid: pd.Series, risen: pd.Series) -> tuple[float, float]:
    """The part of the index where the curve rises from 0 to 1, with some of the flat parts on both sides."""
    rising = grid[risen.between(0.005, 0.995)]
    whole = rising if len(rising) > 1 else grid
    low, high = whole.iloc[0], whole.iloc[-1]
    low, high = max(low - 0.4 * (high - low), grid.iloc[0]), min(high + 0.4 * (high - low), grid.iloc[-1])
    return (low, high) if low < high else (low - 1, high + 1)  # for fits without any signal
