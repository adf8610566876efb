"""Draw metrics of this commit's experiments against a parameter, and write the table:

python -m comparisons.experiments.chart test.cross_entropy simulate.n_trials --experiments 'sample-size-*' --out size

gives size.png, .md and .csv. Several metrics, separated by commas, are drawn one above the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from comparisons.commands import enter, parser
from comparisons.experiments import expected, results
from comparisons.experiments.grid import Value, written
from comparisons.experiments.results import Row
from stages.figures.style import CLASSICAL, CORRECTED, FAINT, TRUTH, legend_below, logarithmic, panels, saved
from stages.files.errors import run

TRIALS = "simulate.n_trials"
WIDE = 5.0  # positive numbers that span more than this factor get a logarithmic axis
COLORS = (CLASSICAL, CORRECTED, "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
THEORY = "#009E73"
MARKERS = "so^DvP"
NAMES = {
    "simulate.n_trials": "training trials",
    "train.num_epochs": "epochs of Adam",
    "train.learning_rate": "learning rate",
    "train.ridge": "ridge (ridge/2 |weights|² per class, nats)",
    "train.amsgrad": "AMSGrad",
    "train.solver": "fitted by",
    "recovery.weight_slope": "weight slope (1: right size)",
    "test.cross_entropy": "held-out cross-entropy (nats)",
}
WORDS = {"adam": "Adam", "exact": "the exact solver", "false": "off", "true": "on"}  # values of parameters


def main() -> None:
    options = parser("experiments.chart", __doc__)
    options.add_argument("metric", metavar="METRIC", help="a key of data/metrics.json, dotted")
    options.add_argument("parameter", metavar="PARAM", help="a key of params.yaml, dotted")
    options.add_argument("--experiments", metavar="GLOB", default="*", help="which, by name (default: all)")
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    options.add_argument("--out", type=Path, metavar="NAME", help="writes NAME.png, NAME.md and NAME.csv")
    arguments = options.parse_args()
    enter(arguments.folder)
    out = arguments.out or Path(f"{arguments.metric.replace(',', '-')}-against-{arguments.parameter}")
    rows, metrics = results.load(arguments.rev), arguments.metric.split(",")
    for path in make(rows, metrics, arguments.parameter, arguments.experiments, out):
        print(path)
    print(Path(f"{out}.md").read_text(encoding="utf-8"), end="")


def make(rows: Sequence[Row], metrics: Sequence[str], parameter: str, pattern: str, out: Path) -> list[Path]:
    """Draw the panels and write the table: <out>.png, .md, .csv. Raises InputError before it writes."""
    chosen = results.choose(rows, pattern, parameter)
    points, params = results.points(chosen, metrics, parameter), chosen[0].params
    with_theory = parameter == TRIALS and all(expected.applies(row.params) for row in chosen)
    paths, tables = [Path(f"{out}.{kind}") for kind in ("png", "md", "csv")], []
    out.parent.mkdir(parents=True, exist_ok=True)
    with saved(paths[0], dpi=150) as figure:
        axes = panels(figure, 5.6, 1 + 2.5 * len(metrics), nrows=len(metrics))
        for ax, metric in zip(axes, metrics, strict=True):
            found = points[points["metric"] == metric]
            table = results.summary(found)
            values = [*table["value"]]
            theory = expected.expected(metric, params, values) if with_theory else None
            tables.append(table.assign(value=[*map(written, values)], theory=theory))
            draw(ax, found, theory=with_theory)
            if with_theory:
                draw_theory(ax, metric, params)
            if metric == "test.cross_entropy" and any(map(is_number, values)):
                draw_floor(ax, chosen)  # not where two fits are compared: their difference is much smaller
            ax.set_ylabel(label(metric))
        axes[-1].set_xlabel(label(parameter))
        legend_below(*axes)
    everything = pd.concat(tables).rename(columns={"value": parameter})
    paths[1].write_text(results.to_markdown(everything), encoding="utf-8")
    paths[2].write_text(results.to_csv(everything), encoding="utf-8")
    return paths


def draw(ax: Axes, points: pd.DataFrame, *, theory: bool) -> None:
    """Every seed, and per series the mean over seeds; below the axis a cross where a seed has no estimate.

    With `theory`, which has a line of its own, seeds are points and means have bars of one standard deviation
    each way. Without it, the points of a seed are joined: it has one observer and one set of trials throughout,
    so differences along its line are due to the parameter. Points of a single seed are joined only if the axis
    is logarithmic.
    """
    points = points.assign(at=points["value"].map(positions(ax, points["value"])))
    if wide(points["y"].dropna()):
        logarithmic(ax.yaxis)
    for i, (series, members) in enumerate(points.groupby("series", sort=False)):
        color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
        several = members["seeds"].nunique() > 1
        joined = not theory and (several or ax.get_xscale() == "log")
        look: dict[str, Any] = {"ls": "-" if joined else "none", "marker": marker if several else "none"}
        text = "one seed" if several else None
        for _, seed in members.groupby("seeds", sort=False):
            ax.plot(seed["at"], seed["y"], lw=0.8, ms=3, mew=0, color=color, alpha=0.6, label=text, **look)
            text = None
        table = results.summary(members)
        bars = table["sd"].fillna(0) if several and not joined else None
        what = series.replace("_", " ") or ("mean over seeds" if several else "one experiment")
        what += "" if bars is None else ", ± sd"
        at = members["at"].unique()
        ax.errorbar(at, table["mean"], bars, fmt=marker, ms=5, mfc="none", color=color, capsize=3, label=what)
    absent = points.loc[points["y"].isna(), "at"].unique()
    if absent.size:
        assert isinstance(ax.figure, Figure)
        below = ax.get_xaxis_transform() + ScaledTranslation(0, -8 / 72, ax.figure.dpi_scale_trans)
        what = "below the axis: a seed without estimate"
        ax.plot(absent, 0 * absent, "x", transform=below, color=TRUTH, ms=6, clip_on=False, label=what)
        ax.tick_params(axis="x", which="major", pad=14)  # room for the crosses
        ax.tick_params(axis="x", which="minor", pad=15.5)  # as minor ticks are shorter
        ax.update_datalim([(x, points["y"].min()) for x in absent])  # so that the axis includes them
        ax.autoscale_view()


def positions(ax: Axes, values: Iterable[Value]) -> dict[Value, float]:
    """Positions on x: numbers at their value, on a linear or logarithmic axis; words side by side."""
    ordered = sorted(set(values), key=results.order)
    numbers = [float(value) for value in ordered if is_number(value)]
    if len(numbers) < len(ordered) or (wide([n for n in numbers if n > 0]) and min(numbers) <= 0):
        ax.set_xticks(range(len(ordered)), [WORDS.get(written(value), written(value)) for value in ordered])
        ax.set_xlim(-0.5, len(ordered) - 0.5)
        return {value: float(i) for i, value in enumerate(ordered)}
    if wide(numbers):
        logarithmic(ax.xaxis)
    return dict(zip(ordered, numbers, strict=True))


def is_number(value: Value) -> bool:
    return not isinstance(value, bool | np.bool_ | str)


def wide(numbers: Sequence[float]) -> bool:
    return len(numbers) > 0 and min(numbers) > 0 and max(numbers) > WIDE * min(numbers)


def draw_theory(ax: Axes, metric: str, params: Mapping[str, Value]) -> None:
    """What theory expects of a fit, and from how many trials on there is one."""
    (low, high), (bottom, top), first = ax.get_xlim(), ax.get_ylim(), expected.threshold(params)
    ax.axvline(first, color=TRUTH, lw=1, ls=":", label=f"fewer than {first}: by theory none exists")
    beyond = np.geomspace(0.005, max(high / first - 1, 0.1), 80)  # denser where it is steep
    x = (first * (1 + beyond)).tolist()
    if values := expected.expected(metric, params, x):
        ax.plot(x, [math.nan if y is None else y for y in values], color=THEORY, label="theory")
        ax.set(xlim=(low, high), ylim=(bottom, top))  # the points decide: theory goes to infinity


def draw_floor(ax: Axes, chosen: Sequence[Row]) -> None:
    """The true observer's own cross-entropy on the same held-out trials, mean over the experiments."""
    floors = [row.metrics.get("test.bayes_cross_entropy") for row in chosen]
    numbers = [float(value) for value in floors if isinstance(value, int | float)]
    if numbers:
        ax.axhline(sum(numbers) / len(numbers), color=FAINT, lw=1, ls="--", label="true observer")


def label(key: str) -> str:
    """A parameter or a metric in words."""
    return NAMES.get(key, key.replace("_", " ").replace(".", ", "))


if __name__ == "__main__":
    run(main)
