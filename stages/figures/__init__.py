"""The figures: statistics are computed elsewhere and only drawn here.

A figure is one function `draw(figure, *tables, metrics)` and one line of FIGURES. It is drawn if the tables
that it needs are there with these columns: not where the truth is unknown, say, or after Adam.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from stages.figures import coefficients, history, predictions, weights


class Drawing(NamedTuple):
    """A figure, which is saved under this name. Its caption on the page is the docstring of `draw`."""

    section: str  # of the page
    name: str
    draw: Callable[..., None]
    needs: Mapping[str, str]  # table -> its columns
    rows: int = 1  # of the first table, at least

    def tables(self, there: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
        """The tables it needs; none if one of them, a column or a row is missing."""
        if not all({*columns.split()} <= {*there.get(name, ())} for name, columns in self.needs.items()):
            return []
        needed = [there[name] for name in self.needs]
        return needed if len(needed[0]) >= self.rows else []

    def caption(self) -> tuple[str, str]:
        """What it shows, and how to read it."""
        what, _, how = (inspect.getdoc(self.draw) or "").partition("\n\n")
        return what, how


BOTH = "true estimate classical_low classical_high corrected low high"
BINS = "predicted observed low high"
RATES = {"inference/classes": "class guess_rate lapse_rate"}
INDEX = {"inference/curve_bins": "index observed low high", "inference/curve": "class grid fitted logistic", **RATES}
STIMULUS = {
    "inference/psychometric_points": "class stimulus condition x observed low high",
    "inference/psychometric": "class stimulus condition quantity estimate low high",
    **RATES,
}
SLOPES = "group classical classical_error corrected corrected_error"

FIGURES = (  # in the page's order; of those with the same name the first that can be drawn
    Drawing("function", "psychometric", predictions.along_stimulus, STIMULUS),
    Drawing("weights", "intervals", coefficients.intervals, {"weights": BOTH}),
    Drawing("weights", "weights", weights.weights, {"weights": "factor family position axis"}),
    Drawing("weights", "trajectory", history.trajectory, {"trajectory": "epoch train_cross_entropy"}, rows=2),
    Drawing("weights", "psychometric", predictions.along_index, INDEX),
    Drawing("weights", "recovery", coefficients.recovery, {"coefficients": "true fitted"}),
    Drawing("model", "calibration", predictions.calibration, {"calibration": BINS, "inference/calibration_best": BINS}),
    Drawing("model", "calibration", predictions.calibration, {"calibration": BINS}),
    Drawing("replication", "replication", coefficients.replication, {"inference/replication": SLOPES}),
)
