"""How far an exact fit can be trusted. Each function draws given numbers onto given axes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm

from stages.figures.fits import ROWS, name_rows
from stages.figures.style import (
    CORRECTED_POINTS,
    FAINT,
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
    number,
    points,
)
from stages.files.account import named


def intervals(ax: Axes, title: str, true: Numbers, estimates: Estimates) -> None:
    """Intervals of one class's weights against the true weights; those that miss them in another colour."""
    hits = [a <= t <= b for t, a, b in zip(true, *estimates.ends(), strict=True)]
    for hit, words, look in ((True, "holds the truth", CORRECTED_POINTS), (False, "misses it", PLAIN_POINTS)):
        rows = [i for i, one in enumerate(hits) if one == hit]
        if rows:
            label = f"{words}: {len(rows)} of {len(hits)}"
            points(ax, [true[i] for i in rows], estimates.at(rows), label=label, **{**look, "ms": 2.5})
    ax.axline((0, 0), slope=1, color=TRUTH, ls="--", lw=1, label="identity")
    ax.set(xlabel="true weight", ylabel="weight (logits per unit)")
    heading(ax, title)
    ax.legend(loc="upper left")


def coverage(ax: Axes, names: Names, classical: Numbers, corrected: Numbers, level: float, n_weights: int) -> None:
    """Fraction of the weights of each class whose interval holds the truth, with the level and its binomial band."""
    half = 1.96 * (level * (1 - level) / n_weights) ** 0.5
    band = "19 of 20 classes, if each weight missed by itself"
    ax.axhspan(level - half, min(level + half, 1), color=FAINT, alpha=0.3, lw=0, label=band)
    ax.axhline(level, color=TRUTH, ls="--", lw=1, label=f"nominal: {level:g}")
    at = range(len(names))
    points(ax, at, Estimates(classical), dodge=-2, label="classical intervals", **PLAIN_POINTS)
    points(ax, at, Estimates(corrected), dodge=2, label="corrected intervals", **CORRECTED_POINTS)
    ax.set(ylabel="true weights inside (fraction)", ylim=(0, 1.03))
    name_ticks(ax, names, "class", most=20)
    note = "The weights of a class share the error of its scale: they miss the truth together,\n"
    note += "so classes scatter more than the grey band."
    heading(ax, "How many intervals hold the truth", note)
    legend_below(ax)


def factor_coverage(
    ax: Axes, factors: Names, classical: Numbers, corrected: Numbers, chance: Numbers, level: float, n_repetitions: int
) -> None:
    """Check on the study's own factors: coverage of each factor's intervals over repeated experiments, worst first.

    chance: the coverages to expect from perfect intervals over as many repetitions, from the worst to the best; they
    are compared with the corrected ones, rank by rank. The ROWS worst factors are drawn.
    """
    order = sorted(range(len(factors)), key=corrected.__getitem__)[:ROWS]
    rows = range(len(order))
    look = {**PLAIN_POINTS, "ms": 3}
    points(ax, rows, Estimates([classical[i] for i in order]), horizontal=True, label="classical intervals", **look)
    look = {**CORRECTED_POINTS, "ms": 3.5}
    points(ax, rows, Estimates([corrected[i] for i in order]), horizontal=True, label="corrected intervals", **look)
    ax.plot(chance[: len(order)], rows, color=FAINT, lw=3, alpha=0.6, zorder=1, label="perfect intervals, by chance")
    ax.axvline(level, color=TRUTH, ls="--", lw=1, label=f"nominal: {level:g}")
    name_rows(ax, [named(factors[i], "factor") for i in order])
    ax.invert_yaxis()
    ax.set_xlabel(f"fraction of {number(n_repetitions)} repetitions in which the interval holds the truth")
    rest = len(factors) - len(order)
    heading(ax, "Check on the own factors, worst first", f"the {ROWS} worst of {len(factors)} factors" if rest else "")
    legend_below(ax)


def replication(
    ax: Axes, groups: Names, plain: Estimates, corrected: Estimates, means: Mapping[str, tuple[float, float]]
) -> None:
    """Slope of the weights of each group on those of all others together; NaN for a group without an estimate.

    means: {"plain": (mean over the groups, its standard error), "corrected": …}.
    """
    at = range(len(groups))
    small = {} if len(groups) <= 40 else {"ms": 2.5}
    ax.axhline(1, color=TRUTH, ls="--", lw=1, label="equal weights")
    for key, words, estimates, look, line, dodge in (
        ("plain", "plain fit", plain, PLAIN_POINTS, "-.", -2),
        ("corrected", "corrected", corrected, CORRECTED_POINTS, "-", 2),
    ):
        found = [i for i in at if estimates.middle[i] == estimates.middle[i]]  # not NaN
        points(ax, found, estimates.at(found), dodge=dodge, label=words, **{**look, **small})
        mean, error = means[key]
        ax.axhline(mean, color=look["color"], ls=line, lw=1, label=f"{words}, mean: {mean:.2f} ± {error:.2f}")
    without = [i for i in at if plain.middle[i] != plain.middle[i]]
    if without:
        edge = ax.get_xaxis_transform()
        ax.plot(without, [0.03] * len(without), "x", ms=6, color=TRUTH, transform=edge, label="no estimate exists")
    ax.set_ylabel("slope on the weights of the other groups")
    name_ticks(ax, groups, "group", most=40)
    heading(ax, "Does each group replicate the others?", "above 1: its weights are larger than theirs")
    legend_below(ax, columns=3)


def existence_map(ax: Axes, signal: Numbers, kappa: Numbers, alpha: Numbers, here: tuple[float, float]) -> None:
    """How much too large weights come out, over signal and factors per trial, up to where no estimate exists.

    signal, kappa and alpha run over the same kappas per threshold for each signal; `here` is (signal, kappa).
    """
    width = len(signal) // len(set(signal))
    lowest = min(1e-3, here[1] / 3)
    starts = range(0, len(signal), width)
    grid = [  # down to very few factors per trial, where weights have the right size
        [[values[start] if few is None else few, *values[start : start + width]] for start in starts]
        for values, few in ((signal, None), (kappa, lowest / 10), (alpha, 1.0))
    ]
    levels = [1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 3, 5, 10]
    filled = ax.contourf(*grid, levels=levels, norm=BoundaryNorm(levels, 256), cmap="cividis", extend="max")
    heading(ax, "Where this experiment is on the map of maximum likelihood")
    bar = ax.figure.colorbar(filled, ax=ax, ticks=levels, label="weights too large by the factor α*")
    bar.ax.set_yticklabels([f"{level:g}" for level in levels])
    edge = [row[-1] for row in grid[0]], [row[-1] for row in grid[1]]
    ax.plot(*edge, color=PLAIN, lw=2, label="beyond: no estimate exists")
    ax.plot(*here, "*", ms=13, color="white", mec=TRUTH, label="this experiment, by its estimated signal", ls="none")
    logarithmic(ax.yaxis)
    ax.set(ylim=(lowest, 0.6), xlabel="signal γ: sd of the true logits", ylabel="factors per trial, κ")
    legend_below(ax)


def planning(
    above: Axes, below: Axes, table: Mapping[str, Numbers], n_trials: int, measured: Mapping[str, float | None]
) -> None:
    """Weight error and held-out cross-entropy to expect with other numbers of trials, and what was measured here."""
    x = table["n_trials"]
    for ax, plain, corrected in (
        (above, "weight_rmse", "debiased_weight_rmse"),
        (below, "test_cross_entropy", "test_best_cross_entropy"),
    ):
        for key, style, words, look in (
            (plain, "--", "plain fit, theory", PLAIN_POINTS),
            (corrected, "-", "corrected (debiased weights, best predictions), theory", CORRECTED_POINTS),
        ):
            ax.plot(x, table[key], color=look["color"], ls=style, label=words)
            if (found := measured.get(key)) is not None:
                points(ax, [n_trials], Estimates([found]), **{**look, "ms": 6})
        ax.axvline(x[0], color=FAINT, lw=1, ls=":", label="fewer trials: no estimate exists")
    floor = table["bayes_cross_entropy"]
    below.plot(x, floor, color=TRUTH, lw=1, ls="-.", label="true observer: no prediction can be better")
    logarithmic(above.yaxis, below.xaxis, below.yaxis)
    above.set(ylabel="error of a weight (rms),\nlogits per sd of a factor")
    errors = table["debiased_weight_rmse"]
    if min(errors) > 0:
        above.set_ylim(0.8 * min(errors), 20 * errors[0])
    below.set(ylabel="held-out\ncross-entropy (nats)", xlabel="training trials")
    if floor[0] > 0:
        below.set_ylim(0.95 * floor[0], 4 * floor[0])
    heading(above, "How many trials?", "points: measured here" if measured else "")
    legend_below(above, below, columns=1)
