"""Factors by formula, in the notation of R and statsmodels, by formulaic.

A formula is not code: it may name columns and the transforms below, and nothing else. Everything is checked here, on
the formula's own tokens, before it reaches formulaic, which evaluates Python. `lag(x, k)` is the value of x in the k-th
row before in the same group; `lags(x, k)` is lag(x, 1) + … + lag(x, k). Both are computed here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable
from typing import Any

from formulaic.errors import FormulaicError
from formulaic.parser import DefaultFormulaParser

from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.trials.parsed import Parsed
from stages.trials.table import Table

TRANSFORMS = ("C", "I", "abs", "bs", "center", "cos", "exp", "log", "log10", "log2", "poly", "scale", "sin", "sqrt")
CONTRASTS = ("Treatment", "Sum")  # C(x, Treatment("b")): b is the reference level
OPERATORS = ("+", "-", "*", ":", "/", "**", "^")
QUOTED = r"`[^`]*`|'[^']*'|\"[^\"]*\""
LAG = r"\b(lags?)\(\s*(`[^`]+`|[\w.]+)\s*(?:,\s*(?:k\s*=\s*)?(\d+)\s*)?\)"


def parse(text: str, table: Table, every: Iterable[str], responses: Collection[str]) -> Parsed:
    """Check a formula of a table's columns; `every` are those that `.` stands for.

    Raises InputError for whatever is not a sum of products of columns and transforms of columns.
    """
    rest = re.sub(QUOTED, "", text)
    for sign in "{}[]|\\@;":
        if sign in rest:
            raise refused(
                text, f"{sign!r} is not allowed; name columns and the transforms {', '.join(TRANSFORMS)}, lag"
            )
    left, right = _sides(text)
    if left and left not in responses:
        raise refused(
            text, f"its left side must be the response, {' or '.join(responses)}, or empty, but it is {show(left)}"
        )
    checker = _Checker(text, table, responses)
    parts: list[str] = []
    tokens = _tokens(text, right)
    for token in tokens:
        kind, word = str(token.kind.value), str(token.token)
        if parts[-1:] in (["**"], ["^"]) and word not in ("2", "3"):
            raise refused(text, "a power of terms must be 2 or 3; the square of a column is I(x**2)")
        match kind:
            case "operator" if word == ".":
                parts.append("(" + " + ".join(f"`{checker.column(name)}`" for name in every) + ")")
            case "operator" if word in OPERATORS:
                parts.append(word)
            case "context":
                parts.append(word)
            case "value" if re.fullmatch(r"[0-9.]+", word):
                parts.append(word)
            case "name":
                parts.append(f"`{checker.column(word)}`")
            case "python":
                parts.append(checker.python(word))
            case "operator" if set(word) <= {"+", "-"}:  # formulaic writes 0 as -1
                raise refused(text, "0 or a second sign is not allowed; the intercept stays, as the fit's bias")
            case _:
                raise refused(text, f"{show(word)} is not allowed; the operators are {' '.join(OPERATORS)}")
    if not checker.used and not checker.lags:
        raise refused(text, "it names no factor; it must name columns, as in contrast * side + log(dots)")
    return Parsed(
        given=text,
        text=" ".join(parts),
        every=any(str(token.token) == "." for token in tokens),
        columns=list(checker.used),
        lags=checker.lags,
        categorical=list(checker.categorical),
    )


class _Checker:
    def __init__(self, text: str, table: Table, responses: Collection[str]) -> None:
        self._text, self._table, self._responses = text, table, responses
        self.used: dict[str, None] = {}
        self.lags: dict[str, tuple[str, int]] = {}
        self.categorical: dict[str, None] = {}

    def column(self, name: str, lagged: bool = False) -> str:
        """A column's name, checked."""
        if name in self._table.columns:
            if name in self._responses and not lagged:
                raise refused(self._text, f"{name} is the response; only its past, lag({name}, 1), can be a factor")
            if not lagged:
                self.used[name] = None
            return name
        if name.partition(".")[0] in ("np", "numpy", "contr", "os", "pd"):
            raise refused(self._text, f"{name} is not a column; the transforms are {', '.join(TRANSFORMS)}, lag")
        if name in self._table.unusable:
            raise refused(self._text, f"{name} {self._table.unusable[name]}")
        raise refused(self._text, f"no column {name!r}; {nearest(name, self._table.columns)}")

    def python(self, code: str) -> str:
        """A call, checked, with lags as columns."""
        whole = re.fullmatch(LAG, code)
        if whole and whole[1] == "lags":
            return "(" + " + ".join(self._lag(whole[2], k) for k in range(1, self._order(whole[3]) + 1)) + ")"
        code = re.sub(LAG, self._replace, code)
        if whole:
            return code
        quoted: dict[str, str] = {}
        plain = re.sub(r"`([^`]+)`", lambda match: quoted.setdefault(match[1], f"_quoted_{len(quoted)}"), code)
        try:
            tree = ast.parse(plain.strip(), mode="eval").body
            self._check(tree, {value: key for key, value in quoted.items()})
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise refused(self._text, f"{show(code)} cannot be read") from None
        return code

    def _replace(self, match: re.Match[str]) -> str:
        if match[1] == "lags":
            raise refused(self._text, "lags(…) is a sum of terms; inside a transform name one lag(…)")
        return self._lag(match[2], self._order(match[3]))

    def _order(self, digits: str | None) -> int:
        order = int(digits or 1)
        if not 1 <= order <= 1000:
            raise refused(self._text, f"a lag of {order}; it must be 1 to 1000")
        return order

    def _lag(self, name: str, order: int) -> str:
        column = self.column(name.strip("`"), lagged=True)
        self.lags[f"lag({column}, {order})"] = (column, order)
        return f"`lag({column}, {order})`"

    def _check(self, node: ast.expr, quoted: dict[str, str], inside: str = "") -> bool:
        """Whether it contains a column; raises unless it is arithmetic with columns, numbers and transforms."""
        match node:
            case ast.Name(id=name):
                name = quoted.get(name, name)
                if name not in self.lags:
                    self.column(name)
                if inside == "C":
                    self.categorical[name] = None
                return True
            case ast.Constant(value=bool() | int() | float() as number) if abs(number) < 1e300:
                return False
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._check(operand, quoted)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow(), right=right):
                found = [self._check(left, quoted), self._check(right, quoted)]
                if any(found):
                    return True
            case ast.Call(func=ast.Name(id=name), args=[first, *others], keywords=keywords) if name in TRANSFORMS:
                for value in (*others, *(keyword.value for keyword in keywords)):
                    self._check_argument(name, value)
                if self._check(first, quoted, inside=name):
                    return True
        hint = (
            f"; the transforms are {', '.join(TRANSFORMS)}, lag" if isinstance(node, ast.Call | ast.Attribute) else ""
        )
        raise refused(self._text, f"{show(ast.unparse(node))} is not allowed{hint}")

    def _check_argument(self, name: str, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=bool() | int() | float() | None):
                return
            case ast.List(elts=elements) if all(isinstance(part, ast.Constant) for part in elements):
                return
            case ast.Name(id=contrast) if name == "C" and contrast in CONTRASTS:
                return
            case ast.Call(func=ast.Name(id="Treatment"), args=[ast.Constant()], keywords=[]) if name == "C":
                return
        raise refused(self._text, f"{show(ast.unparse(node))} is not allowed in {name}(…); it must be a number")


def _sides(text: str) -> tuple[str, str]:
    hidden = re.sub(QUOTED, lambda match: "_" * len(match[0]), text)
    if hidden.count("~") > 1:
        raise refused(text, "it has more than one ~")
    at = hidden.find("~")
    return text[: max(at, 0)].strip().strip("`"), text[at + 1 :]


def _tokens(text: str, right: str) -> list[Any]:
    try:
        return list(DefaultFormulaParser().get_tokens(right))
    except (FormulaicError, ValueError, SyntaxError, RecursionError) as error:
        raise unreadable(text, error) from None


def refused(text: str, why: str) -> InputError:
    return InputError(f"formula = {show(text)}: {why}")


def unreadable(text: str, error: BaseException) -> InputError:
    if isinstance(error, SyntaxError):
        return refused(text, "it cannot be read; it must be a sum of columns and transforms of columns")
    words = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error)).strip().splitlines()
    return refused(text, words[0] if words else type(error).__name__)
