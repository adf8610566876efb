"""The results in a few lines: `python -m stages.summary`, the end of `make repro`."""

from __future__ import annotations

from typing import Any

from stages.current import at, check_current
from stages.files import DATA
from stages.files.errors import run_stage
from stages.files.tables import read_json, read_lines
from stages.terminal import numbers, say

# metric -> what it is, and what it would be for a fit that can be trusted; the first five found are shown
LINES = {
    "recovery.weight_slope": "size of the weights, relative to the true ones (1 = right size)",
    "inference.classical_coverage": "fraction of true weights inside their classical intervals",
    "inference.coverage": "fraction of true weights inside their corrected intervals",
    "recovery.corrected.weight_slope": "size of the corrected weights, relative to the true ones",
    "recovery.weight_correlation": "correlation of fitted with true weights",
    "test.cross_entropy": "cross-entropy of held-out trials (nats per response)",
    "test.bayes_cross_entropy": "the same for the true observer: no prediction can have less",
    "test.calibration_slope": "calibration slope of held-out trials (below 1 = overconfident)",
    "test.accuracy": "fraction of held-out responses on the likelier side",
    "loo.cross_entropy": "cross-entropy of each trial by the fit to all others (nats per response)",
    "loo.accuracy": "fraction of responses on the likelier side, likewise",
    "replication.plain_slope": "size of one group's weights, relative to those of the others",
    "replication.corrected_slope": "the same for corrected weights (1 = groups replicate one another)",
}
SHOWN = 5


def main() -> None:
    metrics = read_json("metrics.json")
    check_current()
    say(*read_lines("inference/answer.txt"))
    found = [(f"{value:.4g}", text) for name, text in LINES.items() if (value := lookup(metrics, name)) is not None]
    numbers(found[:SHOWN])
    folder = DATA.resolve()  # absolute, so that it can be clicked, and is right in any folder
    say(f"Page:    {folder / 'report.html'}", f"Figures: {folder / 'figures'}", f"Numbers: {folder / 'metrics.json'}")


def lookup(metrics: dict[str, Any], name: str) -> float | None:
    """The number at "test.cross_entropy"; None where there is none."""
    value = at(metrics, name)
    return value if isinstance(value, int | float) else None


if __name__ == "__main__":
    run_stage(main)
