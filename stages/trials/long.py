"""A long file, a row per value, as one row per trial; and two intervals as their difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials.values import MOSTLY, Table, levels, numbers, words
from stages.trials.where import Where

Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """In the study's trials."""

    positions: list[str]  # each a factor
    intervals: list[str]  # the first and the second, or none


@dataclass(frozen=True)
class Rows:
    """To which trial, interval and position each row belongs, (n_rows,); -1: to none of the study's."""

    taken: Bools
    trials: Codes  # in the order in which they come
    intervals: Codes  # 0 if there are none
    positions: Codes
    names: list[str]  # (n_trials,)

    def first(self, among: Bools) -> Codes:
        """The first row of each trial among these, -1 where it has none; (n_trials,)."""
        rows = np.flatnonzero(among)[::-1]
        found = np.full(len(self.names), -1)
        found[self.trials[rows]] = rows
        return found


def pivot(
    table: Table, p: Prepare, take: Where, marks: Collection[str], study: Places | None = None
) -> tuple[Places, Table]:
    """The places that the rows to `take` have, and one row per trial with a factor `value[position]` for each position.

    With an interval, the factor is the second interval's value minus the first's. Other columns that are constant in
    each trial stay; one of `marks` that differs between a trial's intervals (which of them was chosen) has its value in
    the second. What a trial has no row for is missing. In another file than the study's, further positions are ignored.
    Raises InputError for trials that have a value twice, of which only a part is taken, or with both intervals marked.
    """
    trial, position, value = str(p.trial), str(p.position), str(p.value)
    interval = p.intervals if isinstance(p.intervals, str) else None
    keys = [value, position, *([interval] if interval else [])]
    for name in (trial, *keys):
        table.column(name)
    frame = table.frame
    taken = take.among(frame.columns)(table)
    places = study or _places(table, keys, taken)
    factors = [f"{value}[{each}]" for each in places.positions]
    example = f"named as in {factors[0]}" if factors else "one for each position"
    unusable = dict.fromkeys(keys, f"is no column of trials, whose factors are {example}")
    _check(table, unusable, [*take.columns, *p.groups])
    for name in (trial, *keys[1:]):
        _refuse(table, taken & frame[name].isna().to_numpy(), f"{name} is missing")
    rows = _locate(table, p, keys, places, taken)
    if study is None:
        _check_shared(table, position, places, rows)
        for name in sorted({*factors} & {*frame.columns}):
            raise InputError(f"{table.name}: a factor is named {name}, as a column is; rename that column")
    second = rows.first(rows.intervals == 1)
    own = np.where(second >= 0, second, rows.first(np.ones_like(taken)))  # one row decides of a trial, also in where
    found: dict[str, pd.Series[Any]] = {}
    for name in [name for name in frame.columns if name not in (*keys, *factors)]:
        row = _differs(frame[name], rows.trials, taken)
        if row is None:
            found[name] = frame[name].iloc[own].reset_index(drop=True)
        elif interval and name in marks and _differs(frame[name], 2 * rows.trials + rows.intervals, taken) is None:
            if study is None:
                _check_marks(table, frame[name], rows)
            found[name] = frame[name].iloc[second].reset_index(drop=True).where(second >= 0)
        else:
            unusable[name] = f"differs within trial {rows.names[rows.trials[row]]}; it must have one value a trial"
    _check(table, unusable, take.columns)
    cube = _values(table, value, factors, rows, max(len(places.intervals), 1))
    matrix = cube[1] - cube[0] if interval and len(cube) == 2 else cube[0]
    factors_of = pd.DataFrame(matrix, columns=factors)
    wide = pd.concat([pd.DataFrame(found, index=factors_of.index), factors_of], axis=1)
    notes = (
        *table.notes,
        *([order_note(interval, *map(show, places.intervals))] if places.intervals else []),
    )
    place = lambda row: f"{table.name}, trial {rows.names[row]}"  # noqa: E731
    numeric = frozenset(factors)
    return places, Table(table.name, wide, place, notes, numeric, {**table.unusable, **unusable}, table.merged)


def order_note(interval: str | None, first: str, second: str) -> str:
    return (
        f"{interval}: {first} is first and {second} second, in their order; factors are the second's value minus the "
        "first's"
    )


def differences(table: Table, first: str, second: str) -> Table:
    """Two columns per factor, one for each interval, become one: the second minus the first.

    `contrast_1` and `contrast_2`, with the endings `_1` and `_2`, become `contrast`. A word in either stays.
    """
    frame = table.frame
    bases = [name.removesuffix(first) for name in frame if name.endswith(first) and name != first]
    bases = [base for base in bases if base + second in frame and first != second]
    if not bases:
        raise InputError(
            f"{table.name}: no two columns differ in the endings {first!r} and {second!r} alone (intervals)"
        )
    pairs = {base: (base + first, base + second) for base in bases}
    others = frame.drop(columns=[name for pair in pairs.values() for name in pair])
    for base in sorted({*bases} & {*others}):
        one, other = pairs[base]
        raise InputError(f"{table.name}: the difference of {one} and {other} would be named like another column")
    found = {base: _difference(frame[one], frame[other]) for base, (one, other) in pairs.items()}
    both = pd.concat([others, pd.DataFrame(found)], axis=1)
    note = f"factors are the difference of two columns: the one in {second} minus the one in {first}"
    return dataclasses.replace(table, frame=both, numeric=frozenset(bases), notes=(*table.notes, note))


def _difference(first: pd.Series[Any], second: pd.Series[Any]) -> pd.Series[Any]:
    """If one of two texts is a word, the result is that word; whether it matters shows later."""
    found = numbers(second) - numbers(first)
    for given in (second, first):
        is_word = given.notna() & numbers(given).isna()
        if is_word.any():
            found = found.map(repr, na_action="ignore").astype("str") if found.dtype.kind == "f" else found
            found = found.mask(is_word, given)
    return found


def _places(table: Table, keys: list[str], taken: Bools) -> Places:
    """Raises InputError unless there are two intervals."""
    positions, *intervals = (levels(table.frame[name][taken]) for name in keys[1:])
    if intervals and taken.any() and len(intervals[0]) != 2:
        raise InputError(f"{table.name}: {keys[2]} must number two intervals, but it holds {show(intervals[0][:5])}")
    return Places(positions, intervals[0] if intervals else [])


def _locate(table: Table, p: Prepare, keys: list[str], places: Places, taken: Bools) -> Rows:
    """Raises InputError where a row's place is unknown, or the same as another's."""
    frame = table.frame
    number = words(frame[str(p.trial)])
    groups = {name: words(frame[name]) for name in p.groups if name in frame}
    by = pd.DataFrame({0: number} | {j + 1: group for j, group in enumerate(groups.values())})
    trials = by.groupby([*by.columns], sort=False, dropna=False).ngroup().to_numpy()
    heads = by.drop_duplicates()
    labels = [
        [f"no {name}" if pd.isna(word) else f"{name} {word}" for word in heads[j + 1]] for j, name in enumerate(groups)
    ]
    names = [", ".join(parts) for parts in zip(heads[0].astype(object).map(str), *labels, strict=True)]
    cut = np.isin(trials, trials[taken]) & np.isin(trials, trials[~taken])
    whole = "it must take whole trials, and columns in which trial numbers restart must be named as group"
    part = f"where takes only a part of the rows with {p.trial}"
    _refuse(table, cut, lambda row: f"{part} {number.iloc[row]}; {whole}")
    positions = _codes(frame[keys[1]], places.positions)
    intervals = _codes(frame[keys[2]], places.intervals) if keys[2:] else np.zeros_like(positions)
    if keys[2:]:
        _check_known(table, keys[2], places.intervals, taken & (intervals < 0))
    if (positions[taken] < 0).all():  # a few unknown positions are like columns that the study does not have
        _check_known(table, keys[1], places.positions, taken)
    rows = Rows(taken, trials, intervals, positions, names)
    again = pd.DataFrame({0: trials, 1: intervals, 2: positions})[taken & (positions >= 0)].duplicated()
    if again.any():
        for name in p.groups:
            table.column(name)
        row = int(again.idxmax())
        raise InputError(
            f"{table.place(row)}: trial {names[trials[row]]} has two values for one position; name the columns in "
            "which trial numbers restart as group"
        )
    return rows


def _check_known(table: Table, name: str, known: list[str], wrong: Bools) -> None:
    listed = " or ".join([*map(show, known[:5]), *(["…"] if known[5:] else [])])
    shown = table.frame[name]
    _refuse(table, wrong, lambda row: f"{name} is {_shown(shown, row)}; it must be {listed}, as in the study")


def _check_shared(table: Table, name: str, places: Places, rows: Rows) -> None:
    """Raise InputError for a position that few trials have: a mistake, or each trial has positions of its own."""
    pairs = pd.DataFrame({0: rows.trials, 1: rows.positions})[rows.taken].drop_duplicates()
    counts, n_trials = np.bincount(pairs[1], minlength=len(places.positions)), pairs[0].nunique()
    if n_trials and counts.min() < (1 - MOSTLY) * n_trials:
        rare = int(np.argmin(counts))
        row = int(np.argmax(rows.taken & (rows.positions == rare)))
        raise InputError(
            f"{table.place(row)}: {name} is {_shown(table.frame[name], row)}, which it is in {counts[rare]} of "
            f"{n_trials} trials; correct it, or leave such rows out of the file"
        )


def _check_marks(table: Table, mark: pd.Series[Any], rows: Rows) -> None:
    """Raise InputError where a response that differs between intervals is alike in both of one trial."""
    trials = np.unique(rows.trials[rows.taken])
    first, second = (rows.first(rows.intervals == i)[trials] for i in (0, 1))
    a, b = (words(mark).iloc[each].where(each >= 0).to_numpy() for each in (first, second))
    alike = np.flatnonzero((a == b) & pd.notna(a))
    if len(alike):
        raise InputError(
            f"{table.name}: trial {rows.names[trials[alike[0]]]}: {mark.name} is {show(str(a[alike[0]]))} in both "
            "intervals; it must differ between the one that was chosen and the other, as it does in other trials"
        )


def _values(table: Table, value: str, factors: list[str], rows: Rows, n_intervals: int) -> NDArray[np.float64]:
    """(n_intervals, n_trials, n_positions), NaN where a trial has no row."""
    given = table.frame[value]
    found = numbers(given)
    placed = (rows.intervals >= 0) & (rows.positions >= 0)
    wrong = rows.taken & placed & (given.notna() & found.isna()).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{table.name}, trial {rows.names[rows.trials[row]]}: {factors[rows.positions[row]]} is "
            f"{_shown(given, row)}, but it must be a number; correct it, or leave it empty if it is missing"
        )
    cube = np.full((n_intervals, len(rows.names), len(factors)), np.nan)
    cube[rows.intervals[placed], rows.trials[placed], rows.positions[placed]] = found.to_numpy()[placed]
    return cube


def _codes(column: pd.Series[Any], known: list[str]) -> Codes:
    """Which of the known values it is, -1 for none."""
    return np.asarray(pd.Index(known).get_indexer(pd.Index(words(column).astype(object))), np.int64)


def _differs(column: pd.Series[Any], classes: Codes, taken: Bools) -> int | None:
    """A row, of those taken, whose value is not that of another of its class; None if each class has one value."""
    at = np.flatnonzero(taken)
    codes = pd.factorize(words(column) if column.dtype == "str" else column + 0.0)[0][at]  # no −0
    first = np.empty(classes.max(initial=0) + 1, codes.dtype)
    first[classes[at]] = codes
    wrong = np.flatnonzero(first[classes[at]] != codes)
    return int(at[wrong[0]]) if len(wrong) else None


def _check(table: Table, unusable: dict[str, str], names: list[str]) -> None:
    for name in names:
        if name in unusable:
            raise InputError(f"{table.name}: {name} {unusable[name]}")


def _refuse(table: Table, wrong: Bools, why: str | Callable[[int], str]) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{table.place(row)}: {why if isinstance(why, str) else why(row)}")


def _shown(column: pd.Series[Any], row: int) -> str:
    return show(str(words(column.iloc[row : row + 1]).iloc[0]))
