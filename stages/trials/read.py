"""A person's file, of any kind, as a data frame of numbers and words: its ending and its content tell what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.files.account import some
from stages.files.documents import show
from stages.files.errors import InputError, check_memory
from stages.trials.nested import read_hdf, read_json, table_of
from stages.trials.text import Read, read_text, tabulate
from stages.trials.values import Table, plain, repeated

UNNAMED = r"Unnamed: \d+|__index_level_\d+__|"  # pandas' names for a column without a name: row numbers
PER_CELL, PER_BYTE = 40, 8  # bytes of memory that reading takes for a cell of a Parquet file, and a byte of others
MUCH = 2e9  # bytes of memory from which on it is said what reading needs
OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read(paths: Path | Sequence[Path]) -> Table:
    """Files of trials, or all in a folder, below one another. Of several, a column `file` has the names, no endings.

    Raises InputError, in one line, for what is not a table.
    """
    if isinstance(paths, Path):
        paths = sorted(path for path in paths.iterdir() if path.name[0] != ".") if paths.is_dir() else [paths]
    tables = [read_one(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    names = [table.name.partition(".")[0] for table in tables]
    if len(set(names)) < len(names):
        names = [table.name for table in tables]
    frames = [table.frame.assign(file=name).astype({"file": "str"}) for table, name in zip(tables, names, strict=True)]
    both = pd.concat(frames).apply(lambda column: column if column.dtype.kind == "f" else plain(column))
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return Table(f"{tables[0].name} and {len(tables) - 1} more", both, tuple(notes))


def read_one(path: Path) -> Table:
    """One file. Its columns are float64 or text; those without a name are left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constructors and units that our columns do not need
            frame, notes = _contents(path)
            names = [" ".join(str(name).split()) for name in frame.columns]
            frame.columns = range(len(names))
            columns = {j: plain(frame.pop(j)) for j in range(len(names))}  # one by one, to save memory
    except Exception as error:  # on damaged bytes the libraries pass on whatever theirs raise
        raise unreadable(path, error) from None
    named = [j for j, name in enumerate(names) if not re.fullmatch(UNNAMED, name)]
    for name in repeated(names[j] for j in named):
        raise InputError(f"{path.name}: the column {name!r} occurs twice; every column needs a name of its own")
    for name in [name for name in names if not name.isprintable()]:
        raise InputError(f"{path.name}: the column name {show(name)} holds what cannot be printed; name it otherwise")
    if not len(frame):
        raise InputError(f"{path.name} holds no trials")
    what, numbers = ("line", frame.index) if frame.index.name == "line" else ("row", range(1, len(frame) + 1))
    start = f"{path.name}, {what} "
    places = pd.Index([f"{start}{number}" for number in numbers], dtype="str")
    found = pd.DataFrame({j: columns[j] for j in named}, frame.index, copy=False)
    return Table(path.name, found.set_axis(places).set_axis([names[j] for j in named], axis=1), tuple(notes))


def unreadable(path: Path, error: BaseException) -> InputError:
    match error:
        case InputError():
            return error
        case ImportError(name=name):
            return InputError(f"{path.name}: reading it needs the package {name}; pip install {name}")
        case OSError(strerror=str(why)):
            return InputError(f"{path.name}: {why}")
    text = "its reader crashed" if isinstance(error, BrokenProcessPool) else str(error)
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()  # it may quote damaged bytes
    why = " ".join(words)[:300] or type(error).__name__
    return InputError(f"{path.name} is damaged or not what its ending says: {why}")


def _contents(path: Path) -> Read:
    ending = path.suffix.lower()
    source: Any = path  # or its bytes, unpacked
    packed = ending in (*OPEN, ".zip")
    reader = READERS.get(Path(path.stem).suffix.lower() if packed else ending, _text)
    size = path.stat().st_size * PER_BYTE * (5 if packed else 1)
    if reader is _parquet and not packed:
        size = (shape := pq.read_metadata(path)).num_rows * shape.num_columns * PER_CELL
    check_memory(size, f"{path.name}, read as a whole,", "save a part of its columns or rows")
    if size > MUCH:
        print(f"reading {path.name} needs about {size / 1e9:.1f} GB of memory", flush=True)
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.namelist() if not each.endswith("/") and "__MACOSX" not in each]
            if len(members) != 1:
                raise InputError(f"{path.name} holds {some(members) or 'nothing'}; it must be one file")
            source, reader = io.BytesIO(archive.read(members[0])), READERS.get(Path(members[0]).suffix.lower(), _text)
    elif packed:
        source = io.BytesIO(OPEN[ending](path).read())
    return apart(reader, source, path.name) if reader in CRASH else reader(source, path.name)


def apart(call: Callable[..., Any], *arguments: Any) -> Any:
    """In a process of its own: of damaged bytes some C libraries crash, which is no exception."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


# --- a reader for each kind of file


def _bytes(source: Any) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source.getvalue()


def _text(source: Any, name: str) -> Read:
    return read_text(_bytes(source), name)


def _json(source: Any, name: str) -> Read:
    text = _bytes(source).decode("utf-8-sig")
    try:
        return read_json(json.loads(text), name)
    except json.JSONDecodeError:
        return read_json([json.loads(line) for line in text.splitlines() if line.strip()], name)


def _sheets(source: Any, name: str) -> Read:
    sheets = pd.read_excel(source, sheet_name=None, header=None, dtype=object, engine="calamine")
    held = {title: sheet for title, sheet in sheets.items() if len(sheet)}
    if not held:
        raise InputError(f"{name} holds no trials")
    title, sheet = next(iter(held.items()))
    cells = sheet.where(sheet.notna(), "").astype(str).to_numpy().tolist()
    start = int(np.argmax(sheet.notna().sum(axis=1)))  # the first of the fullest rows has the column names
    rows = ((line, row) for line, row in enumerate(cells[start:], start=start + 1) if any(row))
    frame, notes = tabulate(rows, name)
    return frame, notes + ([f"of its sheets the first, {title}"] if len(held) > 1 else [])


def _parquet(source: Any, name: str) -> Read:
    return _arrow_frame(pq.read_table(source))


def _feather(source: Any, name: str) -> Read:
    data = _bytes(source)
    open_ = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
    return _arrow_frame(open_(pa.BufferReader(data)).read_all())


def _arrow_frame(table: pa.Table) -> Read:
    table.validate(full=True)
    return table.to_pandas(ignore_metadata=True, split_blocks=True, self_destruct=True), []


def _numpy(source: Any, name: str) -> Read:
    loaded = np.load(source, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        if loaded.ndim != 2 and not loaded.dtype.names:
            raise InputError(f"{name} holds an array of the shape {loaded.shape}; it must be (trials, columns)")
        return table_of(loaded, name)
    check_memory(sum(each.file_size for each in loaded.zip.infolist()), f"{name}, unpacked,", "save it as Parquet")
    return table_of({key: loaded[key] for key in loaded.files}, name)


def _matlab(source: Any, name: str) -> Read:
    if _bytes(source)[:10] == b"MATLAB 7.3":  # HDF5
        return _hdf(source, name)
    from scipy.io import loadmat

    variables = loadmat(source, squeeze_me=True, simplify_cells=True)
    if any(type(value).__name__ == "MatlabOpaque" for value in variables.values()):
        raise InputError(f"{name} holds a table or object of MATLAB's own; writetable(…, 'trials.csv') saves its rows")
    return table_of(variables, name)


def _hdf(source: Any, name: str) -> Read:
    with h5py.File(source) as file:
        return read_hdf(file, name)


def _stata(source: Any, name: str) -> Read:
    try:
        return pd.read_stata(source), []
    except ValueError:  # labels that are not unique
        return pd.read_stata(source, convert_categoricals=False), []


def _spss(source: Any, name: str) -> Read:
    return pd.read_spss(source), []


def _r(source: Any, name: str) -> Read:
    import rdata

    is_one = name.lower().endswith(".rds")
    held = {"": rdata.read_rds(source)} if is_one else rdata.read_rda(source)
    frames = {key: value for key, value in held.items() if isinstance(value, pd.DataFrame)}
    if not frames:
        return table_of(held, name)
    largest = max(frames, key=lambda key: len(frames[key]))
    return frames[largest], [f"of its data frames {largest}, the largest"] if len(frames) > 1 else []


READERS: dict[str, Callable[[Any, str], Read]] = {  # of other endings: text
    **dict.fromkeys((".parquet", ".pq", ".pqt"), _parquet),
    **dict.fromkeys((".feather", ".arrow", ".ipc", ".arrows"), _feather),
    **dict.fromkeys((".npy", ".npz"), _numpy),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), _sheets),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _json),
    **dict.fromkeys((".h5", ".hdf5", ".nwb"), _hdf),
    **dict.fromkeys((".rds", ".rda", ".rdata"), _r),
    **dict.fromkeys((".sav", ".zsav"), _spss),
    **{".mat": _matlab, ".dta": _stata},
}
CRASH = (_matlab, _hdf, _spss)
