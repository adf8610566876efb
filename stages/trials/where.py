"""Which rows are taken: `block == 2 and rule != "none"`, in pandas' query syntax; missing values are as in SQL."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import one_line, show
from stages.files.errors import InputError
from stages.trials.values import EXACT, Table, keys, numbers

EQUAL = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.In: operator.eq, ast.NotIn: operator.ne}
ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
# Names, perhaps in backticks or with points, that are not called and no argument's; and strings, which hold anything.
NAME = r"""`([^`]+)`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<![\w.])([A-Za-z_]\w*(?:\.\w+)*)(?![\w(]|\s*=[^=])"""
FORM = 'it must compare columns with values, as in: block == 2 and rule in ("a", "b") and not rt > 3'


def aliased(text: str, columns: Collection[str] | None = None) -> tuple[str, dict[str, str]]:
    """A text with names that are the columns', or (without columns) no Python names, replaced by such, which the second
    result maps to them.
    """
    aliases: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        is_column = match[1] or (name and (name in columns if columns is not None else "." in name))
        return aliases.setdefault(name, f"_name{len(aliases)}_") if is_column else match[0]

    return re.sub(NAME, stand_in, text), {alias: name for name, alias in aliases.items()}


@dataclass(frozen=True)
class Where:
    """Conditions that must all hold. A comparison with a missing value holds for no row, also under `not`."""

    text: str = ""
    parts: tuple[tuple[ast.expr, tuple[str, ...]], ...] = ()  # each condition, and the columns that it names
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        return [*dict.fromkeys(name for _, names in self.parts for name in names)]

    def among(self, columns: Collection[str]) -> Where:
        """Those of the conditions that these columns decide."""
        return Where(self.text, tuple(part for part in self.parts if {*part[1]} <= {*columns}), self.aliases)

    def __call__(self, table: Table) -> NDArray[np.bool_]:
        """Whether they hold, (n_rows,)."""
        frame = pd.DataFrame({self.stands_in(name): table.column(name) for name in self.columns}, table.frame.index)
        taken = np.ones(len(frame), bool)
        for part, _ in self.parts:
            try:
                taken &= _holds(part, frame).fillna(False).to_numpy(bool)
            except Exception as error:  # whatever Python and pandas raise
                why = "".join(sign if sign.isprintable() else " " for sign in one_line(error))[:200]
                raise InputError(f"where = {show(self.text)}: {show(ast.unparse(part))}: {why}; {FORM}") from None
        return taken

    def stands_in(self, name: str) -> str:
        return next((alias for alias, column in self.aliases.items() if column == name), name)


def parse(text: str | None) -> Where:
    """The condition that a text states; of None one that always holds. Raises InputError for any other text."""
    if text is None:
        return Where()
    try:
        plain, aliases = aliased(text)
        nodes = _joined_by_and(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"where = {show(text)}, but {FORM}") from None
    parts = [(node, tuple(aliases.get(name, name) for name in _names(node))) for node in nodes]
    if not all(names for _, names in parts):
        raise InputError(f"where = {show(text)}: a part of it names no column; {FORM}")
    return Where(text, tuple(parts), aliases)


def _joined_by_and(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _joined_by_and(value)]
    return [node]


def _names(node: ast.expr) -> list[str]:
    """The columns that an expression names; what it calls is none."""
    called = {id(inner.func) for inner in ast.walk(node) if isinstance(inner, ast.Call)}
    return [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and id(inner) not in called]


def _holds(node: ast.expr, frame: pd.DataFrame) -> pd.Series[Any]:
    """Of dtype boolean, which knows missing values."""
    match node:
        case ast.BoolOp(op=op, values=values):
            join = operator.and_ if isinstance(op, ast.And) else operator.or_
            return reduce(join, [_holds(value, frame) for value in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_holds(operand, frame)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            values_ = [_value(each, frame) for each in (left, *rights)]
            triples = zip(values_, map(type, ops), values_[1:], strict=False)
            return reduce(operator.and_, [_compared(*triple, frame.index) for triple in triples])
    found = _value(node, frame)
    if not isinstance(found, pd.Series) or found.dtype not in (bool, "boolean"):
        raise TypeError("it compares nothing")
    return found.astype("boolean")


def _value(node: ast.expr, frame: pd.DataFrame) -> Any:
    columns = {name: frame[name] for name in frame}
    return eval(compile(ast.Expression(node), "where", "eval"), {"__builtins__": {}}, columns)


def _compared(a: Any, op: type[ast.cmpop], b: Any, index: pd.Index[Any]) -> pd.Series[Any]:
    if isinstance(b, tuple | list) and op in EQUAL:  # == and != a list are in and not in, as in pandas
        any_of = reduce(operator.or_, [_compared(a, ast.Eq, value, index) for value in b])
        return ~any_of if op in (ast.NotIn, ast.NotEq) else any_of
    a, b = (_column(each, index) for each in (a, b))
    texts = [each for each in (a, b) if each.dtype == "str"]
    if (op in ORDER or len(texts) == 1) and all(numbers(text).notna().any() for text in texts):
        a, b = numbers(a), numbers(b)
    elif texts:
        a, b = keys(a), keys(b)
    return pd.Series((EQUAL | ORDER)[op](a, b)).astype("boolean").mask(a.isna() | b.isna())


def _column(value: Any, index: pd.Index[Any]) -> pd.Series[Any]:
    """Of float64 or str, as columns are; a constant in each row."""
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value.lower(), value)
    if isinstance(value, int) and abs(value) >= EXACT:
        value = str(value)
    column = pd.Series(value, index)
    return column.astype(np.float64) if column.dtype.kind in "biuf" else column.astype("str")
