"""What observers who were fitted each alone have in common: the population means of their corrected weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from hdlogit.inference.result import ClassInference
from hdlogit.observers.population import Population, population
from stages.files.account import counted, some


class Observer(NamedTuple):
    """One observer, as `evaluate` left it."""

    name: str
    factors: Mapping[str, str]  # and the term of each
    results: Mapping[str, ClassInference]  # by class


def shared_factors(observers: Sequence[Observer]) -> tuple[list[str], list[str]]:
    """The factors that all observers have, and those that only some have."""
    every = [*dict.fromkeys(name for one in observers for name in one.factors)]
    shared = [name for name in every if all(name in one.factors for one in observers)]
    return shared, [name for name in every if name not in shared]


def families_of(labels: Sequence[str]) -> dict[str, list[int]]:
    """The factors (by number) that are tested together: those of the same label, and the other ones."""
    sizes, families = Counter(labels), dict[str, list[int]]()
    for j, label in enumerate(labels):
        families.setdefault(label if sizes[label] > 1 else "other factors", []).append(j)
    several = {name: of for name, of in families.items() if len(of) > 1}
    return several if len(families) > 1 and several else {"all factors": [*range(len(labels))]}


def population_of(
    observers: Sequence[Observer], class_: str, factors: Sequence[str], families: Mapping[str, Sequence[int]]
) -> Population:
    """Of one class, for factors that all these observers have. Raises ValueError where there is no population."""
    if not factors:
        raise ValueError("there is no factor that all observers have")
    results = []
    for one in observers:
        numbers = {name: j for j, name in enumerate(one.factors)}
        results.append(_part(one.results[class_], [numbers[name] for name in factors]))
    return population(results, factors, families)


def _part(c: ClassInference, places: list[int]) -> ClassInference:
    """What `population` reads of a result, for some of its factors."""
    rows = [*places, len(c.centre)]
    return replace(
        c,
        centre=c.centre[places],
        scale=c.scale[places],
        corrected=c.corrected[rows],
        covariance=c.covariance[np.ix_(rows, rows)],
    )


def population_table(found: Population, level: float) -> pd.DataFrame:
    """One row per factor: the population mean with its interval, and how much observers differ."""
    low, high = found.interval(level)
    columns = {
        "factor": found.names,
        "mean": found.mean,
        "error": found.error,
        "low": low,
        "high": high,
        "p": found.p_values(),
        "tau": found.tau,
        "q": found.heterogeneity,
        "i_squared": found.i_squared,
        "heterogeneity_p": found.heterogeneity_p_values(),
    }
    return pd.DataFrame(columns)


def in_words(found: Population, level: float, n_observers: int) -> list[str]:
    """A sentence on the population, and one on each family of factors."""
    k, p = len(found.estimates), len(found.names)
    effects = [name for name, chance in zip(found.names, found.p_values(), strict=True) if chance < 1 - level]
    pairs = zip(found.names, found.heterogeneity_p_values(), strict=True)
    differ = [name for name, chance in pairs if chance < 1 - level]
    who = f"{k} observers" if k == n_observers else f"{k} of {n_observers} observers"
    lines = [
        f"{who}: the population mean "
        f"differs from 0 for {_of(effects, p)}, and observers differ in {_of(differ, p)} "
        f"(p < {1 - level:.2g}, each factor tested alone)"
    ]
    for name, test in found.families.items():
        if p > 1 and np.isfinite(test.p_value):
            df = " and ".join(f"{x:.1f}" for x in test.df)
            lines.append(
                f"{name} together: F = {test.statistic:.3g} with {df} degrees of freedom, p = {test.p_value:.2g}"
            )
    return lines


def _of(names: list[str], p: int) -> str:
    """`2 of 5 factors: a, b`."""
    return f"{len(names) or 'none'} of {counted(p, 'factor')}" + (f" ({some(names)})" if names else "")
