"""The figures: each function draws numbers that are given onto axes that are given, and computes nothing.

Colours are Okabe & Ito's (2008), told apart by colour-blind readers; truth is always black, the fit blue, and what is
held out vermilion, each with a marker or a line style of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
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
    ax.set_xlim(-0.5, len(classes) - 0.5)
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
    ax.plot([0, 1], [0, 1], color=TRUTH, ls="--", lw=1, label="perfectly calibrated")
    _calibration_curve(ax, "fitted", FIT, "o", predicted, observed, low, high, slope=slope)
    _calibration_axes(ax, "Calibration on held-out trials")


def predictions(ax: Axes, curves: Mapping[str, Mapping[str, Numbers]], slopes: Mapping[str, float | None]) -> None:
    """Calibration of the plain fit, the debiased fit and the best prediction."""
    ax.plot([0, 1], [0, 1], color=TRUTH, ls="--", lw=1, label="perfectly calibrated")
    for (name, curve), color, marker in zip(curves.items(), (OTHER, FAINT, FIT), "os^", strict=True):
        _calibration_curve(ax, name, color, marker, **curve, slope=slopes[name])
    _calibration_axes(ax, "Calibration of three predictions")


def _calibration_curve(
    ax: Axes,
    name: str,
    color: str,
    marker: str,
    predicted: Numbers,
    observed: Numbers,
    low: Numbers,
    high: Numbers,
    *,
    slope: float | None,
) -> None:
    below = [max(share - end, 0) for share, end in zip(observed, low, strict=True)]
    above = [max(end - share, 0) for share, end in zip(observed, high, strict=True)]
    label = name if slope is None else f"{name}, slope {slope:.3f}"
    ax.errorbar(
        predicted, observed, [below, above], fmt=f"{marker}-", ms=3.5, lw=1, color=color, capsize=2, label=label
    )


def _calibration_axes(ax: Axes, title: str) -> None:
    ax.set(xlabel="predicted probability of yes", ylabel="observed share of yes", xlim=(0, 1), ylim=(0, 1), title=title)
    ax.legend()


def intervals(ax: Axes, title: str, x: Numbers, middle: Numbers, low: Numbers, high: Numbers, truth: bool) -> None:
    """Intervals of the weights of one class: against the true weights if known (`truth`), else by factor.

    Those that miss the truth are drawn in another colour and with another marker.
    """
    hits = [not truth or a <= t <= b for t, a, b in zip(x, low, high, strict=True)]
    for hit, name, color, marker in ((True, "holds the truth", FIT, "o"), (False, "misses it", OTHER, "x")):
        rows = [row for row in zip(x, middle, low, high, hits, strict=True) if row[4] == hit]
        if rows:
            at, centre, bottom, top, _ = zip(*rows, strict=True)
            bars = [
                [c - a for c, a in zip(centre, bottom, strict=True)],
                [b - c for c, b in zip(centre, top, strict=True)],
            ]
            label = f"{name}: {len(rows)} of {len(hits)}" if truth else None
            ax.errorbar(at, centre, bars, fmt=marker, ms=2.5, lw=0.7, color=color, label=label)
    if truth:
        ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
        ax.legend(loc="upper left")
    else:
        ax.axhline(0, color=FAINT, lw=0.6)
    ax.set(xlabel="true weight" if truth else "factor", ylabel="weight (logits per unit)", title=title)


def coverage(ax: Axes, classes: Numbers, classical: Numbers, corrected: Numbers, level: float, n_weights: int) -> None:
    """Share of the weights of each class whose interval holds the truth, with the level and its binomial band."""
    half = 1.96 * (level * (1 - level) / n_weights) ** 0.5
    ax.axhspan(
        level - half, level + half, color=FAINT, alpha=0.3, lw=0, label="95 % of samples, were weights independent"
    )
    ax.axhline(level, color=TRUTH, ls="--", lw=1, label=f"nominal: {level:g}")
    ax.plot(classes, corrected, "o", ms=5, color=FIT, label="corrected intervals")
    ax.plot(classes, classical, "x", ms=5, color=OTHER, label="classical intervals")
    ax.set(xlabel="class", ylabel="share of true weights inside", ylim=(0, 1.03), title="Coverage of the intervals")
    ax.set_xlim(-0.5, len(classes) - 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)  # below: points may stand anywhere


def existence_map(ax: Axes, signal: Numbers, kappa: Numbers, alpha: Numbers, here: tuple[float, float]) -> None:
    """How much too large weights come out, over the signal and factors per trial, up to where no estimate exists.

    signal, kappa and alpha run over the same kappas per threshold for each signal; `here` is (signal, kappa).
    """
    width = len(signal) // len(set(signal))
    grid = [
        [values[start : start + width] for start in range(0, len(values), width)] for values in (signal, kappa, alpha)
    ]
    levels = [1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 3, 5, 10]
    filled = ax.contourf(*grid, levels=levels, norm=BoundaryNorm(levels, 256), cmap="cividis", extend="max")
    ax.set_title("Maximum likelihood: where this experiment is on the map")
    bar = ax.figure.colorbar(filled, ax=ax, ticks=levels, label="weights too large by the factor α*")
    bar.ax.set_yticklabels([f"{level:g}" for level in levels])
    edge = [row[-1] for row in grid[0]], [row[-1] for row in grid[1]]
    ax.plot(*edge, color=OTHER, lw=2, label="beyond: no estimate exists")
    ax.plot(*here, "*", ms=13, color="white", mec=TRUTH, label="this experiment", ls="none")
    lowest = min(1e-3, here[1] / 3)
    ax.set(yscale="log", ylim=(lowest, 0.6), xlabel="signal γ: sd of the true logits", ylabel="factors per trial, κ")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def planning(
    above: Axes, below: Axes, table: Mapping[str, Numbers], n_trials: int, measured: Mapping[str, float | None]
) -> None:
    """Weight error and held-out cross-entropy to expect of other numbers of trials, and what was measured here."""
    x = table["n_trials"]
    for ax, lines in (
        (above, (("weight_rmse", "plain fit", OTHER), ("debiased_weight_rmse", "debiased fit", FIT))),
        (below, (("test_cross_entropy", "plain fit", OTHER), ("test_best_cross_entropy", "best prediction", FIT))),
    ):
        for (key, name, color), style, marker in zip(lines, ("--", "-"), "so", strict=True):
            known = " (scale known)" if key == "debiased_weight_rmse" else ""
            ax.plot(x, table[key], color=color, ls=style, label=f"{name}, theory{known}")
            if measured.get(key) is not None:
                ax.plot(n_trials, measured[key] or 0, marker, ms=6, color=color, mec=TRUTH, label=f"{name}, measured")
        ax.axvline(x[0], color=FAINT, lw=1, ls=":", label="fewer: no estimate exists")
    below.plot(x, table["bayes_cross_entropy"], color=TRUTH, lw=1, label="true observer")
    above.set(xscale="log", yscale="log", ylabel="weight rmse (logits per unit)", title="How many trials?")
    below.set(xscale="log", ylabel="held-out cross-entropy (nats)", xlabel="training trials")
    below.set_ylim(0.95 * table["bayes_cross_entropy"][0], 4 * table["bayes_cross_entropy"][0])
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:g}")
    below.yaxis.set_minor_formatter("{x:g}")
    above.legend()
    below.legend(ncols=2)


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
