"""The experiments of a commit: `make show`, or `python -m comparisons.experiments.show` in the pipeline's folder.

`dvc exp show` has a column for every metric, parameter and file, of all folders. Here are the few metrics that
matter, then the name, then the parameters that differ from the commit's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from comparisons.experiments.results import Row, load, row_of, written
from stages.current import check_parameters
from stages.files.errors import InputError, run
from stages.terminal import say, table

METRICS = {  # with their headings: of held-out trials; where there are none, of trials left out one by one; always
    "test.cross_entropy": "cross-entropy",
    "test.accuracy": "accuracy",
    "test.calibration_slope": "calibration",
    "loo.cross_entropy": "cross-entropy",
    "loo.accuracy": "accuracy",
    "loo.calibration_slope": "calibration",
    "replication.corrected_slope": "replication",
    "recovery.weight_slope": "weights",
    "inference.coverage": "coverage",
}
NOTES = (
    "Cross-entropy (nats per response), accuracy and calibration slope are of held-out trials, or, where there are "
    "none, of leave-one-out predictions.",
    "Slopes (calibration, replication, weights) should be 1. Coverage is that of corrected intervals. Of observers "
    "who are fitted each alone: means.",
)


def overview(rows: list[Row], base: Row) -> None:
    """Print one line per row; metrics that no row has are left out."""
    there = {metric for row in rows for metric, value in row.metrics.items() if value is not None}
    unused = ("loo.", "replication.") if "test.cross_entropy" in there else ("test.",)
    columns = [metric for metric in METRICS if metric in there and not metric.startswith(unused)]
    lines = []
    for row in rows:
        values = [row.metrics.get(metric) for metric in columns]
        numbers = ["-" if value is None else f"{value:.4g}" for value in values]
        changed = [key for key in row.params if base.params and row.params[key] != base.params.get(key)]
        lines.append([*numbers, row.name, " ".join(f"{key}={written(row.params[key])}" for key in changed)])
    n = len(columns)
    table([*(METRICS[metric] for metric in columns), "experiment", "changed parameters"], lines, text=(n, n + 1))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    base, *others = load(options.parse_args().rev)
    notes, files = [*NOTES], [*Path().glob("data/metrics.json"), *Path().glob("observers/*/data/metrics.json")]
    try:
        check_parameters()
    except InputError as error:
        files = []
        notes.append(f"Workspace: {error}.")
    now = row_of("workspace", Path("params.yaml").read_text("utf-8"), [file.read_text("utf-8") for file in files])
    overview([now, base, *others], base)
    say(*notes)


if __name__ == "__main__":
    run(main)
