"""Draw metrics of this commit's experiments against a parameter, and write the table:

python -m comparisons.experiments.chart test.cross_entropy simulate.n_trials --experiments 'sample-size-*' --out size

gives size.png, .md and .csv. Several metrics, separated by commas, are drawn above each other.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from comparisons.commands import parser
from comparisons.experiments import expected, results
from comparisons.experiments.grid import Value, written
from comparisons.experiments.results import Line, Row
from stages.errors import run
from stages.figures.style import CORRECTED, FAINT, PLAIN, TRUTH, number, page

TRIALS = "simulate.n_trials"
WIDE = 5.0  # positive numbers that span more than this factor get a logarithmic axis
COLORS = (PLAIN, CORRECTED, "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
THEORY = "#009E73"
NAMES = {
    "simulate.n_trials": "training trials",
    "train.num_epochs": "epochs of Adam",
    "train.learning_rate": "learning rate",
    "train.ridge": "ridge (ridge/2 |weights|² per class, nats)",
    "recovery.weight_slope": "weight slope (1: right size)",
    "test.cross_entropy": "held-out cross-entropy (nats)",
}
UNITS = {"cross_entropy": "nats", "weight_rmse": "logits per unit", "bias_rmse": "logits"}


def main() -> None:
    options = parser("experiments.chart", __doc__)
    options.add_argument("metric", metavar="METRIC", help="a key of data/metrics.json, dotted")
    options.add_argument("parameter", metavar="PARAM", help="a key of params.yaml, dotted")
    options.add_argument("--experiments", metavar="GLOB", default="*", help="which, by name (default: all)")
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    options.add_argument("--out", type=Path, metavar="NAME", help="writes NAME.png, NAME.md and NAME.csv")
    arguments = options.parse_args()
    os.chdir(arguments.folder)
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
    with page(paths[0], dpi=150, size=(5.6, 0.6 + 2.7 * len(metrics)), rows=len(metrics)) as axes:
        for ax, (metric, lines) in zip(axes, found.items(), strict=True):
            draw(ax, lines, join=not theory)
            if theory:
                draw_theory(ax, metric, params)
            if metric == "test.cross_entropy":
                draw_floor(ax, series)
            ax.set_ylabel(label(metric))
            ax.legend()
        axes[0].set_title(out.name.replace("-", " ").capitalize())
        axes[-1].set_xlabel(label(parameter))
    table = [line for lines in found.values() for line in lines]
    paths[1].write_text(results.to_markdown(table, parameter), encoding="utf-8")
    paths[2].write_text(results.to_csv(table, parameter), encoding="utf-8")
    return paths


def with_theory(lines: Sequence[Line], params: Mapping[str, Value]) -> list[Line]:
    values = expected.expected(lines[0].metric, params, [float(line.value) for line in lines])
    return [replace(line, theory=value) for line, value in zip(lines, values or [None] * len(lines), strict=True)]


def draw(ax: Axes, lines: Sequence[Line], *, join: bool) -> None:
    """A point per experiment, and per series the means over seeds with a bar of one standard deviation each way.

    `join` draws a faint line from mean to mean, on a logarithmic axis, to lead the eye. Where no estimate exists a
    cross stands on the lower edge.
    """
    position = positions(ax, [line.value for line in lines])
    if wide([y for line in lines for y in line.numbers]):
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in "235" else "")
    series = itertools.groupby(lines, key=lambda line: line.series)
    for (name, each), color, marker in zip(series, itertools.cycle(COLORS), itertools.cycle("so^DvP"), strict=False):
        members = [line for line in each if line.mean is not None]
        at = [position[line.value] for line in members]
        means = [line.mean or 0.0 for line in members]
        bars, name = None, name or "one experiment"
        if any(line.sd is not None for line in members):
            x = [position[line.value] for line in members for _ in line.numbers]
            y = [value for line in members for value in line.numbers]
            ax.plot(x, y, marker, ms=3, color=color, alpha=0.5, mew=0, label="one seed")
            bars, name = [line.sd or 0.0 for line in members], f"{members[0].series or 'mean over seeds'}, ± sd"
        if join and ax.get_xscale() == "log":
            ax.plot(at, means, color=color, lw=0.6, alpha=0.6)
        ax.errorbar(at, means, bars, fmt=marker, ms=5, mfc="none", color=color, capsize=3, label=name)
    absent = sorted({position[line.value] for line in lines if None in line.values})
    if absent:
        edge = ax.get_xaxis_transform()
        ax.plot(absent, [0.04] * len(absent), "x", ms=7, color=TRUTH, transform=edge, label="no estimate exists")


def positions(ax: Axes, values: Sequence[Value]) -> dict[Value, float]:
    """Where the parameter's values stand on x: numbers at their place, linear or logarithmic; words side by side."""
    ordered = sorted(set(values), key=results.order)
    numbers = [float(value) for value in ordered if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(ordered) or (wide([n for n in numbers if n > 0]) and min(numbers) <= 0):
        ax.set_xticks(range(len(ordered)), [written(value) for value in ordered])
        ax.set_xlim(-0.5, len(ordered) - 0.5)
        return {value: float(i) for i, value in enumerate(ordered)}
    if wide(numbers):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(number)
        ax.tick_params(axis="x", which="minor", pad=5)  # as far from the axis as under the longer major ticks
        ax.xaxis.set_minor_formatter(lambda x, _: number(x) if f"{x:e}"[0] in "25" else "")
    return dict(zip(ordered, numbers, strict=True))


def wide(numbers: Sequence[float]) -> bool:
    return bool(numbers) and min(numbers) > 0 and max(numbers) > WIDE * min(numbers)


def draw_theory(ax: Axes, metric: str, params: Mapping[str, Value]) -> None:
    """What theory expects of a fit, and from how many trials on there is one."""
    low, high = ax.get_xlim()
    first = expected.threshold(params)
    ax.axvline(first, color=TRUTH, lw=1, ls=":", label=f"fewer than {first}: by theory none exists")
    x = (first * (1 + np.geomspace(0.005, max(high / first - 1, 0.1), 80))).tolist()  # close to where it is steep
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


def label(name: str) -> str:
    unit = UNITS.get(name.rpartition(".")[2])
    return NAMES.get(name) or (f"{name} ({unit})" if unit else name)


if __name__ == "__main__":
    run(main)
