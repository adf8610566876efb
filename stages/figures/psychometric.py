"""The psychometric function along a stimulus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.style import CORRECTED, class_of, heading, panels

COLOURS = (CORRECTED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # without that of classical
MARKERS = "osD^vP"


def function(
    figure: Figure, points: pd.DataFrame, numbers: pd.DataFrame, classes: pd.DataFrame, metrics: Any, /
) -> None:
    """Psychometric function: fraction of yes along the stimulus, by condition.

    Bars on the curves are thresholds, halfway between the guess rate and 1 − the lapse rate, with their
    intervals; those of the points are 95 % intervals of the fraction of yes.
    """
    [ax] = panels(figure, 5.2, 4.4)
    rates = classes[classes["class"] == points["class"].iloc[0]].iloc[0]
    guess, between = rates.guess_rate, 1 - rates.guess_rate - rates.lapse_rate
    grid = np.linspace(points.x.min(), points.x.max(), 200)
    same = (numbers["class"] == points["class"].iloc[0]) & (numbers.stimulus == points.stimulus.iloc[0])
    numbers = numbers[same].set_index(["condition", "quantity"])
    last = points.condition.nunique() - 1
    for k, (condition, some) in enumerate(points.groupby("condition", sort=False)):
        color, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        threshold, slope = (numbers.loc[(condition, name)] for name in ("threshold", "slope"))
        logits = 4 * slope.estimate / between * (grid - threshold.estimate)
        fitted = guess + between * (0.5 + 0.5 * np.tanh(logits / 2))  # cannot overflow
        ax.plot(grid, fitted, lw=1.6, color=color, label=condition or "fitted")
        look: dict[str, Any] = {"color": color, "fmt": marker, "ms": 4, "clip_on": False}
        style.points(ax, some.x, some[["observed", "low", "high"]], dodge=3 * (k - last / 2), **look)
        interval = threshold[["estimate", "low", "high"]].to_numpy(float)[None]
        look |= {"fmt": "|", "ms": 9, "capsize": 3, "clip_on": True}
        style.points(ax, [guess + between / 2], interval, horizontal=True, **look)
    ax.set(xlabel=points.stimulus.iloc[0], ylabel="probability of yes", ylim=(-0.02, 1.02))
    note = "bars on the curves: threshold with its interval"
    heading(ax, f"Psychometric function of {class_of(points)}", note)
    if last:
        style.legend_below(ax)
