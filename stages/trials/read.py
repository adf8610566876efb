"""A person's file, of any kind, as a data frame of numbers and words; its ending tells what it is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from pandas.io.common import get_handle

from stages.files.documents import one_line
from stages.files.errors import InputError, check_memory
from stages.trials.nested import read_hdf, read_json, table_of
from stages.trials.text import read_text, tabulate
from stages.trials.values import CONTROL, Read, Table, plain, repeated

UNNAMED = r"Unnamed: \d+|__index_level_\d+__|"  # pandas' names for a column without a name: row numbers
PER_BYTE, PER_PACKED = 8, 40  # bytes of memory that reading takes for one of a file, compressed or not
PACKED = (".gz", ".bz2", ".xz", ".zip")  # endings of one compressed file
CRASH = (".mat", ".h5", ".hdf5", ".nwb", ".sav", ".zsav")  # endings that C libraries read
MUCH = 2e9  # bytes of memory from which on it is said what reading needs


def read(paths: Path | Sequence[Path]) -> Table:
    """Files of trials, or all in a folder, below one another; a column `file` has the names of several.

    Raises InputError, in one line, for what is not a table.
    """
    if isinstance(paths, Path):
        paths = sorted(path for path in paths.iterdir() if path.name[0] != ".") if paths.is_dir() else [paths]
    tables = [read_one(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    rows = pd.concat([table.frame.assign(file=Path(table.name).stem) for table in tables])
    rows = rows.apply(plain).assign(file=rows["file"])  # also of names that are numbers
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return Table(f"{tables[0].name} and {len(tables) - 1} more", rows, tuple(notes))


def read_one(path: Path) -> Table:
    """One file. Its columns are float64 or text; those without a name are left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constructors and units that our columns do not need
            frame, notes = (apart if path.suffix.lower() in CRASH else contents)(path)
            names = [re.sub(CONTROL, "�", " ".join(str(name).split())) for name in frame.columns]
            named = {j: name for j, name in enumerate(names) if not re.fullmatch(UNNAMED, name)}
            for name in repeated(named.values()):
                raise InputError(f"{path.name}: the column {name!r} occurs twice; rename one")
            frame.columns = range(len(names))
            columns = {name: plain(frame.pop(j)) for j, name in named.items()}  # one by one, to save memory
    except InputError:
        raise
    except Exception as error:  # on damaged bytes the libraries raise anything, and may quote them
        quoted = repr(one_line(error))[1:-1][:300] or type(error).__name__
        why = getattr(error, "strerror", None) or f"it cannot be read as what its ending says: {quoted}"
        raise InputError(f"{path.name}: {why}") from None
    if not len(frame):
        raise InputError(f"{path.name} holds no trials: it must be a line of names, and a line per trial")
    what, numbers = ("line", frame.index) if frame.index.name == "line" else ("row", range(1, len(frame) + 1))
    start = f"{path.name}, {what} "
    rows = pd.DataFrame(columns, frame.index, copy=False)
    return Table(path.name, rows.set_axis([f"{start}{number}" for number in numbers]), tuple(notes))


def apart(path: Path) -> Read:
    """In a process of its own: of damaged bytes some C libraries crash, which is no exception."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(contents, path).result()


def contents(path: Path) -> Read:
    is_packed = path.suffix.lower() in PACKED
    size = path.stat().st_size * (PER_PACKED if is_packed else PER_BYTE)
    check_memory(size, f"{path.name}, read as a whole,", "save a part of its columns or rows")
    if size > MUCH:
        print(f"reading {path.name} needs about {size / 1e9:.1f} GB of memory", flush=True)
    ending = Path(path.stem if is_packed else path.name).suffix.lower()
    with get_handle(path, "rb", compression="infer" if is_packed else None, is_text=False) as opened:
        return READERS.get(ending, read_text)(opened.handle, path.name)


# --- a reader for each kind of file: of a binary file, and the name for messages


def _sheets(source: Any, name: str) -> Read:
    sheets = pd.read_excel(source, sheet_name=None, header=None, dtype=object, engine="calamine")
    held = {title: sheet for title, sheet in sheets.items() if len(sheet)}
    if not held:
        return pd.DataFrame(), []
    title, sheet = next(iter(held.items()))
    start = int(np.argmax(sheet.notna().sum(axis=1)))  # the first of the fullest rows has the column names
    cells = sheet.where(sheet.notna(), "").astype("str").set_axis(sheet.index + 1)[start:]
    frame, notes = tabulate(cells, pd.Series(cells.shape[1], cells.index), name)
    return frame, notes + ([f"of its sheets the first, {title}"] if len(held) > 1 else [])


def _arrow(table: pa.Table) -> Read:
    table.validate(full=True)
    return table.to_pandas(ignore_metadata=True, split_blocks=True, self_destruct=True), []


def _numpy(source: Any, name: str) -> Read:
    loaded = np.load(source, allow_pickle=False)
    return table_of(loaded if isinstance(loaded, np.ndarray) else dict(loaded), name)


def _matlab(source: Any, name: str) -> Read:
    if source.read(10) == b"MATLAB 7.3":  # HDF5
        return read_hdf(source, name)
    from scipy.io import loadmat

    source.seek(0)
    variables = loadmat(source, squeeze_me=True, simplify_cells=True)
    if any(type(value).__name__ == "MatlabOpaque" for value in variables.values()):
        raise InputError(f"{name} holds a table of MATLAB's own; writetable(…, 'trials.csv') saves its rows")
    return table_of(variables, name)


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
    **dict.fromkeys((".parquet", ".pq", ".pqt"), lambda source, _: _arrow(pa.parquet.read_table(source))),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), lambda source, _: _arrow(pa.feather.read_table(source))),
    **dict.fromkeys((".npy", ".npz"), _numpy),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), _sheets),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), read_json),
    **dict.fromkeys((".h5", ".hdf5", ".nwb"), read_hdf),
    **dict.fromkeys((".rds", ".rda", ".rdata"), _r),
    **dict.fromkeys((".sav", ".zsav"), lambda source, _: (pd.read_spss(source), [])),
    **{".mat": _matlab, ".dta": lambda source, _: (pd.read_stata(source), [])},
}
