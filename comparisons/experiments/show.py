"""The experiments of a commit: `make show`, or `python -m comparisons.experiments.show` in its folder.

`dvc exp show` has a column for every metric, parameter and file, of all folders. Here are the few metrics
that matter (docs/metrics.md), means over observers who are fitted each alone, and the parameters that differ
from the commit's.
"""

from __future__ import annotations

import argparse

from comparisons.experiments.results import Row, load, written
from comparisons.git import outcome
from stages.current import check_parameters
from stages.files.errors import InputError, run
from stages.terminal import say, table

SCORES = ("cross_entropy", "accuracy", "calibration_slope")  # of held-out trials, or else leave-one-out
OTHERS = ("replication.corrected_slope", "recovery.weight_slope", "inference.coverage")


def overview(rows: list[Row], base: Row) -> None:
    """Print one line per row; metrics that no row has are left out."""
    there = {metric for row in rows for metric, value in row.metrics.items() if value is not None}
    trials = "test" if "test.cross_entropy" in there else "loo"
    columns = [metric for metric in (*(f"{trials}.{score}" for score in SCORES), *OTHERS) if metric in there]
    lines = []
    for row in rows:
        values = [row.metrics.get(metric) for metric in columns]
        changed = [key for key in row.params if base.params and row.params[key] != base.params.get(key)]
        words = " ".join(f"{key}={written(row.params[key])}" for key in changed)
        lines.append([*("-" if value is None else f"{value:.4g}" for value in values), row.name, words])
    headings = [metric.replace(".", "\n") for metric in columns]
    table([*headings, "experiment", "changed parameters"], lines, text=(len(columns), len(columns) + 1))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    base, *others = load(options.parse_args().rev)
    now, notes = Row("workspace", *outcome(None)), []
    try:
        check_parameters()
    except InputError as error:
        now, notes = now._replace(metrics={}), [f"Workspace: {error}."]
    overview([now, base, *others], base)
    say(*notes)


if __name__ == "__main__":
    run(main)
