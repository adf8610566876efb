"""The figures: each function draws numbers that are given onto axes that are given, and computes nothing.

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
from matplotlib.ticker import MaxNLocator

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
def page(path: Path, dpi: int, size: tuple[float, float] = (5.2, 3.4), rows: int = 1) -> Iterator[list[Axes]]:
    """One figure of `rows` panels with a common x-axis, saved as PNG when the `with` block ends well.

    with page(path, dpi=150) as [ax]:
        loss(ax, ...)
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # mpl types its keys as an enumeration
        figure = Figure(figsize=size)
        yield list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0])
        figure.savefig(path, dpi=dpi)


def probabilities(ax: Axes, low: Numbers, high: Numbers, fitted: Numbers, true: Numbers | None) -> None:
    """Histogram of the probability of "yes" over all held-out responses, by bin."""
    edges = [*low, high[-1]]
    if true is not None:
        ax.stairs(true, edges, color=FAINT, fill=True, alpha=0.5, label="true")
    ax.stairs(fitted, edges, color=FIT, label="fitted", lw=1.6)
    ax.set(xlabel="probability of yes", ylabel="held-out responses per bin", xlim=(0, 1))
    ax.set_title("Probability of yes, true and fitted")
    ax.legend()


def biases(ax: Axes, fitted: Numbers, true: Numbers | None) -> None:
    """Bias of every class."""
    classes = range(len(fitted))
    if true is not None:
        ax.plot(classes, true, "o", ms=7, mfc="none", color=TRUTH, label="true")
    ax.plot(classes, fitted, "x", ms=6, color=FIT, label="fitted")
    ax.axhline(0, color=FAINT, lw=0.6)
    ax.set(xlabel="class", ylabel="bias (logits)", title="Bias of each class")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(ncols=2)


def weights(ax: Axes, class_index: int, fitted: Numbers, true: Numbers | None) -> None:
    """Weights of one class by factor."""
    factors = range(len(fitted))
    if true is not None:
        ax.plot(factors, true, color=TRUTH, lw=0.9, label="true")
    ax.plot(factors, fitted, ".", ms=4, color=FIT, label="fitted")
    ax.axhline(0, color=FAINT, lw=0.6)
    ax.set(xlabel="factor", ylabel="weight (logits per unit)", title=f"Weights of class {class_index}")
    ax.legend(ncols=2)


def loss(ax: Axes, epochs: Numbers, losses: Numbers, train: float, bayes: float | None) -> None:
    """Training loss over epochs, with the final training loss and the Bayes floor of held-out trials."""
    ax.plot([epoch + 1 for epoch in epochs], losses, color=FIT, label="mean over the epoch's batches")
    ax.axhline(train, color=FIT, ls=":", label=f"all training trials, at the end: {train:.4f}")
    if bayes is not None:
        ax.axhline(bayes, color=TRUTH, ls="--", label=f"true observer, held-out trials: {bayes:.4f}")
    ax.set(xlabel="epoch, counted from 1", ylabel="cross-entropy (nats)", title="Training loss")
    _logarithmic(ax)
    ax.legend()


def _logarithmic(ax: Axes) -> None:
    ax.set(xscale="log", yscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(lambda y, _: f"{y:.1g}" if f"{y:e}"[0] in "2357" else "")


def recovery(ax: Axes, true: Numbers, fitted: Numbers, is_bias: Sequence[bool], slope: float) -> None:
    """Fitted against true coefficients, with the identity and the fitted slope of the weights."""
    for name, bias, marker, size, color in (("weights", False, ".", 3, FIT), ("biases", True, "D", 4.5, OTHER)):
        x = [value for value, flag in zip(true, is_bias, strict=True) if flag == bias]
        y = [value for value, flag in zip(fitted, is_bias, strict=True) if flag == bias]
        ax.plot(x, y, marker, ms=size, mew=0, color=color, label=name)
    ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
    ax.axline((0, 0), slope=slope, color=FIT, lw=1, label=f"slope {slope:.3f}")
    ax.set(xlabel="true coefficient", ylabel="fitted coefficient", title="Recovered against true coefficients")
    ax.legend()


def calibration(
    ax: Axes, predicted: Numbers, observed: Numbers, low: Numbers, high: Numbers, *, slope: float | None
) -> None:
    """Observed share of "yes" against the predicted probability, with 95 % intervals."""
    below = [max(share - end, 0) for share, end in zip(observed, low, strict=True)]
    above = [max(end - share, 0) for share, end in zip(observed, high, strict=True)]
    label = "fitted" if slope is None else f"fitted, calibration slope {slope:.3f}"
    ax.plot([0, 1], [0, 1], color=TRUTH, ls="--", lw=1, label="perfectly calibrated")
    ax.errorbar(predicted, observed, [below, above], fmt="o-", ms=3.5, lw=1, color=FIT, capsize=2, label=label)
    ax.set(xlabel="predicted probability of yes", ylabel="observed share of yes", xlim=(0, 1), ylim=(0, 1))
    ax.set_title("Calibration on held-out trials")
    ax.legend()


def trajectory(ax: Axes, epochs: Numbers, train: Numbers, test: Numbers, bayes: float | None) -> None:
    """Cross-entropy on training and held-out trials over the checkpoints."""
    x = [epoch + 1 for epoch in epochs]
    ax.plot(x, train, "o-", ms=3, color=FIT, label="training trials")
    ax.plot(x, test, "s-", ms=3, color=OTHER, label="held-out trials")
    if bayes is not None:
        ax.axhline(bayes, color=TRUTH, ls="--", label="true observer, held-out trials")
    ax.set(ylabel="cross-entropy (nats)", title="What early stopping does")
    _logarithmic(ax)
    ax.legend()


def slopes(ax: Axes, epochs: Numbers, slope: Numbers) -> None:
    """Size of the fitted weights, as their slope on the true ones, over the checkpoints."""
    ax.plot([epoch + 1 for epoch in epochs], slope, "o-", ms=3, color=FIT, label="fitted")
    ax.axhline(1, color=TRUTH, ls="--", label="true")
    ax.set(ylabel="weight slope", ylim=(0, None))
    ax.legend()
