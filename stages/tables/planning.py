"""How many trials reach what one may want of them, for an observer like this one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, base_rate_for, intercept_for, n_trials_until, smallest_n_trials
from hdlogit.inference import ClassInference

ERROR = 0.1  # of corrected weights, wanted
GOALS: dict[str, Callable[[Plan], bool]] = {
    "for weights that are right to 5 %": lambda line: abs((line.alpha or math.inf) - 1) <= 0.05,
    "for classical 95 % intervals that cover 94 %": lambda line: (line.classical_coverage or 0) >= 0.94,
    "for corrected weights whose error is 10 %": lambda line: (line.corrected_weight_error or math.inf) <= ERROR,
}


class Planned(NamedTuple):
    """An observer for whom to plan: the arguments of the functions of `hdlogit.asymptotics.planning`."""

    n_factors: int
    signal: float
    base_rate: float
    guess_rate: float
    lapse_rate: float
    inflation: float  # of the variance of a weight, by correlated factors

    @classmethod
    def like(cls, c: ClassInference) -> Planned:
        rates = c.guess_rate, c.lapse_rate
        base_rate = base_rate_for(float(c.theory.intercept), c.signal, *rates)
        return cls(len(c.centre), c.signal, base_rate, *rates, c.inflation)

    def smallest_n_trials(self) -> int:
        """From which on an estimate exists."""
        rates = self.guess_rate, self.lapse_rate
        intercept = intercept_for(self.base_rate, self.signal, *rates)
        return smallest_n_trials(self.n_factors, self.signal, intercept, *rates)

    def trials_for(self, goal: str) -> int | None:
        """None: no number is enough."""
        try:
            return n_trials_until(**self._asdict(), good=GOALS[goal])
        except OutsideTheory:
            return None


def neediest(classes: Mapping[str, ClassInference]) -> tuple[str, Planned]:
    """The class that needs the most trials for an estimate to exist."""
    observers = {name: Planned.like(c) for name, c in classes.items()}
    return max(observers.items(), key=lambda item: item[1].smallest_n_trials())


def corrected_error(c: ClassInference) -> float:
    """Of the corrected weights, per sd of their factors: root-mean-square error over root-mean-square weight."""
    with np.errstate(all="ignore"):  # weights may be infinite, or all 0
        errors = np.sqrt(np.diag(c.covariance)[: len(c.scale)]) * c.scale
        return float(np.linalg.norm(errors) / np.linalg.norm(c.corrected[:-1] * c.scale))


def goal_table(classes: Mapping[str, ClassInference], n_trials: int, n_groups: int) -> pd.DataFrame:
    """Trials for each goal, of the class that needs the most, how many more, and as many groups; NaN: no
    number is enough.
    """
    name, observer = neediest(classes)
    needed = pd.Series([observer.trials_for(goal) for goal in GOALS], dtype=float)
    # Theory takes factors to be normal, and rates as known. The study's own errors fall with the root of the trials.
    by_error = n_trials * (corrected_error(classes[name]) / ERROR) ** 2
    if np.isfinite(by_error):
        needed.iloc[-1] = max(needed.iloc[-1], round(by_error))
    more = (needed - n_trials).clip(lower=0)
    table = pd.DataFrame({"class": name, "goal": [*GOALS], "n_trials": needed, "more": more})
    return table.assign(groups=np.ceil(more * n_groups / n_trials)) if n_groups else table
