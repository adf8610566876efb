"""A long file, a row per value, as one row per trial."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.errors import InputError
from stages.parameters.documents import show
from stages.trials.cells import difference, labels, order, words
from stages.trials.table import Table, in_memory
from stages.trials.where import EVERY, Where

Rows = NDArray[np.bool_]  # (n_rows,) of the file
Codes = NDArray[np.int64]


def pivot(
    table: Table,
    trial: str,
    position: str,
    value: str,
    interval: str | None,
    groups: Sequence[str] = (),
    responses: Collection[str] = (),
    take: Where = EVERY,
) -> Table:
    """One row per trial, and a factor `value[position]` for each position.

    The same number in another of the groups is another trial. With `interval`, a column of two different values, the
    factor is the second interval's value minus the first's. Any other column that is constant in each trial stays; one
    that differs between a trial's intervals (which of them was chosen) has its value in the second. What a trial has
    no row for is missing. Positions and faults are those of the rows to `take`, where its columns are the file's.
    Raises InputError for trials that have a value twice, and for a response that marks both intervals of a trial, or
    none.
    """
    cell = [position, *([interval] if interval else [])]
    keys = [value, *cell]
    table.check([trial, *keys])
    batch = table.whole(table.columns)
    taken = take.among(table.columns)(batch)
    trials, trial_names = _trials(table, batch, trial, [name for name in groups if name in table.columns], taken, cell)
    positions, position_names = _codes(table, batch, position, taken)
    intervals, interval_names = _codes(table, batch, interval, taken) if interval else (np.zeros_like(trials), [""])
    if interval and taken.any() and len(interval_names) != 2:
        raise InputError(f"{table.name}: {interval} must number two intervals, but it holds {show(interval_names[:5])}")
    shape = len(trial_names), len(interval_names), len(position_names)
    at = _cells(table, shape, trials, intervals, positions, taken, trial_names)
    result = dict[str, pa.Array]()
    example = f"{value}[{position_names[0]}]" if position_names else f"{value}[{position}]"
    differing = {name: f"{name} is no column of trials, whose factors are named as in {example}" for name in keys}
    for name in table.columns:
        if name in keys:
            continue
        row = _differs(batch[name], trials, taken)
        if row is None:
            result[name] = _take(batch[name], _first(trials, trials >= 0, len(trial_names)))
        elif interval and _differs(batch[name], 2 * trials + intervals, taken) is None:
            first, second = (_take(batch[name], _first(trials, intervals == i, len(trial_names))) for i in (0, 1))
            result[name] = second
            if any(given == name or given.startswith(f"{name}=") for given in responses):
                _check_marks(table, name, first, second, trial_names, np.unique(trials[taken]))
        else:
            differing[name] = f"{name} differs within trial {trial_names[trials[row]]}; it must have one value a trial"
    for j, name in enumerate(position_names):
        first, *second = (_take(batch[value], at[:, i, j]) for i in range(len(interval_names)))
        result[f"{value}[{name}]"] = difference(first, *second) if interval else first
    note = "{}: {} is first and {} second, in their order; factors are the second's value minus the first's"
    return in_memory(
        table.name,
        pa.table(result),
        place=lambda row: f"{table.name}, trial {trial_names[row]}",
        numeric=frozenset(f"{value}[{name}]" for name in position_names),
        differing=differing,
        notes=(note.format(interval, *map(show, interval_names)),) if interval and len(interval_names) == 2 else (),
    )


def _trials(
    table: Table, batch: pa.RecordBatch, trial: str, groups: Sequence[str], taken: Rows, cell: list[str]
) -> tuple[Codes, list[str]]:
    """Codes of trials as they come, and their names: the number and, if there are groups, what they are.

    Rows that are taken and rows that are not are never of one trial.
    """
    codes = np.zeros(batch.num_rows, np.int64)
    named = {name: pc.fill_null(words(batch[name]), "") for name in dict.fromkeys([trial, *groups])}
    _check_present(table, batch, trial, taken)
    for values in named.values():
        encoded = values.dictionary_encode()
        codes = codes * len(encoded.dictionary) + np.asarray(encoded.indices)
    _check_whole(table, batch, trial, codes, taken, cell)
    _, first, codes = np.unique(2 * codes + taken, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(first))
    first.sort()
    number, *others = (
        [f"{label}{word}" for word in values.take(pa.array(first)).to_pylist()]
        for label, values in zip(["", *(f"{name} " for name in [*named][1:])], named.values(), strict=True)
    )
    return ranks[codes], [", ".join(parts) for parts in zip(number, *others, strict=True)]


def _check_whole(table: Table, batch: pa.RecordBatch, trial: str, codes: Codes, taken: Rows, cell: list[str]) -> None:
    """Raise InputError for a trial of which only some rows are taken.

    Where both those and the others have a value of the same `cell` (position and interval), its number stands for two.
    """
    partly = np.isin(codes, codes[taken]) & np.isin(codes, codes[~taken])
    cells = np.asarray(pc.fill_null(labels(batch, cell), "").dictionary_encode().indices)[partly]
    numbers, at = np.unique(codes[partly], return_inverse=True)
    pairs = np.unique(np.stack([at, cells]), axis=1)
    cut = np.bincount(at) == np.bincount(pairs[0])
    if cut.any():
        row = int(np.argmax(codes == numbers[np.argmax(cut)]))
        raise InputError(
            f"{table.place(row)}: where takes only a part of the rows of trial {words(batch[trial])[row]}; "
            "it must take whole trials"
        )


def _codes(table: Table, batch: pa.RecordBatch, name: str, taken: Rows) -> tuple[Codes, list[str]]:
    """Codes from 0 of the values that stand in rows that are taken, sorted, −1 of any other; and the values."""
    _check_present(table, batch, name, taken)
    values = words(batch[name])
    names = sorted(values.filter(pa.array(taken)).unique().to_pylist(), key=order)
    return np.asarray(pc.fill_null(pc.index_in(values, pa.array(names, pa.string())), -1), np.int64), names


def _check_present(table: Table, batch: pa.RecordBatch, name: str, taken: Rows) -> None:
    missing = np.flatnonzero(np.asarray(pc.is_null(batch[name]), bool) & taken)
    if len(missing):
        raise InputError(f"{table.place(int(missing[0]))}: {name} is missing")


def _cells(
    table: Table,
    shape: tuple[int, int, int],
    trials: Codes,
    intervals: Codes,
    positions: Codes,
    taken: Rows,
    trial_names: list[str],
) -> Codes:
    """The row of each trial's value in each interval at each position, −1 where there is none."""
    known = np.flatnonzero((intervals >= 0) & (positions >= 0))
    cells = np.ravel_multi_index((trials[known], intervals[known], positions[known]), shape)
    per_trial, counts = shape[1] * shape[2], np.bincount(trials[taken], minlength=1)
    if (counts > 0).sum() * per_trial > 4 * taken.sum() + 1000:
        fewest = int(np.argmin(np.where(counts > 0, counts, per_trial)))
        raise InputError(
            f"{table.name}: trial {trial_names[fewest]} has {counts[fewest]} of {per_trial} values; "
            "most trials must have all"
        )
    _, first = np.unique(cells, return_index=True)
    again = np.setdiff1d(np.flatnonzero(taken[known]), first)
    if len(again):
        row = int(known[again[0]])
        raise InputError(
            f"{table.place(row)}: trial {trial_names[trials[row]]} has two values for one position; "
            "name the columns in which trial numbers restart as group"
        )
    at = np.full(shape, -1)
    at.flat[cells] = known
    return at


def _check_marks(
    table: Table, name: str, first: pa.Array, second: pa.Array, trial_names: list[str], among: Codes
) -> None:
    """Raise InputError where a response, which marks the chosen interval, is alike in both of one of these trials."""
    a, b = (words(column.take(pa.array(among))) for column in (first, second))
    alike = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(a, b), False), bool))
    if len(alike):
        at = int(alike[0])
        raise InputError(
            f"{table.name}: trial {trial_names[among[at]]}: {name} is {show(str(a[at]))} in both intervals; it must "
            "differ between the one that was chosen and the other, as it does in other trials"
        )


def _first(trials: Codes, among: Rows, n_trials: int) -> Codes:
    """The first row of each trial among these, −1 where it has none; (n_trials,)."""
    rows = np.flatnonzero(among)
    first = np.full(n_trials, -1)
    first[trials[rows[::-1]]] = rows[::-1]
    return first


def _take(column: pa.Array, rows: Codes) -> pa.Array:
    """The values of these rows, null at −1."""
    return column.take(pa.array(rows, mask=rows < 0))


def _differs(column: pa.Array, classes: Codes, rows: Rows) -> int | None:
    """A row, of these, whose value is not that of another of its class; None if each class has one value."""
    at = np.flatnonzero(rows)
    codes = np.asarray(pc.fill_null(column.dictionary_encode().indices, -1))[at]
    first = np.empty(classes.max() + 1, codes.dtype)
    first[classes[at]] = codes
    wrong = np.flatnonzero(first[classes[at]] != codes)
    return int(at[wrong[0]]) if len(wrong) else None
