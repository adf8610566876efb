"""Which rows are taken: `block == 2 and rule != "none"`, in pandas' query syntax; missing values are as in SQL."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials.values import EXACT, Table, keys, numbers

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# Names in backticks or with points; and strings, which hold any backticks.
QUOTED = r"""`([^`]+)`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\b([A-Za-z_]\w*(?:\.\w+)+)(?![\w(.])"""
FORM = 'it must compare columns with values, as in: block == 2 and rule in ("a", "b") and not rt > 3'


@dataclass(frozen=True)
class Where:
    """Conditions that must all hold. A comparison with a missing value holds for no row, also under `not`."""

    text: str = ""
    conditions: tuple[ast.expr, ...] = ()
    quoted: dict[str, str] = field(default_factory=dict)  # what stands for `a name` that is no Python name

    @property
    def columns(self) -> list[str]:
        return [*dict.fromkeys(name for part in self.conditions for name in self._names(part))]

    def among(self, columns: Collection[str]) -> Where:
        """Those of the conditions that these columns decide."""
        return Where(
            self.text,
            tuple(part for part in self.conditions if {*self._names(part)} <= {*columns}),
            self.quoted,
        )

    def __call__(self, table: Table) -> NDArray[np.bool_]:
        """Whether they hold, (n_rows,)."""
        for name in self.columns:
            table.column(name)
        taken = np.ones(len(table.frame), bool)
        for part in self.conditions:
            taken &= self._holds(part, table.frame).fillna(False).to_numpy(bool)
        return taken

    def _names(self, node: ast.expr) -> list[str]:
        called = {id(inner.func) for inner in ast.walk(node) if isinstance(inner, ast.Call)}
        names = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name) and id(inner) not in called]
        return [self.quoted.get(name.id, name.id) for name in names]

    def _holds(self, node: ast.expr, frame: pd.DataFrame) -> pd.Series[Any]:
        """Of dtype boolean, which knows missing values."""
        match node:
            case ast.BoolOp(op=op, values=values):
                join = operator.and_ if isinstance(op, ast.And) else operator.or_
                return reduce(join, [self._holds(value, frame) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._holds(operand, frame)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                triples = zip([left, *rights], ops, rights, strict=False)
                return reduce(operator.and_, [self._compared(*triple, frame) for triple in triples])
        found = self._value(node, frame)
        if not isinstance(found, pd.Series) or found.dtype not in (bool, "boolean"):
            raise InputError(f"where = {show(self.text)}, but {FORM}")
        return found.astype("boolean")

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr, frame: pd.DataFrame) -> pd.Series[Any]:
        if isinstance(right, ast.Tuple | ast.List) and right.elts:  # == and != a list are in and not in, as in pandas
            any_of = reduce(operator.or_, [self._compared(left, ast.Eq(), value, frame) for value in right.elts])
            return ~any_of if isinstance(op, ast.NotIn | ast.NotEq) else any_of
        if type(op) not in COMPARE:
            raise InputError(f"where = {show(self.text)}: {show(ast.unparse(right))} is not allowed; {FORM}")
        given = [pd.Series(value, frame.index) for value in (self._value(left, frame), self._value(right, frame))]
        a, b = (pd.to_numeric(each) if each.dtype.kind in "biuf" else each.astype("str") for each in given)
        is_order = not isinstance(op, ast.Eq | ast.NotEq)
        texts = [each for each in (a, b) if each.dtype == "str"]
        is_of_numbers = is_order and all(map(_are_numbers, texts))
        if is_of_numbers or (len(texts) == 1 and numbers(texts[0]).notna().any()):
            a, b = (numbers(each) if each.dtype == "str" else each for each in (a, b))
        elif texts:
            a, b = (keys(each) for each in (a, b))
        missing = a.isna() | b.isna()
        return pd.Series(COMPARE[type(op)](a, b), frame.index).astype("boolean").mask(missing)

    def _value(self, node: ast.expr, frame: pd.DataFrame) -> Any:
        """A column, a constant, or what pandas makes of another expression."""
        match node:
            case ast.Name(id=name):
                return frame[self.quoted.get(name, name)]
            case ast.Constant(value=int() as value) if abs(value) >= EXACT:
                return str(value)
            case ast.Constant(value=bool() | int() | float() as number):
                return float(number)
            case ast.Constant(value=str() as text):
                return {"true": 1.0, "false": 0.0}.get(text.lower(), text)
        try:
            names = {
                self.quoted.get(name.id, name.id): name.id for name in ast.walk(node) if isinstance(name, ast.Name)
            }
            return (
                frame[[name for name in names if name in frame]]
                .rename(columns=names)
                .eval(ast.unparse(node), engine="python")
            )
        except Exception as error:  # whatever pandas raises
            raise InputError(f"where = {show(self.text)}: {show(ast.unparse(node))}: {_line(error)}; {FORM}") from None


def parse(text: str | None) -> Where:
    """The condition that a text states; of None one that always holds. Raises InputError for any other text."""
    if text is None:
        return Where()
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return quoted.setdefault(name, f"_quoted_{len(quoted)}") if name else match[0]

    try:
        tree = ast.parse(re.sub(QUOTED, stand_in, text).strip(), mode="eval").body
        where = Where(text, tuple(_joined_by_and(tree)), {value: name for name, value in quoted.items()})
        names = [where._names(part) for part in where.conditions]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"where = {show(text)}, but {FORM}") from None
    if not all(names):
        raise InputError(f"where = {show(text)}: a part of it names no column; {FORM}")
    return where


def _joined_by_and(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _joined_by_and(value)]
    return [node]


def _are_numbers(column: pd.Series[Any]) -> bool:
    return bool(numbers(column).notna().eq(column.notna()).all())


def _line(error: Exception) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(error)).split())[:200]
