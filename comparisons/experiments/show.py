"""The experiments of a commit on 100 columns: `python -m comparisons.experiments.show` (`make show`).

`dvc exp show` has a column for every metric, parameter and file, of all folders. Here are the few metrics that
matter, then the name, then the parameters that differ from the commit's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from comparisons.commands import enter, parser
from comparisons.experiments import results
from comparisons.experiments.grid import last, written
from comparisons.experiments.results import Row
from stages.current import check_parameters
from stages.files.errors import InputError, run

WIDTH = 100
METRICS = {  # with their headings: where trials are held out, where none are, always
    "test.cross_entropy": "cross-\nentropy",
    "test.accuracy": "accu-\nracy",
    "test.calibration_slope": "calibr.\nslope",
    "recovery.weight_slope": "weight\nslope",
    "loo.cross_entropy": "cross-\nentropy",
    "loo.accuracy": "accu-\nracy",
    "loo.calibration_slope": "calibr.\nslope",
    "replication.corrected_slope": "replic.\nslope",
    "inference.coverage": "cover-\nage",
}
NOTES = """\
Cross-entropy (nats per response), accuracy and calibration slope are of held-out trials, or, where
there are none, of leave-one-out predictions. Slopes should be 1. Coverage is that of corrected
intervals. Of observers who are fitted each alone: means."""


def overview(rows: Sequence[Row], base: Row) -> Table:
    """One line per row, or more if it has many changes; metrics that no row has are left out."""
    held_out = any("test.cross_entropy" in row.metrics for row in rows)
    unused = ("loo.", "replication.") if held_out else ("test.",)
    there = {metric for row in rows for metric, value in row.metrics.items() if value is not None}
    columns = [metric for metric in METRICS if metric in there and not metric.startswith(unused)]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for metric in columns:
        made.add_column(METRICS[metric], justify="right", no_wrap=True)
    made.add_column("experiment", no_wrap=True)
    made.add_column("changed parameters", overflow="fold")
    for row in rows:
        values = [row.metrics.get(metric) for metric in columns]
        numbers = [f"{value:.4g}" if isinstance(value, int | float) else "-" for value in values]
        names = Counter(map(last, row.params))
        words = [
            f"{key if names[last(key)] > 1 else last(key)}={written(value)}"
            for key, value in row.params.items()
            if base.params and written(value) != written(base.params.get(key))  # none: a study not committed
        ]
        made.add_row(*numbers, row.name, " ".join([*words, *["(no estimate)"] * row.no_estimate]))
    return made


def main() -> None:
    options = parser("experiments.show", __doc__)
    options.add_argument("--rev", default="HEAD", help="the commit that they start from (default: HEAD)")
    arguments = options.parse_args()
    enter(arguments.folder)
    workspace, *rows = results.load(arguments.rev, workspace=True)
    notes = NOTES
    try:
        check_parameters()
    except InputError as error:
        workspace, notes = workspace._replace(metrics={}), f"{NOTES}\nWorkspace: {error}."
    console = Console(width=WIDTH, markup=False, highlight=False)
    console.print(overview([workspace, *rows], base=rows[0]))
    console.print(notes)


if __name__ == "__main__":
    run(main)
