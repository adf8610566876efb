"""Weights with their intervals, of one fit or of several observers: kernels, and rows of other factors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.style import CLASSICAL, CORRECTED, FAINT, ROWS, TRUTH, UNIT, class_of
from stages.files.account import named

MOST = 12  # families that are drawn, the largest
NARROW = 5  # inches, in which panels stand below one another
MANY = 40  # factors of a family, above which they have no marks
FAR = 5  # median distances of observers from their mean, farther than which no axis goes for one of them
OBSERVERS: dict[str, Any] = {"color": FAINT, "alpha": 0.7, "label": "observers"}


def weights(figure: Figure, weights: pd.DataFrame, metrics: Any, observers: pd.DataFrame | None = None) -> None:
    """The weights of one response, with their intervals.

    Factors whose names differ in a number are drawn in its order, all others in rows, the largest at both
    ends. Where an interval leaves zero out, the responses follow that factor; a bar that runs to the edge has
    no end. The classical fit stands beside the corrected one, or in grey behind it. Where the truth is known,
    it is black.
    """
    interval = f"{100 * metrics['inference']['level']:g} % interval" if "inference" in metrics else ""
    interval += "" if observers is None else " between observers"
    largest_families = weights.family.value_counts(sort=False).nlargest(MOST).index
    parts = [weights[weights.family == family].sort_values("position", kind="stable") for family in largest_families]
    others = weights[weights.family.isna()]
    largest = others.loc[size(others).abs().nlargest(ROWS).sort_index().index]
    columns = 2 if len(parts) > 1 and figure.get_figwidth() > NARROW else 1
    heights = [2.4] * math.ceil(len(parts) / columns) + ([0.5 + 0.17 * len(largest)] if len(largest) else [])
    figure.set_size_inches(min(8 if parts else 5.6, figure.get_figwidth()), 1.1 + sum(heights))
    grid, axes = figure.add_gridspec(len(heights), columns, height_ratios=heights), list[Axes]()
    alike = len({tuple(part.position) for part in parts}) == 1  # then they are in the same unit, as a rule
    for k, part in enumerate(parts):
        shared = axes[0] if axes and alike else None
        axes.append(figure.add_subplot(grid[divmod(k, columns)], sharex=shared, sharey=shared))
        kernel(axes[-1], part, interval, observers)
    if len(largest):
        axes.append(figure.add_subplot(grid[-1, :]))
        is_said = parts or observers is not None  # what bars are
        rows(axes[-1], largest, interval if is_said else "", observers)
    if rest := len(others) - len(largest):
        left = size(others.drop(largest.index))
        note = f"the {ROWS} largest; the other {rest} are from {left.min():.2g} to {left.max():.2g}"
        style.heading(axes[-1], "", note)
    figure.suptitle(f"Weights of {class_of(weights)}", x=0.01, ha="left")
    style.legend_below(*reversed(axes))  # of entries of the same name the last one is shown


def size(table: pd.DataFrame) -> pd.Series:
    """By which rows are sorted; a weight that is not determined may be anywhere."""
    return table["corrected" if "corrected" in table else "fitted"].fillna(0)


def within(table: pd.DataFrame, observers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each observer's weights of these factors, and the same with those that are far from all others moved to
    where the axis ends.
    """
    own, mean = observers.loc[table.index], table.corrected
    reach = FAR * own.sub(mean, axis=0).abs().stack().median()
    low, high = min(table.low.min(), mean.min() - reach), max(table.high.max(), mean.max() + reach)
    return own, own.clip(low, high)


def kernel(ax: Axes, part: pd.DataFrame, interval: str, observers: pd.DataFrame | None) -> None:
    """One family, in the order of its numbers, with its band."""
    x, look = part.position, dict[str, Any](ms=3 if len(part) <= MANY else 0, color=CORRECTED, zorder=3)
    ax.axhline(0, color=FAINT, lw=0.6)
    names, words = style.CORRECTED_COLUMNS, "corrected" if observers is None else "population mean"
    if observers is not None:
        own, inside = within(part, observers)
        lines = [np.column_stack([x, own[name]]) for name in own]
        ax.add_collection(LineCollection(lines, linewidths=0.8, zorder=1, **OBSERVERS), autolim=False)
        ax.update_datalim(np.column_stack([np.repeat(x, own.shape[1]), inside.to_numpy().ravel()]))
    if "estimate" in part:
        ax.plot(x, part.estimate, color=FAINT, lw=4, alpha=0.6, label="classical", zorder=1)
    if "smooth" in part and part.smooth.notna().any():
        ax.plot(x, size(part), "o", label=words, **look | {"ms": 3, "alpha": 0.6})
        names, words, look["ms"] = ["smooth", "smooth_low", "smooth_high"], "smooth", 0
    if names[0] in part:
        finite = part[names].replace([-np.inf, np.inf], np.nan)
        low, high = (part[name].clip(finite.min(axis=None), finite.max(axis=None)) for name in names[1:])
        ax.fill_between(x, low, high, color=CORRECTED, alpha=0.22, lw=0, zorder=2, label=interval)
        ax.plot(x, part[names[0]], "o-", label=words, **look)
    else:
        ax.plot(x, part.fitted, "s-", mfc="white", label="fitted", **look | {"color": CLASSICAL})
    ax.set(xlabel=part.axis.iloc[0], ylabel=UNIT)
    style.heading(ax, part.family.iloc[0])


def rows(ax: Axes, table: pd.DataFrame, interval: str, observers: pd.DataFrame | None) -> None:
    """Factors without an order, the largest on top; interval: what bars are, where no kernel says it."""
    table = table.loc[size(table).sort_values(kind="stable").index]
    at = np.arange(len(table))
    ax.set_yticks(at, [named(name, "factor") for name in table.factor])
    ax.set_ylim(-0.8, len(table) - 0.2)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=FAINT, lw=0.3, alpha=0.5)  # leads the eye to the names
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=FAINT, lw=0.6)
    if "true" in table:
        ax.plot(table.true, at, "|", ms=9, mew=1.6, color=TRUTH, zorder=2, label="true")
    if observers is not None:
        own, inside = (values.to_numpy() for values in within(table, observers))
        places = np.broadcast_to(at[:, None], own.shape)
        for marker, chosen in (("<", own < inside), (">", own > inside), ("|", own == inside)):
            ax.plot(inside[chosen], places[chosen], marker, ms=6 if marker == "|" else 3, zorder=2, **OBSERVERS)
        look = {**style.CORRECTED_POINTS, "label": "population mean"}
        style.points(ax, at, table[style.CORRECTED_COLUMNS], horizontal=True, **look)
    elif "corrected" in table:
        fits = table[style.CLASSICAL_COLUMNS], table[style.CORRECTED_COLUMNS]
        style.both(ax, at, *fits, apart=-0.15, horizontal=True, ms=3, faint=bool(interval))
    else:
        style.points(ax, at, table.fitted, horizontal=True, label="fitted", **style.CLASSICAL_POINTS)
    ax.set_xlabel(f"{UNIT}; bars: {interval}" if interval else UNIT)
