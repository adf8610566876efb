"""The kernel: weights of factors whose names carry a number, such as frame01 … frame32, in the order of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.coefficients import class_of
from stages.figures.style import CLASSICAL, CORRECTED, FAINT
from stages.files.account import numbered

FEWEST = 4  # numbers that make a family
MOST = 12  # families that are drawn, the largest


def families(names: Sequence[str], axis: Sequence[Any] | None = None, fewest: int = FEWEST) -> pd.DataFrame:
    """The family, the position and what that is, of each name: (n_names,) each; None and NaN where it has none.

    Families are those of `numbered`. The position is the number, for lags in trials; for others times the spacing,
    where axis is [what positions are, spacing].
    """
    label, spacing = axis or ("number in the name", 1)
    rows: list[tuple[str | None, float, str]] = [(None, math.nan, "")] * len(names)
    for family, numbers in numbered(names, fewest).items():
        of_lags = family.startswith("lag(")
        for j, number in numbers.items():
            rows[j] = (family, number, "trials back") if of_lags else (family, spacing * number, label)
    return pd.DataFrame(rows, columns=["family", "position", "axis"])


def kernel(figure: Figure, ordered: pd.DataFrame, metrics: Any) -> None:
    """Kernel: the weights of one class in the order of the numbers in their factors' names.

    Blue are corrected weights with their intervals: where these leave zero out, the responses follow that factor.
    Behind them, in grey, the classical fit.
    """
    interval = f"{100 * metrics['inference']['level']:g} % intervals" if "inference" in metrics else ""
    by_family(figure, ordered, lambda ax, part: draw(ax, part, interval))


def smooth_kernel(figure: Figure, smoothed: pd.DataFrame, level: float) -> None:
    """Smooth kernels of one class with their bands; behind them its corrected weights, where these are known."""
    by_family(figure, smoothed, lambda ax, part: draw_smooth(ax, part, f"{100 * level:g} % band"))


def by_family(figure: Figure, ordered: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame], None]) -> None:
    """A panel for each family of one class, its factors in the order of their positions."""
    some = [*ordered.family.value_counts(sort=False).nlargest(MOST).index]
    parts = [ordered[ordered.family == family].sort_values("position", kind="stable") for family in some]
    alike = len({tuple(part.position) for part in parts}) == 1  # then they are in the same unit, as a rule
    columns = 1 if len(parts) == 1 else 2
    rows = math.ceil(len(parts) / columns)
    figure.set_size_inches(8, 1.3 + 2.4 * rows)
    panels = [*figure.subplots(rows, columns, sharex=alike, sharey=alike, squeeze=False).flat]
    for ax, part in zip(panels, parts, strict=False):
        draw(ax, part)
    for ax in panels[len(parts) :]:
        ax.remove()
    if alike:
        for ax in panels[: len(parts)]:
            ax.label_outer()
    figure.suptitle(f"Weights of {class_of(ordered)}", x=0.01, ha="left", fontsize=10)
    style.legend_below(*panels[: len(parts)], columns=3)


def draw(ax: Axes, part: pd.DataFrame, interval: str) -> None:
    """One family; interval: the label of the band."""
    x = part.position
    look: dict[str, Any] = {"ms": 3, "lw": 1.1} if len(x) <= 40 else {"ms": 0, "lw": 1.1}
    ax.axhline(0, color=FAINT, lw=0.6)
    if "corrected" in part:
        finite = part[["classical_low", "classical_high", "low", "high"]].replace([-np.inf, np.inf], np.nan)
        ends = finite.min(axis=None), finite.max(axis=None)
        low, high = (part[name].clip(*ends) for name in ("low", "high"))  # without end: to the edge
        ax.plot(x, part.estimate, color=FAINT, lw=4, alpha=0.6, label="classical", zorder=1)
        ax.fill_between(x, low, high, color=CORRECTED, alpha=0.22, lw=0, zorder=2, label=interval)
        ax.plot(x, part.corrected, "o-", color=CORRECTED, label="corrected", zorder=3, **look)
    else:
        ax.plot(x, part.fitted, "s-", color=CLASSICAL, mfc="white", label="fitted", **look)
    name_axes(ax, part)


def draw_smooth(ax: Axes, part: pd.DataFrame, band: str) -> None:
    """One family of a smooth fit; band: its label."""
    x = part.position
    ax.axhline(0, color=FAINT, lw=0.6)
    if part.corrected.notna().any():
        ax.plot(x, part.corrected, "o", color=FAINT, ms=3, label="corrected, not smoothed", zorder=1)
    look: dict[str, Any] = {"alpha": 0.22, "lw": 0, "zorder": 2, "label": band}
    ax.fill_between(x, part.smooth_low, part.smooth_high, color=CORRECTED, **look)
    ax.plot(x, part.smooth, color=CORRECTED, label="smooth", zorder=3)
    name_axes(ax, part)


def name_axes(ax: Axes, part: pd.DataFrame) -> None:
    ax.set(xlabel=part.axis.iloc[0], ylabel="weight (logits per unit)")
    style.heading(ax, part.family.iloc[0])
