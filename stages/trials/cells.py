"""What columns hold: numbers, also those written as text; a few words; or text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials.table import Table

FEW = 20  # words up to which a column is categorical; with more it is text
MOSTLY = 0.9  # fraction of numbers in a column from which on its words are mistakes
COMMA = r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$"  # a number with a decimal comma
THOUSANDS = r"^[-+]?\d{1,3}([.,]\d{3})+([.,]\d+)?$"  # 1.234.567 or 1,234.5
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"

CONTROL = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # signs that command a terminal
SEPARATOR = "\x1f"  # which no value holds

Kind = Literal["numbers", "words", "text", "empty"]


@dataclass
class Column:
    """What one column holds in the taken rows."""

    is_numeric: bool = False  # whether it must hold numbers
    n_numbers: int = 0
    n_words: int = 0
    n_marked: int = 0  # words that are numbers with decimal commas or thousands separators
    values: dict[str, int] = field(default_factory=dict)  # each with its first row; at most FEW + 1
    first_word: tuple[int, str] | None = None  # (row, word)

    @property
    def kind(self) -> Kind:
        if self.n_numbers + self.n_words == 0:
            return "empty"
        if self.is_numeric or self.n_words <= (1 - MOSTLY) * (self.n_numbers + self.n_words):
            return "numbers"
        if len(self.values) <= FEW:
            return "words"
        return "numbers" if self.n_numbers + self.n_marked >= self.n_words - self.n_marked else "text"

    @property
    def levels(self) -> list[str]:
        return sorted(self.values, key=order)

    def add(self, column: pa.Array, rows: NDArray[np.int64]) -> None:
        """Count further values, which are in these rows (n,)."""
        here = np.asarray(pc.is_valid(column))
        column, rows = column.drop_null(), rows[here]
        is_number = np.asarray(pc.is_valid(numbers(column)), bool)
        self.n_numbers += int(is_number.sum())
        self.n_words += len(rows) - int(is_number.sum())
        if not is_number.all():
            self.n_marked += int(pc.sum(pc.match_substring_regex(column, f"{COMMA}|{THOUSANDS}")).as_py())
        if self.first_word is None and not is_number.all():
            at = int(np.argmin(is_number))
            self.first_word = (int(rows[at]), str(column[at]))
        if len(self.values) <= FEW and len(rows):
            distinct = pc.unique(column)[: FEW + 1]
            first = pc.index_in(distinct, column)
            for value, at in zip(distinct.to_pylist(), first.to_pylist(), strict=True):
                if len(self.values) <= FEW:
                    self.values.setdefault(canonical(value), int(rows[at]))


def canonical(value: object) -> str:
    """A value as text that a terminal can show; numbers that are equal are written alike."""
    if isinstance(value, str) and not re.match(NUMBER, value):
        return re.sub(CONTROL, "�", value)
    number = float(str(value)) + 0.0  # no −0
    if abs(number) < 2**53:
        return repr(number).removesuffix(".0")
    is_exact = isinstance(value, str) and "e" not in value.lower()
    return str(value) if is_exact or abs(number) >= 2**64 else f"{number:.0f}"


def order(value: str) -> tuple[bool, float, str]:
    """Sort key: numbers by value, then words by letters."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)


def numbers(column: pa.Array) -> pa.Array:
    """float64; null where a value is missing or no number."""
    if pa.types.is_floating(column.type):
        return column
    try:
        return pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(column, NUMBER)
        return pc.cast(pc.if_else(is_number, column, pa.scalar(None, pa.string())), pa.float64())


def words(column: pa.Array) -> pa.Array:
    """Text, equal numbers written alike; null where a value is missing."""
    encoded = column.dictionary_encode()
    values = [None if value is None else canonical(value) for value in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(values, pa.string()), encoded.indices)


def difference(first: pa.Array, second: pa.Array) -> pa.Array:
    """Second minus first. If one of two texts is a word, the result is that word; whether it matters shows later."""
    a, b = numbers(first), numbers(second)
    found = pc.subtract(b, a)
    for given, value in ((second, b), (first, a)):
        if given is not value:
            text = found if pa.types.is_string(found.type) else pc.cast(found, pa.string())
            found = pc.if_else(pc.and_(pc.is_valid(given), pc.is_null(value)), pc.cast(given, pa.string()), text)
    return found


def labels(batch: pa.RecordBatch, columns: list[str]) -> pa.Array:
    """The values of these columns, at least one, joined by SEPARATOR; null where one is missing."""
    return pc.binary_join_element_wise(*(words(batch.column(name)) for name in columns), SEPARATOR)


def scan(
    table: Table, take: Callable[[pa.RecordBatch], NDArray[np.bool_]], needed: Collection[str]
) -> tuple[dict[str, Column], int, int]:
    """What the columns hold in the rows that `take` accepts; how many rows there are, and how many are taken.

    For columns that are not `needed`, only rows without missing values in the needed ones count.
    """
    found = {name: Column(name in table.numeric) for name in table.columns}
    n_rows = n_taken = 0
    with tqdm(desc=f"reading {table.name}", unit=" rows", disable=None, leave=False) as bar:
        for batch in table.batches(table.columns):
            taken = take(batch)
            whole = np.logical_and.reduce([taken, *(np.asarray(pc.is_valid(batch.column(name))) for name in needed)])
            for rows, names in ((taken, needed), (whole, [name for name in found if name not in needed])):
                chosen, at = batch.select(names).filter(pa.array(rows)), n_rows + np.flatnonzero(rows)
                for name in names:
                    found[name].add(chosen.column(name), at)
            n_rows, n_taken = n_rows + len(taken), n_taken + int(taken.sum())
            bar.update(len(taken))
    return found, n_rows, n_taken


def check_numbers(table: Table, found: Mapping[str, Column]) -> None:
    """Raise InputError for a word in a column of numbers."""
    for name, column in found.items():
        if column.kind == "numbers" and column.first_word is not None:
            row, word = column.first_word
            what = f"{column.n_numbers} of its values are numbers" if column.n_numbers else "it must be a number"
            how = (
                "write all with the same decimal mark and no other"
                if re.match(f"{COMMA}|{THOUSANDS}", word)
                else "correct it"
            )
            raise InputError(
                f"{table.place(row)}: {name} is {show(word)}, but {what}; "
                f"{how}, leave it empty if it is missing, or take other rows (where) or columns (formula)"
            )
