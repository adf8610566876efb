"""The figures: statistics are computed elsewhere and only drawn here.

A figure is one function `draw(figure, *tables, metrics)` and one line of FIGURES. It is drawn if the tables that it
needs are there with these columns, so not where the truth is unknown or corrections do not exist.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from stages.figures import coefficients, history, predictions, theory


@dataclass(frozen=True)
class Drawing:
    """A figure, which is saved under this name. Its caption on the page is the docstring of `draw`."""

    name: str
    draw: Callable[..., None]
    needs: Mapping[str, Sequence[str]]  # table -> columns
    rows: int = 1  # of the first table, at least

    def tables(self, given: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame] | None:
        """The tables it needs; None if one of them, or a column, is missing."""
        found = [given[name] for name, columns in self.needs.items() if {*columns} <= {*given.get(name, ())}]
        whole = len(found) == len(self.needs) and len(found[0]) >= self.rows
        return found if whole else None

    @property
    def caption(self) -> tuple[str, str]:
        """What it shows, and how to read it."""
        what, _, how = (inspect.getdoc(self.draw) or "").partition("\n\n")
        return what, how


BOTH = (*coefficients.CLASSICAL_COLUMNS, *coefficients.CORRECTED_COLUMNS)
BINS = ("predicted", "observed", "low", "high")
SLOPES = ("plain", "plain_error", "corrected", "corrected_error")

FIGURES = (  # in the page's order
    Drawing("intervals", coefficients.intervals, {"weights": ["true", *BOTH]}),
    Drawing("trajectory", history.trajectory, {"trajectory": ["epoch", "train_cross_entropy"]}, rows=2),
    Drawing("forest", coefficients.forest, {"weights": BOTH}),
    Drawing("recovery", coefficients.recovery, {"coefficients": ["true", "fitted"]}),
    Drawing(
        "coverage",
        coefficients.coverage,
        {"inference/classes": ["classical_coverage", "coverage"], "weights": ["true"]},
    ),
    Drawing("calibration", predictions.calibration, {"calibration": BINS}),
    Drawing(
        "predictions",
        predictions.predictions,
        {"calibration": BINS, "inference/calibration_debiased": BINS, "inference/calibration_best": BINS},
    ),
    Drawing(
        "psychometric",
        predictions.psychometric,
        {
            "inference/curve_bins": ["index", "observed", "low", "high"],
            "inference/curve": ["grid", "fitted", "logistic"],
            "inference/classes": ["guess_rate", "lapse_rate"],
        },
    ),
    Drawing("planning", theory.planning, {"inference/planning": theory.PLANNED}),
    Drawing("map", theory.existence_map, {"inference/map": ["signal", "kappa", "alpha"]}),
    Drawing("biases", coefficients.biases, {"biases": ["class"]}, rows=2),
    Drawing("probabilities", predictions.probabilities, {"histogram": ["low", "high", "fitted"]}),
    Drawing("loss", history.loss, {"loss": ["epoch", "loss"]}, rows=2),
    Drawing("replication", coefficients.replication, {"inference/replication": SLOPES}),
    Drawing("weights", coefficients.weights, {"weights": ["factor"]}),
)
