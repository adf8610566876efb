"""Columns as factors without a formula: numbers as they are, words by treatment coding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.trials import cells

Floats = NDArray[np.float64]
Levels = Mapping[str, list[str] | None]  # of each column; None for numbers


@dataclass(frozen=True)
class Fault:
    """Rows that cannot be coded, and why one of them cannot."""

    rows: NDArray[np.bool_]  # (n_rows,)
    why: Callable[[int], str]


def usable(found: Mapping[str, cells.Column]) -> tuple[dict[str, list[str] | None], dict[str, str]]:
    """Columns that become factors, with their levels; and why the others do not."""
    columns: dict[str, list[str] | None] = {}
    left_out: dict[str, str] = {}
    for name, column in found.items():
        if column.kind == "empty":
            left_out[name] = "it is empty"
        elif column.kind == "text":
            left_out[name] = f"it is text, of more than {cells.FEW} values"
        elif len(column.values) == 1:
            value = column.levels[0]
            left_out[name] = f"it is {value if column.kind == 'numbers' else show(value)} in every trial"
        else:
            columns[name] = None if column.kind == "numbers" else column.levels
    return columns, left_out


def names(columns: Levels) -> tuple[list[str], dict[str, list[int]]]:
    """Names of the factors, as formulaic gives them, and the factors made from each column."""
    factors: list[str] = []
    terms: dict[str, list[int]] = {}
    for name, levels in columns.items():
        new = [name] if levels is None else [f"{name}[T.{level}]" for level in levels[1:]]
        terms[name] = list(range(len(factors), len(factors) + len(new)))
        factors += new
    return factors, terms


def encode(batch: pa.RecordBatch, columns: Levels) -> tuple[Floats, list[Fault]]:
    """Factors (n_rows, n_factors) of rows without missing values, and what cannot be coded."""
    parts, faults = [np.empty((batch.num_rows, 0))], list[Fault]()
    for name, levels in columns.items():
        column = batch.column(name)
        if levels is None:
            values = cells.numbers(column).to_numpy(zero_copy_only=False)
            parts.append(values[:, None])
            faults.append(no_numbers(name, column, values))
        else:
            words = cells.words(column)
            codes = np.asarray(pc.fill_null(pc.index_in(words, pa.array(levels)), -1))
            parts.append((codes[:, None] == np.arange(1, len(levels))).astype(np.float64))
            faults.append(unknown(name, words, codes < 0, levels))
    return np.concatenate(parts, axis=1), faults


def no_numbers(name: str, given: Sequence[object] | pa.Array, values: Floats) -> Fault:
    """Rows where values are not finite; `given` holds the words in place of numbers."""

    def why(row: int) -> str:
        if np.isnan(values[row]):
            return f"{name} is {show(str(given[row]))}; it must be a number"
        return f"{name} is {values[row]}; it must be finite"

    return Fault(~np.isfinite(values), why)


def unknown(name: str, given: Sequence[object] | pa.Array, rows: NDArray[np.bool_], levels: list[str]) -> Fault:
    """Rows where a word is not one of the levels."""

    def why(row: int) -> str:
        word = cells.canonical(str(given[row]))
        return f"{name} is {show(word)}, which it is in no trial of the study; {nearest(word, levels)}"

    return Fault(rows, why)


def differs(name: str, column: pa.Array, constant: str) -> Fault:
    """Rows where a column is not what it was in every trial of the study; it may be missing."""
    words = cells.words(column)
    rows = np.asarray(pc.fill_null(pc.not_equal(words, constant), False), bool)
    return Fault(
        rows, lambda row: f"{name} is {show(str(words[row]))}, but {show(constant)} in every trial of the study"
    )


def first(faults: Iterable[Fault]) -> tuple[int, str] | None:
    """The first row that cannot be coded, and why."""
    found = [(int(np.argmax(fault.rows)), i, fault) for i, fault in enumerate(faults) if fault.rows.any()]
    if not found:
        return None
    row, _, fault = min(found, key=lambda at: at[:2])
    return row, fault.why(row)


def refuse(faults: Iterable[Fault], place: Callable[[int], str]) -> None:
    """Raise InputError, with the place of its row, for the first fault."""
    found = first(faults)
    if found:
        raise InputError(f"{place(found[0])}: {found[1]}")
