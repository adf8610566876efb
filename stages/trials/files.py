"""Files as people have them, read in batches: CSV, TSV, Parquet, Feather, Arrow, .npy and .npz."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.files.documents import show
from stages.files.errors import InputError, check_file, check_memory
from stages.trials.table import BATCH, Batches, Table, plain, plain_batch
from stages.trials.text import open_text

TEXT = (".csv", ".tsv", ".txt", ".dat")
PARQUET = (".parquet", ".pq")
ARROW = (".feather", ".arrow", ".ipc", ".arrows")
NUMPY = (".npy", ".npz")
UNNAMED = r"Unnamed: \d+|__index_level_\d+__"  # pandas' names for a column without a name: row numbers
TOGETHER = 128  # columns of a Parquet file that are read at one time: of each 2 MB are in memory, as pandas writes them


def open_table(path: Path) -> Table:
    """The file as a table. Raises InputError for a file that is not a table."""
    check_file(path)
    kinds = {**dict.fromkeys(PARQUET, _parquet), **dict.fromkeys(ARROW, _arrow), **dict.fromkeys(NUMPY, _numpy)}
    if path.suffix.lower() in TEXT:
        table = open_text(path)
    elif path.suffix.lower() in kinds:
        try:
            table = kinds[path.suffix.lower()](path)
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") if error.errno else _unreadable(path, error) from None
        except Exception as error:  # on damaged bytes NumPy passes on whatever zipfile or Python's parser raises
            raise _unreadable(path, error) from None
    else:
        known = " ".join((*TEXT, *PARQUET, *ARROW, *NUMPY))
        raise InputError(f"{path}: the kind of file is recognised by its ending, which must be one of {known}")
    table = replace(table, columns=tuple(name for name in table.columns if not re.fullmatch(UNNAMED, name)))
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the column {twice[0]!r} occurs twice; every column needs a name of its own")
    strange = [name for name in table.columns if not name.isprintable()]
    if strange:
        raise InputError(f"{path}: the column name {show(strange[0])} holds what cannot be printed; name it otherwise")
    return table


def _rows(path: Path) -> Callable[[int], str]:
    return lambda row: f"{path.name}, row {row + 1}"


def _parquet(path: Path) -> Table:
    schema = pq.read_schema(path)
    spools: list[IO[bytes]] = []  # of all columns, TOGETHER in each, once more than that are wanted

    def read(columns: list[str]) -> Batches:
        if len(columns) <= TOGETHER:
            yield from _pages(path, columns)
            return
        if not spools:
            fields = [*schema]
            spools.extend(_spooled(path, fields[at : at + TOGETHER]) for at in range(0, len(fields), TOGETHER))
        for spool in spools:
            spool.seek(0)
        for batches in zip(*map(pa.ipc.open_stream, spools), strict=True):
            arrays = {name: batch.column(name) for batch in batches for name in batch.schema.names}
            yield pa.RecordBatch.from_pydict({name: arrays[name] for name in columns})

    return Table(path.name, tuple(schema.names), read, _rows(path))


def _pages(path: Path, columns: list[str]) -> Batches:
    """Some columns of a Parquet file, read with a page and a dictionary of each in memory."""
    # Without a buffer, whole column chunks would be in memory: in most files all of a column.
    with pq.ParquetFile(path, buffer_size=1 << 13, pre_buffer=False) as file, _whole(path):
        yield from map(_valid, file.iter_batches(BATCH, columns=columns, use_threads=False))
    pa.default_memory_pool().release_unused()


def _spooled(path: Path, fields: list[pa.Field]) -> IO[bytes]:
    """A nameless file in the current folder: an Arrow stream of these columns as numbers or text, BATCH rows at a time.

    It disappears with the table.
    """
    spool = tempfile.TemporaryFile(dir=".")  # noqa: SIM115
    types = {field.name: plain(pa.nulls(0, field.type)).type for field in fields}
    with pa.ipc.new_stream(spool, pa.schema(types)) as writer:
        for batch in _even(_pages(path, [*types])):
            writer.write_batch(batch.select([*types]))
    return spool


def _even(batches: Batches) -> Batches:
    """The same rows as numbers or text, BATCH at a time, or fewer where dictionaries change."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(plain_batch(batch))
        if sum(part.num_rows for part in held) >= BATCH:
            first, *held = pa.Table.from_batches(held).combine_chunks().to_batches(max_chunksize=BATCH)
            yield first
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


def _arrow(path: Path) -> Table:
    with path.open("rb") as file:
        is_stream = file.read(6) != b"ARROW1"

    def read(columns: list[str]) -> Batches:
        with pa.OSFile(str(path)) as file, _whole(path):
            reader = pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)
            for batch in reader if is_stream else (reader.get_batch(i) for i in range(reader.num_record_batches)):
                for start in range(0, batch.num_rows, BATCH):
                    yield _valid(batch.slice(start, BATCH).select(columns))

    with pa.OSFile(str(path)) as file:
        schema = (pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)).schema
    return Table(path.name, tuple(schema.names), read, _rows(path))


def _numpy(path: Path) -> Table:
    """Columns 0, 1, … of an .npy file; the arrays of an .npz file by name, those of two dimensions as x[0], x[1], …"""
    if path.suffix.lower() == ".npz":
        with ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        check_memory(size, f"{path}, unpacked,", "save its columns as .npy or Parquet, which is read piece by piece")
    loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
    arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    columns: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.dtype.names:
            columns |= {field: array[field] for field in array.dtype.names}
        elif array.ndim == 2:
            label = f"{name}[{{}}]" if name else "{}"
            columns |= {label.format(j): array[:, j] for j in range(array.shape[1])}
        elif name:
            columns[name] = array
        else:
            raise InputError(f"{path} holds an array of the shape {array.shape}; it must be (trials, columns)")
    shapes = {column.shape for column in columns.values()}
    if len(shapes) != 1 or len(min(shapes)) != 1:
        raise InputError(f"{path} holds arrays of the shapes {sorted(shapes)}; all need one row per trial")
    for name, column in columns.items():
        if column.dtype.kind not in "biufUS":
            raise InputError(f"{path}: {name!r} holds {column.dtype}; it must be numbers, truth values or text")

    def read(names: list[str]) -> Batches:
        with _whole(path):
            for start in range(0, min(shapes)[0], BATCH):
                parts = [columns[name][start : start + BATCH] for name in names]
                parts = [part.astype(str) if part.dtype.kind in "SU" else part for part in parts]
                yield pa.RecordBatch.from_arrays([pa.array(np.ascontiguousarray(part)) for part in parts], names=names)

    return Table(path.name, tuple(columns), read, _rows(path))


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same batch; raises ArrowInvalid if it is not valid Arrow, such as text that is not UTF-8."""
    batch.validate(full=True)
    return batch


class _whole:  # noqa: N801  # a context manager
    """Turns errors that pyarrow finds only while reading into one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, pa.ArrowException | OSError | ValueError) and not getattr(error, "errno", None):
            raise _unreadable(self._path, error) from None


def _unreadable(path: Path, error: BaseException) -> InputError:
    words = "".join(sign if sign.isprintable() else " " for sign in str(error)).split()  # it may quote damaged bytes
    return InputError(f"{path} is damaged or not what its ending says: {' '.join(words)}")
