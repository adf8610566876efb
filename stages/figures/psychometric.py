"""The psychometric function along a stimulus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdlogit.psychometric.function import probability
from stages.figures import style
from stages.figures.style import CORRECTED, class_of, heading, panels

COLOURS = (CORRECTED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # Okabe & Ito's, without that of `classical`
MARKERS = "osD^vP"


def function(figure: Figure, points: pd.DataFrame, numbers: pd.DataFrame, classes: pd.DataFrame, metrics: Any) -> None:
    """Psychometric function: fraction of yes along the stimulus, by condition.

    Bars on the curves are the thresholds, where the function is halfway between its guess and lapse rate, with their
    intervals; those of the points hold 95 % of the fractions that so many trials give.
    """
    [ax] = panels(figure, 5.2, 4.4)
    rates = classes[classes["class"] == points["class"].iloc[0]].iloc[0]
    grid = np.linspace(points.x.min(), points.x.max(), 200)
    numbers = numbers[numbers.stimulus == points.stimulus.iloc[0]].set_index(["condition", "quantity"])
    for k, (condition, some) in enumerate(points.groupby("condition", sort=False)):
        look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)]}
        threshold, slope = (numbers.loc[(condition, name)] for name in ("threshold", "slope"))
        between, rising = 1 - rates.guess_rate - rates.lapse_rate, {"zorder": 3, "label": condition or "fitted"}
        logits = 4 * slope.estimate / between * (grid - threshold.estimate)
        ax.plot(grid, probability(logits, rates.guess_rate, rates.lapse_rate), lw=1.6, **look, **rising)
        estimates = some[["observed", "low", "high"]]
        style.points(ax, some.x, estimates, clip_on=False, fmt=MARKERS[k % len(MARKERS)], ms=4, **look)
        if np.isfinite([threshold.low, threshold.high]).all():
            half = rates.guess_rate + between / 2
            ax.errorbar(
                threshold.estimate,
                half,
                xerr=[[threshold.estimate - threshold.low], [threshold.high - threshold.estimate]],
                fmt="|",
                capsize=3,
                lw=2,
                **look,
            )
    ax.set(xlabel=points.stimulus.iloc[0], ylabel="probability of yes", ylim=(-0.02, 1.02))
    heading(ax, f"Psychometric function of {class_of(points)}", "bars on the curves: threshold with its interval")
    if len(points.condition.unique()) > 1:
        style.legend_below(ax)
