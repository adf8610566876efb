"""Other layouts as one row per trial and one column per factor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.errors import InputError
from stages.parameters.documents import show
from stages.trials.cells import numbers, order, words
from stages.trials.responses import OUTCOMES, outcome
from stages.trials.table import Batches, Table, in_memory


def differences(table: Table, endings: list[str]) -> Table:
    """Two columns a factor, one per interval, as one: the second minus the first.

    `contrast_1` and `contrast_2`, with the endings `_1` and `_2`, become `contrast`.
    """
    first, second = endings
    bases = [name.removesuffix(first) for name in table.columns if name.endswith(first) and name != first]
    bases = [base for base in bases if base + second in table.columns and first != second]
    if not bases:
        raise InputError(
            f"{table.name}: no two columns differ in the endings {first!r} and {second!r} alone (intervals)"
        )
    pairs = {base: (base + first, base + second) for base in bases}
    replaced = {name for pair in pairs.values() for name in pair}
    others = [name for name in table.columns if name not in replaced]
    if set(bases) & set(others):
        one, other = pairs[min(set(bases) & set(others))]
        raise InputError(f"{table.name}: the difference of {one} and {other} would be named like another column")

    def read(columns: list[str]) -> Batches:
        wanted = [name for column in columns for name in pairs.get(column, (column,))]
        for batch in table.batches(wanted):
            arrays = [
                _difference(*map(batch.column, pairs[name])) if name in pairs else batch.column(name)
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    note = f"factors are the difference of two columns: the one in {second} minus the one in {first}"
    return replace(table, columns=(*others, *bases), read=read, numeric=frozenset(bases), notes=(note,))


def _difference(first: pa.Array, second: pa.Array) -> pa.Array:
    """Second minus first. Where one of two texts is a word, it is that word: whether it matters is known later."""
    a, b = numbers(first), numbers(second)
    found = pc.subtract(b, a)
    for given, value in ((second, b), (first, a)):
        if given is not value:
            text = found if pa.types.is_string(found.type) else pc.cast(found, pa.string())
            found = pc.if_else(pc.and_(pc.is_valid(given), pc.is_null(value)), pc.cast(given, pa.string()), text)
    return found


def pivot(
    table: Table,
    trial: str,
    position: str,
    value: str,
    interval: str | None,
    groups: Sequence[str] = (),
    responses: Collection[str] = (),
) -> Table:
    """A long file, a row per value: one row per trial, and a factor `value[position]` for each position.

    The same number in another of the groups is another trial. With `interval`, a column of two different values, the
    factor is the second interval's value minus the first's. Any other column that is constant in each trial stays; one
    that differs between a trial's intervals (which of them was chosen) has its value in the second. Raises InputError
    for trials that lack a value or have it twice, and for a response that marks both intervals of a trial, or none.
    """
    keys = [trial, position, value, *([interval] if interval else [])]
    table.check(keys)
    whole = table.whole(table.columns)
    column = {name: whole.column(name) for name in table.columns}
    trials, trial_names = _trials(table, column, trial, [name for name in groups if name in column and name != trial])
    positions, position_names = _codes(table, column, position)
    intervals, interval_names = _codes(table, column, interval) if interval else (np.zeros(len(trials), int), [""])
    if interval and len(interval_names) != 2:
        raise InputError(f"{table.name}: {interval} must number two intervals, but it holds {show(interval_names[:5])}")
    parts = trials * len(interval_names) + intervals
    cells = parts * len(position_names) + positions
    n_cells = len(trial_names) * len(interval_names) * len(position_names)
    _check_each_once(table, cells, n_cells, len(position_names) * len(interval_names), trials, trial_names)
    at = np.argsort(cells).reshape(len(trial_names), len(interval_names), len(position_names))  # rows of the file
    result, differing = dict[str, pa.Array](), dict[str, str]()
    for name in table.columns:
        if name in keys[1:]:
            continue
        row = _differs(column[name], parts)
        if row is None:
            result[name] = column[name].take(pa.array(at[:, -1, 0]))
            if interval and any(given == name or given.startswith(f"{name}=") for given in responses):
                _check_marks(table, name, column[name], at[:, 0, 0], at[:, 1, 0], trial_names)
        else:
            differing[name] = f"{name} differs within trial {trial_names[trials[row]]}; it must have one value a trial"
    for j, name in enumerate(position_names):
        first, *second = (column[value].take(pa.array(at[:, i, j])) for i in range(len(interval_names)))
        result[f"{value}[{name}]"] = _difference(first, *second) if interval else first
    note = "{}: {} is first and {} second, in their order; factors are the second's value minus the first's"
    return in_memory(
        table.name,
        pa.table(result),
        place=lambda row: f"{table.name}, trial {trial_names[row]}",
        numeric=frozenset(f"{value}[{name}]" for name in position_names),
        differing=differing,
        notes=(note.format(interval, *map(show, interval_names)),) if interval else (),
    )


def with_signal(table: Table, column: str, levels: list[str]) -> Table:
    """With a column `signal`, 1 or 0, that outcomes (hit, miss, false alarm, correct rejection) determine."""
    if "signal" in table.columns:
        return table
    present = pa.array([level for level in levels if OUTCOMES[outcome(level)][0]])

    def read(columns: list[str]) -> Batches:
        others = [name for name in columns if name != "signal"]
        for batch in table.batches([*others, column]):
            outcomes = batch.column(column)
            signal = pc.if_else(pc.is_valid(outcomes), pc.cast(pc.is_in(outcomes, present), pa.float64()), None)
            arrays = [signal if name == "signal" else batch.column(name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return replace(table, columns=(*table.columns, "signal"), read=read)


def _trials(
    table: Table, column: dict[str, pa.Array], trial: str, groups: Sequence[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of trials as they come, and their names: the number and, if there are groups, what they are."""
    codes, _ = _codes(table, column, trial, in_order=False)
    for name in groups:
        of_group = pc.fill_null(words(column[name]), "").dictionary_encode()
        codes = codes * len(of_group.dictionary) + np.asarray(of_group.indices)
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(first))
    names = [[f"{name} {words(column[name])[row]}" for name in groups] for row in sorted(first.tolist())]
    shown = words(column[trial]).take(pa.array(np.sort(first))).to_pylist()
    return ranks[codes], [", ".join([number, *others]) for number, others in zip(shown, names, strict=True)]


def _check_marks(
    table: Table,
    name: str,
    column: pa.Array,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    trial_names: list[str],
) -> None:
    """Raise InputError if a response marks the chosen interval in some trials, and in others both or none."""
    a, b = (words(column.take(pa.array(rows))) for rows in (first, second))
    alike = np.asarray(pc.fill_null(pc.equal(a, b), False), bool)
    present = np.asarray(pc.and_(pc.is_valid(a), pc.is_valid(b)), bool)
    if alike.any() and (present & ~alike).any():
        at = int(np.argmax(alike))
        raise InputError(
            f"{table.name}: trial {trial_names[at]}: {name} is {show(str(a[at]))} in both intervals; it must differ "
            "between the one that was chosen and the other, as it does in other trials"
        )


def _codes(
    table: Table, column: dict[str, pa.Array], name: str, in_order: bool = True
) -> tuple[NDArray[np.int64], list[str]]:
    """Codes from 0 of a column's values, sorted or as they come, and the values."""
    missing = np.flatnonzero(np.asarray(pc.is_null(column[name]), bool))
    if len(missing):
        raise InputError(f"{table.place(int(missing[0]))}: {name} is missing")
    encoded = words(column[name]).dictionary_encode()
    names = encoded.dictionary.to_pylist()
    ranks = sorted(range(len(names)), key=lambda code: order(names[code])) if in_order else list(range(len(names)))
    return np.argsort(ranks)[np.asarray(encoded.indices)], [names[code] for code in ranks]


def _check_each_once(
    table: Table, cells: NDArray[np.int64], n_cells: int, per_trial: int, trials: NDArray[np.int64], names: list[str]
) -> None:
    if n_cells > 4 * len(cells) + 1000:
        at = int(np.argmin(np.bincount(trials)))
        raise InputError(
            f"{table.name}: trial {names[at]} has {int(np.bincount(trials)[at])} values, others up to {per_trial}"
        )
    counts = np.bincount(cells, minlength=n_cells)
    if counts.max() > 1:
        row = int(np.setdiff1d(np.arange(len(cells)), np.unique(cells, return_index=True)[1])[0])
        raise InputError(
            f"{table.place(row)}: trial {names[trials[row]]} has two values for one position; "
            "name the columns in which trial numbers restart as group"
        )
    if counts.min() == 0:
        at = int(np.argmin(counts)) // per_trial
        found = int(counts.reshape(-1, per_trial)[at].sum())
        raise InputError(
            f"{table.name}: trial {names[at]} has {found} values; it must have {per_trial}, one per position"
        )


def _differs(column: pa.Array, classes: NDArray[np.int64]) -> int | None:
    """A row whose value is not that of another row of its class; None if each class has one value."""
    codes = np.asarray(pc.fill_null(column.dictionary_encode().indices, -1))
    first = np.empty(classes.max() + 1, codes.dtype)
    first[classes] = codes
    wrong = np.flatnonzero(first[classes] != codes)
    return int(wrong[0]) if len(wrong) else None
