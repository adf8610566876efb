"""What came out, in a few lines: `python -m stages.summary`, the end of `make repro`."""

from __future__ import annotations

from typing import Any

from stages.current import at, check_current
from stages.errors import run_stage
from stages.files import DATA
from stages.files.tables import read_lines, read_metrics
from stages.terminal import numbers, say

# metric -> what it is, and what it would be of a fit that can be trusted; the first five that are there are shown
LINES = {
    "recovery.weight_slope": "weights are too large by the factor (1 = right size)",
    "inference.classical_coverage": "true weights inside their classical intervals",
    "inference.coverage": "true weights inside their corrected intervals",
    "recovery.corrected.weight_slope": "weights, corrected, are too large by the factor",
    "recovery.weight_correlation": "correlation of fitted with true weights",
    "test.cross_entropy": "cross-entropy of held-out trials (nats per response)",
    "test.bayes_cross_entropy": "the same of the true observer: no prediction can have less",
    "test.calibration_slope": "calibration slope of held-out trials (below 1 = overconfident)",
    "test.accuracy": "held-out responses on the likelier side",
    "loo.cross_entropy": "cross-entropy of each trial by the fit to all others (nats per response)",
    "loo.accuracy": "responses on the likelier side, likewise",
    "replication.plain_slope": "weights of one group alone are those of the others times this",
    "replication.corrected_slope": "the same of corrected weights (1 = groups replicate one another)",
}
SHOWN = 5


def main() -> None:
    metrics = read_metrics()
    check_current()
    say(*read_lines("inference/answer.txt"))
    found = [(f"{value:.4g}", text) for name, text in LINES.items() if (value := lookup(metrics, name)) is not None]
    numbers(found[:SHOWN])
    folder = DATA.resolve()  # whole, so that it can be clicked, and is right wherever one stands
    say(f"Page:    {folder / 'report.html'}", f"Figures: {folder / 'figures'}", f"Numbers: {folder / 'metrics.json'}")


def lookup(metrics: dict[str, Any], name: str) -> float | None:
    """The number at "test.cross_entropy"; None where there is none."""
    value = at(metrics, name)
    return value if isinstance(value, int | float) else None


if __name__ == "__main__":
    run_stage(main)
