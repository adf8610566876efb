"""One style for all figures.

Colours are Okabe & Ito's (2008), which colour-blind readers can tell apart; in grey, markers and lines do.
Truth is black, the classical fit vermilion with open squares, corrected values are blue with filled circles.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from stages.files.account import named

TRUTH, CLASSICAL, CORRECTED, FAINT, DATA = "black", "#D55E00", "#0072B2", "#999999", "#555555"

CLASSICAL_POINTS: Mapping[str, Any] = {"color": CLASSICAL, "fmt": "s", "mfc": "white", "ms": 4}
CORRECTED_POINTS: Mapping[str, Any] = {"color": CORRECTED, "fmt": "o", "ms": 4}

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "figure.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.minor.pad": 5.0,  # so that labels of long and of short ticks are aligned
    "ytick.minor.pad": 5.0,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "text.parse_math": False,  # names may hold dollar signs
    "pdf.fonttype": 42,  # text that stays text
    "svg.hashsalt": "hdlogit",  # the same identifiers every time
}
SMALL = {"font.size": 7, "axes.titlesize": 7.5, "figure.titlesize": 7.5, "legend.fontsize": 6.5}
UNIT = "weight (logits per unit)"
CLASSICAL_COLUMNS = ["estimate", "classical_low", "classical_high"]
CORRECTED_COLUMNS = ["corrected", "low", "high"]
ROWS = 60  # rows of a figure that names each, at most
UNDATED: Mapping[str, Mapping[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
MANY = 2000  # points above which SVG and PDF hold them as one picture


@contextmanager
def saved(path: Path, dpi: int, formats: Sequence[str] = ("png",), width: float | None = None) -> Iterator[Figure]:
    """A figure, saved with each format's suffix when the `with` block succeeds: same numbers, same bytes.

    width: of a column in inches, which no figure exceeds, with smaller letters.
    """
    look: Any = STYLE | (SMALL if width else {})  # mpl types its keys as an enumeration
    with mpl.rc_context(look):
        figure = Figure((width or 8, 6), dpi, layout="constrained")
        yield figure
        for kind in dict.fromkeys(formats):
            figure.savefig(path.with_suffix(f".{kind}"), dpi=dpi, metadata=UNDATED.get(kind))


def panels(figure: Figure, width: float, height: float, **layout: Any) -> list[Axes]:
    """Panels with common axes in a figure of this size in inches; layout: nrows, ncols, height_ratios.

    A figure that is narrower stays so, and becomes less high.
    """
    least = min(width, figure.get_figwidth())
    figure.set_size_inches(least, height * (least / width) ** 0.5)
    return [*figure.subplots(sharex="col", sharey="row", squeeze=False, **layout).flat]


def points(ax: Axes, at: ArrayLike, estimates: ArrayLike, *, horizontal: bool = False, **look: Any) -> None:
    """Estimates, (n,) or with their intervals (n, 3), at positions `at` of the x axis (or of the y axis).

    Of an interval without end, a line goes on to the edge of the axes.
    """
    at, values = np.asarray(at, float), np.asarray(estimates, float)
    estimates = np.broadcast_to(values.T, (3, len(at)))
    bounded = np.isfinite(estimates).all(axis=0)
    middle, low, high = estimates[:, bounded]
    x, y, way = (middle, at[bounded], "xerr") if horizontal else (at[bounded], middle, "yerr")
    look[way] = np.maximum([middle - low, high - middle], 0)
    ax.errorbar(x, y, **{"elinewidth": 1, "zorder": 3, "rasterized": len(at) > MANY, **look, "ls": "none"})
    beyond = 1e3 * np.abs(values[np.isfinite(values)]).max(initial=1.0)  # outside of the axes
    for i in np.flatnonzero(~bounded):
        ends = estimates[1:, i].clip(-beyond, beyond)
        line = np.array([ends, [at[i]] * 2] if horizontal else [[at[i]] * 2, ends])
        ax.add_artist(Line2D(*line, color=look["color"], lw=1, zorder=3))
        ax.update_datalim(line.T[np.isfinite(estimates[1:, i])])


def both(
    ax: Axes,
    at: NDArray[np.integer],
    classical: ArrayLike,
    corrected: ArrayLike,
    *,
    apart: float,
    faint: bool = False,
    **look: Any,
) -> None:
    """Classical estimates, or their faint ones, and corrected ones side by side, each `apart` from `at`."""
    color = FAINT if faint else CLASSICAL
    points(ax, at - apart, classical, **{**CLASSICAL_POINTS, **look, "color": color, "label": "classical"})
    points(ax, at + apart, corrected, **{**CORRECTED_POINTS, **look, "label": "corrected"})


def class_of(table: pd.DataFrame) -> str:
    """The class whose rows these are."""
    return named(table["class"].iloc[0], "class")


def heading(ax: Axes, title: str, note: str = "") -> None:
    """A title, and below it a note in smaller letters, in lines as wide as the panel."""
    assert isinstance(ax.figure, Figure)
    spec = ax.get_subplotspec()
    letters = int(15 * ax.figure.get_figwidth() / (spec.get_gridspec().ncols if spec else 1))
    lines = textwrap.wrap(note, letters)
    ax.set_title(textwrap.fill(title, letters), loc="left", pad=8 + 11 * len(lines))
    look: dict[str, Any] = {"fontsize": "small", "color": DATA, "annotation_clip": False}
    ax.annotate("\n".join(lines), (0, 1), (0, 5), "axes fraction", "offset points", **look)


def legend_below(ax: Axes, *others: Axes) -> None:
    """One legend below the figure, of all panels, each label once, in as many columns as fit."""
    entries: dict[Any, Any] = {}
    for one in (ax, *others):
        handles, labels = one.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    assert isinstance(ax.figure, Figure)
    widest = mpl.rcParams["font.size"] / 72 * (0.55 * max(map(len, entries)) + 5)
    columns = max(1, min(4, int(ax.figure.get_figwidth() / widest)))
    ax.figure.legend([*entries.values()], [*entries], loc="outside lower center", ncols=columns)


def logarithmic(*axes: XAxis | YAxis) -> None:
    """Logarithmic axes with plain numbers; the fewer powers of ten, the more numbers."""
    for axis in axes:

        def between(x: float, _: object, axis: XAxis | YAxis = axis) -> str:
            low, high = axis.get_view_interval()
            digits = "2357" if high < 10 * low else "25" if high < 300 * low else ""
            return number(x) if f"{x:e}"[0] in digits else ""

        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_formatter(number)
        axis.set_minor_formatter(between)


def number(x: float, _: object = None) -> str:
    """A tick's number: 10 000, 0.01."""
    return f"{x:,.10g}".replace(",", " ")
