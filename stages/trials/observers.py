"""The observers in a file of trials, of whom each is fitted alone."""

from __future__ import annotations

import re

from stages.files.account import counted
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import values, where
from stages.trials.design import cleaned
from stages.trials.values import Table

MOST = 1000


def observers_of(p: Prepare, table: Table) -> tuple[dict[str, tuple[str, int]], list[str]]:
    """By the names of their folders, the values of the column `by` and their rows; and which rows are nobody's."""
    by, table = str(p.by), cleaned(table, p)
    column = table.column(by)
    taken = where.taken(table, p.where, only=True)
    missing = column.isna() & taken
    n, lines = counted(len(taken), "row"), list[str]()
    if not taken.all():
        lines.append(f"{int((~taken).sum())} of {n}: excluded by where")
    if missing.any():
        why = f"{by} is missing (empty, or a word such as NA); the first: {missing.idxmax()}"
        lines.append(f"{int(missing.sum())} of {n}: {why}")
    counts = values.words(column[taken]).value_counts()
    if counts.empty:
        raise InputError(f"{table.name}: no row names an observer in {by}{''.join(f'; {line}' for line in lines)}")
    if len(counts) > MOST:
        raise InputError(f"{table.name}: {by} holds more than {MOST} values; each would be fitted alone")
    words = values.levels(column[taken])
    names = {re.sub(r"[^\w-]+", "-", f"{by}-{word}"): word for word in words}
    if len(names) < len(words):
        raise InputError(f"{table.name}: two values of {by} would give folders of the same name")
    return {name: (word, int(counts[word])) for name, word in names.items()}, lines
