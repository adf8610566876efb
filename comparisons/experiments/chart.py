"""Draw metrics of this commit's experiments against a parameter, and write the table:

python -m comparisons.experiments.chart test.cross_entropy simulate.n_trials --experiments 'sample-size-*' --out size

gives size.png, .md and .csv. Several metrics, separated by commas, are drawn one above the other.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from comparisons.commands import enter, parser
from comparisons.experiments import expected, results
from comparisons.experiments.grid import Value, written
from comparisons.experiments.results import Line, Row
from stages.figures.style import CLASSICAL, CORRECTED, FAINT, TRUTH, legend_below, logarithmic, panels, saved
from stages.files.errors import run
from stages.page.meanings import COLUMNS, SECTIONS

TRIALS = "simulate.n_trials"
WIDE = 5.0  # positive numbers that span more than this factor get a logarithmic axis
COLORS = (CLASSICAL, CORRECTED, "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
THEORY = "#009E73"
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
UNITS = {"cross_entropy": "nats", "weight_rmse": "logits per unit", "bias_rmse": "logits"}


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
    """Draw the panels and write the table: <out>.png, .md, .csv. Raises InputError before anything is written."""
    series = results.choose(rows, pattern, parameter)
    params = next(iter(series.values()))[0].params
    theory = parameter == TRIALS and all(expected.applies(row.params) for each in series.values() for row in each)
    found = {metric: results.lines(series, metric, parameter) for metric in metrics}
    if theory:
        found = {metric: with_theory(lines, params) for metric, lines in found.items()}
    paths = [Path(f"{out}.{kind}") for kind in ("png", "md", "csv")]
    out.parent.mkdir(parents=True, exist_ok=True)
    with saved(paths[0], dpi=150) as figure:
        axes = panels(figure, 5.6, 1 + 2.5 * len(metrics), rows=len(metrics))
        for ax, (metric, lines) in zip(axes, found.items(), strict=True):
            draw(ax, lines, theory=theory)
            if theory:
                draw_theory(ax, metric, params)
            if metric == "test.cross_entropy" and any(is_number(line.value) for line in lines):
                draw_floor(ax, series)  # not where two fits are compared: their difference is much smaller
            ax.set_ylabel(label(metric))
        axes[-1].set_xlabel(label(parameter))
        legend_below(*axes)
    table = [line for lines in found.values() for line in lines]
    paths[1].write_text(results.to_markdown(table, parameter), encoding="utf-8")
    paths[2].write_text(results.to_csv(table, parameter), encoding="utf-8")
    return paths


def with_theory(lines: Sequence[Line], params: Mapping[str, Value]) -> list[Line]:
    values = expected.expected(lines[0].metric, params, [float(line.value) for line in lines])
    return [replace(line, theory=value) for line, value in zip(lines, values or [None] * len(lines), strict=True)]


def draw(ax: Axes, lines: Sequence[Line], *, theory: bool) -> None:
    """Every seed, and per series the mean over seeds; below the axis a cross where a seed has no estimate.

    With `theory`, which has a line of its own, seeds are points and means have bars of one standard deviation each way.
    Without it, the points of a seed are joined: it has one observer and one set of trials throughout, so differences
    along its line are due to the parameter. Points of a single seed are joined only if the axis is logarithmic.
    """
    position = positions(ax, [line.value for line in lines])
    if wide([y for line in lines for y in line.numbers]):
        logarithmic(ax.yaxis)
    series = itertools.groupby(lines, key=lambda line: line.series)
    for (name, each), color, marker in zip(series, itertools.cycle(COLORS), itertools.cycle("so^DvP"), strict=False):
        members = [*each]
        at, seeds = [position[line.value] for line in members], [*{seed: 0 for line in members for seed in line.values}]
        several = len(seeds) > 1
        joined = not theory and (several or ax.get_xscale() == "log")
        look: dict[str, Any] = {"ls": "-" if joined else "none", "marker": marker if several else "none"}
        for seed in seeds:
            y, text = [line.values.get(seed) for line in members], "one seed" if several and seed == seeds[0] else None
            ax.plot(at, drawable(y), lw=0.8, ms=3, mew=0, color=color, alpha=0.6, label=text, **look)
        means = drawable([line.mean for line in members])
        bars = [line.sd or 0.0 for line in members] if several and not joined else None
        what = name.replace("_", " ") or ("mean over seeds" if several else "one experiment")
        label = what + ("" if bars is None else ", ± sd")
        ax.errorbar(at, means, bars, fmt=marker, ms=5, mfc="none", color=color, capsize=3, label=label)
    absent = sorted({position[line.value] for line in lines if not line.complete})
    if absent:
        assert isinstance(ax.figure, Figure)
        below = ax.get_xaxis_transform() + ScaledTranslation(0, -8 / 72, ax.figure.dpi_scale_trans)
        what = "below the axis: a seed without estimate"
        ax.plot(absent, [0] * len(absent), "x", transform=below, color=TRUTH, ms=6, clip_on=False, label=what)
        ax.tick_params(axis="x", which="major", pad=14)  # room for the crosses
        ax.tick_params(axis="x", which="minor", pad=15.5)  # as minor ticks are shorter
        some = next(y for line in lines for y in line.numbers)
        ax.update_datalim([(x, some) for x in absent])  # so that the axis includes them
        ax.autoscale_view()


def drawable(values: Sequence[float | None]) -> list[float]:
    """NaN, which matplotlib leaves out, for None."""
    return [math.nan if value is None else value for value in values]


def positions(ax: Axes, values: Sequence[Value]) -> dict[Value, float]:
    """Positions of the parameter's values on x: numbers at their value, linear or logarithmic; words side by side."""
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
    return isinstance(value, int | float) and not isinstance(value, bool)


def wide(numbers: Sequence[float]) -> bool:
    return bool(numbers) and min(numbers) > 0 and max(numbers) > WIDE * min(numbers)


def draw_theory(ax: Axes, metric: str, params: Mapping[str, Value]) -> None:
    """What theory expects of a fit, and from how many trials on there is one."""
    low, high = ax.get_xlim()
    first = expected.threshold(params)
    ax.axvline(first, color=TRUTH, lw=1, ls=":", label=f"fewer than {first}: by theory none exists")
    x = (first * (1 + np.geomspace(0.005, max(high / first - 1, 0.1), 80))).tolist()  # denser where it is steep
    values = expected.expected(metric, params, x)
    if values:
        bottom, top = ax.get_ylim()
        ax.plot(x, [np.nan if y is None else y for y in values], color=THEORY, label="theory")
        ax.set(xlim=(low, high), ylim=(bottom, top))  # theory goes to infinity at the threshold; the points decide


def draw_floor(ax: Axes, series: Mapping[str, Sequence[Row]]) -> None:
    """The true observer's own cross-entropy on the same held-out trials, mean over the experiments."""
    floors = [row.metrics.get("test.bayes_cross_entropy") for rows in series.values() for row in rows]
    numbers = [float(value) for value in floors if isinstance(value, int | float)]
    if numbers:
        ax.axhline(sum(numbers) / len(numbers), color=FAINT, lw=1, ls="--", label="true observer")


def label(key: str) -> str:
    """A parameter or a metric in words, wrapped to the height of a panel."""
    if key in NAMES:
        return NAMES[key]
    *path, last = key.split(".")
    section, column = "".join(path[:1]), path[1:]
    title, meanings = SECTIONS.get(section, ("", {}))
    words = [meanings[last][0] if last in meanings else last.replace("_", " "), *(COLUMNS.get(c, c) for c in column)]
    unit = f" ({UNITS[last]})" if last in UNITS else ""
    return textwrap.fill(", ".join(words) + unit, 34) + (f"\n{textwrap.fill(title, 34)}" if title else "")


if __name__ == "__main__":
    run(main)
