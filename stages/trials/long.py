"""A long file, a row per value, as one row per trial; and two intervals as their difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import where
from stages.trials.values import Table, first, levels, numbers, words

Places = list[list[str]]  # a study's positions, each a factor, and its two intervals, if it has any
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """To which trial, interval and position each row belongs, (n_rows,); -1: to none of the study's."""

    table: Table
    taken: NDArray[np.bool_]
    trial: Codes  # in the order in which they come
    labels: pd.Series[str]  # of the trials
    interval: Codes  # 0 if there are none
    position: Codes

    @property
    def placed(self) -> NDArray[np.bool_]:
        return (self.interval >= 0) & (self.position >= 0)

    def fault(self, trial: int, why: str) -> InputError:
        return InputError(f"{self.table.name}, trial {self.labels.iloc[trial]}: {why}")


def pivot(table: Table, p: Prepare, marks: Collection[str], study: Places | None = None) -> tuple[Places, Table]:
    """The places that the rows to take have, and one row per trial with a factor `value[position]` for each position.

    With an interval, the factor is the second interval's value minus the first's. Other columns that are constant in
    each trial stay; one of `marks` that differs between a trial's intervals (which of them was chosen) has its value in
    the second. What a trial has no row for is missing. In another file than the study's, further positions are ignored.
    Raises InputError for trials that have a value twice, of which only a part is taken, or with both intervals marked.
    """
    frame, trial, value = table.frame, str(p.trial), str(p.value)
    keys = [str(p.position), *([p.intervals] if isinstance(p.intervals, str) else [])]
    table.column(value)
    given = {name: words(table.column(name)) for name in (trial, *keys)}
    condition = p.where if study is None else None
    taken = where.taken(table, condition, only=True)
    places = study or [levels(given[name][taken]) for name in keys]
    factors = [f"{value}[{position}]" for position in places[0]]
    named = f"named as in {factors[0]}" if factors else "one for each position"
    unusable = dict.fromkeys([value, *keys], f"is no column of trials, whose factors are {named}")
    for name in [name for _, names in where.conditions(condition) for name in names.values()] + p.groups:
        if name in unusable:
            raise InputError(f"{table.name}: {name} {unusable[name]}")
    if study is None:
        if keys[1:] and taken.any() and len(places[1]) != 2:
            raise InputError(f"{table.name}: {keys[1]} must number two intervals, but it holds {show(places[1][:5])}")
        for name in sorted({*factors} & {*frame}):
            raise InputError(f"{table.name}: a factor is named {name}, as a column is; rename that column")
    rows = _located(table, p, taken, given, places)
    others = frame.drop(columns=[value, *keys, *factors], errors="ignore")
    found, differing = _of_trials(rows, others, marks if keys[1:] else ())
    matrix = pd.DataFrame(_values(rows, frame[value], factors, bool(keys[1:])), found.index, factors)
    notes = [*table.notes]
    if keys[1:]:
        order = f"{keys[1]}: {' is first and '.join(map(show, places[1]))} second, in their order"
        notes.append(f"{order}; factors are the second's value minus the first's")
    wide, unusable = pd.concat([found, matrix], axis=1), {**table.unusable, **unusable, **differing}
    numeric = frozenset(factors)
    return places, dataclasses.replace(table, frame=wide, notes=tuple(notes), numeric=numeric, unusable=unusable)


def _located(
    table: Table, p: Prepare, taken: NDArray[np.bool_], given: dict[str, pd.Series[Any]], places: Places
) -> Rows:
    """Raises InputError where the place of a row to take is unknown, or the same as another's."""
    frame, (trial, *keys) = table.frame, given
    for name in given:
        _refuse(given[name].isna() & taken, f"{name} is missing")
    by = pd.DataFrame({trial: given[trial]} | {name: words(frame[name]) for name in p.groups if name in frame})
    trials = by.groupby([*by], sort=False, dropna=False).ngroup().to_numpy()
    heads = by.drop_duplicates()
    labels = heads[trial].fillna("?")
    for name in [*heads][1:]:
        labels += ", " + (f"{name} " + heads[name]).fillna(f"no {name}")
    position, *interval = (pd.Index(known).get_indexer(given[name]) for name, known in zip(keys, places, strict=True))
    rows = Rows(table, taken, trials, labels, interval[0] if interval else np.zeros_like(trials), position)
    for name, known, codes in zip(keys, places, (position, *interval), strict=True):
        unknown = pd.Series(taken & (codes < 0), frame.index)
        if name == p.intervals or unknown.sum() == taken.sum():  # a few unknown positions are like further columns
            listed = " or ".join([*map(show, known[:5]), *(["…"] if known[5:] else [])])
            _refuse(unknown, f"{name} is", given[name], f"; it must be {listed}, as in the study")
    part = f"where takes only a part of the rows with {trial}"
    whole = "it must take whole trials, and columns in which trial numbers restart must be named as group"
    share = pd.Series(taken, frame.index).groupby(trials).transform("mean")
    _refuse((share > 0) & (share < 1), part, given[trial], f"; {whole}")
    each = pd.DataFrame([trials, rows.interval, position]).T[taken & rows.placed]
    for row in each.index[each.duplicated()][:1]:
        for name in p.groups:
            table.column(name)
        why = "has two values for one position; name the columns in which trial numbers restart as group"
        raise InputError(f"{frame.index[row]}: trial {labels.iloc[trials[row]]} {why}")
    return rows


def _of_trials(rows: Rows, frame: pd.DataFrame, marks: Collection[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The columns that have one value in each trial; and why others have not. A row of the second interval decides."""
    order = np.argsort(-rows.interval, kind="stable")
    _, at = np.unique(rows.trial[order], return_index=True)
    own = order[at]
    found = frame.iloc[own].set_axis(f"{rows.table.name}, trial " + rows.labels)
    inner, trial, interval = frame[rows.taken], rows.trial[rows.taken], rows.interval[rows.taken]
    differs = inner.groupby(trial).nunique(dropna=False) > 1
    within = inner.groupby([trial, interval]).nunique(dropna=False) > 1
    has_both = pd.Series(interval).groupby(trial).nunique() == 2
    unusable = dict[str, str]()
    for name in differs.columns[differs.any()]:
        if name not in marks or within[name].any():
            which = rows.labels.iloc[differs[name].idxmax()]
            unusable[name] = f"differs within trial {which}; it must have one value a trial"
            continue
        for alike in has_both.index[has_both & ~differs[name]]:
            if (mark := words(found[name]).iloc[alike]) == mark:
                why = "must differ between the one that was chosen and the other, as it does in other trials"
                raise rows.fault(alike, f"{name} is {show(mark)} in both intervals; it {why}")
        found[name] = found[name].where(rows.interval[own] == 1)
    return found.drop(columns=[*unusable]), unusable


def _values(rows: Rows, column: pd.Series[Any], factors: list[str], is_difference: bool) -> NDArray[np.float64]:
    """(n_trials, n_positions), NaN where a trial has no row."""
    values = numbers(column)
    for row in np.flatnonzero(rows.placed & rows.taken & column.notna() & values.isna())[:1]:
        why = "but it must be a number; correct it, or leave it empty if it is missing"
        raise rows.fault(rows.trial[row], f"{factors[rows.position[row]]} is {show(column.iloc[row])}, {why}")
    cube = np.full((2 if is_difference else 1, len(rows.labels), len(factors)), np.nan)
    cube[tuple(each[rows.placed] for each in (rows.interval, rows.trial, rows.position))] = values[rows.placed]
    return np.asarray(cube[1] - cube[0] if is_difference else cube[0])


def _refuse(wrong: pd.Series[Any], why: str, column: pd.Series[Any] | None = None, after: str = "") -> None:
    if wrong.any():
        word = "" if column is None else f" {show(column[wrong.to_numpy()].iloc[0])}"
        raise InputError(f"{first(wrong)}: {why}{word}{after}")


def differences(table: Table, one: str, other: str) -> Table:
    """Two columns per factor, one for each interval, become one: the second minus the first.

    `contrast_1` and `contrast_2`, with the endings `_1` and `_2`, become `contrast`. A word in either stays.
    """
    frame = table.frame
    bases = [name.removesuffix(one) for name in frame if name.endswith(one) and name != one]
    bases = [base for base in bases if base + other in frame and one != other]
    if not bases:
        raise InputError(f"{table.name}: no two columns differ in the endings {one!r} and {other!r} alone (intervals)")
    rest = frame.drop(columns=[base + ending for base in bases for ending in (one, other)])
    found = dict[str, Any]()
    for base in bases:
        if base in rest:
            pair = f"{base}{one} and {base}{other}"
            raise InputError(f"{table.name}: the difference of {pair} would be named like another column")
        pair_ = [frame[base + ending] for ending in (one, other)]
        found[base] = numbers(pair_[1]) - numbers(pair_[0])
        word = [column.astype("str").where(column.notna() & numbers(column).isna()) for column in pair_]
        if (either := word[0].fillna(word[1])).notna().any():  # whether it matters shows later
            found[base] = either.fillna(words(found[base]))
    note = f"factors are the difference of two columns: the one in {other} minus the one in {one}"
    wide = pd.concat([rest, pd.DataFrame(found)], axis=1)
    return dataclasses.replace(table, frame=wide, numeric=frozenset(bases), notes=(*table.notes, note))
