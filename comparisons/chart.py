"""Draw metrics of this commit's experiments against a parameter, and write the table:

python -m comparisons.chart test.cross_entropy simulate.n_trials --experiments 'sample-size-*' --out sample-size

gives sample-size.png, .md and .csv. Several metrics, separated by commas, are drawn above each other.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from comparisons import expected, results
from comparisons.grid import Value
from comparisons.results import Line, Point, Row
from stages.errors import InputError, run
from stages.figures import FAINT, FIT, OTHER, TRUTH, page

TRIALS = "simulate.n_trials"
WIDE = 5.0  # positive numbers that span more than this factor get a logarithmic axis
COLORS = (FIT, OTHER, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
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
    arguments = parse()
    metrics = tuple(filter(None, arguments.metric.split(",")))
    if not metrics:
        raise InputError("METRIC is empty; say one, as test.cross_entropy, or several with commas")
    out = arguments.out or Path(f"{arguments.metric.replace(',', '-')}-against-{arguments.parameter}")
    rows = results.load(arguments.rev)
    for path in make(rows, metrics, arguments.parameter, arguments.experiments, out):
        print(path)
    print(Path(f"{out}.md").read_text(encoding="utf-8"), end="")


def make(rows: Sequence[Row], metrics: Sequence[str], parameter: str, pattern: str, out: Path) -> list[Path]:
    """Draw the panels and write the table: <out>.png, .md, .csv. Raises InputError before anything is written."""
    series = results.choose(rows, pattern, parameter)
    found = {metric: results.points(series, metric, parameter) for metric in metrics}
    params = next(iter(series.values()))[0].params
    theory = parameter == TRIALS and all(expected.applies(row.params) for each in series.values() for row in each)
    lines = [line for metric in metrics for line in table(found[metric], metric, params if theory else None)]
    paths = [Path(f"{out}.{kind}") for kind in ("png", "md", "csv")]
    out.parent.mkdir(parents=True, exist_ok=True)
    with page(paths[0], dpi=150, size=(5.6, 0.6 + 2.7 * len(metrics)), rows=len(metrics)) as axes:
        for ax, metric in zip(axes, metrics, strict=True):
            draw(ax, found[metric], join=not theory)
            if theory:
                draw_theory(ax, metric, params)
            if metric == "test.cross_entropy":
                draw_floor(ax, series)
            ax.set_ylabel(label(metric))
            ax.legend()
        axes[0].set_title(out.name.replace("-", " ").capitalize())
        axes[-1].set_xlabel(label(parameter))
    paths[1].write_text(results.to_markdown(lines, parameter), encoding="utf-8")
    paths[2].write_text(results.to_csv(lines), encoding="utf-8")
    return paths


def table(found: Sequence[Point], metric: str, params: Mapping[str, Value] | None) -> list[Line]:
    """Means over seeds, with the theory's numbers if `params` are given."""
    lines = results.table(found, metric)
    values = params and expected.expected(metric, params, [float(line.value) for line in lines])
    if not values:
        return lines
    return [replace(line, theory=value) for line, value in zip(lines, values, strict=True)]


def draw(ax: Axes, found: Sequence[Point], *, join: bool) -> None:
    """A point per experiment, and per series the means over seeds with a bar of one standard deviation each way.

    `join` draws a faint line from mean to mean, on a logarithmic axis, to lead the eye. Where no estimate exists a
    cross stands on the lower edge.
    """
    position = positions(ax, [point.x for point in found])
    numbers = [point.y for point in found if point.y is not None]
    if wide(numbers):
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in "235" else "")
    for (series, members), color, marker in zip(grouped(found), itertools.cycle(COLORS), itertools.cycle("os^DvP")):
        name = series or "mean over seeds"
        lines = [line for line in results.table(members, "") if line.mean is not None]
        at = [position[line.value] for line in lines]
        seeds = [point for point in members if point.y is not None]
        if len(seeds) > len(lines):
            x = [position[results.shown_value(point.x)] for point in seeds]
            ax.plot(x, [point.y or 0 for point in seeds], marker, ms=3, color=color, alpha=0.5, mew=0, label="one seed")
            bars = [line.sd or 0.0 for line in lines]
            name = f"{name}, ± sd"
        else:
            bars, name = None, series or "one experiment"
        means = [line.mean or 0.0 for line in lines]
        if join and ax.get_xscale() == "log":
            ax.plot(at, means, color=color, lw=0.6, alpha=0.6)
        ax.errorbar(at, means, bars, fmt=marker, ms=5, mfc="none", color=color, capsize=3, label=name)
    absent = sorted({position[results.shown_value(point.x)] for point in found if point.y is None})
    if absent:
        edge = ax.get_xaxis_transform()
        ax.plot(absent, [0.04] * len(absent), "x", ms=7, color=TRUTH, transform=edge, label="no estimate exists")


def grouped(found: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    return [(name, list(each)) for name, each in itertools.groupby(found, key=lambda point: point.series)]


def positions(ax: Axes, values: Sequence[Value]) -> dict[str, float]:
    """Where the parameter's values stand on x: numbers at their place, linear or logarithmic; words side by side."""
    ordered = sorted(set(values), key=results.order)
    numbers = [float(value) for value in ordered if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(ordered) or (wide([n for n in numbers if n > 0]) and min(numbers) <= 0):
        ax.set_xticks(range(len(ordered)), [results.shown_value(value) for value in ordered])
        ax.set_xlim(-0.5, len(ordered) - 0.5)
        return {results.shown_value(value): float(i) for i, value in enumerate(ordered)}
    if wide(numbers):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda x, _: _spaced(x))
        ax.tick_params(axis="x", which="minor", pad=5)  # as far from the axis as under the longer major ticks
        ax.xaxis.set_minor_formatter(lambda x, _: _spaced(x) if f"{x:e}"[0] in "25" else "")
    return {results.shown_value(n): n for n in numbers}


def _spaced(x: float) -> str:
    return f"{x:,.10g}".replace(",", " ")


def wide(numbers: Sequence[float]) -> bool:
    return bool(numbers) and min(numbers) > 0 and max(numbers) > WIDE * min(numbers)


def draw_theory(ax: Axes, metric: str, params: Mapping[str, Value]) -> None:
    """What theory expects of a fit, and from how many trials on there is one."""
    low, high = ax.get_xlim()
    first = expected.threshold(params)
    ax.axvline(first, color=TRUTH, lw=1, ls=":", label=f"fewer than {first}: theory says that none exists")
    x = (first * (1 + np.geomspace(0.005, max(high / first - 1, 0.1), 80))).tolist()  # close to where it is steep
    values = expected.expected(metric, params, x)
    if values:
        bottom, top = ax.get_ylim()
        ax.plot(x, [np.nan if y is None else y for y in values], color=OTHER, label="theory")
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


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m comparisons.chart", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("metric", metavar="METRIC", help="a key of data/metrics.json, dotted")
    parser.add_argument("parameter", metavar="PARAM", help="a key of params.yaml, dotted")
    parser.add_argument("--experiments", metavar="GLOB", default="*", help="which, by name (default: all)")
    parser.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    parser.add_argument("--out", type=Path, metavar="NAME", help="writes NAME.png, NAME.md and NAME.csv")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
