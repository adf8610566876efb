"""Other layouts as one row per trial and one column per factor."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.errors import InputError
from stages.parameters.documents import show
from stages.trials.cells import all_numbers, order, words
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
        n_rows = 0
        for batch in table.batches(wanted):
            arrays = []
            for column in columns:
                if column in pairs:
                    a, b = (all_numbers(table, batch.column(name), name, n_rows) for name in pairs[column])
                    arrays.append(pc.subtract(b, a))
                else:
                    arrays.append(batch.column(column))
            n_rows += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return Table(table.name, (*others, *bases), read, table.place)


def pivot(table: Table, trial: str, position: str, value: str, interval: str | None) -> Table:
    """A long file, a row per value: one row per trial, and a factor `value[position]` for each position.

    With `interval`, a column of two different values, the factor is the second interval's value minus the first's. Any
    other column that is constant in each trial stays; one that differs between a trial's intervals (which of them was
    chosen) has its value in the second. Raises InputError for trials that lack a value or have it twice.
    """
    keys = [trial, position, value, *([interval] if interval else [])]
    table.check(keys)
    whole = table.whole(table.columns)
    column = {name: whole.column(name) for name in table.columns}
    trials, trial_names = _codes(table, column, trial, in_order=False)
    positions, position_names = _codes(table, column, position)
    intervals, interval_names = _codes(table, column, interval) if interval else (np.zeros(len(trials), int), [""])
    if interval and len(interval_names) != 2:
        raise InputError(f"{table.name}: {interval} must number two intervals, but it holds {show(interval_names[:5])}")
    cells = (trials * len(interval_names) + intervals) * len(position_names) + positions
    n_cells = len(trial_names) * len(interval_names) * len(position_names)
    _check_each_once(table, cells, n_cells, len(position_names) * len(interval_names), trials, trial_names)
    filled = np.empty(n_cells)
    filled[cells] = all_numbers(table, column[value], value, 0).to_numpy(zero_copy_only=False)
    factors = filled.reshape(len(trial_names), len(interval_names), len(position_names))
    wide = factors[:, 1] - factors[:, 0] if interval else factors[:, 0]
    result = {trial: pa.array(trial_names)}
    last = np.full(len(trial_names), -1)
    in_last = np.flatnonzero(intervals == len(interval_names) - 1)
    last[trials[in_last]] = in_last  # a row of each trial's last interval
    for name in table.columns:
        if name not in keys and _is_constant(column[name], trials * len(interval_names) + intervals):
            result[name] = column[name].take(pa.array(last))
    result |= {
        f"{value}[{name}]": pa.array(wide[:, j], mask=np.isnan(wide[:, j])) for j, name in enumerate(position_names)
    }
    return in_memory(table.name, pa.table(result), lambda row: f"{table.name}, trial {trial_names[row]}")


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

    return Table(table.name, (*table.columns, "signal"), read, table.place)


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
        raise InputError(f"{table.place(row)}: trial {names[trials[row]]} has two values for one position")
    if counts.min() == 0:
        at = int(np.argmin(counts)) // per_trial
        found = int(counts.reshape(-1, per_trial)[at].sum())
        raise InputError(
            f"{table.name}: trial {names[at]} has {found} values; it must have {per_trial}, one per position"
        )


def _is_constant(column: pa.Array, classes: NDArray[np.int64]) -> bool:
    """Whether a column has one value in each class."""
    codes = np.asarray(pc.fill_null(column.dictionary_encode().indices, -1))
    first = np.empty(classes.max() + 1, codes.dtype)
    first[classes] = codes
    return bool((first[classes] == codes).all())
