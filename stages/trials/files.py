"""Files as people have them, read in batches: CSV, TSV, Parquet, Feather, Arrow, .npy and .npz."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.errors import InputError
from stages.parameters.documents import nearest, show

TEXT = (".csv", ".tsv", ".txt", ".dat")
PARQUET = (".parquet", ".pq")
ARROW = (".feather", ".arrow", ".ipc", ".arrows")
NUMPY = (".npy", ".npz")

BATCH = 2048  # rows: 4 MB of 256 columns
MISSING = ("", "NA", "<NA>", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "None", ".")

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Table:
    """The rows of a file, in order, as often as wanted."""

    name: str  # for messages
    columns: tuple[str, ...]
    read: Callable[[list[str]], Batches]  # batches of these columns, as the file holds them
    place: Callable[[int], str]  # where a row, counted from 0, stands: "trials.csv, line 18"

    def batches(self, columns: Sequence[str]) -> Batches:
        """Batches of these columns, each float64 or text, null where a value is missing."""
        self.check(columns)
        for batch in self.read(list(dict.fromkeys(columns))):
            names = batch.schema.names
            yield pa.RecordBatch.from_arrays([plain(column) for column in batch.columns], names=names)

    def whole(self, columns: Sequence[str]) -> pa.RecordBatch:
        """These columns of all rows, in memory. Raises InputError if there is no row."""
        batches = list(self.batches(columns))
        if not sum(batch.num_rows for batch in batches):
            raise InputError(f"{self.name} holds no trials")
        return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]

    def check(self, columns: Iterable[str]) -> None:
        """Raise InputError, with the nearest name, unless it has these columns."""
        for column in columns:
            if column not in self.columns:
                raise InputError(f"{self.name} has no column {column!r}; {nearest(column, self.columns)}")


def open_table(path: Path) -> Table:
    """The file as a table. Raises InputError for a file that is none."""
    kinds = {**dict.fromkeys(PARQUET, _parquet), **dict.fromkeys(ARROW, _arrow), **dict.fromkeys(NUMPY, _numpy)}
    if path.suffix.lower() in TEXT:
        from stages.trials.text import open_text

        table = open_text(path)
    elif path.suffix.lower() in kinds:
        try:
            table = kinds[path.suffix.lower()](path)
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") if error.errno else _unreadable(path, error) from None
        except Exception as error:  # of damaged bytes NumPy lets through whatever zipfile or Python's parser says
            raise _unreadable(path, error) from None
    else:
        known = " ".join((*TEXT, *PARQUET, *ARROW, *NUMPY))
        raise InputError(f"{path}: the kind of file is told by its ending, which must be one of {known}")
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the column {twice[0]!r} stands there twice; every column needs a name of its own")
    strange = [name for name in table.columns if not name.isprintable()]
    if strange:
        raise InputError(f"{path}: the column name {show(strange[0])} holds what cannot be printed; name it otherwise")
    return table


def in_memory(name: str, table: pa.Table, place: Callable[[int], str]) -> Table:
    """A table that is held in memory."""

    def read(columns: list[str]) -> Batches:
        yield from table.select(columns).to_batches(max_chunksize=BATCH)

    return Table(name, tuple(table.column_names), read, place)


def plain(column: pa.Array) -> pa.Array:
    """A column as float64 or text, null where a value is missing; dates and lists as text, too."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    words = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    return pc.if_else(pc.is_in(words, pa.array(MISSING)), pa.scalar(None, pa.string()), words)


def _rows(path: Path) -> Callable[[int], str]:
    return lambda row: f"{path.name}, row {row + 1}"


def _parquet(path: Path) -> Table:
    names = tuple(pq.read_schema(path).names)

    def read(columns: list[str]) -> Batches:
        # Without a buffer whole column chunks would be in memory, in most files all of a column. So it is a page and a
        # dictionary of each column: 2 MB a column as pandas writes them.
        with pq.ParquetFile(path, buffer_size=1 << 13, pre_buffer=False) as file, _whole(path):
            yield from file.iter_batches(BATCH, columns=columns, use_threads=False)
        pa.default_memory_pool().release_unused()

    return Table(path.name, names, read, _rows(path))


def _arrow(path: Path) -> Table:
    with path.open("rb") as file:
        is_stream = file.read(6) != b"ARROW1"

    def read(columns: list[str]) -> Batches:
        with pa.OSFile(str(path)) as file, _whole(path):
            reader = pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)
            for batch in reader if is_stream else (reader.get_batch(i) for i in range(reader.num_record_batches)):
                for start in range(0, batch.num_rows, BATCH):
                    yield batch.slice(start, BATCH).select(columns)

    with pa.OSFile(str(path)) as file:
        schema = (pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)).schema
    return Table(path.name, tuple(schema.names), read, _rows(path))


def _numpy(path: Path) -> Table:
    """Columns 0, 1, … of an .npy file; the arrays of an .npz file by name, those of two dimensions as x[0], x[1], …"""
    loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
    arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    columns: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.dtype.names:
            columns |= {field: array[field] for field in array.dtype.names}
        elif array.ndim == 2:
            label = f"{name}[{{}}]" if name else "{}"
            columns |= {label.format(j): array[:, j] for j in range(array.shape[1])}
        else:
            columns[name] = array
    shapes = {column.shape for column in columns.values()}
    if len(shapes) != 1 or len(min(shapes)) != 1:
        raise InputError(f"{path} holds arrays of the shapes {sorted(shapes)}; all need one row per trial")
    for name, column in columns.items():
        if column.dtype.kind not in "biufUS":
            raise InputError(f"{path}: {name!r} holds {column.dtype}; it must be numbers, truth values or text")

    def read(names: list[str]) -> Batches:
        for start in range(0, min(shapes)[0], BATCH):
            parts = [columns[name][start : start + BATCH] for name in names]
            parts = [part.astype(str) if part.dtype.kind in "SU" else part for part in parts]
            yield pa.RecordBatch.from_arrays([pa.array(np.ascontiguousarray(part)) for part in parts], names=names)

    return Table(path.name, tuple(columns), read, _rows(path))


class _whole:  # noqa: N801  # a context manager
    """What pyarrow finds wrong only while it reads becomes one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, pa.ArrowException | OSError | ValueError) and not getattr(error, "errno", None):
            raise _unreadable(self._path, error) from None


def _unreadable(path: Path, error: BaseException) -> InputError:
    return InputError(f"{path} is damaged or not what its ending says: {' '.join(str(error).split())}")
