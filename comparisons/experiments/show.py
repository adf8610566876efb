"""The experiments of HEAD: `make show`, or `python -m comparisons.experiments.show` in its folder.

`dvc exp show` has a column for every metric, parameter and file, of all folders. Here are the few metrics
that matter (docs/metrics.md), means over observers who are fitted each alone, and the parameters that differ
from the commit's.
"""

from __future__ import annotations

from collections.abc import Mapping

from comparisons.experiments.chart import written
from comparisons.git import Outcome, experiments, outcome
from stages.files.errors import InputError, run
from stages.files.parameters import check_parameters
from stages.terminal import say, table

SCORES = ("cross_entropy", "accuracy", "calibration_slope")  # of held-out trials, or else leave-one-out
OTHERS = ("replication.corrected_slope", "recovery.weight_slope", "inference.coverage")


def overview(outcomes: Mapping[str, Outcome]) -> None:
    """Print a line for each, the `baseline` among them; metrics that none has are left out."""
    there = {metric for each in outcomes.values() for metric, value in each.metrics.items() if value is not None}
    trials = "test" if "test.cross_entropy" in there else "loo"
    columns = [metric for metric in (*(f"{trials}.{score}" for score in SCORES), *OTHERS) if metric in there]
    base, lines = outcomes["baseline"].params, []
    for name, (params, metrics) in outcomes.items():
        values = [metrics.get(metric) for metric in columns]
        changed = [f"{key}={written(params[key])}" for key in params if base and params[key] != base.get(key)]
        lines.append([*("-" if value is None else f"{value:.4g}" for value in values), name, " ".join(changed)])
    headings = [metric.replace(".", "\n") for metric in columns]
    table([*headings, "experiment", "changed parameters"], lines, text=(len(columns), len(columns) + 1))


def main() -> None:
    now, notes = outcome(None), []
    try:
        check_parameters()
    except InputError as error:
        now, notes = now._replace(metrics={}), [f"Workspace: {error}."]
    overview({"workspace": now, **experiments()})
    say(*notes)


if __name__ == "__main__":
    run(main)
