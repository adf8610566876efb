"""How a fit by Adam got where it is."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stages.figures.style import CLASSICAL, DATA, TRUTH, heading, legend_below, logarithmic, panels

NOTABLE = 0.01  # held-out predictions are worse than at their best by this fraction


def trajectory(figure: Figure, trajectory: pd.DataFrame, metrics: Any) -> None:
    """Cross-entropy of training and held-out trials over the epochs.

    While training goes on, training trials are fitted ever better. Where the other curve rises again, the fit
    learns noise; the star marks the epoch at which one should have stopped.
    """
    x, bayes = trajectory.epoch + 1, metrics.get("test", {}).get("bayes_cross_entropy")
    if "weight_slope" in trajectory:
        ax, below = panels(figure, 5.8, 5.6, nrows=2, height_ratios=(1.7, 1))
        below.plot(x, trajectory.weight_slope, "s-", ms=3, mfc="white", color=CLASSICAL)
        below.axhline(1, color=TRUTH, ls="--", lw=1)
        below.set(ylabel="size of the weights\n(1: right size)", ylim=(0, None))
    else:
        [ax] = panels(figure, 5.8, 4)
    train = trajectory.train_cross_entropy - (bayes or 0)
    ax.plot(x, train, "^--", ms=3.5, color=DATA, label="training trials")
    if "test_cross_entropy" in trajectory:
        test = trajectory.test_cross_entropy - (bayes or 0)
        best, worse = test.idxmin(), test.iloc[-1] - test.min()
        ax.plot(x, test, "s-", ms=3.5, mfc="white", color=CLASSICAL, label="held-out trials")
        star: dict[str, Any] = {
            "ms": 12,
            "color": CLASSICAL,
            "mec": TRUTH,
            "zorder": 4,
            "label": f"best: epoch {x[best]:g}",
        }
        ax.plot(x[best], test[best], "*", **star)
        # The axis ends a little above the best: the large losses of the first epochs would hide overfitting.
        low, high = min(*train, 0 if bayes else test[best]), test[best]
        high += max(0.8 * (high - low), 2 * worse)
        if high > low:
            ax.set_ylim(low - 0.05 * (high - low), high)
        if worse > NOTABLE * trajectory.test_cross_entropy.min():
            title = "Overfitting: training trials fit ever better, held-out trials do not"
            what = f"held-out predictions are {worse:.2g} nats worse than after epoch {x[best]:g}"
            heading(ax, title, f"after the last epoch, {what}")
        else:
            heading(ax, f"Held-out trials are fitted best after epoch {x[best]:g} of {x.iloc[-1]:g}")
    else:
        heading(ax, "Training trials fit ever better", "whether others do, only held-out trials could tell")
        logarithmic(ax.yaxis)
    if bayes is None:
        ax.set_ylabel("cross-entropy (nats)")
    else:
        ax.axhline(0, color=TRUTH, ls="--", lw=1, label="true observer: no prediction can be better")
        ax.set_ylabel("cross-entropy above\nthe true observer's (nats)")
    logarithmic(ax.xaxis)
    figure.axes[-1].set_xlabel("epoch, counted from 1")
    legend_below(ax)
