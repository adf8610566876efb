"""The fit and the truth: coefficients, and how they were reached. Each function draws given numbers onto given axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from stages.figures.style import (
    CORRECTED,
    CORRECTED_POINTS,
    DATA,
    FAINT,
    MANY,
    PLAIN,
    PLAIN_POINTS,
    TRUTH,
    Estimates,
    Names,
    Numbers,
    heading,
    legend_below,
    logarithmic,
    name_ticks,
    points,
)
from stages.files.account import named

ROWS = 60  # rows of a figure that names each, at most


def biases(ax: Axes, names: Names, plain: Estimates, corrected: Estimates | None, true: Numbers | None) -> None:
    """Bias of every class, or of the first ROWS."""
    n = min(len(names), ROWS)
    rows = range(n)
    if true is not None:
        ax.plot(rows, true[:n], "_", ms=min(24, 140 / n**0.7), mew=1.6, color=TRUTH, label="true")
    points(ax, rows, plain.at(rows), dodge=-2 if corrected else 0, label="plain fit", **PLAIN_POINTS)
    if corrected is not None:
        points(ax, rows, corrected.at(rows), dodge=2, label="corrected", **CORRECTED_POINTS)
    ax.axhline(0, color=FAINT, lw=0.6)
    heading(ax, "Bias of each class", f"the first {n} of {len(names)} classes" if n < len(names) else "")
    ax.set_ylabel("bias (logits)")
    name_ticks(ax, names[:n], "class", most=20)
    legend_below(ax, columns=3)


def weights(
    ax: Axes, name: str, factors: Names, plain: Estimates, corrected: Estimates | None, true: Numbers | None
) -> None:
    """All weights of one class, sorted by the true ones, where they are known, else by the best estimates."""
    best = corrected or plain
    order = sorted(range(len(factors)), key=(best.places() if true is None else true).__getitem__)
    ranks, few = range(len(order)), len(order) <= ROWS
    dodge, size = (2, 4) if few else (0, 2.5)
    if true is not None:  # a line, as very many sorted marks would hide one another
        line: dict[str, Any] = {"marker": "_", "ls": "none", "ms": 12, "mew": 1.6} if few else {"lw": 1, "zorder": 4}
        ax.plot(ranks, [true[i] for i in order], **line, color=TRUTH, label="true")
    middle = Estimates(plain.at(order).middle)
    points(ax, ranks, middle, dodge=-dodge if corrected else 0, label="plain fit", **{**PLAIN_POINTS, "ms": size})
    if corrected is not None:
        look = {**CORRECTED_POINTS, "ms": size, "zorder": 2.5}
        points(ax, ranks, corrected.at(order), dodge=dodge, label="corrected", **look)
    ax.axhline(0, color=FAINT, lw=0.6)
    ax.set(ylabel="weight (logits per unit)", xlabel=f"factors, sorted by {'true' if true else 'their'} weight")
    if few:
        name_ticks(ax, [factors[i] for i in order], ax.get_xlabel(), most=ROWS)
    heading(ax, f"Weights of {name}")
    ax.legend(loc="upper left")


def forest_size(n_factors: int) -> tuple[float, float]:
    """Width and height in inches of a figure with a row for each factor."""
    return 5.6, 1.5 + 0.17 * min(n_factors, ROWS)


def forest(
    ax: Axes, name: str, factors: Names, plain: Estimates, corrected: Estimates, true: Numbers | None = None
) -> None:
    """Forest plot: the weights of one class by name, sorted, the ROWS largest in size."""
    places = corrected.places()
    by_size = sorted(range(len(factors)), key=lambda i: -abs(places[i]))
    order = sorted(by_size[:ROWS], key=places.__getitem__)
    rows = range(len(order))
    if true is not None:
        ax.plot([true[i] for i in order], rows, "|", ms=9, mew=1.6, color=TRUTH, zorder=2, label="true")
    points(ax, rows, plain.at(order), dodge=2.2, horizontal=True, label="plain fit", **{**PLAIN_POINTS, "ms": 3})
    points(
        ax, rows, corrected.at(order), dodge=-2.2, horizontal=True, label="corrected", **{**CORRECTED_POINTS, "ms": 3}
    )
    name_rows(ax, [named(factors[i], "factor") for i in order])
    ax.axvline(0, color=FAINT, lw=0.6)
    ax.set_xlabel("weight (logits per unit)")
    rest = [places[i] for i in by_size[ROWS:]]
    note = f"the {ROWS} largest; the other {len(rest)} are from {min(rest):.2g} to {max(rest):.2g}" if rest else ""
    heading(ax, f"Weights of {name}", note)
    legend_below(ax, columns=3)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names at the positions 0, 1, … of the y axis, with faint lines that lead the eye to them."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.8, len(names) - 0.2)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=FAINT, lw=0.3, alpha=0.5)
    ax.spines["left"].set_visible(False)


def recovery(ax: Axes, true: Numbers, fitted: Numbers, is_bias: Sequence[bool], slope: float) -> None:
    """Fitted against true coefficients, with the identity and the fitted slope of the weights."""
    looks: Sequence[tuple[str, bool, dict[str, Any]]] = (
        ("weights", False, {"marker": "o", "color": PLAIN, "mew": 0, "alpha": 0.35 if len(true) > 200 else 0.9}),
        ("biases", True, {"marker": "D", "color": CORRECTED, "mec": "white", "zorder": 3}),
    )
    for name, bias, look in looks:
        x = [value for value, flag in zip(true, is_bias, strict=True) if flag == bias]
        y = [value for value, flag in zip(fitted, is_bias, strict=True) if flag == bias]
        ax.plot(x, y, ls="none", ms=4.5, label=name, rasterized=len(x) > MANY, **look)
    end = 1.05 * max(map(abs, [*true, *fitted]))
    ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
    ax.axline((0, 0), slope=slope, color=PLAIN, lw=1, label=f"slope {slope:.3f}")
    ax.set(xlim=(-end, end), ylim=(-end, end), aspect="equal")
    ax.set(xlabel="true coefficient", ylabel="fitted coefficient", title="Recovered against true coefficients")
    ax.legend(loc="upper left")


def loss(ax: Axes, epochs: Numbers, losses: Numbers, train: float, bayes: float | None) -> None:
    """Training loss over epochs, with the final training loss and the Bayes floor of held-out trials."""
    ax.plot([epoch + 1 for epoch in epochs], losses, color=PLAIN, label="mean over the epoch's batches")
    ax.axhline(train, color=PLAIN, ls=":", label=f"all training trials, at the end: {train:.4f}")
    if bayes is not None:
        ax.axhline(bayes, color=TRUTH, ls="--", label=f"true observer, held-out trials: {bayes:.4f}")
    ax.set(xlabel="epoch, counted from 1", ylabel="cross-entropy (nats)", title="Training loss")
    logarithmic(ax.xaxis, ax.yaxis)
    ax.legend()


def trajectory(ax: Axes, epochs: Numbers, train: Numbers, test: Numbers | None, bayes: float | None) -> None:
    """Cross-entropy on training and held-out trials over the checkpoints, above the true observer's where it is known.

    The axis ends a little above the best, so that the large losses of the first epochs do not hide overfitting.
    """
    x, floor = [epoch + 1 for epoch in epochs], bayes or 0
    above_train = [y - floor for y in train]
    if test is None:
        ax.plot(x, above_train, "^--", ms=3.5, color=DATA, label="training trials")
        ax.set_ylabel("cross-entropy (nats)")
        heading(ax, "Training trials fit ever better", "whether others do, only held-out trials could tell")
        logarithmic(ax.xaxis, ax.yaxis)
        return
    above_test = [y - floor for y in test]
    best = min(range(len(test)), key=test.__getitem__)
    worse = test[-1] - test[best]
    ax.plot(x, above_test, "s-", ms=3.5, mfc="white", color=PLAIN, label="held-out trials")
    ax.plot(x, above_train, "^--", ms=3.5, color=DATA, label="training trials")
    ax.plot(x[best], above_test[best], "*", ms=12, color=PLAIN, mec=TRUTH, label=f"best: epoch {x[best]:g}", zorder=4)
    ax.set_ylabel("cross-entropy (nats)")
    if bayes is not None:
        ax.axhline(0, color=TRUTH, ls="--", lw=1, label="true observer: no prediction can be better")
        ax.set_ylabel("cross-entropy above\nthe true observer's (nats)")
    low, high = min(*above_train, 0 if bayes else test[best]), above_test[best]
    high += max(0.8 * (high - low), 2 * worse)
    if high > low:
        ax.set_ylim(low - 0.05 * (high - low), high)
    if worse > 0.01 * test[best]:
        note = f"after the last epoch, held-out predictions are {worse:.2g} nats worse than after epoch {x[best]:g}"
        heading(ax, "Overfitting: training trials fit ever better, held-out trials do not", note)
    else:
        heading(ax, f"Held-out trials are fitted best after epoch {x[best]:g} of {x[-1]:g}")
    logarithmic(ax.xaxis)


def slopes(ax: Axes, epochs: Numbers, slope: Numbers) -> None:
    """Size of the fitted weights, as their slope on the true ones, over the checkpoints."""
    ax.plot([epoch + 1 for epoch in epochs], slope, "s-", ms=3, mfc="white", color=PLAIN)
    ax.axhline(1, color=TRUTH, ls="--", lw=1)
    ax.set(ylabel="size of the weights\n(1: right size)", ylim=(0, None))
    logarithmic(ax.xaxis)
