"""Predicted probabilities of yes, whether they are right, and how they rise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from stages.figures import style
from stages.figures.style import CLASSICAL, CORRECTED, DATA, TRUTH, class_of, heading, panels, points

SOURCES = {"test": "held-out", "loo": "leave-one-out", "train": "training"}  # predictions, the best first
CLAMP = 1e-5  # probabilities nearer to 0 or 1 are drawn at this distance
PROBABILITIES = (1e-5, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.99999)
FLAT = 8  # logit beyond which a psychometric curve hardly changes
COLOURS = (CORRECTED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # without that of classical
MARKERS = "osD^vP"
ESTIMATE = ["observed", "low", "high"]


def calibration(figure: Figure, classical: pd.DataFrame, best: pd.DataFrame | None = None, *, metrics: Any) -> None:
    """Observed against predicted probability of yes.

    On the dashed line, predictions mean what they say. A flatter line: they are too sure of themselves. The
    best prediction has weights of the right size, and shrinks them by the error of each.
    """
    [ax] = panels(figure, 4.6, 4.8)
    source = next(name for name in SOURCES if name in metrics)
    curves = [("classical", classical, metrics[source], style.CLASSICAL_POINTS)]
    if best is not None:
        curves.append(("best prediction", best, metrics[source]["best"], style.CORRECTED_POINTS))
    edge = logit_axes(ax, pd.concat([curve[["predicted", "observed"]] for _, curve, *_ in curves]))
    ends = np.array([edge, 1 - edge])
    for words, curve, scores, look in curves:
        slope = scores.get("calibration_slope")  # None where the data define none
        label = words if slope is None else f"{words}, slope {slope:.3f}"
        bins = curve[["predicted", *ESTIMATE]].clip(edge, 1 - edge)  # only yes, or only no: at the edge
        points(ax, bins.predicted, bins[ESTIMATE], label=label, clip_on=False, **look)
        if slope is not None:
            recalibrated = scores["calibration_intercept"] + slope * np.log(ends / (1 - ends))
            ax.plot(ends, logistic(recalibrated), lw=1, color=look["color"])
    ax.set(xlabel="predicted probability of yes", ylabel="observed fraction of yes")
    note = "bars: 95 % interval of each bin; slope below 1: overconfident"
    heading(ax, f"Calibration of {SOURCES[source]} predictions", note)
    ax.legend(loc="upper left")


def logit_axes(ax: Axes, probabilities: ArrayLike) -> float:
    """Logit scales as wide as these probabilities need, and the diagonal; returns the lower end of both."""
    p = np.asarray(probabilities, float)
    p = p[(p > 0) & (p < 1)]
    edge = float(np.clip(np.minimum(p, 1 - p).min(initial=0.2), CLAMP, None)) / 2
    ticks = [p for p in PROBABILITIES if edge <= p <= 1 - edge]
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("logit")
        axis.set_ticks(ticks, [f"{p:.5f}".rstrip("0") for p in ticks])
        axis.set_ticks([], minor=True)
    ends = edge, 1 - edge
    ax.set(xlim=ends, ylim=ends, box_aspect=1)
    ax.plot(ends, ends, color=TRUTH, ls="--", lw=1, label="perfectly calibrated")
    return edge


def logistic(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(−logit)), which cannot overflow."""
    return 0.5 + 0.5 * np.tanh(logits / 2)


def along_index(figure: Figure, bins: pd.DataFrame, curve: pd.DataFrame, classes: pd.DataFrame, metrics: Any) -> None:
    """Psychometric curve of one class: fraction of yes over the fitted index.

    Points off the curve show what a logistic function misses: guesses, lapses, another shape.
    """
    [ax] = panels(figure, 5.2, 4.4)
    guess_rate, lapse_rate = rates_of(curve, classes)
    low, high = np.clip([curve.grid.iloc[0], curve.grid.iloc[-1]], -FLAT, FLAT)
    inside = bins[bins["index"].between(low, high)]
    look: dict[str, Any] = {"label": "responses", "color": DATA, "fmt": "o", "ms": 4}
    points(ax, inside["index"], inside[ESTIMATE], zorder=2, clip_on=False, **look)
    fitted, has_rates = "fitted", max(guess_rate, lapse_rate) > 0
    if has_rates:  # else the fitted curve is the logistic one
        fitted = f"with guess rate {guess_rate:.3g} and lapse rate {lapse_rate:.3g}"
        label = "logistic, without these rates"
        ax.plot(curve.grid, curve.logistic, ls="-.", lw=1.2, color=CLASSICAL, label=label)
        for height in (guess_rate, 1 - lapse_rate):
            ax.axhline(height, color=CORRECTED, lw=0.8, ls=":")
    ax.plot(curve.grid, curve.fitted, lw=1.6, color=CORRECTED, label=fitted)
    if "true" in curve:
        ax.plot(curve.grid, curve.true, ls="--", lw=1.2, color=TRUTH, label="true")
    margin = max(0.03 * (high - low), 0.01)
    ax.set(xlabel="fitted index (expected logit)", xlim=(low - margin, high + margin))
    ax.set(ylabel="probability of yes", ylim=(-0.02, 1.02))
    note = "bars: 95 % intervals of the fraction of yes in a bin of equally many trials"
    if len(inside) < len(bins):
        note += f"; {len(bins) - len(inside)} of {len(bins)} bins lie beyond, where the curve is flat"
    heading(ax, f"Psychometric curve of {class_of(curve)}", note)
    style.legend_below(ax)


def rates_of(table: pd.DataFrame, classes: pd.DataFrame) -> tuple[float, float]:
    """Guess and lapse rate of the class whose rows these are."""
    rates = classes.set_index("class").loc[table["class"].iloc[0]]
    return float(rates.guess_rate), float(rates.lapse_rate)


def along_stimulus(
    figure: Figure, observed: pd.DataFrame, numbers: pd.DataFrame, classes: pd.DataFrame, metrics: Any
) -> None:
    """Psychometric function: fraction of yes along the stimulus, by condition.

    Bars on the curves are thresholds, halfway between the guess rate and 1 − the lapse rate, with their
    intervals; those of the points are 95 % intervals of the fraction of yes.
    """
    [ax] = panels(figure, 5.2, 4.4)
    guess_rate, lapse_rate = rates_of(observed, classes)
    between, last = 1 - guess_rate - lapse_rate, observed.condition.nunique() - 1
    grid = np.linspace(observed.x.min(), observed.x.max(), 200)
    which = [*observed[["class", "stimulus"]].iloc[0]]
    numbers = numbers.set_index(["class", "stimulus", "condition", "quantity"])
    for k, (condition, rows) in enumerate(observed.groupby("condition", sort=False)):
        color, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        threshold, slope = (numbers.loc[(*which, condition, name)] for name in ("threshold", "slope"))
        logits = 4 * slope.estimate / between * (grid - threshold.estimate)
        fitted = guess_rate + between * logistic(logits)
        ax.plot(grid, fitted, lw=1.6, color=color, label=condition or "fitted")
        aside = 0.01 * (k - last / 2) * (grid[-1] - grid[0])  # so that bars of several conditions are seen
        points(ax, rows.x + aside, rows[ESTIMATE], color=color, fmt=marker, ms=4, clip_on=False)
        interval = threshold[["estimate", "low", "high"]].to_numpy(float)[None]
        middle = [guess_rate + between / 2]
        points(ax, middle, interval, horizontal=True, color=color, fmt="|", ms=9, capsize=3)
    ax.set(xlabel=observed.stimulus.iloc[0], ylabel="probability of yes", ylim=(-0.02, 1.02))
    note = "bars on the curves: threshold with its interval"
    heading(ax, f"Psychometric function of {class_of(observed)}", note)
    if last:
        style.legend_below(ax)
