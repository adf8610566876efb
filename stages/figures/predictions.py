"""Predicted probabilities and their calibration. Each function draws given numbers onto given axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from stages.figures.style import (
    CORRECTED,
    CORRECTED_POINTS,
    DATA,
    FAINT,
    PLAIN,
    PLAIN_POINTS,
    TRUTH,
    Estimates,
    Numbers,
    heading,
    legend_below,
    logarithmic,
    logit_axes,
    points,
)

Line = tuple[float, float] | None  # (intercept, slope) of logit(observed) on logit(predicted), where it is defined

BARS = "bars: 95 % interval of each bin; slope below 1: overconfident"


def probabilities(
    ax: Axes, low: Numbers, high: Numbers, fitted: Numbers, true: Numbers | None, source: str = "held-out"
) -> None:
    """Histogram of the probability of "yes" over all `source` predictions, by bin."""
    edges = [*low, high[-1]]
    if true is not None:
        ax.stairs(_positive(true), edges, baseline=0.5, color=FAINT, fill=True, alpha=0.5, label="true")
    ax.stairs(_positive(fitted), edges, baseline=0.5, color=PLAIN, label="plain fit", lw=1.6, clip_on=False)
    ax.set(xlabel="probability of yes", ylabel=f"{source} predictions per bin", xlim=(-0.02, 1.02))
    logarithmic(ax.yaxis)
    ax.set_ylim(0.5, 4 * max(*fitted, *(true or fitted)))  # with room for the legend
    heading(ax, "Probability of yes" if true is None else "Probability of yes, true and fitted")
    ax.legend(loc="upper center", ncols=2)


def _positive(counts: Numbers) -> list[float]:
    """Counts for a logarithmic axis that starts at one half."""
    return [max(count, 0.5) for count in counts]


def calibration(ax: Axes, curve: Mapping[str, Numbers], line: Line, source: str = "held-out") -> None:
    """Observed fraction of "yes" against the predicted probability, on logit axes, where recalibration is a line.

    curve: columns predicted, observed, low, high, of `source` predictions.
    """
    edge = logit_axes(ax, curve["predicted"], curve["observed"])
    _curve(ax, edge, curve, label="observed, by bins", **PLAIN_POINTS)
    if line is not None:
        _recalibration(ax, edge, *line, color=PLAIN, label=f"slope {line[1]:.3f}")
    _labels(ax, f"Calibration of {source} predictions")


def predictions(ax: Axes, curves: Mapping[str, Mapping[str, Numbers]], lines: Mapping[str, Line]) -> None:
    """Calibration of the plain fit (`fitted`), the debiased fit (`debiased`) and the best prediction (`best`)."""
    edge = logit_axes(ax, *(curve[key] for curve in curves.values() for key in ("predicted", "observed")))
    looks: dict[str, tuple[str, float, Mapping[str, Any]]] = {
        "fitted": ("plain fit", -3, PLAIN_POINTS),
        "debiased": ("debiased fit", 0, {"color": DATA, "fmt": "^", "mfc": "white", "ms": 4}),
        "best": ("best prediction", 3, CORRECTED_POINTS),
    }
    for name, curve in curves.items():
        words, dodge, look = looks[name]
        line = lines[name]
        label = words if line is None else f"{words}, slope {line[1]:.3f}"
        _curve(ax, edge, curve, label=label, dodge=dodge, **look)
        if line is not None:
            _recalibration(ax, edge, *line, color=look["color"])
    _labels(ax, "Calibration of three predictions")


def _recalibration(ax: Axes, edge: float, intercept: float, slope: float, **look: Any) -> None:
    """The line that would recalibrate predictions, from edge to edge of logit axes."""
    ends = [edge, 1 - edge]
    fitted = [0.5 + 0.5 * math.tanh(0.5 * (intercept + slope * math.log(p / (1 - p)))) for p in ends]  # cannot overflow
    ax.plot(ends, fitted, lw=1, **look)


def _curve(ax: Axes, edge: float, curve: Mapping[str, Numbers], **look: Any) -> None:
    """The bins of a curve; bins with only yes or only no are drawn at the edge of the axes."""
    inside = {key: [min(max(v, edge), 1 - edge) for v in values] for key, values in curve.items() if key != "responses"}
    observed = Estimates(inside["observed"], inside["low"], inside["high"])
    points(ax, inside["predicted"], observed, clip_on=False, **look)


def _labels(ax: Axes, title: str) -> None:
    ax.set(xlabel="predicted probability of yes", ylabel="observed fraction of yes")
    heading(ax, title, BARS)
    ax.legend(loc="upper left")


def psychometric(
    ax: Axes,
    name: str,
    index: Numbers,
    observed: Estimates,
    curves: Mapping[str, Numbers],
    guess_rate: float = 0,
    lapse_rate: float = 0,
) -> None:
    """Responses of one class along its fitted index, in bins, and the curves that were fitted to them.

    index: mean expected logit of each bin's trials; observed: their fraction of yes with its interval. curves: by
    column, `index` and on it `fitted` (with guess and lapse rates), `logistic` (without) and `true`, if known.
    """
    has_rates = guess_rate > 0 or lapse_rate > 0
    low, high = _rise(curves["index"], curves["fitted"], guess_rate, lapse_rate)
    rows = [i for i, x in enumerate(index) if low <= x <= high]
    at = [index[i] for i in rows]
    points(ax, at, observed.at(rows), label="responses", clip_on=False, color=DATA, fmt="o", ms=4, zorder=2)
    for key, label, color, style, width in (
        ("logistic", "logistic, without these rates", PLAIN, "-.", 1.2),
        ("fitted", "with guess and lapse rates" if has_rates else "fitted", CORRECTED, "-", 1.6),
        ("true", "true", TRUTH, "--", 1.2),
    ):
        if key in curves and (has_rates or key != "logistic"):  # else the fitted curve is the logistic one
            ax.plot(curves["index"], curves[key], ls=style, lw=width, color=color, label=label, zorder=3)
    for height, words, edge, side in (  # each label where the curve is at its other end
        (guess_rate, f"guess rate {guess_rate:.3g}", 0.98, "right"),
        (1 - lapse_rate, f"lapse rate {lapse_rate:.3g}", 0.02, "left"),
    ):
        if 0 < height < 1:
            ax.axhline(height, color=CORRECTED, lw=0.8, ls=":")
            across = ax.get_yaxis_transform()
            ax.text(edge, height, words, transform=across, ha=side, va="bottom", fontsize=8, color=DATA)
    ax.set(xlabel="fitted index (expected logit)", ylabel="probability of yes", ylim=(-0.02, 1.02), xlim=(low, high))
    note = "bars: 95 % intervals of the fraction of yes in a bin of equally many trials"
    beyond = len(index) - len(rows)
    note += f"\n{beyond} of {len(index)} bins lie beyond the edges, where the curve is flat" if beyond else ""
    heading(ax, f"Psychometric curve of {name}", note)
    legend_below(ax)


def _rise(index: Numbers, fitted: Numbers, guess_rate: float, lapse_rate: float) -> tuple[float, float]:
    """The part of the index where the curve rises, with some of the flat parts on both sides."""
    span = 1 - guess_rate - lapse_rate
    rising = [x for x, p in zip(index, fitted, strict=True) if 0.005 < (p - guess_rate) / span < 0.995]
    low, high = (rising[0], rising[-1]) if len(rising) > 1 else (index[0], index[-1])
    low, high = max(low - 0.4 * (high - low), index[0]), min(high + 0.4 * (high - low), index[-1])
    return (low, high) if low < high else (low - 1, high + 1)  # for fits without any signal
