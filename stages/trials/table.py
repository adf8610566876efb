"""A table of trials: batches of columns that hold numbers or words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.files.documents import nearest
from stages.files.errors import InputError

BATCH = 2048  # rows: 4 MB of 256 columns
MISSING = ("", "NA", "<NA>", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "None", ".")

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Table:
    """The rows of a file, in order, as often as wanted."""

    name: str  # for messages
    columns: tuple[str, ...]
    read: Callable[[list[str]], Batches]  # batches of these columns, as the file holds them
    place: Callable[[int], str]  # where a row, counted from 0, is: "trials.csv, line 18"
    numeric: frozenset[str] = frozenset()  # columns that must hold numbers
    unusable: Mapping[str, str] = field(default_factory=dict)  # columns of the file that do not describe a trial -> why
    notes: tuple[str, ...] = ()  # on how rows of the file became trials

    def batches(self, columns: Sequence[str]) -> Batches:
        """Batches of these columns, each float64 or text, null where a value is missing."""
        self.check(columns)
        for batch in self.read(list(dict.fromkeys(columns))):
            yield plain_batch(batch)

    def whole(self, columns: Sequence[str]) -> pa.RecordBatch:
        """These columns of all rows, in memory. Raises InputError if there is no row."""
        batches = list(self.batches(columns))
        if not sum(batch.num_rows for batch in batches):
            raise InputError(f"{self.name} holds no trials")
        texts = {field.name for batch in batches for field in batch.schema if pa.types.is_string(field.type)}
        schema = pa.schema([(name, pa.string() if name in texts else pa.float64()) for name in batches[0].schema.names])
        return pa.Table.from_batches([batch.cast(schema) for batch in batches]).combine_chunks().to_batches()[0]

    def check(self, columns: Iterable[str]) -> None:
        """Raise InputError, with the nearest name, unless it has these columns."""
        for column in columns:
            if column in self.unusable:
                raise InputError(f"{self.name}: {column} {self.unusable[column]}")
            if column not in self.columns:
                raise InputError(f"{self.name} has no column {column!r}; {nearest(column, self.columns)}")


def in_memory(name: str, table: pa.Table, **others: Any) -> Table:
    """A table that is held in memory; `others` as `Table` has them."""

    def read(columns: list[str]) -> Batches:
        yield from table.select(columns).to_batches(max_chunksize=BATCH)

    return Table(name, tuple(table.column_names), read, **others)


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Each column as float64 or text, null where a value is missing."""
    return pa.RecordBatch.from_arrays([plain(column) for column in batch.columns], names=batch.schema.names)


def plain(column: pa.Array) -> pa.Array:
    """A column as float64 or text, null where a value is missing.

    Text are also dates, lists, and whole numbers of which float64 would make others.
    """
    if pa.types.is_dictionary(column.type):
        column = plain(column.dictionary).take(column.indices)
    kind = column.type
    if pa.types.is_integer(kind):
        ends = pc.min_max(column).as_py().values()
        is_exact = all(end is None or abs(end) < 2**53 for end in ends)
        return pc.cast(column, pa.float64() if is_exact else pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    words = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.is_in(words, pa.array(MISSING)), pa.scalar(None, pa.string()), words)
