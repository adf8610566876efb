"""Coefficients with their intervals, beside the truth where it is known, and over groups of trials.

`weights` and `biases` are tables of coefficients: of one class without its bias, and the biases of all classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures.style import (
    CLASSICAL,
    CLASSICAL_POINTS,
    CORRECTED,
    CORRECTED_POINTS,
    FAINT,
    MANY,
    TRUTH,
    heading,
    legend_below,
    name_rows,
    name_ticks,
    number,
    panels,
    points,
)
from stages.files.account import named

ROWS = 60  # rows of a figure that names each, at most
UNIT = "weight (logits per unit)"
CLASSICAL_COLUMNS = ["estimate", "classical_low", "classical_high"]
CORRECTED_COLUMNS = ["corrected", "low", "high"]


def forest(figure: Figure, weights: pd.DataFrame, metrics: Any) -> None:
    """Forest plot of the weights of one class.

    A row per factor, the largest at both ends. Bars are intervals; one that crosses zero leaves the sign open. An
    arrow has no end.
    """
    places = weights.corrected.fillna(0)  # one that is not determined may be anywhere
    largest = places.abs().sort_values(ascending=False, kind="stable").index
    order = places[largest[:ROWS]].sort_index().sort_values(kind="stable").index
    rows, shown, rest = range(len(order)), weights.loc[order], places[largest[ROWS:]]
    [ax] = panels(figure, 5.6, 1.5 + 0.17 * len(rows))
    if "true" in weights:
        ax.plot(shown.true, rows, "|", ms=9, mew=1.6, color=TRUTH, zorder=2, label="true")
    look: dict[str, Any] = {"horizontal": True, "ms": 3}
    points(ax, rows, shown[CLASSICAL_COLUMNS], dodge=2.2, label="classical", **{**CLASSICAL_POINTS, **look})
    points(ax, rows, shown[CORRECTED_COLUMNS], dodge=-2.2, label="corrected", **{**CORRECTED_POINTS, **look})
    name_rows(ax, [named(name, "factor") for name in shown.factor])
    ax.axvline(0, color=FAINT, lw=0.6)
    ax.set_xlabel(UNIT)
    note = f"the {ROWS} largest; the other {len(rest)} are from {rest.min():.2g} to {rest.max():.2g}"
    heading(ax, f"Weights of {class_of(weights)}", note if len(rest) else "")
    legend_below(ax, columns=3)


def weights(figure: Figure, weights: pd.DataFrame, metrics: Any) -> None:
    """All weights of one class, sorted.

    Where the truth is known, it is black: weights that are too large lie beyond it at both ends.
    """
    [ax] = panels(figure, 8, 3.8)
    known = "true" in weights
    key = "true" if known else "corrected" if "corrected" in weights else "fitted"
    shown = weights.loc[weights[key].fillna(0).sort_values(kind="stable").index]
    ranks, few = range(len(shown)), len(shown) <= ROWS
    if known:  # a line, as very many sorted marks would hide one another
        line: dict[str, Any] = {"marker": "_", "ls": "none", "ms": 12, "mew": 1.6} if few else {"lw": 1, "zorder": 4}
        ax.plot(ranks, shown.true, **line, color=TRUTH, label="true")
    first_and_corrected(ax, shown, dodge=2 if few else 0, size=4 if few else 2.5, intervals=False)
    ax.axhline(0, color=FAINT, lw=0.6)
    ax.set(ylabel=UNIT, xlabel=f"factors, sorted by {'true' if known else 'their'} weight")
    if few:
        name_ticks(ax, [*shown.factor], ax.get_xlabel(), most=ROWS)
    heading(ax, f"Weights of {class_of(weights)}")
    ax.legend(loc="upper left")


def biases(figure: Figure, biases: pd.DataFrame, metrics: Any) -> None:
    """Bias of every class.

    Where weights come out too large, biases do by about the same factor.
    """
    [ax] = panels(figure, 5.2, 3.4)
    shown = biases[:ROWS]
    if "true" in shown:
        size = min(24, 140 / len(shown) ** 0.7)
        ax.plot(range(len(shown)), shown.true, "_", ms=size, mew=1.6, color=TRUTH, label="true")
    first_and_corrected(ax, shown, dodge=2)
    ax.axhline(0, color=FAINT, lw=0.6)
    heading(ax, "Bias of each class", f"the first {ROWS} of {len(biases)} classes" if len(biases) > ROWS else "")
    ax.set_ylabel("bias (logits)")
    name_ticks(ax, [*shown["class"]], "class", most=20)
    legend_below(ax, columns=3)


def first_and_corrected(ax: Axes, table: pd.DataFrame, dodge: float, size: float = 4, intervals: bool = True) -> None:
    """The coefficients as fitted, by Adam or classically, and after an exact fit the corrected ones beside them."""
    at, first = range(len(table)), {**CLASSICAL_POINTS, "ms": size}
    if "corrected" not in table:
        points(ax, at, table.fitted, label="fitted", **first)
        return
    classical = table[CLASSICAL_COLUMNS] if intervals else table.estimate
    points(ax, at, classical, dodge=-dodge, label="classical", **first)
    points(ax, at, table[CORRECTED_COLUMNS], dodge=dodge, label="corrected", **{**CORRECTED_POINTS, "ms": size})


def recovery(figure: Figure, coefficients: pd.DataFrame, metrics: Any) -> None:
    """Fitted against true coefficients.

    Points along a line steeper than the dashed one mean that all weights are too large by the same factor.
    """
    [ax] = panels(figure, 4.4, 4.4)
    slope, is_bias = metrics["recovery"]["weight_slope"], coefficients.factor == "bias"
    look = {"marker": "o", "color": CLASSICAL, "mew": 0, "alpha": 0.35 if len(coefficients) > 200 else 0.9}
    of_bias = {"marker": "D", "color": CORRECTED, "mec": "white", "zorder": 3}
    for name, part, how in (("weights", ~is_bias, look), ("biases", is_bias, of_bias)):
        shown, picture = coefficients[part], sum(part) > MANY
        ax.plot(shown.true, shown.fitted, ls="none", ms=4.5, label=name, rasterized=picture, **how)
    end = 1.05 * coefficients[["true", "fitted"]].abs().to_numpy().max()
    ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
    ax.axline((0, 0), slope=slope, color=CLASSICAL, lw=1, label=f"slope {slope:.3f}")
    ax.set(xlim=(-end, end), ylim=(-end, end), aspect="equal")
    ax.set(xlabel="true coefficient", ylabel="fitted coefficient", title="Recovered against true coefficients")
    ax.legend(loc="upper left")


def intervals(figure: Figure, weights: pd.DataFrame, metrics: Any) -> None:
    """Classical and corrected intervals of the weights of one class against the true weights.

    An interval holds the truth if it crosses the dashed line. Classical ones are centred on weights that are too
    large, and too short.
    """
    both = {"Classical": CLASSICAL_COLUMNS, "Corrected": CORRECTED_COLUMNS}
    for ax, (kind, columns) in zip(panels(figure, 8, 4.2, columns=2), both.items(), strict=True):
        _, low, high = (weights[column] for column in columns)
        hits = (low <= weights.true) & (weights.true <= high)
        for words, rows, look in (
            ("holds the truth", weights[hits], CORRECTED_POINTS),
            ("misses it", weights[~hits], CLASSICAL_POINTS),
        ):
            if len(rows):
                label = f"{words}: {len(rows)} of {len(weights)}"
                points(ax, rows.true, rows[columns], label=label, **{**look, "ms": 2.5})
        ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
        ax.set(xlabel="true weight", ylabel=UNIT)
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
    points(ax, at, classes.classical_coverage, dodge=-2, label="classical intervals", **CLASSICAL_POINTS)
    points(ax, at, classes.coverage, dodge=2, label="corrected intervals", **CORRECTED_POINTS)
    ax.set(ylabel="true weights inside (fraction)", ylim=(0, 1.03))
    name_ticks(ax, [*classes["class"]], "class", most=20)
    note = "The weights of a class share the error of its scale: they miss the truth together,\n"
    note += "so classes scatter more than the grey band."
    heading(ax, "How many intervals hold the truth", note)
    legend_below(ax)


def factor_coverage(figure: Figure, factors: pd.DataFrame, level: float, n_repetitions: int) -> None:
    """Coverage of the intervals of each factor over repeated experiments, worst first (`python -m stages.check`).

    factors: columns factor, classical, corrected (coverages), and chance: the coverages to expect from perfect
    intervals, from the worst to the best, to be compared with the corrected ones rank by rank.
    """
    order = factors.corrected.sort_values(kind="stable").index[:ROWS]
    rows, shown, chance = range(len(order)), factors.loc[order], factors.chance[: len(order)]
    [ax] = panels(figure, 5.6, 1.5 + 0.17 * len(rows))
    look: dict[str, Any] = {"horizontal": True}
    points(ax, rows, shown.classical, label="classical intervals", **{**CLASSICAL_POINTS, **look, "ms": 3})
    points(ax, rows, shown.corrected, label="corrected intervals", **{**CORRECTED_POINTS, **look, "ms": 3.5})
    ax.plot(chance, rows, color=FAINT, lw=3, alpha=0.6, zorder=1, label="perfect intervals, by chance")
    ax.axvline(level, color=TRUTH, ls="--", lw=1, label=f"nominal: {level:g}")
    name_rows(ax, [named(name, "factor") for name in shown.factor])
    ax.invert_yaxis()
    ax.set_xlabel(f"fraction of {number(n_repetitions)} repetitions in which the interval holds the truth")
    note = f"the {ROWS} worst of {len(factors)} factors" if len(factors) > ROWS else ""
    heading(ax, "Check on the own factors, worst first", note)
    legend_below(ax)


def replication(figure: Figure, groups: pd.DataFrame, metrics: Any) -> None:
    """Slope of each group's weights on those of all other groups.

    About 1, the groups replicate one another; above, weights of one group alone are too large.
    """
    [ax] = panels(figure, 8, 4.2)
    ax.axhline(1, color=TRUTH, ls="--", lw=1, label="equal weights")
    at, small = np.arange(len(groups)), {} if len(groups) <= 40 else {"ms": 2.5}
    for key, words, look, line, dodge in (
        ("plain", "classical", CLASSICAL_POINTS, "-.", -2),
        ("corrected", "corrected", CORRECTED_POINTS, "-", 2),
    ):
        slope, half = groups[key], 1.96 * groups[f"{key}_error"]
        rows = np.column_stack([slope, slope - half, slope + half])
        exists = slope.notna().to_numpy()
        points(ax, at[exists], rows[exists], dodge=dodge, label=words, **{**look, **small})
        mean, error = (metrics["replication"][f"{key}_{what}"] for what in ("slope", "slope_error"))
        if error is not None:  # None: fewer than two groups have an estimate
            ax.axhline(mean, color=look["color"], ls=line, lw=1, label=f"{words}, mean: {mean:.2f} ± {error:.2f}")
    without = at[groups.plain.isna()]
    if len(without):
        edge: Any = {"transform": ax.get_xaxis_transform(), "label": "no estimate exists"}
        ax.plot(without, np.full(len(without), 0.03), "x", ms=6, color=TRUTH, **edge)
    ax.set_ylabel("slope on the weights of the other groups")
    name_ticks(ax, [*groups.group], "group", most=40)
    heading(ax, "Does each group replicate the others?", "above 1: its weights are larger than theirs")
    legend_below(ax, columns=3)


def class_of(table: pd.DataFrame) -> str:
    """The class whose rows these are."""
    return named(table["class"].iloc[0], "class")
