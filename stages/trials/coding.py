"""Columns as factors without a formula: numbers as they are, words by treatment coding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.errors import InputError
from stages.parameters.documents import nearest, show
from stages.trials import cells
from stages.trials.table import Table

Floats = NDArray[np.float64]
Levels = Mapping[str, list[str] | None]  # of each column; None for numbers


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
    """Names of the factors, as formulaic gives them, and which of them each column makes."""
    factors: list[str] = []
    terms: dict[str, list[int]] = {}
    for name, levels in columns.items():
        new = [name] if levels is None else [f"{name}[T.{level}]" for level in levels[1:]]
        terms[name] = list(range(len(factors), len(factors) + len(new)))
        factors += new
    return factors, terms


def encode(table: Table, batch: pa.RecordBatch, columns: Levels, n_before: int) -> Floats:
    """Factors (n_rows, n_factors), NaN where a value is missing. The batch begins at the table's row `n_before`."""
    parts = [np.empty((batch.num_rows, 0))]
    for name, levels in columns.items():
        column = batch.column(name)
        if levels is None:
            parts.append(cells.all_numbers(table, column, name, n_before).to_numpy(zero_copy_only=False)[:, None])
        else:
            parts.append(_treatment(table, column, name, levels, n_before))
    return np.concatenate(parts, axis=1)


def _treatment(table: Table, column: pa.Array, name: str, levels: list[str], n_before: int) -> Floats:
    words = cells.words(column)
    codes = np.asarray(pc.fill_null(pc.index_in(words, pa.array(levels)), -1))
    unknown = np.flatnonzero((codes < 0) & np.asarray(pc.is_valid(words), bool))
    if len(unknown):
        word = str(words[int(unknown[0])])
        raise InputError(
            f"{table.place(n_before + int(unknown[0]))}: {name} is {show(word)}, which it is in no trial of the study; "
            f"{nearest(word, levels)}"
        )
    factors: Floats = (codes[:, None] == np.arange(1, len(levels))).astype(np.float64)
    factors[codes < 0] = np.nan
    return factors
