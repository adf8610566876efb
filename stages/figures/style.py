"""One style for all figures.

Colours are Okabe & Ito's (2008), which colour-blind readers can tell apart; in grey, markers and lines do.
Truth is black, the classical fit vermilion with open squares, corrected values are blue with filled circles.
"""

from __future__ import annotations

import math
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
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

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
UNIT = "weight (logits per unit)"
CLASSICAL_COLUMNS = ["estimate", "classical_low", "classical_high"]
CORRECTED_COLUMNS = ["corrected", "low", "high"]
ROWS = 60  # rows of a figure that names each, at most
UNDATED: Mapping[str, Mapping[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
NOTE = "note"
MANY = 2000  # points above which SVG and PDF hold them as one picture
CLAMP = 1e-5  # probabilities nearer to 0 or 1 are drawn at this distance
PROBABILITIES = (1e-5, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.99999)


@contextmanager
def saved(path: Path, dpi: int, formats: Sequence[str] = ("png",), width: float | None = None) -> Iterator[Figure]:
    """A figure, saved with each format's suffix when the `with` block succeeds: same numbers, same bytes.

    width: of a column in inches, which a wider figure is made to fit into, with smaller letters.
    """
    sizes = {"font.size": 7, "axes.titlesize": 7.5, "figure.titlesize": 7.5, "legend.fontsize": 6.5}
    look: Any = STYLE | (sizes if width else {})  # mpl types its keys as an enumeration
    with mpl.rc_context(look):
        figure = Figure((width or 8, 6), dpi, layout="constrained")
        yield figure
        if width and figure.get_figwidth() > width:
            narrow(figure, width)
        for kind in formats:
            figure.savefig(path.with_suffix(f".{kind}"), dpi=dpi, metadata=UNDATED.get(kind))


def narrow(figure: Figure, width: float) -> None:
    """Make a figure fit into a column: without the notes below titles, which a caption says."""
    figure.set_size_inches(width, figure.get_figheight() * (width / figure.get_figwidth()) ** 0.5)
    for ax in figure.axes:
        spec = ax.get_subplotspec()
        title = ax.get_title(loc="left")
        columns = spec.get_gridspec().ncols if spec else 1
        ax.set_title(textwrap.fill(title, int(15 * width / columns)), pad=6)
        for note in ax.texts:
            note.set_visible(note.get_gid() != NOTE)
    for legend in [*figure.legends]:
        letters = sum(len(text.get_text()) for text in legend.get_texts())
        legend.remove()
        legend_below(*figure.axes, columns=3 if letters < 12 * width else 1)


def panels(figure: Figure, width: float, height: float, **layout: Any) -> list[Axes]:
    """Panels with common axes in a figure of this size in inches; layout: nrows, ncols, height_ratios."""
    figure.set_size_inches(width, height)
    return [*figure.subplots(sharex="col", sharey="row", squeeze=False, **layout).flat]


def points(
    ax: Axes, at: ArrayLike, estimates: ArrayLike, *, dodge: float = 0, horizontal: bool = False, **look: Any
) -> None:
    """Estimates, (n,) or with their intervals (n, 3), at positions `at` of the x axis (or of the y axis).

    An interval without end is an arrow to the edge of the axes. All others are moved by `dodge` points along
    that axis, so that two at the same position can be told apart.
    """
    at, values = np.asarray(at, float), np.asarray(estimates, float)
    middle, low, high = np.broadcast_to(values.T, (3, len(at)))
    bounded = np.isfinite([middle, low, high]).all(axis=0)
    m, a, b = middle[bounded], low[bounded], high[bounded]
    bars = np.maximum([m - a, b - m], 0) if values.ndim == 2 else None
    style = {"elinewidth": 1, "zorder": 3, "rasterized": len(at) > MANY, **look, "ls": "none"}
    if dodge:
        right, up = (0, dodge / 72) if horizontal else (dodge / 72, 0)
        assert isinstance(ax.figure, Figure)
        style["transform"] = ax.transData + ScaledTranslation(right, up, ax.figure.dpi_scale_trans)
    ends = np.column_stack([np.tile(at, 2), np.concatenate([low, high])])
    ends = ends[np.isfinite(ends[:, 1])]
    ax.update_datalim(ends[:, ::-1] if horizontal else ends)  # which counts no moved points and no arrows
    if horizontal:
        ax.errorbar(m, at[bounded], xerr=bars, **style)
    else:
        ax.errorbar(at[bounded], m, yerr=bars, **style)
    for i in np.flatnonzero(~bounded):
        _arrow(ax, at[i], low[i], high[i], horizontal, look["color"])


def _arrow(ax: Axes, at: float, low: float, high: float, horizontal: bool, color: str) -> None:
    """From low to high, with a head at the edge of the axes in the place of an end that is not finite."""

    def end(value: float, edge: float) -> tuple[tuple[float, float], tuple[str, str]]:
        place, of = (value, "data") if math.isfinite(value) else (edge, "axes fraction")
        return ((place, at), (of, "data")) if horizontal else ((at, place), ("data", of))

    (start, from_), (tip, to) = end(low, 0), end(high, 1)
    heads = f"{'' if math.isfinite(low) else '<'}-{'' if math.isfinite(high) else '>'}"
    look = {"arrowstyle": heads, "color": color, "lw": 1, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", tip, start, to, from_, arrowprops=look, zorder=3)


def both(ax: Axes, at: ArrayLike, classical: ArrayLike, corrected: ArrayLike, **look: Any) -> None:
    """Classical and corrected estimates side by side, each moved by `dodge`; label: what they are.

    faint: whether the classical ones are grey.
    """
    dodge, what = look.pop("dodge", 0), look.pop("label", "")
    color = FAINT if look.pop("faint", False) else CLASSICAL
    of_classical = {**CLASSICAL_POINTS, **look, "color": color, "label": f"classical{what}"}
    points(ax, at, classical, dodge=-dodge, **of_classical)
    points(ax, at, corrected, dodge=dodge, **{**CORRECTED_POINTS, **look, "label": f"corrected{what}"})


def class_of(table: pd.DataFrame) -> str:
    """The class whose rows these are."""
    return named(table["class"].iloc[0], "class")


def heading(ax: Axes, title: str, note: str = "") -> None:
    """A title, and below it a note in smaller letters."""
    ax.set_title(title, loc="left", pad=8 + 11 * (note.count("\n") + 1 if note else 0))
    if note:
        look: dict[str, Any] = {"fontsize": 8, "color": DATA, "annotation_clip": False, "gid": NOTE}
        ax.annotate(note, (0, 1), (0, 5), "axes fraction", "offset points", **look)


def legend_below(ax: Axes, *others: Axes, columns: int = 2) -> None:
    """One legend below the figure, of all panels, each label once."""
    entries: dict[Any, Any] = {}
    for one in (ax, *others):
        handles, labels = one.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    assert isinstance(ax.figure, Figure)
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


def name_ticks(ax: Axes, names: Sequence[str], what: str, most: int) -> None:
    """Names at the positions 0, 1, … of the x axis, at most `most` of them; the axis is labelled `what`."""
    every = max(1, math.ceil(len(names) / most))
    labels = names[::every]
    long = sum(map(len, labels)) + len(labels) > 80
    ax.set_xticks(range(0, len(names), every), labels, rotation=90 if long else 0)
    ax.set(xlim=(-0.6, len(names) - 0.4), xlabel=what)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names at the positions 0, 1, … of the y axis, with faint lines that lead the eye to them."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.8, len(names) - 0.2)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=FAINT, lw=0.3, alpha=0.5)
    ax.spines["left"].set_visible(False)


def number(x: float, _: object = None) -> str:
    """A tick's number: 10 000, 0.01."""
    return f"{x:,.10g}".replace(",", " ")
