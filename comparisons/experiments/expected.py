"""What the theory expects of metrics at a number of trials, before any data exist."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from comparisons.experiments.grid import Value
from hdlogit.asymptotics.planning import plan, smallest_n_trials
from hdlogit.asymptotics.theory import OutsideTheory

EXPECTED = {
    "recovery.weight_slope": "alpha",
    "recovery.weight_rmse": "weight_error",
    "inference.classical_coverage": "classical_coverage",
    "test.cross_entropy": "held_out",
    "test.best.cross_entropy": "best",
    "test.bayes_cross_entropy": "bayes",
}


def applies(params: Mapping[str, Value]) -> bool:
    """Whether theory covers these parameters: maximum likelihood, of an observer who never guesses or lapses."""
    likelihood = params["train.solver"] == "exact" and params["train.ridge"] == 0
    rates = params["simulate.guess_rate"], params["simulate.lapse_rate"]
    return likelihood and params["train.shrinkage"] != "always" and rates == (0, 0)


def expected(metric: str, params: Mapping[str, Value], n_trials: Sequence[float]) -> list[float | None] | None:
    """The metric at each number of trials, None where no estimate exists; None if theory has no such metric.

    The observer is simulate's: sd γ of the logits = weight_scale √n_factors; a yes in every second trial.
    """
    name = EXPECTED.get(metric)
    if name is None or (name == "classical_coverage" and params["evaluate.interval_level"] != 0.95):
        return None
    try:
        lines = plan(*observer(params), 0.5, [round(n) for n in n_trials])
    except OutsideTheory:
        return None
    values = [getattr(line, name) for line in lines]
    unit = float(params["simulate.weight_scale"]) if name == "weight_error" else 1.0  # rms true weight
    return [None if value is None else unit * value for value in values]


def threshold(params: Mapping[str, Value]) -> int:
    """From how many trials on an estimate exists."""
    return smallest_n_trials(*observer(params))


def observer(params: Mapping[str, Value]) -> tuple[int, float]:
    """The number of factors, and γ."""
    p = int(params["simulate.n_factors"])
    return p, float(params["simulate.weight_scale"]) * math.sqrt(p)
