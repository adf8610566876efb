"""Predicted probabilities and their calibration. Each function draws given numbers onto given axes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from stages.figures.style import FAINT, FIT, OTHER, TRUTH, Numbers


def probabilities(ax: Axes, low: Numbers, high: Numbers, fitted: Numbers, true: Numbers | None) -> None:
    """Histogram of the probability of "yes" over all held-out responses, by bin."""
    edges = [*low, high[-1]]
    if true is not None:
        ax.stairs(true, edges, color=FAINT, fill=True, alpha=0.5, label="true")
    ax.stairs(fitted, edges, color=FIT, label="fitted", lw=1.6)
    ax.set(xlabel="probability of yes", ylabel="held-out responses per bin", xlim=(0, 1))
    ax.set_title("Probability of yes, true and fitted")
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
