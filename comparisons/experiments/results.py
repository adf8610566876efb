"""Results of experiments: `dvc exp show --json` as rows, and rows as points to draw and a table over seeds."""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from dvc.utils.flatten import flatten

from comparisons.commands import DVC, commit, output
from comparisons.experiments.grid import Experiment, Value, last, written
from comparisons.tables import markdown
from stages.files import OBSERVERS
from stages.files.documents import nearest
from stages.files.errors import InputError

SEEDS = ("simulate.seed", "train.seed")
NO_ESTIMATE = Path(".dvc/tmp/no-estimate")  # <commit>/<name>.json: settings with which no estimate exists


class Row(NamedTuple):
    """One experiment: flat parameters and metrics; no_estimate: that no class has an estimate is its result."""

    name: str
    params: Mapping[str, Value]
    metrics: Mapping[str, Value | None]
    no_estimate: bool = False

    @property
    def lacks_estimates(self) -> bool:
        """Whether any class has no estimate: numbers of the others alone would be biased by selection."""
        exact = self.params.get("train.solver") == "exact"
        return self.no_estimate or (exact and self.metrics.get("fit.converged") is False)


def load(revision: str = "HEAD", *, workspace: bool = False) -> list[Row]:
    """The commit itself, as `baseline`, then its experiments, as far as they are of this folder's dvc.yaml.

    With `workspace`, the current workspace comes before them. Raises InputError.
    """
    sha = commit(revision)
    if sha is None:
        raise InputError(f"{revision} is no commit of a git repository here; run this in the project")
    prefix = output("git", "rev-parse", "--show-prefix")  # "" or "studies/rat/"
    shown = json.loads(output(*DVC, "exp", "show", "--json", "--rev", sha))
    base, *found = rows(shown, sha, prefix)
    names = {row.name for row in found}
    for path in sorted((NO_ESTIMATE / sha).glob("*.json")):
        if path.stem not in names:
            found.append(Row(path.stem, {**base.params, **json.loads(path.read_text())}, {}, no_estimate=True))
    now = [rows(shown, "workspace", prefix)[0]._replace(name="workspace")] if workspace else []
    return [*now, base, *found]


def rows(shown: Sequence[Mapping[str, Any]], revision: str, prefix: str = "") -> list[Row]:
    """The rows of `dvc exp show --json`: the revision itself, then its finished experiments.

    In a repository with several pipelines, only the one in the folder `prefix` counts. Metrics of several observers,
    who are fitted each alone, are means over those that have them.
    """
    entry = next((entry for entry in shown if entry["rev"] == revision and entry.get("data")), None)
    if entry is None:
        raise InputError(f"`dvc exp show` lists nothing of commit {revision[:7]}")

    def row(name: str, data: Mapping[str, Any]) -> Row:
        params = (data.get("params") or {}).get(f"{prefix}params.yaml", {}).get("data")
        places = f"{re.escape(prefix)}({OBSERVERS}/[^/]+/)?data/metrics.json"
        files = [file.get("data") for path, file in (data.get("metrics") or {}).items() if re.fullmatch(places, path)]
        metrics = [flatten(tree) for tree in files if tree]
        if len(metrics) > 1:
            metrics = [pd.DataFrame(metrics).mean(numeric_only=True).to_dict()]
        return Row(name, flatten(params or {}), *(metrics or [{}]))

    base = row("baseline", entry["data"])
    found = [base]
    for experiment in entry.get("experiments") or []:
        data = experiment["revs"][0].get("data")  # None: queued or unreadable
        executor = experiment.get("executor") or {"state": "success"}  # else running, killed as it ran, failed
        if data and experiment.get("name") and executor["state"] == "success":
            new = row(experiment["name"], data)
            elsewhere = new.params == base.params and data["params"] != entry["data"]["params"]
            found += [] if elsewhere else [new]
    return found


def record_no_estimate(experiment: Experiment) -> None:
    """Record, beside DVC's own temporary files, that no estimate exists with these settings."""
    path = NO_ESTIMATE / str(commit("HEAD")) / f"{experiment.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".partial").write_text(json.dumps(experiment.settings))
    path.with_suffix(".partial").replace(path)


def choose(everything: Sequence[Row], pattern: str, parameter: str) -> list[Row]:
    """The rows whose names match; of those with equal parameters the first. Raises InputError."""
    known, others = everything[0].params, everything[1:]
    if parameter not in known:
        raise InputError(f"{parameter} is not a parameter; {nearest(parameter, known)}")
    if not others:
        raise InputError("this commit has no experiments; `make experiments` runs the grid")
    chosen = [row for row in others if fnmatch.fnmatchcase(row.name, pattern)]
    if not chosen:
        raise InputError(f"no experiment is called {pattern}; {nearest(pattern, [row.name for row in others])}")
    distinct = dict[tuple[str, ...], Row]()
    for row in chosen:
        distinct.setdefault(tuple(written(row.params.get(key)) for key in known), row)
    return [*distinct.values()]


def points(chosen: Sequence[Row], metrics: Sequence[str], parameter: str) -> pd.DataFrame:
    """One line per experiment and metric: series, value, metric, seeds, y; NaN where no estimate exists.

    Series are the values of other parameters that differ. Experiments whose metric is null are left out.
    Raises InputError if all are.
    """
    keys = [key for key in chosen[0].params if key not in (parameter, *SEEDS)]
    varied = [key for key in keys if len({written(row.params.get(key)) for row in chosen}) > 1]
    lines = []
    for row in chosen:
        series = ", ".join(f"{last(key)} {written(row.params.get(key))}" for key in varied)
        seeds = tuple(row.params.get(key) for key in SEEDS if key != parameter)
        for metric in metrics:
            y = math.nan if row.lacks_estimates else row.metrics.get(metric)
            if isinstance(y, int | float):
                lines.append((series, row.params[parameter], metric, seeds, float(y)))
    lines.sort(key=lambda line: (line[0], order(line[1])))
    for metric in metrics:
        if all(math.isnan(y) for _, _, name, _, y in lines if name == metric):
            known = {key for row in chosen for key in row.metrics}
            if metric in known or not known:
                raise InputError(f"none of these experiments has a number for the metric {metric}")
            raise InputError(f"{metric} is not a metric of these experiments; {nearest(metric, known)}")
    return pd.DataFrame(lines, columns=["series", "value", "metric", "seeds", "y"])


def order(value: Value) -> tuple[bool, float, str]:
    """Numbers first, by size; then words."""
    if isinstance(value, bool | str):
        return True, 0.0, str(value)
    return False, float(value), ""


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Over seeds, per series, value and metric; mean and sd (n - 1) only where every seed has an estimate.

    The seeds that happen to have one are not representative.
    """
    y = found.groupby(["series", "value", "metric"], sort=False)["y"]
    without = y.size() - y.count()
    columns = {
        "seeds": y.size(),
        "no estimate": without.astype("Int64").mask(without == 0),
        "mean": y.mean().where(without == 0),
        "sd": y.std().where(without == 0),
        "lowest": y.min(),
        "highest": y.max(),
    }
    return pd.DataFrame(columns).reset_index()


def to_csv(table: pd.DataFrame) -> str:
    """As CSV, in 12 digits, as the last ones differ between processors."""
    return str(table.to_csv(index=False, float_format="%.12g", lineterminator="\n"))


def to_markdown(table: pd.DataFrame) -> str:
    """The table for a person, without empty columns, and without the metric if there is only one."""
    empty = [name for name in table if table[name].replace("", None).isna().all()]
    single = ["metric"] if table["metric"].nunique() == 1 else []
    shown = table.drop(columns=[*empty, *single])

    def cell(value: Any) -> str:
        return "-" if pd.isna(value) else f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = [[*map(cell, line)] for line in shown.itertuples(index=False)]
    return markdown([*shown], lines, align="right") + "\n"
