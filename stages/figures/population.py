"""The weights of several observers, and their mean in the population."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.figures import style
from stages.figures.coefficients import ROWS, UNIT, class_of
from stages.figures.kernel import MOST
from stages.figures.style import CORRECTED, FAINT
from stages.files.account import named

OBSERVER: dict[str, Any] = {"color": FAINT, "alpha": 0.7}


def population(figure: Figure, weights: pd.DataFrame, interval: str) -> None:
    """Kernels of all observers, thin, and the population mean with its interval; other factors in rows below.

    weights: the columns of `kernel.families`, class, factor, mean, low, high, and then one for each observer.
    """
    is_ordered = weights.family.notna()
    some = [*weights.family.value_counts(sort=False).nlargest(MOST).index]
    parts = [weights[weights.family == family].sort_values("position", kind="stable") for family in some]
    others = weights.loc[weights["mean"][~is_ordered].abs().nlargest(ROWS).index].sort_values("mean")
    columns = min(len(parts), 2) or 1
    heights = [2.4] * math.ceil(len(parts) / columns) + ([0.6 + 0.19 * len(others)] if len(others) else [])
    figure.set_size_inches(8 if parts else 5.6, 1.2 + sum(heights))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    axes = [figure.add_subplot(grid[divmod(k, columns)]) for k in range(len(parts))]
    for ax, part in zip(axes, parts, strict=True):
        kernels(ax, part, interval)
    if len(others):
        axes.append(figure.add_subplot(grid[-1, :]))
        rows(axes[-1], others, interval)
    figure.suptitle(f"Weights of {class_of(weights)}", x=0.01, ha="left", fontsize=10)
    style.legend_below(*reversed(axes), columns=3)  # of entries of the same name the last one is shown


def kernels(ax: Axes, part: pd.DataFrame, interval: str) -> None:
    """One family, in the order of its numbers."""
    x = part.position
    ax.axhline(0, color=FAINT, lw=0.6)
    lines = ax.plot(x, of_observers(part), lw=0.8, zorder=1, **OBSERVER)
    lines[0].set_label("observers")
    ax.fill_between(x, part.low, part.high, color=CORRECTED, alpha=0.22, lw=0, zorder=2, label=interval)
    ax.plot(x, part["mean"], "o-", color=CORRECTED, lw=2, ms=3, zorder=3, label="population mean")
    ax.set(xlabel=part.axis.iloc[0], ylabel=UNIT)
    style.heading(ax, part.family.iloc[0])


def rows(ax: Axes, others: pd.DataFrame, interval: str) -> None:
    """Factors without an order, the largest mean on top."""
    at, own = np.arange(len(others)), of_observers(others)
    style.name_rows(ax, [named(name, "factor") for name in others.factor])
    ax.axvline(0, color=FAINT, lw=0.6)
    ax.plot(own.ravel(), np.repeat(at, own.shape[1]), "|", ms=6, zorder=2, label="observers", **OBSERVER)
    look = {**style.CORRECTED_POINTS, "label": "population mean"}
    style.points(ax, at, others[["mean", "low", "high"]], horizontal=True, **look)
    ax.set_xlabel(f"{UNIT}; bars: {interval}")


def of_observers(part: pd.DataFrame) -> NDArray[np.float64]:
    """(factors, observers)"""
    return np.asarray(part.iloc[:, [*part.columns].index("high") + 1 :], np.float64)
