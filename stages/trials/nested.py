"""Arrays, structs and records within one another, as MATLAB, HDF5, JSON and NumPy hold them, as columns."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pandas as pd

from stages.files.account import first_of
from stages.files.errors import InputError
from stages.trials.values import Read

MOST_VALUES = 1000  # of a trial in one field
Array = np.ndarray[Any, Any]


def table_of(tree: Any, name: str) -> Read:
    """The columns of a tree, with dotted names; and what is left out, as it has another length than most.

    A list of records, also one within each of another (trials in blocks), has a row for each. A matrix of a row
    for each trial has columns x[0], x[1], … Raises InputError if there is nothing of two rows or more.
    """
    arrays = {key: value for key, value in arrays_of(tree, "") if value.ndim and len(value)}
    lengths = Counter(len(value) for value in arrays.values() if value.ndim == 1 and len(value) > 1)
    lengths = lengths or Counter(len(value) for value in arrays.values() if value.ndim == 2)
    if not lengths:
        raise InputError(f"{name} holds no trials: it must be arrays of a value for each trial, or records")
    n = max(lengths, key=lambda length: (lengths[length], length))
    columns, others = dict[str, Any](), list[str]()
    for key, value in arrays.items():
        if value.ndim == 1 and len(value) == n:
            columns[key] = list(value) if value.dtype == object else value
        elif value.ndim == 2 and n in value.shape:
            matrix = value if len(value) == n else value.T
            columns |= {f"{key}[{j}]" if key else str(j): matrix[:, j] for j in range(matrix.shape[1])}
        else:
            others.append(key)
    notes = [f"of another length than {n}, and left out: {first_of(others)}"] if others else []
    return pd.DataFrame(columns), notes


def arrays_of(tree: Any, name: str) -> Iterator[tuple[str, Array]]:
    """The arrays of a tree by their dotted names; (n, k) where each of n items holds k values."""
    if isinstance(tree, np.ndarray) and tree.dtype.names:
        tree = {field: tree[field] for field in tree.dtype.names}
    if isinstance(tree, dict):
        for key in [key for key in tree if not re.match("__|#refs#|#subsystem#", str(key))]:
            yield from arrays_of(tree[key], f"{name}.{key}" if name else str(key))
    elif not isinstance(tree, list | tuple) and not (isinstance(tree, np.ndarray) and tree.dtype == object):
        array = np.squeeze(np.asarray(tree))
        yield name, array if array.dtype.kind in "biufUS" else array.astype(object)
    elif records := records_in([*tree]):
        fields = dict.fromkeys(field for record in records for field in record)
        yield from arrays_of({field: [record.get(field) for record in records] for field in fields}, name)
    else:
        rows = [np.ravel(np.asarray(item, object)) for item in tree]
        width = max([1, *map(len, rows)])
        if rows and width <= MOST_VALUES and all(len(row) in (0, width) for row in rows):
            matrix = np.stack([row if len(row) else np.full(width, None) for row in rows])  # empty: missing
            yield name, matrix[:, 0] if width == 1 else matrix


def records_in(items: list[Any]) -> list[dict[str, Any]]:
    """The records of a list, of several lists (one a subject, say), or of blocks that hold a list each."""
    if items and all(map(are_records, items)):
        items = [record for item in items for record in item]
    if not any(isinstance(item, dict) for item in items) or not all(isinstance(item, dict | None) for item in items):
        return []
    records = [item or {} for item in items]
    for key in records[0]:
        if all(are_records(record.get(key)) for record in records):
            rest = [{k: v for k, v in record.items() if k != key and np.ndim(v) == 0} for record in records]
            pairs = [(i, trial) for i, record in enumerate(records) for trial in record[key]]
            return records_in([{"block": i + 1, **rest[i], **trial} for i, trial in pairs])
    return records


def are_records(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and isinstance(item[0], dict)


def read_json(source: Any, name: str) -> Read:
    """Records, perhaps one a line, a list for each column, or what pandas writes."""
    text = source.read().decode("utf-8-sig")
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        document = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(document, dict) and document:
        if document.keys() >= {"columns", "data"}:  # pandas' orient="split"
            return pd.DataFrame(document["data"], columns=document["columns"]), []
        columns = [[*value.values()] if isinstance(value, dict) else [[]] for value in document.values()]
        if not any(isinstance(value, list | dict) for column in columns for value in column):  # orient="columns"
            return pd.DataFrame(document), []
    return table_of(document, name)


def read_hdf(source: Any, name: str) -> Read:
    """HDF5: NWB's table of trials, or MATLAB's variables from version 7.3 on."""
    with h5py.File(source) as file:
        if "nwb_version" not in file.attrs:
            return table_of(_value(file, file), name)
        if "intervals/trials" not in file:
            raise InputError(f"{name} holds no table of trials (intervals/trials)")
        trials = file["intervals/trials"]
        columns = [key for key in trials.attrs["colnames"].astype(str) if f"{key}_index" not in trials]
        return table_of({key: trials[key][()] for key in columns}, name)


def _value(item: Any, file: h5py.File) -> Any:
    if isinstance(item, h5py.Group):
        return {key: _value(inner, file) for key, inner in item.items()}
    if "MATLAB_empty" in item.attrs:
        return []
    values = item[()]
    if isinstance(values, np.ndarray) and values.dtype == h5py.ref_dtype:  # cells, or structs' fields
        return [_value(file[reference], file) for reference in values.T.ravel()]
    if item.attrs.get("MATLAB_class") == b"char":
        texts = ["".join(map(chr, row)) for row in np.atleast_2d(values.T)]
        return texts if len(texts) > 1 else texts[0]
    return values.T if isinstance(values, np.ndarray) and not values.dtype.names else values
