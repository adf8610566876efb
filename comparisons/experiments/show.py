"""The experiments of a commit on 100 columns: `python -m comparisons.experiments.show` (`make show`).

`dvc exp show` has a column for every metric, parameter and file, and those of all folders. Here are the few metrics
that matter, then the name, then the parameters that are not the commit's.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from comparisons.commands import parser
from comparisons.experiments import results
from comparisons.experiments.grid import written
from comparisons.experiments.results import Row
from comparisons.tables import table
from stages.errors import run

WIDTH = 100
METRICS = {
    "test.cross_entropy": "cross-\nentropy",
    "test.accuracy": "accu-\nracy",
    "test.calibration_slope": "calib.\nslope",
    "recovery.weight_slope": "weight\nslope",
    "inference.coverage": "cover-\nage",
}


def overview(rows: Sequence[Row], base: Row) -> str:
    """One line per row, or more where its changes are many; metrics that none has are left out."""
    kept = [metric for metric in METRICS if any(row.metrics.get(metric) is not None for row in rows)]
    left = WIDTH - 9 * len(kept) - max(len(row.name) for row in rows) - 4

    def cells(row: Row) -> list[str]:
        values = [row.metrics.get(metric) for metric in kept]
        numbers = [f"{value:.4g}" if isinstance(value, int | float) else "-" for value in values]
        keys = [key for key, value in row.params.items() if written(value) != written(base.params.get(key))]
        changes = " ".join(f"{key.rpartition('.')[2]}={written(row.params[key])}" for key in keys)
        changes += " (no estimate exists)" * row.no_estimate
        return [*numbers, row.name, "\n".join(textwrap.wrap(changes, max(left, 20)))]

    header = [*(METRICS[metric] for metric in kept), "experiment", "changed parameters"]
    return table(header, [cells(row) for row in rows], form="simple")


def main() -> None:
    options = parser("experiments.show", __doc__)
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    arguments = options.parse_args()
    os.chdir(arguments.folder)
    rows = results.load(arguments.rev, workspace=True)
    print(overview(rows, base=rows[1]))


if __name__ == "__main__":
    run(main)
