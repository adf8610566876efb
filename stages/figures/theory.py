"""What the theory of exact fits expects of other numbers of trials."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stages.figures.style import (
    CLASSICAL_POINTS,
    CORRECTED_POINTS,
    FAINT,
    TRUTH,
    heading,
    legend_below,
    logarithmic,
    panels,
    points,
)


def planning(figure: Figure, plan: pd.DataFrame, metrics: Any) -> None:
    """Error of the weights and of predictions to expect of other numbers of trials.

    How much more trials would help, and how much a correction does without them.
    """
    above, below = panels(figure, 5.6, 5.6, nrows=2)
    here, first, floor = measured(metrics), plan.n_trials.iloc[0], plan.bayes_cross_entropy
    for ax, classical, corrected in (
        (above, "weight_rmse", "corrected_weight_rmse"),
        (below, "test_cross_entropy", "test_best_cross_entropy"),
    ):
        for key, line, words, look in (
            (classical, "--", "classical, theory", CLASSICAL_POINTS),
            (corrected, "-", "corrected weights, best predictions, theory", CORRECTED_POINTS),
        ):
            ax.plot(plan.n_trials, plan[key], color=look["color"], ls=line, label=words)
            if (value := here.get(key)) is not None:
                points(ax, [metrics["theory"]["n_trials"]], [value], **{**look, "ms": 6})
        ax.axvline(first, color=FAINT, lw=1, ls=":", label="fewer trials: no estimate exists")
    best = "true observer: no prediction can be better"
    below.plot(plan.n_trials, floor, color=TRUTH, lw=1, ls="-.", label=best)
    logarithmic(below.xaxis, below.yaxis)
    above.set(ylabel="error of a weight (rms),\nlogits per sd of a factor")
    errors = plan.corrected_weight_rmse
    if errors.min() > 0:  # without signal there is no error to compare
        logarithmic(above.yaxis)
        above.set_ylim(0.8 * errors.min(), 20 * errors.iloc[0])
    below.set(ylabel="held-out\ncross-entropy (nats)", xlabel="training trials")
    if floor.iloc[0] > 0:
        below.set_ylim(0.95 * floor.iloc[0], 4 * floor.iloc[0])
    heading(above, "How many trials?", "points: measured here" if here else "")
    legend_below(above, below)


def measured(metrics: Any) -> dict[str, float | None]:
    """What was measured here, by the plan's columns; nothing with ridge: the plan is for fits without."""
    if metrics["fit"]["ridge"] > 0:
        return {}
    recovery, scores = metrics.get("recovery", {}), metrics.get("test") or metrics["loo"]
    return {
        "weight_rmse": recovery.get("weight_rmse"),
        "corrected_weight_rmse": recovery.get("corrected", {}).get("weight_rmse"),
        "test_cross_entropy": scores["cross_entropy"],
        "test_best_cross_entropy": scores["best"]["cross_entropy"],
    }
