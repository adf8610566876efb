"""Factors by formula, in the notation of R and statsmodels, by formulaic.

A formula is not code: it may name columns and the transforms below, and nothing else. Everything is checked here, on
the formula's own tokens, before formulaic, which evaluates Python, sees it. `lag(x, k)` is the value of x in the k-th
row before in the same group; `lags(x, k)` is lag(x, 1) + … + lag(x, k). Both are computed here.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.parser import DefaultFormulaParser
from formulaic.parser.types import Factor
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.errors import InputError
from stages.parameters.documents import nearest, show

CONTEXT = {"sqrt": np.sqrt, "abs": np.abs, "sin": np.sin, "cos": np.cos}
TRANSFORMS = ("C", "I", "abs", "bs", "center", "cos", "exp", "log", "log10", "log2", "poly", "scale", "sin", "sqrt")
CONTRASTS = ("Treatment", "Sum")  # C(x, Treatment("b")): b is the reference level
OPERATORS = ("+", "-", "*", ":", "/", "**", "^")
QUOTED = r"`[^`]*`|'[^']*'|\"[^\"]*\""
LAG = r"\b(lags?)\(\s*(`[^`]+`|[\w.]+)\s*(?:,\s*(?:k\s*=\s*)?(\d+)\s*)?\)"


class Parsed(BaseModel):
    """A formula of checked parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str  # the right-hand side, each lag a column of its own
    columns: list[str]  # of the file
    lags: dict[str, tuple[str, int]]  # `lag(x, 2)` -> x, 2
    categorical: list[str]  # columns and lags that stand inside C(…)


class State(BaseModel):
    """What a formula learned of the study's trials, and needs to code others alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transforms: dict[str, Any]  # formulaic's: means, knots, …
    categories: dict[str, list[Any]]  # levels
    whole: list[str]  # columns in C(…) that hold whole numbers
    names: list[str]
    terms: dict[str, list[int]]  # name -> indices of its factors


def parse(text: str, columns: Collection[str], every: Iterable[str], responses: Collection[str]) -> Parsed:
    """Check a formula. `columns` are the file's, `every` those that `.` stands for.

    Raises InputError for whatever is not a sum of products of columns and transforms of columns.
    """
    rest = re.sub(QUOTED, "", text)
    for sign in "{}[]|\\@;":
        if sign in rest:
            raise _refused(text, f"{sign!r} is not allowed; name columns and the transforms {', '.join(TRANSFORMS)}, lag")
    left, right = _sides(text)
    if left and left not in responses:
        raise _refused(text, f"its left side must be the response, {' or '.join(responses)}, or empty, but it is {show(left)}")
    checker = _Checker(text, columns, responses)
    parts: list[str] = []
    for token in _tokens(text, right):
        kind, word = str(token.kind.value), str(token.token)
        if parts[-1:] in (["**"], ["^"]) and word not in ("2", "3"):
            raise _refused(text, "a power of terms must be 2 or 3; the square of a column is I(x**2)")
        match kind:
            case "operator" if word == ".":
                parts.append("(" + " + ".join(f"`{name}`" for name in every) + ")")
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
            case _:
                raise _refused(text, f"{show(word)} is not allowed; the operators are {' '.join(OPERATORS)}")
    return Parsed(
        text=" ".join(parts),
        columns=list(checker.used),
        lags=checker.lags,
        categorical=list(checker.categorical),
    )


class _Checker:
    def __init__(self, text: str, columns: Collection[str], responses: Collection[str]) -> None:
        self._text, self._columns, self._responses = text, columns, responses
        self.used: dict[str, None] = {}
        self.lags: dict[str, tuple[str, int]] = {}
        self.categorical: dict[str, None] = {}

    def column(self, name: str, lagged: bool = False) -> str:
        """A column's name, checked."""
        if name in self._columns:
            if name in self._responses and not lagged:
                raise _refused(self._text, f"{name} is the response; only its past, lag({name}, 1), can be a factor")
            self.used[name] = None
            return name
        if name.partition(".")[0] in ("np", "numpy", "contr", "os", "pd"):
            raise _refused(self._text, f"{name} is not a column; the transforms are {', '.join(TRANSFORMS)}, lag")
        raise _refused(self._text, f"no column {name!r}; {nearest(name, self._columns)}")

    def python(self, code: str) -> str:
        """A call, checked; its lags as columns."""
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
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise _refused(self._text, f"{show(code)} cannot be read") from None
        self._check(tree, {value: key for key, value in quoted.items()})
        return code

    def _replace(self, match: re.Match[str]) -> str:
        if match[1] == "lags":
            raise _refused(self._text, "lags(…) is a sum of terms; inside a transform name one lag(…)")
        return self._lag(match[2], self._order(match[3]))

    def _order(self, digits: str | None) -> int:
        order = int(digits or 1)
        if not 1 <= order <= 1000:
            raise _refused(self._text, f"a lag of {order}; it must be 1 to 1000")
        return order

    def _lag(self, name: str, order: int) -> str:
        column = self.column(name.strip("`"), lagged=True)
        self.lags[f"lag({column}, {order})"] = (column, order)
        return f"`lag({column}, {order})`"

    def _check(self, node: ast.expr, quoted: dict[str, str], inside: str = "") -> bool:
        """Whether a column stands in it; raises unless it is arithmetic with columns, numbers and transforms."""
        match node:
            case ast.Name(id=name):
                name = quoted.get(name, name)
                if name not in self.lags:
                    self.column(name)
                if inside == "C":
                    self.categorical[name] = None
                return True
            case ast.Constant(value=bool() | int() | float()) if abs(node.value) < 1e300:
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
        hint = f"; the transforms are {', '.join(TRANSFORMS)}, lag" if isinstance(node, ast.Call | ast.Attribute) else ""
        raise _refused(self._text, f"{show(ast.unparse(node))} is not allowed{hint}")

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
        raise _refused(self._text, f"{show(ast.unparse(node))} is not allowed in {name}(…); it must be a number")


def frame(parsed: Parsed, columns: dict[str, NDArray[Any]], groups: NDArray[np.int64]) -> pd.DataFrame:
    """The columns that a formula names and their lags; NaN or None where a value is missing."""
    table = pd.DataFrame(columns)
    lagged = {name: table[x].groupby(groups).shift(k) for name, (x, k) in parsed.lags.items()}
    kept = [name for name in parsed.columns if name in columns]
    return pd.concat([table[kept], pd.DataFrame(lagged, index=table.index)], axis=1)


def learn(parsed: Parsed, complete: pd.DataFrame) -> State:
    """What the formula needs to know of the study's trials; `complete` lacks no value."""
    whole = [name for name in parsed.categorical if _is_whole(complete[name])]
    spec = ModelSpec.from_spec(_formula(parsed), output="numpy", na_action="raise")
    spec = _materialise(parsed, spec, _typed(complete, whole)).model_spec
    terms = {str(term): list(indices) for term, indices in spec.term_indices.items() if str(term) != "1"}
    if len(terms) == len(spec.term_indices):
        raise _refused(parsed.text, "it removes the intercept, but a psychometric function has one, its bias")
    if not terms:
        raise _refused(parsed.text, "it names no factor")
    categories = {name: state["categories"] for name, (_, state) in spec.encoder_state.items() if "categories" in state}
    return State(
        transforms=_plain(spec.transform_state),
        categories=_plain(categories),
        whole=whole,
        names=list(spec.column_names[1:]),
        terms={name: [index - 1 for index in indices] for name, indices in terms.items()},
    )


def encode(parsed: Parsed, state: State, complete: pd.DataFrame) -> NDArray[np.float64]:
    """Factors (n_rows, n_factors) of rows that lack no value."""
    encoders = {name: (Factor.Kind.CATEGORICAL, {"categories": levels}) for name, levels in state.categories.items()}
    transforms = {name: _with_integer_keys(value) for name, value in state.transforms.items()}
    spec = ModelSpec.from_spec(
        _formula(parsed), output="numpy", na_action="ignore", transform_state=transforms, encoder_state=encoders
    )
    matrix = np.asarray(_materialise(parsed, spec, _typed(complete, state.whole)), np.float64)
    return matrix[:, 1:]


def _sides(text: str) -> tuple[str, str]:
    hidden = re.sub(QUOTED, lambda match: "_" * len(match[0]), text)
    if hidden.count("~") > 1:
        raise _refused(text, "it has more than one ~")
    at = hidden.find("~")
    return text[: max(at, 0)].strip().strip("`"), text[at + 1 :]


def _tokens(text: str, right: str) -> list[Any]:
    try:
        return list(DefaultFormulaParser().get_tokens(right))
    except (FormulaicError, ValueError, SyntaxError) as error:
        raise _unreadable(text, error) from None


def _formula(parsed: Parsed) -> Formula:
    try:
        return Formula(parsed.text)
    except (FormulaicError, ValueError, SyntaxError, RecursionError) as error:
        raise _unreadable(parsed.text, error) from None


def _materialise(parsed: Parsed, spec: ModelSpec, complete: pd.DataFrame) -> Any:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            return spec.get_model_matrix(complete, context=CONTEXT)
    except DataMismatchWarning as error:
        unseen = re.sub(r"np\.\w+\((.*?)\)", r"\1", str(error)).partition("dataset): ")[2].partition(". They")[0]
        raise _refused(parsed.text, f"categories that the study's trials do not have: {unseen}") from None
    except Exception as error:  # whatever a transform says of what it was given
        raise _unreadable(parsed.text, error) from None


def _typed(complete: pd.DataFrame, whole: list[str]) -> pd.DataFrame:
    return complete.astype({name: np.int64 for name in whole if _is_whole(complete[name])})


def _is_whole(column: pd.Series[Any]) -> bool:
    values = column.to_numpy()
    return values.dtype.kind == "f" and bool((np.abs(values) < 2**53).all() and (values == np.round(values)).all())


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as those of JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _with_integer_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: _with_integer_keys(part) for key, part in value.items()}
    return value


def _refused(text: str, why: str) -> InputError:
    return InputError(f"formula = {show(text)}: {why}")


def _unreadable(text: str, error: BaseException) -> InputError:
    words = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error)).strip().splitlines()
    return _refused(text, words[0] if words else type(error).__name__)


def slices(n_rows: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` rows."""
    yield from (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))
