"""The observers in a file of trials, of whom each is fitted alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from stages.files.account import counted
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import cells, where
from stages.trials.files import open_table


def observers_of(prepare: Prepare, trials: Path) -> tuple[dict[str, tuple[str | float, int]], list[str]]:
    """By the names of their folders, the values of the column `by` and their rows; and which rows are nobody's."""
    by = str(prepare.by)
    table = open_table(trials)
    table.check([by])
    take = where.parse(prepare.where).among(table.columns)
    values: Counter[str] = Counter()
    n_rows = n_taken = n_missing = first = 0
    for batch in table.batches([by, *take.columns]):
        taken, missing = take(batch), np.asarray(batch.column(by).is_null(), bool)
        first = first if n_missing else n_rows + int(np.argmax(taken & missing))
        n_rows, n_taken = n_rows + len(taken), n_taken + int(taken.sum())
        n_missing += int((taken & missing).sum())
        values.update(cells.words(batch.filter(taken).column(by)).drop_null().to_pylist())
        if len(values) > 1000:
            raise InputError(f"{table.name}: {by} holds more than 1000 values; each would be fitted alone")
    lines = []
    if n_taken < n_rows:
        lines.append(f"{n_rows - n_taken} of {counted(n_rows, 'row')}: excluded by where")
    if n_missing:
        why = f"{by} is missing (an empty cell, or a word such as NA, which can name no observer)"
        lines.append(f"{n_missing} of {counted(n_rows, 'row')}: {why}; the first: {table.place(first)}")
    if not values:
        raise InputError(f"{table.name}: no row names an observer in {by}{''.join(f'; {line}' for line in lines)}")
    is_number = all(re.match(cells.NUMBER, value) for value in values)
    names = {re.sub(r"[^\w-]+", "-", f"{by}-{value}"): value for value in sorted(values, key=cells.order)}
    if len(names) < len(values):
        raise InputError(f"{table.name}: two values of {by} would give folders of the same name")
    number = (lambda value: int(value) if value.isdigit() else float(value)) if is_number else str
    return {name: (number(value), values[value]) for name, value in names.items()}, lines
