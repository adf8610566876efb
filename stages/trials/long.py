"""A long file, a row per value, as one row per trial."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials import cells
from stages.trials.responses import column_of
from stages.trials.rows import Bools, Codes, Long, Rows, check_shared, learn_places, locate
from stages.trials.table import BATCH, Batches, Table
from stages.trials.where import EVERY, Where


def pivot(table: Table, long: Long, responses: Collection[str] = (), take: Where = EVERY) -> tuple[Long, Table]:
    """One row per trial, and a factor `value[position]` for each position; and `long` with positions and intervals.

    With an interval, the factor is the second interval's value minus the first's. Other columns that are constant in
    each trial stay; a response that differs between a trial's intervals (which of them was chosen) has its value in the
    second. What a trial has no row for is missing. Positions and faults are those of the rows to `take`, as far as the
    file's columns tell; rows of positions that the study does not have are ignored. Raises InputError for trials that
    have a value twice, and for a response that marks both intervals of a trial, or none.
    """
    table.check([long.trial, *long.keys])
    batch = table.whole(table.columns)
    taken = take.among(table.columns)(batch)
    is_study, known = long.positions is None, long  # a new file has the study's positions
    if is_study:
        marks = [column_of(table, response) for response in responses]
        known = learn_places(table, batch, long, taken).model_copy(update={"marks": marks})
    example = f"named as in {known.factors[0]}" if known.factors else "one for each position"
    reasons = dict.fromkeys(long.keys, f"is no column of trials, whose factors are {example}")
    for name in (*take.columns, *long.groups):
        if name in reasons:
            raise InputError(f"{table.name}: {name} {reasons[name]}")
    rows = locate(table, batch, known, taken)
    if is_study:
        check_shared(table, batch, known, rows)
        for name in known.factors:
            if name in table.columns:
                raise InputError(f"{table.name}: a factor is named {name}, as a column is; rename that column")
    others = [name for name in table.columns if name not in (*long.keys, *known.factors)]
    kept, differing = _columns(table, batch, others, rows, known.marks)
    if is_study:
        _check_marks(table, batch, rows, [name for name in known.marks if name in kept])
    for name in take.columns:
        if name in differing:
            raise InputError(f"{table.name}: {name} {differing[name]}")
    return known, Table(
        table.name,
        (*kept, *known.factors),
        lambda columns: _read(batch, known, rows, kept, columns),
        place=lambda row: f"{table.name}, trial {rows.names[row]}",
        numeric=frozenset(known.factors),
        unusable=reasons | differing,
        notes=(_order(long.interval, *known.intervals),) if long.interval and taken.any() else (),
    )


def _order(interval: str, first: str, second: str) -> str:
    return (
        f"{interval}: {show(first)} is first and {show(second)} second, in their order; factors are the second's value "
        "minus the first's"
    )


def _columns(
    table: Table, batch: pa.RecordBatch, names: list[str], rows: Rows, marks: list[str]
) -> tuple[dict[str, Codes], dict[str, str]]:
    """Which row holds each trial's value, for each column of trials; and why the others are none."""
    kept, reasons = dict[str, Codes](), dict[str, str]()
    second = rows.first(rows.intervals == 1)
    # One row for all columns, so that where decides of a trial as of that row.
    own = np.where(second >= 0, second, rows.first(np.ones_like(rows.taken)))
    for name in names:
        differing = _differs(batch[name], rows.trials, rows.taken)
        if differing is None:
            kept[name] = own
        elif name in marks and _differs(batch[name], 2 * rows.trials + rows.intervals, rows.taken) is None:
            kept[name] = second
        else:
            trial = rows.names[rows.trials[differing]]
            reasons[name] = f"differs within trial {trial}; it must have one value a trial"
    return kept, reasons


def _check_marks(table: Table, batch: pa.RecordBatch, rows: Rows, marks: list[str]) -> None:
    """Raise InputError where a response that differs between intervals is alike in both of one trial."""
    trials = np.unique(rows.trials[rows.taken])
    both = [rows.first(rows.intervals == i)[trials] for i in (0, 1)]
    for name in marks:
        if _differs(batch[name], rows.trials, rows.taken) is None:
            continue  # it is a response of the whole trial
        a, b = (cells.words(_take(batch[name], first)) for first in both)
        alike = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(a, b), False), bool))
        if len(alike):
            at = int(alike[0])
            raise InputError(
                f"{table.name}: trial {rows.names[trials[at]]}: {name} is {show(str(a[at]))} in both intervals; it "
                "must differ between the one that was chosen and the other, as it does in other trials"
            )


def _differs(column: pa.Array, classes: Codes, taken: Bools) -> int | None:
    """A row, of those taken, whose value is not that of another of its class; None if each class has one value."""
    at = np.flatnonzero(taken)
    values = pc.add(column, 0.0) if pa.types.is_floating(column.type) else cells.words(column)  # no −0, and 0.50 is 0.5
    codes = np.asarray(pc.fill_null(values.dictionary_encode().indices, -1))[at]
    first = np.empty(classes.max() + 1, codes.dtype)
    first[classes[at]] = codes
    wrong = np.flatnonzero(first[classes[at]] != codes)
    return int(at[wrong[0]]) if len(wrong) else None


def _read(batch: pa.RecordBatch, long: Long, rows: Rows, kept: dict[str, Codes], columns: list[str]) -> Batches:
    """Batches of trials: what stands in the rows `kept`, and factors, null where a trial has no row."""
    placed = np.flatnonzero((rows.intervals >= 0) & (rows.positions >= 0))
    placed = placed[np.argsort(rows.trials[placed])]
    starts = range(0, len(rows.names), BATCH)
    index = {name: j for j, name in enumerate(long.factors)}
    for start, here in zip(starts, np.split(placed, np.searchsorted(rows.trials[placed], starts[1:])), strict=True):
        end = min(start + BATCH, len(rows.names))
        at = np.full((2 if long.interval else 1, len(index), end - start), -1)  # the row of each value
        at[rows.intervals[here], rows.positions[here], rows.trials[here] - start] = here
        arrays = [
            _take(batch[name], kept[name][start:end])
            if name in kept
            else _factor(batch[long.value], at[:, index[name]])
            for name in columns
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=columns)


def _factor(values: pa.Array, at: Codes) -> pa.Array:
    """The values in these rows, (1, n_trials), or the second's minus the first's, (2, n_trials)."""
    first, *second = (_take(values, rows) for rows in at)
    return cells.difference(first, *second) if second else first


def _take(column: pa.Array, rows: Codes) -> pa.Array:
    """The values of these rows, null at −1."""
    return column.take(pa.array(rows, mask=rows < 0))
