"""The experiments of a commit on 100 columns: `python -m comparisons.experiments.show` (`make show`).

`dvc exp show` has a column for every metric, parameter and file, and those of all folders. Here are the few metrics
that matter, then the name, then the parameters that are not the commit's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from comparisons.commands import parser
from comparisons.experiments import results
from comparisons.experiments.grid import written
from comparisons.experiments.results import Row
from stages.errors import run

WIDTH = 100
METRICS = {  # of simulated trials; and their headings
    "test.cross_entropy": "cross-\nentropy",
    "test.accuracy": "accuracy",
    "test.calibration_slope": "calibr.\nslope",
    "recovery.weight_slope": "weight\nslope",
    "inference.coverage": "coverage",
}
OWN_METRICS = {  # of a person's own trials
    "test.cross_entropy": "held-out\nentropy",
    "loo.cross_entropy": "left-out\nentropy",
    "loo.calibration_slope": "calibr.\nslope",
    "theory.weight_slope": "too large\nby",
    "replication.corrected_slope": "repl.\nslope",
}


def overview(rows: Sequence[Row], base: Row) -> Table:
    """One line per row, or more where its changes are many; metrics that none has are left out."""
    headings = OWN_METRICS if any(key.startswith("prepare.") for key in base.params) else METRICS
    columns = [metric for metric in headings if any(row.metrics.get(metric) is not None for row in rows)]
    made = Table(box=None)
    for metric in columns:
        made.add_column(headings[metric], justify="right", no_wrap=True)
    made.add_column("experiment", no_wrap=True)
    made.add_column("changed parameters", overflow="fold")
    for row in rows:
        values = [row.metrics.get(metric) for metric in columns]
        numbers = [f"{value:.4g}" if isinstance(value, int | float) else "-" for value in values]
        keys = [key for key, value in row.params.items() if written(value) != written(base.params.get(key))]
        changes = [f"{key.rpartition('.')[2]}={written(row.params[key])}" for key in keys]
        made.add_row(*numbers, row.name, " ".join([*changes, *["(no estimate exists)"] * row.no_estimate]))
    return made


def main() -> None:
    options = parser("experiments.show", __doc__)
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    arguments = options.parse_args()
    os.chdir(arguments.folder)
    rows = results.load(arguments.rev, workspace=True)
    Console(width=WIDTH, markup=False, highlight=False).print(overview(rows, base=rows[1]))


if __name__ == "__main__":
    run(main)
