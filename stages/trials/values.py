"""What columns hold: numbers (float64), a few words, or text (dtype str); NaN where a value is missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from stages.files.documents import nearest, show
from stages.files.errors import InputError

FEW = 20  # words up to which a column is categorical; with more it is text
MOSTLY = 0.9  # fraction of numbers in a column from which on its words are mistakes
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
COMMA = r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?"  # a number with a decimal comma
THOUSANDS = r"[-+]?\d{1,3}(?:[.,]\d{3})+(?:[.,]\d+)?"  # 1.234.567 or 1,234.5
CONTROL = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # signs that command a terminal
QUOTED = re.compile(r"""^\[?(["'])(.*)\1\]?$""")  # ['f'], "f" and 'f'
EXACT = 2**53  # whole numbers from which on float64 would make others of some

MISSING = ["", "NA", "<NA>", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "-nan", "-NaN", "null", "NULL", "None"]
MISSING += ["NaT", "undefined", "#NULL!", ".", ".."]  # of pandas, JavaScript, SPSS, SAS and Stata
PERHAPS = ["none", "-", "--", "?", "na"]  # missing in a response and among numbers; else perhaps not

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Read = tuple[pd.DataFrame, list[str]]  # columns as a file holds them, and notes on what was made of it


@dataclass(frozen=True)
class Table:
    """A file's rows. The index of `frame` says where each stands: `trials.csv, line 18`."""

    name: str  # for messages
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()  # on what was made of the file
    numeric: frozenset[str] = frozenset()  # columns that must hold numbers
    unusable: Mapping[str, str] = field(default_factory=dict)  # columns that do not describe a trial -> why

    def column(self, name: str) -> pd.Series[Any]:
        """Raises InputError, with the nearest name, for a column that is not there."""
        if name in self.unusable:
            raise InputError(f"{self.name}: {name} {self.unusable[name]}")
        if name not in self.frame:
            raise InputError(f"{self.name} has no column {name!r}; {nearest(name, self.frame.columns)}")
        return self.frame[name]


def plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """Any column as float64 or str. Text of numbers becomes numbers, true and false in any case 1 and 0."""
    held = pd.api.types.infer_dtype(column)
    if held == "categorical":
        return plain(column.astype(object))
    is_large = held == "integer" and column.dropna().abs().max() >= EXACT
    if held in ("boolean", "floating", "integer", "mixed-integer-float") and not is_large:
        return column.astype(np.float64)
    if column.dtype != "str":
        column = column.map(written, na_action="ignore").astype("str")
    column = column.str.strip()
    column = column.mask(column.isin(MISSING))
    is_true = (lower := column.str.lower()) == "true"
    if column.notna().any() and (is_true | (lower == "false") | column.isna()).all():
        return is_true.astype(np.float64).where(column.notna())
    present = column[~column.isin(PERHAPS)].dropna()
    is_exact = (numbers(present).abs() < EXACT) & ~present.str.match(r"[-+]?0\d")  # 007 is a name
    if len(present) and is_exact.all():
        return numbers(column)
    return column.str.replace(CONTROL, "�", regex=True)


def numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """float64; NaN where a value is missing or not a number."""
    if column.dtype.kind == "f":
        return column
    digits = column.where(column.str.fullmatch(rf"{NUMBER}|(?i:[-+]?inf(inity)?)"))
    exact = pa.array(digits, pa.string()).cast(pa.float64())  # to the last bit, as pd.to_numeric is not
    return pd.Series(exact.to_numpy(zero_copy_only=False), column.index)


def words(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text; equal numbers are written alike."""
    return column.map(written, na_action="ignore").astype("str") if column.dtype.kind == "f" else column


def written(value: object) -> str:
    """A value as text, without the point of whole numbers and the sign of 0."""
    if isinstance(value, bytes):
        return value.decode()
    return repr(float(value) + 0.0).removesuffix(".0") if isinstance(value, float | np.floating) else str(value)


def keys(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text; words that differ only in case are alike."""
    return words(column).str.casefold()


def key(word: object) -> str:
    """The same for words that differ only in case, quotes or brackets, and for equal numbers."""
    text = QUOTED.sub(r"\2", str(word))
    return written(float(text)) if is_number(text) and abs(float(text)) < EXACT else text.casefold()


def is_number(word: str) -> bool:
    return re.fullmatch(NUMBER, word) is not None


def levels(column: pd.Series[Any]) -> list[str]:
    """The words of a column, numbers first, by value."""
    return sorted(words(column).dropna().unique(), key=lambda word: (float(word) if is_number(word) else np.inf, word))


def repeated(names: Iterable[str]) -> list[str]:
    return [name for name, n in Counter(names).items() if n > 1]


def kind(column: pd.Series[Any]) -> Literal["numbers", "words", "text"]:
    """A column of up to FEW words is of numbers if nine in ten values are, any other if half are."""
    present = column.dropna()
    if (share := numbers(present).notna().mean()) >= MOSTLY:
        return "numbers"
    if present.nunique() <= FEW:
        return "words"
    is_marked = present.str.fullmatch(f"{COMMA}|{THOUSANDS}")
    return "numbers" if share + is_marked.mean() >= 0.5 else "text"


def check_numbers(name: str, column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of numbers as such. Raises InputError, with its place, for a word or what is not finite."""
    number = numbers(column)
    if (wrong := column.notna() & ~np.isfinite(number)).any():
        value = show(column[wrong].iloc[0])
        what = f"{name} is {value}, but it must be a finite number, with a decimal point"
        how = "correct it, leave it empty if it is missing, or take other rows (where) or columns (formula)"
        raise InputError(f"{wrong.idxmax()}: {what}; {how}")
    return number


def merged(column: pd.Series[Any]) -> tuple[pd.Series[Any], str]:
    """Words that differ only in case, quotes or brackets as the most frequent; and what was merged."""
    if column.dtype.kind == "f" or len(counts := column.value_counts()) > 5 * FEW:
        return column, ""
    alike: dict[str, list[str]] = {}
    for word in counts.index:
        alike.setdefault(key(word), []).append(word)
    spelling = {word: QUOTED.sub(r"\2", same[0]) for same in alike.values() for word in same}
    if all(word == new for word, new in spelling.items()):
        return column, ""
    changed = [" = ".join(map(show, same)) for same in alike.values() if len(same) > 1]
    note = f"one value: {', '.join(changed[:5])}" if changed else ""
    return plain(column.map(spelling).astype("str")), note
