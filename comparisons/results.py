"""What the experiments gave: `dvc exp show --json` as rows, and rows as a table of means over seeds."""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from comparisons.grid import Value, flat, nearest, number
from stages.errors import InputError

BASELINE = "baseline"
SEEDS = ("simulate.seed", "train.seed")
MOST_SERIES = 6
FINDINGS = Path(".dvc/tmp/no-estimate")  # <commit>/<name>.json: settings with which no estimate exists


@dataclass(frozen=True)
class Row:
    """One experiment: flat parameters and metrics; with no_estimate there is no fit, and that is its result."""

    name: str
    params: Mapping[str, Value]
    metrics: Mapping[str, Value]
    no_estimate: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a table: a metric at one value of the parameter, over n experiments that differ in seeds only.

    `series` says in what else the experiments of the chart differ. sd is the standard deviation over seeds (n - 1),
    None for a single one; mean, low and high are None where there is no number. `without` counts those where no
    estimate exists.
    """

    series: str
    value: str
    metric: str
    n: int
    without: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    theory: float | None = None


@dataclass(frozen=True)
class Point:
    """One experiment in one panel; y is None where no estimate exists."""

    series: str
    x: Value
    y: float | None


def commit(revision: str = "HEAD") -> str:
    """The full name of a commit. Raises InputError."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise InputError(
            f"{revision} is no commit of a git repository here; run this in the project, with a commit in it"
        )
    return found.stdout.strip()


def dvc(*arguments: str) -> str:
    """What DVC prints on stdout. Raises InputError with DVC's own last line."""
    ran = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        last = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")] or [f"exit {ran.returncode}"]
        raise InputError(f"dvc {' '.join(arguments)}: {last[-1].removeprefix('ERROR: ')}")
    return ran.stdout


def load(revision: str = "HEAD") -> list[Row]:
    """The experiments of a commit, the commit itself first. Raises InputError."""
    sha = commit(revision)
    shown = json.loads(dvc("exp", "show", "--json", "--rev", sha))
    found = rows(shown, sha)
    findings = {path.stem: json.loads(path.read_text()) for path in sorted((FINDINGS / sha).glob("*.json"))}
    here = {row.name for row in found}
    base = found[0].params
    return found + [Row(n, {**base, **settings}, {}, True) for n, settings in findings.items() if n not in here]


def rows(shown: Sequence[Mapping[str, Any]], sha: str) -> list[Row]:
    """The rows of `dvc exp show --json`: the commit `sha` itself, as `baseline`, then its finished experiments."""
    entry = next((entry for entry in shown if entry["rev"] == sha and entry.get("data")), None)
    if entry is None:
        raise InputError(f"`dvc exp show` says nothing about commit {sha[:7]}")
    found = [_row(BASELINE, entry["data"])]
    for experiment in entry.get("experiments") or []:
        last = experiment["revs"][0]
        if last.get("data") and experiment.get("name"):  # none: queued, running or unreadable
            found.append(_row(experiment["name"], last["data"]))
    return found


def _row(name: str, data: Mapping[str, Any]) -> Row:
    return Row(name, _merged(data.get("params")), _merged(data.get("metrics")))


def _merged(files: Mapping[str, Any] | None) -> dict[str, Value]:
    merged: dict[str, Value] = {}
    for file in (files or {}).values():
        merged |= flat(file.get("data") or {})
    return merged


def choose(everything: Sequence[Row], pattern: str, parameter: str) -> dict[str, list[Row]]:
    """The rows whose names match, by series: the values of what they differ in besides the parameter and the seeds.

    Of experiments with equal parameters the first counts. Raises InputError.
    """
    known = everything[0].params
    if parameter not in known:
        raise InputError(f"{parameter} is not a parameter; {nearest(parameter, known)}")
    chosen = [row for row in everything[1:] if fnmatch.fnmatchcase(row.name, pattern)]
    if not chosen:
        names = [row.name for row in everything[1:]]
        if not names:
            raise InputError("this commit has no experiments; `make experiments` runs the grid, `dvc exp run` one")
        raise InputError(f"no experiment of this commit is called {pattern}; {nearest(pattern, names)}")
    keys = [key for key in known if key != parameter and key not in SEEDS]
    varied = [key for key in keys if len({str(number(row.params.get(key))) for row in chosen}) > 1]
    series: dict[str, list[Row]] = {}
    for row in _distinct(chosen):
        series.setdefault(_label(row, varied), []).append(row)
    if len(series) > MOST_SERIES:
        raise InputError(
            f"these experiments differ in {', '.join(varied)}, too: choose some, as --experiments 'ridge-*'"
        )
    return series


def _label(row: Row, varied: Sequence[str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {row.params.get(key)}" for key in varied)


def _distinct(found: Sequence[Row]) -> list[Row]:
    first: dict[str, Row] = {}
    for row in found:
        first.setdefault(str({key: str(number(value)) for key, value in sorted(row.params.items())}), row)
    return [*first.values()]


def points(series: Mapping[str, Sequence[Row]], metric: str, parameter: str) -> list[Point]:
    """One metric of every experiment; those whose metric is null are left out. Raises InputError if none has it."""
    found: list[Point] = []
    for label, members in series.items():
        for row in members:
            y = row.metrics.get(metric)
            if row.no_estimate:
                found.append(Point(label, number(row.params[parameter]), None))
            elif isinstance(y, bool | int | float):
                found.append(Point(label, number(row.params[parameter]), float(y)))
    if all(point.y is None for point in found):
        known = {key for members in series.values() for row in members for key in row.metrics}
        if metric in known:
            raise InputError(f"the metric {metric} is null in all of these experiments")
        raise InputError(f"{metric} is not a metric of these experiments; {nearest(metric, known)}")
    return sorted(found, key=lambda point: (point.series, order(point.x)))


def order(value: Value) -> tuple[bool, float, str]:
    """Numbers first, by size; then words."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True, 0.0, str(value)
    return False, float(value), ""


def table(found: Sequence[Point], metric: str) -> list[Line]:
    """Means over seeds."""
    cells: dict[tuple[str, Value], list[float | None]] = {}
    for point in found:
        cells.setdefault((point.series, point.x), []).append(point.y)
    lines = []
    for (series, x), values in cells.items():
        numbers = [value for value in values if value is not None]
        lines.append(
            Line(
                series,
                shown_value(x),
                metric,
                n=len(numbers),
                without=len(values) - len(numbers),
                mean=statistics.fmean(numbers) if numbers else None,
                sd=statistics.stdev(numbers) if len(numbers) > 1 else None,
                low=min(numbers, default=None),
                high=max(numbers, default=None),
            )
        )
    return lines


def shown_value(value: Value) -> str:
    """A parameter's value as a person writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, int | float) else str(value)


def to_csv(lines: Sequence[Line]) -> str:
    """The table, with all digits; nothing stands for None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return text.getvalue()


def to_markdown(lines: Sequence[Line], parameter: str) -> str:
    """The table as a person reads it; columns without any content are left out."""
    several = any(line.series for line in lines)
    seeds, theory = any(line.sd is not None for line in lines), any(line.theory is not None for line in lines)
    columns = {
        "series": several,
        parameter: True,
        "metric": len({line.metric for line in lines}) > 1,
        "seeds": seeds,
        "mean": True,
        "sd": seeds,
        "lowest": seeds,
        "highest": seeds,
        "theory": theory,
    }
    out = ["| " + " | ".join(name for name, shown in columns.items() if shown) + " |"]
    out.append("|" + "".join(" ---: |" for shown in columns.values() if shown))
    for line in lines:
        total = line.n + line.without
        some = f" ({line.without} of {total}: no estimate)" if line.n and line.without else ""
        cells = [
            line.series,
            line.value,
            line.metric,
            str(total),
            (_digits(line.mean) + some) if line.n else "no estimate",
            *(_digits(value) for value in (line.sd, line.low, line.high, line.theory)),
        ]
        kept = [cell for cell, shown in zip(cells, columns.values(), strict=True) if shown]
        out.append("| " + " | ".join(kept) + " |")
    return "\n".join(out) + "\n"


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
