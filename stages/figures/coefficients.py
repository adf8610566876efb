"""Coefficients beside the truth where it is known, and over groups of trials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.style import CLASSICAL, CORRECTED, TRUTH, class_of, heading, panels


def recovery(figure: Figure, coefficients: pd.DataFrame, metrics: Any) -> None:
    """Fitted against true coefficients.

    Points along a line steeper than the dashed one mean that all weights are too large by the same factor.
    """
    [ax] = panels(figure, 4.4, 4.4)
    is_bias, slope = coefficients.factor == "bias", metrics["recovery"]["weight_slope"]
    of_weights: dict[str, Any] = {"marker": "o", "color": CLASSICAL, "mew": 0, "label": "weights"}
    of_weights["alpha"] = 0.35 if len(coefficients) > 200 else 0.9
    of_biases = {"marker": "D", "color": CORRECTED, "mec": "white", "zorder": 3, "label": "biases"}
    for part, look in ((coefficients[~is_bias], of_weights), (coefficients[is_bias], of_biases)):
        ax.plot(part.true, part.fitted, ls="none", ms=4.5, rasterized=len(part) > style.MANY, **look)
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
    narrow = figure.get_figwidth() < 5
    axes = panels(figure, 4.2, 7.6, nrows=2) if narrow else panels(figure, 8, 4.2, ncols=2)
    for ax, (kind, columns) in zip(axes, kinds.items(), strict=True):
        _, low, high = columns
        hit = weights.true.between(weights[low], weights[high])
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


def replication(figure: Figure, groups: pd.DataFrame, metrics: Any) -> None:
    """Slope of each group's weights on those of all other groups.

    About 1, the groups replicate one another; above, weights of one group alone are too large.
    """
    [ax] = panels(figure, 8, 4.2)
    ax.axhline(1, color=TRUTH, ls="--", lw=1, label="equal weights")
    exists, at = groups.classical.notna(), np.arange(len(groups))
    slopes = [
        np.column_stack([groups[key] + z * groups[f"{key}_error"] for z in (0, -1.96, 1.96)])[exists]
        for key in ("classical", "corrected")
    ]
    style.both(ax, at[exists], *slopes, apart=0.1, ms=4 if len(groups) <= 40 else 2.5)
    for key, color, line in (("classical", CLASSICAL, "-."), ("corrected", CORRECTED, "-")):
        mean, error = (metrics["replication"][f"{key}_{what}"] for what in ("slope", "slope_error"))
        if error is not None:  # None: fewer than two groups have an estimate
            label = f"{key}, all groups: {mean:.2f} ± {error:.2f}"
            ax.axhline(mean, color=color, ls=line, lw=1, label=label)
    if not exists.all():
        edge: Any = {"transform": ax.get_xaxis_transform(), "label": "no estimate exists"}
        ax.plot(at[~exists], np.full(sum(~exists), 0.03), "x", ms=6, color=TRUTH, **edge)
    every = math.ceil(len(groups) / (5 * figure.get_figwidth()))  # that have room for their names
    names = [*groups.group][::every]
    ax.set_xticks(at[::every], names, rotation=90 if len("".join(names)) + len(names) > 80 else 0)
    ax.set(xlim=(-0.6, len(groups) - 0.4), xlabel="group", ylabel="slope on the other groups")
    heading(ax, "Does each group replicate the others?", "above 1: its weights are larger than theirs")
    style.legend_below(ax)
