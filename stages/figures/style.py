"""One style for all figures.

Colours are Okabe & Ito's (2008), told apart by colour-blind readers; truth is always black, the fit blue, and what is
held out vermilion, each with a marker or a line style of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TRUTH, FIT, OTHER, FAINT = "black", "#0072B2", "#D55E00", "#999999"

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.constrained_layout.use": True,
}

Numbers = Sequence[float]


@contextmanager
def page(
    path: Path, dpi: int, size: tuple[float, float] = (5.2, 3.4), rows: int = 1, columns: int = 1
) -> Iterator[list[Axes]]:
    """One figure of `rows` or `columns` of panels with common axes, saved as PNG when the `with` block ends well.

    with page(path, dpi=150) as [ax]:
        loss(ax, ...)
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # mpl types its keys as an enumeration
        figure = Figure(figsize=size)
        yield list(figure.subplots(rows, columns, sharex="col", sharey="row", squeeze=False).flat)
        figure.savefig(path, dpi=dpi)


def logarithmic(ax: Axes) -> None:
    """Both axes logarithmic, with plain numbers at their ticks."""
    ax.set(xscale="log", yscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(lambda y, _: f"{y:.1g}" if f"{y:e}"[0] in "2357" else "")
