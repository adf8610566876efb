"""Arrays, structs and lists of records within one another, as MATLAB, HDF5, JSON and NumPy hold them, as columns."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import h5py
import numpy as np
import pandas as pd

from stages.files.account import some
from stages.files.errors import InputError

MOST_VALUES = 1000  # of a trial in one field


def table_of(tree: Any, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The columns of a tree, with dotted names; and what is left out, because it has another length than most have.

    A list of records, also one within each record of another list (trials in blocks), has a row for each. A matrix of
    a row for each trial has columns x[0], x[1], … Raises InputError if there is nothing of two rows or more.
    """
    arrays = {key: value for key, value in _leaves(tree, "") if value.ndim and len(value)}
    lengths = Counter(len(value) for value in arrays.values() if value.ndim == 1 and len(value) > 1)
    lengths = lengths or Counter(len(value) for value in arrays.values() if value.ndim == 2)
    if not lengths:
        raise InputError(f"{name} holds no column of trials: it must be arrays of a value for each trial, or records")
    n = max(lengths, key=lambda length: (lengths[length], length))
    columns, others = dict[str, Any](), list[str]()
    for key, value in arrays.items():
        if value.ndim == 1 and len(value) == n:
            columns[key] = list(value) if value.dtype == object else value
        elif value.ndim == 2 and n in value.shape:
            label = f"{key}[{{}}]" if key else "{}"
            matrix = value if len(value) == n else value.T
            columns |= {label.format(j): matrix[:, j] for j in range(matrix.shape[1])}
        else:
            others.append(key)
    notes = [f"of another length than {n}, and left out: {some(others)}"] if others else []
    return pd.DataFrame(columns), notes


def _leaves(tree: Any, name: str) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Arrays of a tree by their dotted names; a list of records is an array for each field."""
    if isinstance(tree, dict):
        prefix = f"{name}." if name else ""
        own = {key: value for key, value in tree.items() if not re.match("__|#refs#|#subsystem#", str(key))}
        return [leaf for key, value in own.items() for leaf in _leaves(value, f"{prefix}{key}")]
    if isinstance(tree, list | tuple) or (isinstance(tree, np.ndarray) and tree.dtype == object):
        items = list(tree)
        if items and all(isinstance(item, list) and item and isinstance(item[0], dict) for item in items):
            items = [record for item in items for record in item]  # a list for each subject, say
        if items and all(isinstance(item, dict) for item in items):
            return _leaves(_fields(items), name)
        rows = [np.ravel(np.asarray(item, object)) for item in items]
        if (width := max(map(len, rows), default=0)) > 1:  # several values for each trial
            return [(name, np.stack(rows))] if all(len(row) == width <= MOST_VALUES for row in rows) else []
        return [(name, _column(items))]
    if isinstance(tree, np.ndarray) and tree.dtype.names:
        return _leaves({field: tree[field] for field in tree.dtype.names}, name)
    array = np.squeeze(np.asarray(tree))
    return [(name, array.astype(object) if array.dtype.kind not in "biufUS" else array)]


def _fields(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Records as a list for each field; trials within each block as records of their own, with the block's number."""
    keys = dict.fromkeys(key for record in records for key in record)
    for key in keys:
        held = [record.get(key) for record in records]
        if all(isinstance(item, list) and item and isinstance(item[0], dict) for item in held):
            rest = [{k: v for k, v in record.items() if k != key and np.ndim(v) == 0} for record in records]
            pairs = [(i, trial) for i, trials in enumerate(held) for trial in trials or ()]
            return _fields([{"block": i + 1, **rest[i], **trial} for i, trial in pairs])
    columns: dict[str, Any] = {key: [record.get(key) for record in records] for key in keys}
    return {
        key: _fields([value or {} for value in values])
        if any(isinstance(value, dict) for value in values) and all(isinstance(v, dict | None) for v in values)
        else values
        for key, values in columns.items()
    }


def _column(items: list[Any]) -> np.ndarray[Any, Any]:
    """One value for each item: arrays of one value as it, empty ones as missing."""
    column = np.empty(len(items), object)
    for i, item in enumerate(items):
        if isinstance(item, list | np.ndarray) and np.size(item) == 1:
            item = np.ravel(np.asarray(item, object))[0]
        column[i] = None if isinstance(item, list | np.ndarray) and np.size(item) == 0 else item
    return column


def read_json(document: Any, name: str) -> tuple[pd.DataFrame, list[str]]:
    """Records, a list for each column, or what pandas writes by `orient`."""
    if isinstance(document, dict):
        if {"columns", "data"} <= document.keys():
            return pd.DataFrame(document["data"], columns=document["columns"]), []
        inner = [*document.values()]
        if inner and all(isinstance(value, dict) and value.keys() == inner[0].keys() for value in inner):
            return pd.DataFrame(document), []
    return table_of(document, name)


def read_hdf(file: h5py.File, name: str) -> tuple[pd.DataFrame, list[str]]:
    """HDF5: NWB's table of trials, or MATLAB's variables from version 7.3 on."""
    if "intervals/trials" in file:
        trials = file["intervals/trials"]
        columns = [key for key in map(_text, trials.attrs["colnames"]) if f"{key}_index" not in trials]
        return table_of({key: trials[key][()] for key in columns}, name)
    if "nwb_version" in file.attrs:
        tables = some([*file.get("intervals", {})])
        raise InputError(f"{name} holds no table of trials (intervals/trials){f', only of {tables}' if tables else ''}")
    return table_of(_value(file, file), name)


def _value(item: Any, file: h5py.File) -> Any:
    if isinstance(item, h5py.Group):
        return {key: _value(inner, file) for key, inner in item.items()}
    if "MATLAB_empty" in item.attrs:
        return []
    values = item[()]
    if isinstance(values, np.ndarray) and values.dtype == h5py.ref_dtype:  # cells, or the fields of an array of structs
        return [_value(file[reference], file) for reference in values.T.ravel()]
    if _text(item.attrs.get("MATLAB_class", "")) == "char":
        texts = ["".join(map(chr, row)) for row in np.atleast_2d(values.T)]
        return texts if len(texts) > 1 else texts[0]
    return values.T if isinstance(values, np.ndarray) and not values.dtype.names else values


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
