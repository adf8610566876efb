"""How many trials reach what one may want of them, for an observer like this one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, base_rate_for, intercept_for, n_trials_until, smallest_n_trials
from hdlogit.inference import ClassInference

GOALS: dict[str, Callable[[Plan], bool]] = {
    "for weights that are right to 5 %": lambda line: abs((line.alpha or math.inf) - 1) <= 0.05,
    "for classical 95 % intervals that cover 94 %": lambda line: (line.classical_coverage or 0) >= 0.94,
    "for corrected weights whose error is 10 %": lambda line: (line.debiased_weight_error or math.inf) <= 0.1,
}


def goal_table(names: Sequence[str], classes: Sequence[ClassInference]) -> pd.DataFrame:
    """Trials for each goal, of the class that needs the most for an estimate to exist; NaN: no number is enough."""
    observers = []
    for name, c in zip(names, classes, strict=True):
        n_factors, signal, rates = len(c.scale), c.theory.signal, (c.guess_rate, c.lapse_rate)
        base_rate = base_rate_for(float(c.theory.intercept), signal, *rates)
        first = smallest_n_trials(n_factors, signal, intercept_for(base_rate, signal, *rates), *rates)
        observers.append((first, name, (n_factors, signal, base_rate), (*rates, c.inflation)))
    _, name, observer, others = max(observers, key=lambda one: one[0])
    n_trials: list[float] = []
    for good in GOALS.values():
        try:
            n_trials.append(n_trials_until(*observer, good, *others))
        except OutsideTheory:
            n_trials.append(math.nan)
    return pd.DataFrame({"class": name, "goal": [*GOALS], "n_trials": n_trials})
