"""What the theory of exact fits expects with this and with other numbers of trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from stages.figures import style
from stages.figures.style import CLASSICAL, CLASSICAL_POINTS, CORRECTED_POINTS, FAINT, TRUTH, heading, panels
from stages.files.errors import InputError
from stages.files.tables import AGAIN

LEVELS = [1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 3, 5, 10]  # of alpha


def existence_map(figure: Figure, grid: pd.DataFrame, metrics: Any) -> None:
    """How much too large weights come out, over signal and factors per trial.

    The star is this experiment. Upwards, with fewer trials per factor, weights come out larger, until no
    estimate exists.
    """
    [ax] = panels(figure, 5.6, 4)
    here = metrics["theory"]["signal"], metrics["theory"]["kappa"]
    lowest = min(1e-3, here[1] / 3)
    n_kappas = grid.groupby("signal").size()
    if len(n_kappas) < 2 or n_kappas.nunique() > 1:
        raise InputError(f"data/inference/map.csv is cut off; {AGAIN}")
    by_signal = grid[["signal", "kappa", "alpha"]].to_numpy().reshape(len(n_kappas), -1, 3)
    signal, kappa, alpha = by_signal.transpose(2, 0, 1)  # each (n_signals, n_kappas)
    few = np.full((len(signal), 1), 1.0)  # factors per trial with which weights have the right size
    filled = ax.contourf(
        np.hstack([signal[:, :1], signal]),
        np.hstack([lowest / 10 * few, kappa]),
        np.hstack([few, alpha]),
        levels=LEVELS,
        norm=BoundaryNorm(LEVELS, 256),
        cmap="cividis",
        extend="max",
    )
    heading(ax, "Where this experiment is on the map of maximum likelihood")
    bar = figure.colorbar(filled, ax=ax, ticks=LEVELS, label="weights too large by the factor α*")
    bar.ax.set_yticklabels([f"{level:g}" for level in LEVELS])
    ax.plot(signal[:, -1], kappa[:, -1], color=CLASSICAL, lw=2, label="beyond: no estimate exists")
    star = "this experiment, by its estimated signal"
    ax.plot(*here, "*", ms=13, color="white", mec=TRUTH, label=star, ls="none")
    style.logarithmic(ax.yaxis)
    ax.set(ylim=(lowest, 0.6), xlabel="signal γ: sd of the true logits", ylabel="factors per trial, κ")
    style.legend_below(ax)


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
                style.points(ax, [metrics["theory"]["n_trials"]], [value], **{**look, "ms": 6})
        ax.axvline(first, color=FAINT, lw=1, ls=":", label="fewer trials: no estimate exists")
    best = "true observer: no prediction can be better"
    below.plot(plan.n_trials, floor, color=TRUTH, lw=1, ls="-.", label=best)
    style.logarithmic(below.xaxis, below.yaxis)
    above.set(ylabel="error of a weight (rms),\nlogits per sd of a factor")
    errors = plan.corrected_weight_rmse
    if errors.min() > 0:  # without signal there is no error to compare
        style.logarithmic(above.yaxis)
        above.set_ylim(0.8 * errors.min(), 20 * errors.iloc[0])
    below.set(ylabel="held-out\ncross-entropy (nats)", xlabel="training trials")
    if floor.iloc[0] > 0:
        below.set_ylim(0.95 * floor.iloc[0], 4 * floor.iloc[0])
    heading(above, "How many trials?", "points: measured here" if here else "")
    style.legend_below(above, below, columns=1)


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
