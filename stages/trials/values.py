"""What columns hold: numbers, a few words, or text. Each is float64 or of dtype str, NaN where a value is missing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.files.documents import show
from stages.files.errors import InputError

FEW = 20  # words up to which a column is categorical; with more it is text
MOSTLY = 0.9  # fraction of numbers in a column from which on its words are mistakes
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
COMMA = r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?"  # a number with a decimal comma
THOUSANDS = r"[-+]?\d{1,3}(?:[.,]\d{3})+(?:[.,]\d+)?"  # 1.234.567 or 1,234.5
CONTROL = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # signs that command a terminal
EXACT = 2**53  # whole numbers from which on float64 would make others of some

MISSING = [
    "",
    "NA",
    "<NA>",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "NAN",
    "-nan",
    "-NaN",
    "null",
    "NULL",
    "None",
]
MISSING += ["NaT", "undefined", "#NULL!", ".", ".."]  # of pandas, JavaScript, SPSS, SAS and Stata
PERHAPS = [
    "none",
    "-",
    "--",
    "?",
    "na",
]  # missing in a response and among numbers; elsewhere they may be a condition

Kind = Literal["numbers", "words", "text", "empty"]


@dataclass(frozen=True)
class Table:
    """A file's rows. The index of `frame` counts them, also where some are left out."""

    name: str  # for messages
    frame: pd.DataFrame
    place: Callable[[int], str]  # where a row is: "trials.csv, line 18"
    notes: tuple[str, ...] = ()  # on what was made of the file
    numeric: frozenset[str] = frozenset()  # columns that must hold numbers
    unusable: Mapping[str, str] = field(default_factory=dict)  # columns of the file that do not describe a trial -> why
    merged: Mapping[str, str] = field(default_factory=dict)  # column -> which words of it are one value

    def column(self, name: str) -> pd.Series[Any]:
        """Raises InputError, with the nearest name, for a column that is not there."""
        if name in self.unusable:
            raise InputError(f"{self.name}: {name} {self.unusable[name]}")
        if name not in self.frame:
            raise InputError(f"{self.name} has no column {name!r}; {nearby(name, self.frame.columns)}")
        return self.frame[name]


def plain(column: pd.Series[Any], decimal_comma: bool = False) -> pd.Series[Any]:
    """Any column as float64 or str. Text of numbers becomes numbers, true and false 1 and 0 in whatever case."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    kind = column.dtype.kind
    if kind in "biuf" and not (kind in "iu" and len(column) and column.abs().max() >= EXACT):
        return column.astype(np.float64)
    if column.dtype == object and pd.api.types.infer_dtype(column) in (
        "boolean",
        "floating",
        "mixed-integer-float",
    ):
        return column.astype(np.float64)
    if column.dtype != "str":
        column = column.map(_written, na_action="ignore").astype("str")
    column = column.str.strip()
    column = column.mask(column.isin(MISSING))
    if decimal_comma:
        column = column.mask(column.str.fullmatch(COMMA), column.str.replace(",", "."))
    given = column.dropna()
    if len(given) and set(map(str.lower, given.unique()[:7])) <= {
        "true",
        "false",
    }:  # of seven one is another word
        return (column.str.lower() == "true").astype(np.float64).where(column.notna())
    fits = given.str.fullmatch(NUMBER) | given.isin(PERHAPS)
    if len(given) and fits.all() and not given.str.match(r"[-+]?0\d").any():  # 007 is a name
        found = numbers(column)
        if found.notna().any() and not (found.abs() >= EXACT).any() | np.isinf(found).any():
            return found
    return column


def _written(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return repr(float(value)).removesuffix(".0") if isinstance(value, float | np.floating) else str(value)


def numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """float64; NaN where a value is missing or not a number."""
    if column.dtype.kind == "f":
        return column
    fits = column.str.fullmatch(NUMBER).fillna(False).astype(bool)
    found = pd.Series(np.nan, column.index)
    found[fits] = pa.array(column[fits], pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    for row in column.index[column.str.fullmatch("(?i)[-+]?inf(inity)?").fillna(False)]:
        found[row] = float(column[row])
    return found


def words(column: pd.Series[Any], write: Callable[[Any], str] | None = None) -> pd.Series[Any]:
    """Text; equal numbers are written alike."""
    distinct = pd.Series(column.unique()).dropna()
    return column.map({value: (write or canonical)(value) for value in distinct}).astype("str")


def keys(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text; words that differ only in case, quotes or brackets are alike."""
    return words(column, lambda value: key(canonical(value)))


def canonical(value: object) -> str:
    """A value as text that a terminal can show; numbers that are equal are written alike."""
    if isinstance(value, str) and not re.fullmatch(NUMBER, value):
        return re.sub(CONTROL, "�", value)
    number = float(str(value)) + 0.0  # no −0
    return str(value) if abs(number) >= EXACT else repr(number).removesuffix(".0")


def is_number(word: str) -> bool:
    return re.fullmatch(NUMBER, word) is not None


def order(value: str) -> tuple[bool, float, str]:
    """Sort key: numbers by value, then words by letters."""
    return not is_number(value), float(value) if is_number(value) else 0.0, value


def levels(column: pd.Series[Any]) -> list[str]:
    return sorted(set(map(canonical, column.dropna().unique())), key=order)


def kind(column: pd.Series[Any]) -> Kind:
    """A column of up to FEW words is of numbers if nine in ten values are, any other if half are."""
    given = column.dropna()
    if not len(given):
        return "empty"
    if given.dtype.kind == "f":
        return "numbers"
    n_numbers = int(numbers(given).notna().sum())
    if n_numbers >= MOSTLY * len(given):
        return "numbers"
    if given.nunique() <= FEW:
        return "words"
    n_marked = int(given.str.fullmatch(f"{COMMA}|{THOUSANDS}").sum())
    return "numbers" if n_numbers + n_marked >= len(given) - n_numbers - n_marked else "text"


def check_numbers(table: Table, name: str, column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of numbers as such. Raises InputError, with its line, for a word or what is not finite."""
    found = numbers(column)
    wrong = found.isna() & column.notna()
    if wrong.any():
        row, word, n = int(wrong.idxmax()), str(column[wrong].iloc[0]), int(found.notna().sum())
        is_marked = re.fullmatch(f"{COMMA}|{THOUSANDS}", word)
        how = "write all with the same decimal mark and no other" if is_marked else "correct it"
        raise InputError(
            f"{table.place(row)}: {name} is {show(word)}, but "
            f"{f'{n} of its values are numbers' if n else 'it must be a number'}; "
            f"{how}, leave it empty if it is missing, or take other rows (where) or columns (formula)"
        )
    if np.isinf(found).any():
        at = int(np.isinf(found).argmax())
        raise InputError(f"{table.place(int(found.index[at]))}: {name} is {found.iloc[at]}; it must be finite")
    return found


def merged(column: pd.Series[Any]) -> tuple[pd.Series[Any], str]:
    """Words that differ only in case, quotes or brackets as one, in its most frequent spelling; and what was merged."""
    if column.dtype.kind == "f":
        return column, ""
    counts = column.value_counts()
    if len(counts) > 5 * FEW:
        return column, ""
    alike: dict[str, list[str]] = {}
    for word in counts.index:
        alike.setdefault(key(word), []).append(word)
    spelling = {word: bare(spellings[0]) for spellings in alike.values() for word in spellings}
    changed = [" = ".join(map(show, spellings)) for spellings in alike.values() if len(spellings) > 1]
    if all(word == new for word, new in spelling.items()):
        return column, ""
    return plain(column.map(spelling).astype("str")), f"one value: {', '.join(changed[:5])}" if changed else ""


def bare(word: str) -> str:
    """`['f']`, `"f"` and `'f'` as f."""
    return re.sub(r"""^\[?(["'])(.*)\1\]?$""", r"\2", word)


def key(word: str) -> str:
    """The same for words that differ only in case, quotes or brackets."""
    return bare(word).casefold()


def nearby(name: str, known: Collection[str]) -> str:
    """`the nearest is …` where one is near, else what there is."""
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=1, cutoff=0.6)
    if close:
        closest = next(each for each in known if each.lower() == close[0])
        return f"the nearest is {closest if closest.isprintable() else show(closest)}"
    listed = [*known]
    return f"it must be one of {', '.join(listed[:12])}{', …' if listed[12:] else ''}"
