"""What observers who were fitted each alone have in common: the population means of their corrected
weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdlogit.inference.result import ClassInference
from hdlogit.observers.population import Population, population
from stages.files.account import counted, first_of
from stages.files.families import families


class Observer(NamedTuple):
    """One observer, as `evaluate` left it."""

    name: str
    factors: Mapping[str, str]  # and the term of each
    results: Mapping[str, ClassInference]  # by class


def population_of(
    observers: Sequence[Observer], class_: str, axis: Sequence[Any] | None
) -> tuple[Population, list[str], pd.DataFrame, list[str]]:
    """Of one class, for the factors that all observers have; who tells of it, the families of these factors,
    and those that only some have.

    Factors of a family or a term are tested together. Raises ValueError where there is no population.
    """
    answered = [one for one in observers if class_ in one.results and not one.results[class_].reason]
    every = [*dict.fromkeys(name for one in answered for name in one.factors)]
    shared = [name for name in every if all(name in one.factors for one in answered)]
    if every and not shared:
        raise ValueError("there is no factor that all observers have")
    results = [_part(one.results[class_], [[*one.factors].index(name) for name in shared]) for one in answered]
    places = families(shared, axis)
    labels = places.family.fillna(pd.Series([answered[0].factors[name] for name in shared], dtype=object))
    together = labels.where(labels.duplicated(keep=False), "other factors")
    members = {str(label): [*of] for label, of in together.groupby(together, sort=False).groups.items()}
    several = {label: of for label, of in members.items() if len(of) > 1}
    tested = several if several and len(members) > 1 else {"all factors": [*range(len(shared))]}
    rest = [name for name in every if name not in shared]
    return population(results, shared, tested), [one.name for one in answered], places, rest


def _part(c: ClassInference, places: list[int]) -> ClassInference:
    """What `population` reads of a result, for some of its factors."""
    rows = [*places, len(c.centre)]
    covariance = c.covariance[np.ix_(rows, rows)]
    return replace(
        c, centre=c.centre[places], scale=c.scale[places], corrected=c.corrected[rows], covariance=covariance
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


def in_words(found: Population, level: float, n_observers: int) -> str:
    """A sentence on the population."""
    k, p = len(found.estimates), len(found.names)
    effects = [name for name, chance in zip(found.names, found.p_values(), strict=True) if chance < 1 - level]
    pairs = zip(found.names, found.heterogeneity_p_values(), strict=True)
    differ = [name for name, chance in pairs if chance < 1 - level]
    who = f"{k} observers" if k == n_observers else f"{k} of {n_observers} observers"
    return (
        f"{who}: the population mean differs from 0 for {_of(effects, p)}, and observers differ in "
        f"{_of(differ, p)} (p < {1 - level:.2g}, each factor tested alone)"
    )


def family_tests(found: Population) -> list[dict[str, Any]]:
    """The joint test of each family: that the population mean of all its weights is 0."""
    return [
        {"family": name, "statistic": test.statistic, "df": test.df, "p_value": test.p_value}
        for name, test in found.families.items()
        if len(found.names) > 1 and np.isfinite(test.p_value)
    ]


def _of(names: list[str], p: int) -> str:
    """`2 of 5 factors: a, b`."""
    return f"{len(names) or 'none'} of {counted(p, 'factor')}" + (f" ({first_of(names)})" if names else "")
