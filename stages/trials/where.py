"""Which rows are taken: `block == 2 and rule != "none"`, in pandas' query syntax; missing as in SQL."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import one_line, show
from stages.files.errors import InputError
from stages.trials.values import Table, keys, numbers, plain

EQUAL = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.In: operator.eq, ast.NotIn: operator.ne}
ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
# Names, in backticks or with points, that are not called and no argument's; and strings, which hold anything.
NAME = r"""`([^`]+)`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<![\w.])([A-Za-z_]\w*(?:\.\w+)*)(?![\w(]|\s*=[^=])"""
FORM = 'it must compare columns with values, as in: block == 2 and rule in ("a", "b") and not rt > 3'


def aliased(text: str, columns: Collection[str]) -> tuple[str, dict[str, str]]:
    """A text with names of Python's for those of columns, or in backticks; and what each stands for."""
    aliases: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return aliases.setdefault(name, f"_name{len(aliases)}_") if match[1] or name in columns else match[0]

    return re.sub(NAME, stand_in, text), {alias: name for name, alias in aliases.items()}


def restored(text: object, names: Mapping[str, str]) -> str:
    """A text with the columns' names again."""
    return re.sub(r"_name\d+_", lambda alias: names.get(alias[0], alias[0]), str(text))


def taken(table: Table, text: str | None, *, only: bool = False) -> NDArray[np.bool_]:
    """Whether all conditions hold, (n_rows,); `only` those that the table's columns decide.

    A comparison with a missing value holds for no row, also under `not`. Raises InputError for other texts.
    """
    holds = np.ones(len(table.frame), bool)
    if text is None:
        return holds
    in_python, aliases = aliased(text, {*table.frame.columns, *table.unusable})
    try:
        conditions = _joined_by_and(ast.parse(in_python.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"where = {show(text)}, but {FORM}") from None
    for condition in conditions:
        ids = [node.id for node in ast.walk(condition) if isinstance(node, ast.Name)]
        names = {alias: aliases.get(alias, alias) for alias in ids}
        if only and not {*names.values()} <= {*table.frame.columns}:
            continue
        columns = {alias: table.column(name) for alias, name in names.items()}
        try:
            if not columns:
                raise TypeError("it names no column")
            holds &= _holds(condition, pd.DataFrame(columns, table.frame.index)).fillna(False).to_numpy(bool)
        except Exception as error:  # whatever Python and pandas raise
            part, why = show(restored(ast.unparse(condition), names)), repr(one_line(error))[1:-1][:200]
            raise InputError(f"where = {show(text)}: {part}: {why}; {FORM}") from None
    return holds


def _joined_by_and(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _joined_by_and(value)]
    return [node]


def _holds(node: ast.expr, frame: pd.DataFrame) -> pd.Series[Any]:
    """Of dtype boolean, which knows missing values."""
    match node:
        case ast.BoolOp(op=op, values=values):
            join = operator.and_ if isinstance(op, ast.And) else operator.or_
            return reduce(join, [_holds(value, frame) for value in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_holds(operand, frame)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = [_value(each, frame) for each in (left, *rights)]
            triples = zip(sides, map(type, ops), sides[1:], strict=False)
            return reduce(operator.and_, [_compared(*triple, frame.index) for triple in triples])
    truth = _value(node, frame)  # of column.notna(), say
    if not isinstance(truth, pd.Series) or truth.dtype not in (bool, "boolean"):
        raise TypeError("it compares nothing")
    return truth.astype("boolean")


def _value(node: ast.expr, frame: pd.DataFrame) -> Any:
    return eval(compile(ast.Expression(node), "where", "eval"), {"__builtins__": {}}, {**frame})


def _compared(a: Any, op: type[ast.cmpop], b: Any, index: pd.Index[Any]) -> pd.Series[Any]:
    """Numbers, also in columns of text, as such; words in whatever case."""
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
    if isinstance(value, str):  # perhaps one that means missing in a file: rule != "none"
        truth = {"true": 1.0, "false": 0.0}.get(value.lower())
        return pd.Series(value, index, "str") if truth is None else pd.Series(truth, index)
    return plain(pd.Series(value, index))
