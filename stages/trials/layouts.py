"""Columns that follow from others: the difference of two intervals, the signal of an outcome."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from stages.files.errors import InputError
from stages.trials import cells
from stages.trials.responses import OUTCOMES, outcome
from stages.trials.table import Batches, Table


def differences(table: Table, endings: list[str]) -> Table:
    """Two columns per factor, one for each interval, become one: the second minus the first.

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
                cells.difference(*map(batch.column, pairs[name])) if name in pairs else batch.column(name)
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    note = f"factors are the difference of two columns: the one in {second} minus the one in {first}"
    return replace(table, columns=(*others, *bases), read=read, numeric=frozenset(bases), notes=(note,))


def with_signal(table: Table, column: str, levels: list[str]) -> Table:
    """Add a column `signal`, 1 or 0, determined by the outcomes (hit, miss, false alarm, correct rejection)."""
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
