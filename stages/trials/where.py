"""Which rows are taken: `block == 2 and rule != "none"`. A small language of its own; nothing in it is run as code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials.cells import numbers, words

COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
QUOTED = r'''`([^`]+)`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"'''  # names; and strings, which hold any backticks
FORM = 'it must compare columns with values, as in: block == 2 and rule in ("a", "b") and not rt > 3'

Holds = Callable[[pa.RecordBatch], pa.BooleanArray]


@dataclass(frozen=True)
class Condition:
    """On the columns of a row; a comparison with a missing value holds for no row."""

    columns: tuple[str, ...]
    holds: Holds


@dataclass(frozen=True)
class Where:
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for condition in self.conditions for name in condition.columns))

    def __call__(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Whether they hold, (n_rows,)."""
        taken = np.ones(batch.num_rows, bool)
        for condition in self.conditions:
            taken &= np.asarray(pc.fill_null(condition.holds(batch), False), bool)
        return taken

    def among(self, columns: Collection[str]) -> Where:
        """Those of the conditions that these columns decide."""
        return Where(tuple(part for part in self.conditions if {*part.columns} <= {*columns}))


EVERY = Where(())


def parse(text: str | None) -> Where:
    """The condition that a text states; `EVERY` for None. Raises InputError for any other text."""
    if text is None:
        return EVERY
    quoted: dict[str, str] = {}  # `a name` that is no Python name -> a stand-in

    def stand_in(match: re.Match[str]) -> str:
        return quoted.setdefault(match[1], f"_quoted_{len(quoted)}") if match[1] else match[0]

    try:
        tree = ast.parse(re.sub(QUOTED, stand_in, text).strip(), mode="eval")
        names = {value: key for key, value in quoted.items()}
        return Where(tuple(_Parser(text, names).whole(part) for part in _joined_by_and(tree.body)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"where = {show(text)}, but {FORM}") from None


def _joined_by_and(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for value in node.values:
            yield from _joined_by_and(value)
    else:
        yield node


class _Parser:
    def __init__(self, text: str, quoted: dict[str, str]) -> None:
        self._text, self._quoted = text, quoted
        self._columns: dict[str, None] = {}

    def whole(self, node: ast.expr) -> Condition:
        holds = self.condition(node)
        return Condition(tuple(self._columns), holds)

    def condition(self, node: ast.expr) -> Holds:
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self.condition(value) for value in values]
                join = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
                return lambda batch: _reduce(join, [part(batch) for part in parts])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                part = self.condition(operand)
                return lambda batch: pc.invert(part(batch))
            case ast.Compare(left=left, ops=ops, comparators=rights):
                pairs = zip([left, *rights], ops, rights, strict=False)
                compared = [self._comparison(a, op, b) for a, op, b in pairs]
                return lambda batch: _reduce(pc.and_kleene, [part(batch) for part in compared])
        raise self._refused(node)

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Holds:
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
                raise self._refused(right)
            parts = [self._comparison(left, ast.Eq(), value) for value in right.elts]
            negate = pc.invert if isinstance(op, ast.NotIn) else lambda found: found
            return lambda batch: negate(_reduce(pc.or_kleene, [part(batch) for part in parts]))
        if type(op) not in COMPARE:
            raise self._refused(right)
        compare, a, b = getattr(pc, COMPARE[type(op)]), self._value(left), self._value(right)
        if not isinstance(a, str) and not isinstance(b, str):
            raise self._refused(ast.Compare(left, [op], [right]))
        order = isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
        return lambda batch: _compared(compare, _of(a, batch), _of(b, batch), order)

    def _value(self, node: ast.expr) -> str | pa.Scalar:
        """A column's name, or a value."""
        match node:
            case ast.Name(id=name):
                column = self._quoted.get(name, name)
                self._columns[column] = None
                return column
            case ast.Constant(value=str() as text):
                return pa.scalar(text)
            case ast.Constant(value=bool() as truth):
                return pa.scalar(truth)
            case ast.Constant(value=int() | float() as number):
                return _scalar(number)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return _scalar(-number)
        raise self._refused(node)

    def _refused(self, node: ast.expr) -> InputError:
        hint = "; a name with a point or a space stands in `backticks`" if isinstance(node, ast.Attribute) else ""
        return InputError(f"where = {show(self._text)}: {show(ast.unparse(node))} is not allowed; {FORM}{hint}")


def _scalar(number: float) -> pa.Scalar:
    """A number; as text a whole one of which float64 would make another."""
    if isinstance(number, int) and abs(number) >= 2**53:
        return pa.scalar(str(number))
    return pa.scalar(float(number))


def _reduce(join: Callable[[Any, Any], pa.BooleanArray], parts: list[pa.BooleanArray]) -> pa.BooleanArray:
    whole = parts[0]
    for part in parts[1:]:
        whole = join(whole, part)
    return whole


def _of(value: str | pa.Scalar, batch: pa.RecordBatch) -> pa.Array | pa.Scalar:
    return batch.column(value) if isinstance(value, str) else value


def _compared(
    compare: Callable[[Any, Any], pa.BooleanArray], a: pa.Array | pa.Scalar, b: pa.Array | pa.Scalar, order: bool
) -> pa.BooleanArray:
    """What the comparison gives; in an `order`, two texts that are both numbers stand in that of numbers."""
    found = compare(*_alike(a, b))
    if order and all(pa.types.is_string(value.type) for value in (a, b)):
        x, y = _converted(a, numbers), _converted(b, numbers)
        return pc.if_else(pc.and_(pc.is_valid(x), pc.is_valid(y)), compare(x, y), found)
    return found


def _alike(a: pa.Array | pa.Scalar, b: pa.Array | pa.Scalar) -> tuple[pa.Array | pa.Scalar, pa.Array | pa.Scalar]:
    """Both as numbers if one of them is a number, as truth values by the same rule, else as text."""
    kinds = [value.type for value in (a, b)]
    if any(pa.types.is_boolean(kind) for kind in kinds):
        return _truth(a), _truth(b)
    convert = numbers if any(pa.types.is_floating(kind) for kind in kinds) else words
    return _converted(a, convert), _converted(b, convert)


def _converted(value: pa.Array | pa.Scalar, convert: Callable[[pa.Array], pa.Array]) -> pa.Array | pa.Scalar:
    return convert(value) if isinstance(value, pa.Array) else convert(pa.array([value.as_py()]))[0]


def _truth(value: pa.Array | pa.Scalar) -> pa.Array | pa.Scalar:
    if not isinstance(value, pa.Array):
        return (
            pc.cast(value, pa.bool_())
            if not pa.types.is_string(value.type)
            else pa.scalar(value.as_py().lower() == "true")
        )
    lowered = pc.utf8_lower(words(value))
    yes, no = (pc.is_in(lowered, pa.array(kind)) for kind in (["true", "1"], ["false", "0"]))
    return pc.if_else(yes, True, pc.if_else(no, False, pa.scalar(None, pa.bool_())))
