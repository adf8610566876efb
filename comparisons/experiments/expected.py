"""What the theory expects of metrics at a number of trials, before any data exist (`hdlogit.asymptotics.planning`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from comparisons.experiments.grid import Value
from hdlogit.asymptotics.planning import Plan, plan, smallest_n_trials
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
    """Whether what follows covers these parameters: maximum likelihood, and an observer who never guesses or lapses."""
    is_plain = (
        params["train.solver"] == "exact" and params["train.ridge"] == 0 and params["train.shrinkage"] != "always"
    )
    return is_plain and params["simulate.guess_rate"] == params["simulate.lapse_rate"] == 0


def expected(metric: str, params: Mapping[str, Value], n_trials: Sequence[float]) -> list[float | None] | None:
    """The metric at each number of trials, None where no estimate exists; None if the theory does not cover the metric.

    The observer is simulate's: sd γ of the logits = weight_scale √n_factors, and a yes in every second trial.
    """
    name = EXPECTED.get(metric)
    if name is None or (name == "classical_coverage" and params["evaluate.interval_level"] != 0.95):
        return None
    p, signal, scale = _observer(params)
    try:
        lines: list[Plan] = plan(p, signal, 0.5, [round(n) for n in n_trials])
    except OutsideTheory:
        return None
    unit = scale if name == "weight_error" else 1.0  # its unit is the rms true weight
    return [None if (value := getattr(line, name)) is None else unit * value for line in lines]


def threshold(params: Mapping[str, Value]) -> int:
    """From how many trials on an estimate exists."""
    p, signal, _ = _observer(params)
    return smallest_n_trials(p, signal)


def _observer(params: Mapping[str, Value]) -> tuple[int, float, float]:
    p, scale = int(str(params["simulate.n_factors"])), float(str(params["simulate.weight_scale"]))
    return p, scale * math.sqrt(p), scale
