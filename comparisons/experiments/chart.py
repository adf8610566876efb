"""Draw metrics of this commit's experiments against a parameter, and write the table:

python -m comparisons.experiments.chart test.cross_entropy simulate.n_trials --experiments 'size-*' --out size

gives size.png, .md and .csv. Several metrics, separated by commas, are drawn one above the other.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from comparisons.experiments import results
from comparisons.experiments.results import Row, written
from hdlogit.asymptotics.planning import plan, smallest_n_trials
from hdlogit.asymptotics.theory import OutsideTheory
from stages.figures.style import CLASSICAL, CORRECTED, FAINT, TRUTH, legend_below, logarithmic, panels, saved
from stages.files.errors import run

Observer = tuple[int, float]  # the number of factors, and γ: the sd of the logits

WIDE = 5.0  # positive numbers that span more than this factor get a logarithmic axis
COLORS = (CLASSICAL, CORRECTED, "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
THEORY = "#009E73"
MARKERS = "so^Dv"
NAMES = {
    "simulate.n_trials": "training trials",
    "train.num_epochs": "epochs of Adam",
    "train.ridge": "ridge (ridge/2 |weights|² per class, nats)",
    "recovery.weight_slope": "weight slope (1: right size)",
    "test.cross_entropy": "held-out cross-entropy (nats)",
}
EXPECTED = {"recovery.weight_slope": "alpha", "test.cross_entropy": "held_out"}  # as `plan` calls them


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("metric", metavar="METRIC", help="a key of data/metrics.json, dotted")
    options.add_argument("parameter", metavar="PARAM", help="a key of params.yaml, dotted")
    options.add_argument("--experiments", metavar="GLOB", default="*", help="which, by name (default: all)")
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    options.add_argument("--out", metavar="NAME", default="chart", help="writes NAME.png, .md and .csv")
    given = options.parse_args()
    chosen = results.choose(results.load(given.rev), given.experiments, given.parameter)
    make(chosen, given.metric.split(","), given.parameter, Path(given.out))
    print(Path(f"{given.out}.md").read_text(encoding="utf-8"), end="")


def make(chosen: Sequence[Row], metrics: Sequence[str], parameter: str, out: Path) -> None:
    """Draw the panels and write the table: <out>.png, .md, .csv. Raises InputError before it writes."""
    points = [results.points(chosen, metric, parameter) for metric in metrics]
    observers = [observer(row.params) for row in chosen] if parameter == "simulate.n_trials" else [None]
    theory, tables = None if None in observers else observers[0], []
    out.parent.mkdir(parents=True, exist_ok=True)
    with saved(Path(f"{out}.png"), dpi=150) as figure:
        axes = panels(figure, 5.6, 1 + 2.5 * len(metrics), nrows=len(metrics))
        for ax, metric, found in zip(axes, metrics, points, strict=True):
            table = results.summary(found)
            draw(ax, found, theory=theory is not None)
            if theory:
                draw_theory(ax, metric, theory)
                table["theory"] = expected(metric, theory, table["value"])
            fits = [row.metrics for row in chosen if not row.lacks_estimates]
            floors = [metrics.get("test.bayes_cross_entropy") for metrics in fits]
            two_fits = isinstance(chosen[0].params[parameter], bool | str)  # their difference is much smaller
            if metric == "test.cross_entropy" and not two_fits and None not in floors:
                floor = float(np.array(floors, float).mean())
                ax.axhline(floor, color=FAINT, lw=1, ls="--", label="true observer")
            ax.set_ylabel(NAMES.get(metric, metric))
            table.insert(2, "metric", metric)
            tables.append(table)
        axes[-1].set_xlabel(NAMES.get(parameter, parameter))
        legend_below(*axes)
    everything = pd.concat(tables).rename(columns={"value": parameter})
    everything[parameter] = everything[parameter].astype(object).map(written)
    everything.to_csv(f"{out}.csv", index=False, float_format="%.12g")  # the last ones depend on processors
    filled = everything.replace("", None).dropna(axis="columns", how="all").astype(object)
    cells = filled.where(filled.notna(), None)
    text = cells.to_markdown(index=False, floatfmt=".4g", missingval="-")
    Path(f"{out}.md").write_text(f"{text}\n", encoding="utf-8")


def draw(ax: Axes, points: pd.DataFrame, *, theory: bool) -> None:
    """Every seed, and per series the mean over seeds; at the bottom a cross where a seed has no estimate.

    With `theory`, which has a line of its own, means have bars of one standard deviation each way. Without
    it, the points of a seed are joined: it has one observer and one set of trials throughout, so differences
    along its line are due to the parameter.
    """
    points = points.assign(at=points["value"].map(positions(ax, points["value"].astype(object).unique())))
    if wide(points["y"].dropna()):
        logarithmic(ax.yaxis)
    look = itertools.cycle(zip(COLORS, MARKERS, strict=True))
    for (series, members), (color, marker) in zip(points.groupby("series", sort=False), look, strict=False):
        joined = "none" if theory else "-"
        for _, seed in members.groupby("seeds", sort=False):
            ax.plot(seed["at"], seed["y"], ls=joined, marker=".", ms=4, lw=0.8, color=color, alpha=0.6)
        table = results.summary(members)
        bars = table["sd"].fillna(0) if theory else None
        label = series or f"mean over seeds{', ± sd' * theory}"
        at = members["at"].unique()
        means: dict[str, Any] = {"fmt": marker, "ms": 5, "mfc": "none", "capsize": 3, "color": color}
        ax.errorbar(at, table["mean"], bars, label=label, **means)
    absent = points.loc[points["y"].isna(), "at"].unique()
    if absent.size:
        bottom, label = ax.get_xaxis_transform(), "a seed without estimate"
        ax.plot(absent, 0 * absent, "x", transform=bottom, color=TRUTH, clip_on=False, label=label)
        ax.update_datalim([(x, points["y"].min()) for x in absent])  # so that the axis includes them
        ax.autoscale_view()


def positions(ax: Axes, values: Sequence[Any]) -> dict[Any, float]:
    """Positions on x: numbers at their value, on a linear or logarithmic axis; words side by side."""
    words = any(isinstance(value, bool | str) for value in values)
    if words or (min(values) <= 0 and wide([value for value in values if value > 0])):
        ax.set_xticks(range(len(values)), map(written, values))
        ax.set_xlim(-0.5, len(values) - 0.5)
        return {value: float(i) for i, value in enumerate(values)}
    if wide(values):
        logarithmic(ax.xaxis)
    return {value: float(value) for value in values}


def wide(numbers: Sequence[float]) -> bool:
    return len(numbers) > 0 and 0 < WIDE * min(numbers) < max(numbers)


# --- theory


def observer(params: Mapping[str, Any]) -> Observer | None:
    """Simulate's observer, whose γ is weight_scale √n_factors.

    None where theory is not of this fit: it is of maximum likelihood, without guesses and lapses.
    """
    likelihood = params["train.solver"] == "exact" and params["train.shrinkage"] != "always"
    zeros = [params[key] for key in ("train.ridge", "simulate.guess_rate", "simulate.lapse_rate")]
    p, scale = params["simulate.n_factors"], params["simulate.weight_scale"]
    return (p, scale * math.sqrt(p)) if likelihood and zeros == [0, 0, 0] else None


def expected(metric: str, observer: Observer, n_trials: Iterable[float]) -> list[float | None] | None:
    """The metric at each number of trials, None where no estimate exists; None where theory has none."""
    try:
        lines = plan(*observer, 0.5, [round(n) for n in n_trials])  # a yes in every second trial
    except OutsideTheory:
        return None
    return [getattr(line, EXPECTED[metric]) for line in lines] if metric in EXPECTED else None


def draw_theory(ax: Axes, metric: str, observer: Observer) -> None:
    """What theory expects of a fit, and from how many trials on there is one."""
    (low, high), (bottom, top), first = ax.get_xlim(), ax.get_ylim(), smallest_n_trials(*observer)
    ax.axvline(first, color=TRUTH, lw=1, ls=":", label=f"fewer than {first}: by theory none exists")
    x = first * (1 + np.geomspace(0.005, max(high / first - 1, 0.1), 80))  # denser where it is steep
    if values := expected(metric, observer, x):
        ax.plot(x, np.array(values, float), color=THEORY, label="theory")
        ax.set(xlim=(low, high), ylim=(bottom, top))  # the points decide: theory goes to infinity


if __name__ == "__main__":
    run(main)
