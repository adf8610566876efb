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
from hdlogit.inference.sums import Array
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


def population_table(of: Population, level: float) -> pd.DataFrame:
    """One row per factor: the population mean with its interval, and how much observers differ."""
    low, high = of.interval(level)
    means = {"factor": of.names, "mean": of.mean, "error": of.error, "low": low, "high": high, "p": of.p_values()}
    differences = {"tau": of.tau, "q": of.heterogeneity, "i_squared": of.i_squared}
    return pd.DataFrame({**means, **differences, "heterogeneity_p": of.heterogeneity_p_values()})


def in_words(of: Population, level: float, n_observers: int) -> str:
    """A sentence on the population."""
    effects, differences = _below(1 - level, of.p_values(), of), _below(1 - level, of.heterogeneity_p_values(), of)
    k = len(of.estimates)
    who = f"{k} observers" if k == n_observers else f"{k} of {n_observers} observers"
    return (
        f"{who}: the population mean differs from 0 for {effects}, and observers differ in {differences} "
        f"(p < {1 - level:.2g}, each factor tested alone)"
    )


def _below(limit: float, p_values: Array, of: Population) -> str:
    """`2 of 5 factors (a, b)`: those with smaller p-values."""
    names = [name for name, p in zip(of.names, p_values, strict=True) if p < limit]
    return f"{len(names) or 'none'} of {counted(len(of.names), 'factor')}" + (f" ({first_of(names)})" if names else "")


def family_tests(of: Population) -> list[dict[str, Any]]:
    """The joint test of each family: that the population mean of all its weights is 0."""
    tests = {name: test for name, test in of.families.items() if len(of.names) > 1 and np.isfinite(test.p_value)}
    return [{"family": name} | test._asdict() for name, test in tests.items()]
