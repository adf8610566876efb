"""Results of the experiments: `dvc exp show --json` as rows, and rows as a table over seeds."""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.commands import DVC, commit, output
from comparisons.experiments.grid import Value, written
from comparisons.tables import flatten, markdown
from stages.files.documents import nearest
from stages.files.errors import InputError

SEEDS = ("simulate.seed", "train.seed")
FINDINGS = Path(".dvc/tmp/no-estimate")  # <commit>/<name>.json: settings with which no estimate exists
FILES = {"params": "params.yaml", "metrics": "data/metrics.json"}  # in the folder of dvc.yaml


@dataclass(frozen=True)
class Row:
    """One experiment: flat parameters and metrics; no_estimate: no class has an estimate, which is its result."""

    name: str
    params: Mapping[str, Value]
    metrics: Mapping[str, Value | None]
    no_estimate: bool = False

    @property
    def lacks_estimates(self) -> bool:
        """Whether any class has no estimate: numbers of the others alone would be biased by selection."""
        exact = self.params.get("train.solver") == "exact"
        return self.no_estimate or (exact and self.metrics.get("fit.converged") is False)


@dataclass(frozen=True)
class Line:
    """A metric at one value of the parameter, over experiments that differ in seeds only.

    `series` names other parameters that differ; `values` holds a number per seed, None where no estimate exists.
    """

    series: str
    value: Value
    metric: str
    values: Mapping[Hashable, float | None]
    theory: float | None = None

    @property
    def numbers(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def complete(self) -> bool:
        """Whether every seed has an estimate: those that happen to have one are not representative."""
        return len(self.numbers) == len(self.values)

    @property
    def mean(self) -> float | None:
        """The mean over seeds, if all have an estimate."""
        return statistics.fmean(self.numbers) if self.complete else None

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds (n - 1), if all have an estimate."""
        return statistics.stdev(self.numbers) if self.complete and len(self.numbers) > 1 else None

    def cells(self, parameter: str) -> dict[str, str | int | float | None]:
        """For a table, by column; `no estimate` counts the seeds without one."""
        return {
            "series": self.series,
            parameter: written(self.value),
            "metric": self.metric,
            "seeds": len(self.values),
            "no estimate": len(self.values) - len(self.numbers) or None,
            "mean": self.mean,
            "sd": self.sd,
            "lowest": min(self.numbers, default=None),
            "highest": max(self.numbers, default=None),
            "theory": self.theory,
        }


def load(revision: str = "HEAD", *, workspace: bool = False) -> list[Row]:
    """The commit itself, as `baseline`, then its experiments, as far as they are about this folder's dvc.yaml.

    With `workspace`, the current workspace comes before them. Raises InputError.
    """
    sha = full_name(revision)
    folder = output("git", "rev-parse", "--show-prefix").strip()
    shown = json.loads(output(*DVC, "exp", "show", "--json", "--rev", sha))
    base, *found = rows(shown, sha, folder)
    findings = {path.stem: json.loads(path.read_text()) for path in sorted((FINDINGS / sha).glob("*.json"))}
    new = findings.keys() - {row.name for row in found}
    found += [Row(name, {**base.params, **findings[name]}, {}, no_estimate=True) for name in sorted(new)]
    now = [replace(rows(shown, "workspace", folder)[0], name="workspace")] if workspace else []
    return [*now, base, *found]


def full_name(revision: str = "HEAD") -> str:
    """The full hash of a commit. Raises InputError."""
    if found := commit(revision):
        return found
    raise InputError(f"{revision} is no commit of a git repository here; run this in the project, with a commit in it")


def rows(shown: Sequence[Mapping[str, Any]], sha: str, folder: str = "") -> list[Row]:
    """The rows of `dvc exp show --json`: the commit `sha` itself, then its finished experiments.

    In a repository with several pipelines, only the one in `folder` counts: "" or "studies/rat/".
    """
    entry = next((entry for entry in shown if entry["rev"] == sha and entry.get("data")), None)
    if entry is None:
        raise InputError(f"`dvc exp show` lists nothing of commit {sha[:7]}")

    def row(name: str, data: Mapping[str, Any]) -> Row:
        params, metrics = ((data.get(kind) or {}).get(folder + file, {}).get("data") for kind, file in FILES.items())
        return Row(name, flatten(params or {}), flatten(metrics or {}))

    base = row("baseline", entry["data"])
    found = [base]
    for experiment in entry.get("experiments") or []:
        data = experiment["revs"][0].get("data")  # None: queued or unreadable
        executor = experiment.get("executor") or {"state": "success"}  # else running, killed as it ran, or failed
        if data and experiment.get("name") and executor["state"] == "success":
            new = row(experiment["name"], data)
            elsewhere = data.get("params") != entry["data"].get("params")  # or, with a change here, everywhere
            if not elsewhere or replace(new, name=base.name) != base:
                found.append(new)
    return found


def choose(everything: Sequence[Row], pattern: str, parameter: str) -> dict[str, list[Row]]:
    """The rows whose names match, by series: the values of other parameters that differ, besides the seeds.

    Of experiments with equal parameters the first counts. Raises InputError.
    """
    known, others = everything[0].params, everything[1:]
    if parameter not in known:
        raise InputError(f"{parameter} is not a parameter; {nearest(parameter, known)}")
    if not others:
        raise InputError("this commit has no experiments; `make experiments` runs the grid, `dvc exp run` one")
    chosen = [row for row in others if fnmatch.fnmatchcase(row.name, pattern)]
    if not chosen:
        raise InputError(f"no experiment is called {pattern}; {nearest(pattern, [row.name for row in others])}")

    def values(row: Row, keys: Sequence[str]) -> list[str]:
        return [f"{key.rpartition('.')[2]} {written(row.params.get(key))}" for key in keys]

    distinct = [*{str(values(row, [*known])): row for row in reversed(chosen)}.values()][::-1]
    keys = [key for key in known if key != parameter and key not in SEEDS]
    varied = [key for key in keys if len({written(row.params.get(key)) for row in distinct}) > 1]
    series: dict[str, list[Row]] = {}
    for row in distinct:
        series.setdefault(", ".join(values(row, varied)), []).append(row)
    return dict(sorted(series.items()))


def lines(series: Mapping[str, Sequence[Row]], metric: str, parameter: str) -> list[Line]:
    """A metric against a parameter; experiments whose metric is null are left out. Raises InputError if all are."""
    found: list[Line] = []
    for label, members in series.items():
        cells: dict[Value, dict[Hashable, float | None]] = {}
        for row in members:
            y, seeds = row.metrics.get(metric), tuple(row.params.get(key) for key in SEEDS if key != parameter)
            if row.lacks_estimates or isinstance(y, bool | int | float):
                cells.setdefault(row.params[parameter], {})[seeds] = None if row.lacks_estimates else float(y or 0)
        found += [Line(label, value, metric, cells[value]) for value in sorted(cells, key=order)]
    if not any(line.numbers for line in found):
        known = {key for members in series.values() for row in members for key in row.metrics}
        if metric in known or not known:
            raise InputError(f"none of these experiments has a number for the metric {metric}")
        raise InputError(f"{metric} is not a metric of these experiments; {nearest(metric, known)}")
    return found


def order(value: Value) -> tuple[bool, float, str]:
    """Numbers first, by size; then words."""
    if isinstance(value, bool | str):
        return True, 0.0, str(value)
    return False, float(value), ""


def to_csv(found: Sequence[Line], parameter: str) -> str:
    """The table as CSV, with empty cells for None; in 12 digits, as the last ones differ between processors."""
    text = io.StringIO()
    cells = [line.cells(parameter) for line in found]
    rows = [{key: f"{x:.12g}" if isinstance(x, float) else x for key, x in row.items()} for row in cells]
    writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(found: Sequence[Line], parameter: str) -> str:
    """The table for a person, without empty columns, and without the metric if there is only one."""
    rows = [line.cells(parameter) for line in found]
    contents = {key: {row[key] for row in rows} for key in rows[0]}
    columns = [key for key, values in contents.items() if values - {None, ""} and (key != "metric" or len(values) > 1)]

    def shown(value: str | int | float | None) -> str:
        return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    return markdown(columns, [[shown(row[key]) for key in columns] for row in rows], align="right") + "\n"
