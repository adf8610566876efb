"""How far an exact fit can be trusted. Each function draws given numbers onto given axes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.ticker import MaxNLocator

from stages.figures.style import FAINT, FIT, OTHER, TRUTH, Numbers


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
