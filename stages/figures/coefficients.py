"""Coefficients with their intervals, beside the truth where it is known, and over groups of trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.style import CLASSICAL, CORRECTED, FAINT, TRUTH, both, class_of, heading, panels


def recovery(figure: Figure, coefficients: pd.DataFrame, metrics: Any) -> None:
    """Fitted against true coefficients.

    Points along a line steeper than the dashed one mean that all weights are too large by the same factor.
    """
    [ax] = panels(figure, 4.4, 4.4)
    is_bias, slope = coefficients.factor == "bias", metrics["recovery"]["weight_slope"]
    of_weights: dict[str, Any] = {"marker": "o", "color": CLASSICAL, "mew": 0}
    of_weights["alpha"] = 0.35 if len(coefficients) > 200 else 0.9
    of_biases = {"marker": "D", "color": CORRECTED, "mec": "white", "zorder": 3}
    for name, part, look in (("weights", ~is_bias, of_weights), ("biases", is_bias, of_biases)):
        x, y = coefficients.true[part], coefficients.fitted[part]
        ax.plot(x, y, ls="none", ms=4.5, label=name, rasterized=len(x) > style.MANY, **look)
    end = 1.05 * coefficients[["true", "fitted"]].abs().to_numpy().max()
    ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
    ax.axline((0, 0), slope=slope, color=CLASSICAL, lw=1, label=f"slope {slope:.3f}")
    ax.set(xlim=(-end, end), ylim=(-end, end), aspect="equal")
    ax.set(xlabel="true coefficient", ylabel="fitted coefficient")
    heading(ax, "Recovered against true coefficients")
    ax.legend(loc="upper left")


def intervals(figure: Figure, weights: pd.DataFrame, metrics: Any) -> None:
    """Classical and corrected intervals of the weights of one class against the true weights.

    An interval holds the truth if it crosses the dashed line. Classical ones are centred on weights that are
    too large, and too short.
    """
    kinds = {"Classical": style.CLASSICAL_COLUMNS, "Corrected": style.CORRECTED_COLUMNS}
    for ax, (kind, columns) in zip(panels(figure, 8, 4.2, ncols=2), kinds.items(), strict=True):
        low, high = weights[columns[1]], weights[columns[2]]
        hit = (low <= weights.true) & (weights.true <= high)
        for words, rows, look in (
            ("holds the truth", weights[hit], style.CORRECTED_POINTS),
            ("misses it", weights[~hit], style.CLASSICAL_POINTS),
        ):
            if len(rows):
                label = f"{words}: {len(rows)} of {len(weights)}"
                style.points(ax, rows.true, rows[columns], **{**look, "ms": 2.5, "label": label})
        ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
        ax.set(xlabel="true weight", ylabel=style.UNIT)
        heading(ax, f"{kind} {100 * metrics['inference']['level']:g} % intervals, {class_of(weights)}")
        ax.legend(loc="upper left")


def coverage(figure: Figure, classes: pd.DataFrame, weights: pd.DataFrame, metrics: Any) -> None:
    """Fraction of the true weights inside their intervals, by class.

    Intervals that keep their promise lie about the dashed line.
    """
    [ax] = panels(figure, 5.8, 4.2)
    level = metrics["inference"]["level"]
    half = 1.96 * (level * (1 - level) / len(weights)) ** 0.5
    band = "19 of 20 classes, if each weight missed by itself"
    ax.axhspan(level - half, min(level + half, 1), color=FAINT, alpha=0.3, lw=0, label=band)
    ax.axhline(level, color=TRUTH, ls="--", lw=1, label=f"nominal: {level:g}")
    at = range(len(classes))
    both(ax, at, classes.classical_coverage, classes.coverage, dodge=2, label=" intervals")
    ax.set(ylabel="true weights inside (fraction)", ylim=(0, 1.03))
    style.name_ticks(ax, [*classes["class"]], "class", most=20)
    note = "The weights of a class share the error of its scale: they miss the truth together,\n"
    note += "so classes scatter more than the grey band."
    heading(ax, "How many intervals hold the truth", note)
    style.legend_below(ax)


def replication(figure: Figure, groups: pd.DataFrame, metrics: Any) -> None:
    """Slope of each group's weights on those of all other groups.

    About 1, the groups replicate one another; above, weights of one group alone are too large.
    """
    [ax] = panels(figure, 8, 4.2)
    ax.axhline(1, color=TRUTH, ls="--", lw=1, label="equal weights")
    exists = groups.classical.notna()
    at = np.arange(len(groups))
    slopes = [
        np.column_stack([groups[key] + z * groups[f"{key}_error"] for z in (0, -1.96, 1.96)])[exists]
        for key in ("classical", "corrected")
    ]
    both(ax, at[exists], *slopes, dodge=2, ms=4 if len(groups) <= 40 else 2.5)
    for key, color, line in (("classical", CLASSICAL, "-."), ("corrected", CORRECTED, "-")):
        mean, error = (metrics["replication"][f"{key}_{what}"] for what in ("slope", "slope_error"))
        if error is not None:  # None: fewer than two groups have an estimate
            label = f"{key}, all groups: {mean:.2f} ± {error:.2f}"
            ax.axhline(mean, color=color, ls=line, lw=1, label=label)
    if not exists.all():
        edge: Any = {"transform": ax.get_xaxis_transform(), "label": "no estimate exists"}
        ax.plot(at[~exists], np.full(sum(~exists), 0.03), "x", ms=6, color=TRUTH, **edge)
    ax.set_ylabel("slope on the weights of the other groups")
    style.name_ticks(ax, [*groups.group], "group", most=40)
    heading(ax, "Does each group replicate the others?", "above 1: its weights are larger than theirs")
    style.legend_below(ax, columns=3)
