"""One style for all figures.

Colours are Okabe & Ito's (2008), which colour-blind readers can tell apart; in grey, markers and lines differ. Truth
is black, the plain fit vermilion with open squares, corrected values are blue with filled circles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, Transform, blended_transform_factory

TRUTH, PLAIN, CORRECTED, FAINT, DATA = "black", "#D55E00", "#0072B2", "#999999", "#555555"

PLAIN_POINTS: Mapping[str, Any] = {"color": PLAIN, "fmt": "s", "mfc": "white", "ms": 4}
CORRECTED_POINTS: Mapping[str, Any] = {"color": CORRECTED, "fmt": "o", "ms": 4}

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.minor.pad": 5.0,  # so that labels of long and of short ticks are aligned
    "ytick.minor.pad": 5.0,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "text.parse_math": False,  # names may hold dollar signs
    "pdf.fonttype": 42,  # text that stays text
    "svg.hashsalt": "hdlogit",  # the same identifiers every time
}
UNDATED: Mapping[str, Mapping[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
SIZE = (5.2, 3.4)  # of a figure, in inches
MANY = 2000  # points above which SVG and PDF hold them as one picture
CLAMP = 1e-5  # probabilities nearer to 0 or 1 are drawn at this distance
PROBABILITIES = (1e-5, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.99999)

Numbers = Sequence[float]
Names = Sequence[str]


class Estimates(NamedTuple):
    """Numbers, with the ends of their intervals where there are any."""

    middle: Numbers
    low: Numbers | None = None
    high: Numbers | None = None

    def ends(self) -> tuple[Numbers, Numbers]:
        """Ends of the intervals; where there are none, the estimates themselves."""
        return self.low or self.middle, self.high or self.middle

    def places(self) -> Numbers:
        """To sort by: one that is not determined (NaN) may be anywhere, and stands at 0."""
        return [0.0 if math.isnan(value) else value for value in self.middle]

    def at(self, rows: Sequence[int]) -> Estimates:
        """These rows, in this order."""
        return Estimates(*(None if column is None else [column[i] for i in rows] for column in self))  # type: ignore[arg-type]


@contextmanager
def figure(
    path: Path,
    dpi: int,
    formats: Sequence[str] = ("png",),
    size: tuple[float, float] = SIZE,
    rows: int = 1,
    columns: int = 1,
    heights: Sequence[float] | None = None,
) -> Iterator[list[Axes]]:
    """One figure of panels with common axes, in rows of relative `heights`, saved when the `with` block succeeds.

    Each format (png, svg, pdf) is saved under the path with its suffix; the same numbers give the same bytes.

    with figure(path, dpi=150) as [ax]:
        loss(ax, ...)
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # mpl types its keys as an enumeration
        drawn = Figure(figsize=size, dpi=dpi, layout="constrained")
        panels = drawn.subplots(rows, columns, sharex="col", sharey="row", squeeze=False, height_ratios=heights)
        yield list(panels.flat)
        engine = drawn.get_layout_engine()
        assert engine is not None
        engine.execute(drawn)
        drawn.set_layout_engine(None)  # else each save would draw everything twice, to lay it out again
        for kind in formats:
            drawn.savefig(path.with_suffix(f".{kind}"), dpi=dpi, metadata=UNDATED.get(kind))


def points(
    ax: Axes, at: Numbers, estimates: Estimates, *, dodge: float = 0, horizontal: bool = False, **look: Any
) -> None:
    """Estimates at positions `at` of the x axis (`horizontal`: of the y axis), with bars for their intervals.

    An interval without end is an arrow to the edge of the axes. They are moved by `dodge` points along that axis, so
    that two at the same position can be told apart.
    """
    rows = [*zip(at, estimates.middle, *estimates.ends(), strict=True)]
    bounded = [row for row in rows if all(map(math.isfinite, row))]
    places, middle, low, high = zip(*bounded, strict=True) if bounded else ((),) * 4
    below = [max(m - a, 0) for m, a in zip(middle, low, strict=True)]
    bars = None if estimates.low is None else [below, [max(b - m, 0) for m, b in zip(middle, high, strict=True)]]
    x, y, error = (middle, places, "xerr") if horizontal else (places, middle, "yerr")
    style: dict[str, Any] = {"elinewidth": 1, "zorder": 3, "rasterized": len(at) > MANY, **look, "ls": "none"}
    assert isinstance(ax.figure, Figure)
    right, up = (0, dodge / 72) if horizontal else (dodge / 72, 0)
    moved = ScaledTranslation(right, up, ax.figure.dpi_scale_trans)
    if dodge:
        style["transform"] = ax.transData + moved
    ends = [(i, end) for i, _, *both in rows for end in both if math.isfinite(end)]
    ax.update_datalim([(v, i) if horizontal else (i, v) for i, v in ends])  # matplotlib counts neither moved points
    ax.errorbar(x, y, **{**style, error: bars})
    for i, _, *both in rows:
        if not all(map(math.isfinite, both)):
            _arrow(ax, i, both, moved, horizontal, look["color"])  # nor arrows


def _arrow(ax: Axes, at: float, ends: Numbers, moved: Transform, horizontal: bool, color: str) -> None:
    """From the end that is finite to the edge of the axes, or from edge to edge."""
    along = (ax.transAxes, ax.transData) if horizontal else (ax.transData, ax.transAxes)
    edge, data = blended_transform_factory(*along) + moved, ax.transData + moved

    def end(value: float, fraction: float) -> tuple[tuple[float, float], Transform]:
        place, transform = (value, data) if math.isfinite(value) else (fraction, edge)
        return ((place, at) if horizontal else (at, place)), transform

    (start, from_), (tip, to) = sorted(map(end, ends, (0, 1)), key=lambda one: one[1] is edge)
    look = {"arrowstyle": "->" if from_ is data else "<->", "color": color, "lw": 1, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", tip, start, to, from_, arrowprops=look, zorder=3)


def heading(ax: Axes, title: str, note: str = "") -> None:
    """A title, and below it a note in smaller letters."""
    ax.set_title(title, loc="left", pad=8 + 11 * (note.count("\n") + 1 if note else 0))
    if note:
        ax.annotate(
            note, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=8, color=DATA, annotation_clip=False
        )


def legend_below(ax: Axes, *others: Axes, columns: int = 2) -> None:
    """One legend below the figure, of all panels, each label once."""
    found = {
        label: handle for one in (ax, *others) for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    assert isinstance(ax.figure, Figure)
    ax.figure.legend([*found.values()], [*found], loc="outside lower center", ncols=columns)


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


def logit_axes(ax: Axes, *columns: Numbers) -> float:
    """Logit scales for probabilities, as wide as the columns need, and the diagonal; returns the lower end of both."""
    smallest = min([min(p, 1 - p) for column in columns for p in column if 0 < p < 1] + [0.2])
    edge = max(smallest, CLAMP) / 2
    ticks = [p for p in PROBABILITIES if edge <= p <= 1 - edge]
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("logit")
        axis.set_ticks(ticks, [f"{p:.5f}".rstrip("0") for p in ticks])
        axis.set_ticks([], minor=True)
    ax.set(xlim=(edge, 1 - edge), ylim=(edge, 1 - edge), box_aspect=1)
    ax.plot([edge, 1 - edge], [edge, 1 - edge], color=TRUTH, ls="--", lw=1, label="perfectly calibrated")
    return edge


def name_ticks(ax: Axes, names: Names, what: str, most: int) -> None:
    """Names at the positions 0, 1, … of the x axis, at most `most` of them; the axis is labelled `what`."""
    every = max(1, math.ceil(len(names) / most))
    labels = names[::every]
    long = sum(map(len, labels)) + len(labels) > 80
    ax.set_xticks(range(0, len(names), every), labels, rotation=90 if long else 0)
    ax.set(xlim=(-0.6, len(names) - 0.4), xlabel=what)


def number(x: float, _: object = None) -> str:
    """A tick's number: 10 000, 0.01."""
    return f"{x:,.10g}".replace(",", " ")
