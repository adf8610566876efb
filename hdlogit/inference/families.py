"""Families of columns that a model may lack: squares, products, what was before, trends, differences between groups.

Each is asked about as a whole (`hdlogit.inference.questions`). What has no sense is left out: memory and trends where
rows are not in the order of the trials, products of factors whose rarer values hardly meet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlogit.inference.sums import Factors, Names, Responses
from hdlogit.inference.terms import Columns, Trials

LAGS = 3  # previous responses
RARE = 0.05  # of the trials; a two-valued factor with a rarer value is not multiplied with the others,
FEW = 20  # trials in which both have their rarer value, by chance; nor are two factors with fewer
MOST_PRODUCTS = 5  # two-valued factors that are multiplied with the others, those nearest to one half
RUN = 5  # rows of the same value, on average, in a file that is sorted by it
ENOUGH = 10_000  # trials that tell means, standard deviations and rarer values

SQUARES, PRODUCTS = "squares of the factors", "products with "
DIFFERENCES, TRENDS = "differences between groups", "trends within groups"
TREND, MEMORY, PREVIOUS = "a trend over trials", "previous responses", "factors of the previous trial"


class Family(NamedTuple):
    columns: Columns
    known: NDArray[np.bool_]  # (n,) in which trials


def families(
    factors: Factors,
    responses: Responses,
    names: Names,
    groups: NDArray[np.generic] | None = None,
    *,
    in_order: bool = True,
) -> dict[str, Family]:
    """Columns that a model of these factors (n, p) may lack, by name. Arguments: as of `questions`."""
    n, p = factors.shape
    some = np.asarray(factors[:: max(n // ENOUGH, 1)], np.float64)
    centre, scale = some.mean(axis=0), np.maximum(some.std(axis=0), 1e-300)
    low, high = some.min(axis=0), some.max(axis=0)
    few = np.flatnonzero(((some == low) | (some == high)).all(axis=0)).tolist()
    two = [j for j in few if low[j] < high[j] and np.isin(factors[:, j], (low[j], high[j])).all()]
    rarer = {j: min(rate, 1 - rate) for j, rate in zip(two, (some == high)[:, two].mean(axis=0).tolist(), strict=True)}
    more = np.setdiff1d(np.arange(p), two)

    def standard(trials: Trials, which: list[int] | NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray((factors[trials][:, which] - centre[which]) / scale[which])

    def products(j: int, others: list[int]) -> Columns:
        return lambda trials: standard(trials, [j]) * standard(trials, others)

    asked, always = dict[str, Family](), np.ones(n, bool)
    if len(more):
        asked[SQUARES] = Family(lambda trials: standard(trials, more) ** 2, always)
    most = 1 if p == 2 else MOST_PRODUCTS  # two factors have one product
    for j in sorted(two, key=lambda j: -rarer[j])[:most]:
        others = [k for k in range(p) if k != j and n * rarer[j] * rarer.get(k, 0.5) >= FEW]
        if rarer[j] >= RARE and others:
            asked[f"{PRODUCTS}{names[j]}"] = Family(products(j, others), always)
    _, group = np.unique(np.zeros(n) if groups is None else groups, return_inverse=True)
    member, time = np.eye(group.max() + 1), np.linspace(-0.5, 0.5, n)
    middle = np.bincount(group, time) / np.bincount(group)
    if len(member) > 1:
        asked[DIFFERENCES] = Family(lambda trials: member[group[trials], 1:], always)
    y = np.asarray(responses, np.float64)
    conditions = [factors[:, j] for j in more] + [np.unique(factors[:, two], axis=0, return_inverse=True)[1].ravel()]
    if not in_order or _is_sorted(y, group, 2) or any(_is_sorted(column, group, 3) for column in conditions):
        return asked
    if len(member) > 1:
        asked[TRENDS] = Family(lambda trials: member[group[trials]] * (time - middle[group])[trials, None], always)
    asked[TREND] = Family(lambda trials: time[trials, None], always)
    back = np.arange(n)[:, None] - np.arange(1, LAGS + 1)  # (n, LAGS) the trials before
    known = (back >= 0) & (group[back] == group[:, None])
    asked[MEMORY] = Family(lambda trials: y[back[trials]], known.all(axis=1))
    asked[PREVIOUS] = Family(lambda trials: standard(back[trials, 0], np.arange(p)), known[:, 0])
    return asked


def _is_sorted(column: NDArray[np.generic], group: NDArray[np.intp], fewest: int) -> bool:
    """Whether rows are sorted by this column: each value is in one long run of each group, and has `fewest` or more."""
    runs = 1 + np.count_nonzero((column[1:] != column[:-1]) | (group[1:] != group[:-1]))
    if RUN * runs > len(column):
        return False
    n_values = len(np.unique(np.column_stack([group, column]), axis=0))
    return bool(runs == n_values >= fewest * (group.max() + 1))
