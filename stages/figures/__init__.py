"""The figures: statistics are computed elsewhere and only drawn here.

A figure is one function `draw(figure, *tables, metrics)` and one line of FIGURES. It is drawn if the tables
that it needs are there with these columns: not where the truth is unknown, say, or after Adam.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from stages.figures import coefficients, history, predictions, psychometric, theory, weights


@dataclass(frozen=True)
class Drawing:
    """A figure, which is saved under this name. Its caption on the page is the docstring of `draw`."""

    section: str  # of the page
    name: str
    draw: Callable[..., None]
    needs: Mapping[str, str]  # table -> its columns
    rows: int = 1  # of the first table, at least

    def tables(self, given: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame] | None:
        """The tables it needs; None if one of them, a column or a row is missing."""
        if not all({*columns.split()} <= {*given.get(name, ())} for name, columns in self.needs.items()):
            return None
        found = [given[name] for name in self.needs]
        return found if len(found[0]) >= self.rows else None

    def caption(self) -> tuple[str, str]:
        """What it shows, and how to read it."""
        what, _, how = (inspect.getdoc(self.draw) or "").partition("\n\n")
        return what, how


BOTH = "estimate classical_low classical_high corrected low high"
BINS = "predicted observed low high"
CURVE = {
    "inference/curve_bins": "index observed low high",
    "inference/curve": "grid fitted logistic",
    "inference/classes": "guess_rate lapse_rate",
}
COVERAGE = {"inference/classes": "classical_coverage coverage", "weights": "true"}
CALIBRATIONS = "calibration", "inference/calibration_corrected", "inference/calibration_best"
LOSSES = "test_cross_entropy test_best_cross_entropy bayes_cross_entropy"
PLAN = f"n_trials weight_rmse corrected_weight_rmse {LOSSES}"
SLOPES = "classical classical_error corrected corrected_error"

FUNCTION = {
    "inference/psychometric_points": "x observed low high",
    "inference/psychometric": "class stimulus condition quantity estimate low high",
    "inference/classes": "guess_rate lapse_rate",
}

FIGURES = (  # in the page's order; of those with the same name the first that can be drawn
    Drawing("function", "psychometric", psychometric.function, FUNCTION),
    Drawing("weights", "intervals", coefficients.intervals, {"weights": f"true {BOTH}"}),
    Drawing("weights", "weights", weights.weights, {"weights": "factor family position axis"}),
    Drawing("weights", "trajectory", history.trajectory, {"trajectory": "epoch train_cross_entropy"}, rows=2),
    Drawing("weights", "psychometric", predictions.psychometric, CURVE),
    Drawing("weights", "recovery", coefficients.recovery, {"coefficients": "true fitted"}),
    Drawing("weights", "coverage", coefficients.coverage, COVERAGE),
    Drawing("model", "calibration", predictions.calibrations, dict.fromkeys(CALIBRATIONS, BINS)),
    Drawing("model", "calibration", predictions.calibration, {"calibration": BINS}),
    Drawing("model", "probabilities", predictions.probabilities, {"histogram": "low high fitted"}),
    Drawing("replication", "replication", coefficients.replication, {"inference/replication": SLOPES}),
    Drawing("planning", "planning", theory.planning, {"inference/planning": PLAN}),
    Drawing("planning", "map", theory.existence_map, {"inference/map": "signal kappa alpha"}),
)
