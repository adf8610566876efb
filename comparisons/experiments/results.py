"""Results of the experiments that started from a commit: parameters and metrics, and tables over seeds."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from comparisons.git import outcome, output
from stages.files.documents import nearest
from stages.files.errors import InputError

SEEDS = ("simulate.seed", "train.seed")


class Row(NamedTuple):
    """One experiment, its parameters and metrics by name, as in train.ridge."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def lacks_estimates(self) -> bool:
        """Whether any class has no estimate: numbers of the others alone would be biased by selection."""
        return self.params.get("train.solver") == "exact" and self.metrics.get("fit.converged") is False


def load(revision: str = "HEAD") -> list[Row]:
    """The commit, as `baseline`, then its experiments, as far as they are of the current folder's pipeline.

    An experiment that has come to its end is a commit, too: DVC's reference refs/exps/<its base, after 2
    signs a slash>/<its name>. (`dvc exp show` mixes the metrics and parameters of all folders.)
    """
    base = output("git", "rev-parse", "--verify", f"{revision}^{{commit}}")
    params = output("git", "rev-parse", "--show-prefix") + "params.yaml"  # or studies/rat/params.yaml
    refs = output("git", "for-each-ref", "--format=%(refname)", f"refs/exps/{base[:2]}/{base[2:]}").split()
    rows = [Row("baseline", *outcome(base))]
    for ref in refs:
        changed = output("git", "diff", "--name-only", base, ref, "--", ":(top,glob)**/params.yaml").split()
        if not changed or params in changed:  # else it is an experiment of another folder
            rows.append(Row(ref.rpartition("/")[2], *outcome(ref)))
    return rows


def choose(rows: Sequence[Row], pattern: str, parameter: str) -> list[Row]:
    """The experiments whose names match; of those with equal parameters the first. Raises InputError."""
    known, others = rows[0].params, rows[1:]
    if parameter not in known:
        raise InputError(f"{parameter} is not a parameter; {nearest(parameter, known)}")
    if not others:
        raise InputError("this commit has no experiments; `make experiments` runs the grid")
    names = [row.name for row in others]
    chosen = [row for row in others if fnmatch.fnmatchcase(row.name, pattern)]
    if not chosen:
        raise InputError(f"no experiment is called {pattern}; {nearest(pattern, names)}")
    return [row for i, row in enumerate(chosen) if row.params not in [other.params for other in chosen[:i]]]


def points(chosen: Sequence[Row], metric: str, parameter: str) -> pd.DataFrame:
    """One line per experiment: series, value, seeds, y; NaN where no estimate exists.

    Series are the values of other parameters that differ. Experiments whose metric is null are left out.
    Raises InputError if all are.
    """
    keys = [key for key in chosen[0].params if key not in (parameter, *SEEDS)]
    varied = [key for key in keys if len({written(row.params.get(key)) for row in chosen}) > 1]
    lines = []
    for row in sorted(chosen, key=lambda row: order(row.params[parameter])):
        series = ", ".join(f"{key.rpartition('.')[2]} {written(row.params.get(key))}" for key in varied)
        seeds = tuple(row.params.get(key) for key in SEEDS if key != parameter)
        y = math.nan if row.lacks_estimates else row.metrics.get(metric)
        if isinstance(y, int | float):
            lines.append((series, row.params[parameter], seeds, float(y)))
    lines.sort(key=lambda line: line[0])
    if all(math.isnan(line[-1]) for line in lines):
        known = {metric, *(key for row in chosen for key in row.metrics)} - {metric}
        hint = f"; {nearest(metric, known)}" if known else ""
        raise InputError(f"none of these experiments has a number for the metric {metric}{hint}")
    return pd.DataFrame(lines, columns=["series", "value", "seeds", "y"])


def order(value: Any) -> tuple[bool, float, str]:
    """Numbers first, by size; then words."""
    return (False, float(value), "") if type(value) in (int, float) else (True, 0.0, str(value))


def summary(points: pd.DataFrame) -> pd.DataFrame:
    """Over seeds, per series and value; mean and sd (n - 1) only where every seed has an estimate.

    The seeds that happen to have one are not representative.
    """
    y = points.groupby(["series", "value"], sort=False)["y"]
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


def written(value: object) -> str:
    """A parameter's value as a person writes it in params.yaml; 0 and 0.0 are written alike."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
