"""The fit and the truth: coefficients, and how they came about. Each function draws given numbers onto given axes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from stages.figures.style import FAINT, FIT, OTHER, TRUTH, Numbers, logarithmic


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


def loss(ax: Axes, epochs: Numbers, losses: Numbers, train: float, bayes: float | None) -> None:
    """Training loss over epochs, with the final training loss and the Bayes floor of held-out trials."""
    ax.plot([epoch + 1 for epoch in epochs], losses, color=FIT, label="mean over the epoch's batches")
    ax.axhline(train, color=FIT, ls=":", label=f"all training trials, at the end: {train:.4f}")
    if bayes is not None:
        ax.axhline(bayes, color=TRUTH, ls="--", label=f"true observer, held-out trials: {bayes:.4f}")
    ax.set(xlabel="epoch, counted from 1", ylabel="cross-entropy (nats)", title="Training loss")
    logarithmic(ax)
    ax.legend()


def trajectory(ax: Axes, epochs: Numbers, train: Numbers, test: Numbers, bayes: float | None) -> None:
    """Cross-entropy on training and held-out trials over the checkpoints."""
    x = [epoch + 1 for epoch in epochs]
    ax.plot(x, train, "o-", ms=3, color=FIT, label="training trials")
    ax.plot(x, test, "s-", ms=3, color=OTHER, label="held-out trials")
    if bayes is not None:
        ax.axhline(bayes, color=TRUTH, ls="--", label="true observer, held-out trials")
    ax.set(ylabel="cross-entropy (nats)", title="What early stopping does")
    logarithmic(ax)
    ax.legend()


def slopes(ax: Axes, epochs: Numbers, slope: Numbers) -> None:
    """Size of the fitted weights, as their slope on the true ones, over the checkpoints."""
    ax.plot([epoch + 1 for epoch in epochs], slope, "o-", ms=3, color=FIT, label="fitted")
    ax.axhline(1, color=TRUTH, ls="--", label="true")
    ax.set(ylabel="weight slope", ylim=(0, None))
    ax.legend()
