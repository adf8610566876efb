"""Factors by formula, in the notation of R and statsmodels, by formulaic; and lags, which it does not have.

`lag(x, k)` is the value of x in the k-th row before in the same group; `lags(x, k)` is lag(x, 1) + … + lag(x, k).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.errors import DataMismatchWarning
from formulaic.parser import DefaultFormulaParser
from formulaic.transforms import basis_spline, stateful_transform
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials.values import EXACT, Table, nearby

QUOTED = r"`[^`]*`|'[^']*'|\"[^\"]*\""
LAG = r"\b(lags?)\(\s*(`[^`]+`|[\w.]+)\s*(?:,\s*(?:k\s*=\s*)?(\d+)\s*)?\)"
IN_C = r"\bC\(\s*(`[^`]+`|[\w.]+)\s*[,)]"
CONTRASTS = (
    "Treatment",
    "Sum",
    "Helmert",
    "Diff",
    "Poly",
    "contr",
    "np",
)  # names in C(…) that are no columns
MOST_LAGS = 1000


@stateful_transform  # type: ignore[untyped-decorator]
def bs(x: Any, *arguments: Any, _state: dict[str, Any], **keywords: Any) -> Any:
    """formulaic's bs, with NaN for values beyond the bounds, where formulaic raises."""
    splines = basis_spline(x, *arguments, extrapolation="clip", _state=_state, **keywords)
    outside = (np.asarray(x) < _state["lower_bound"]) | (np.asarray(x) > _state["upper_bound"])
    for key, values in splines.items():
        splines[key] = np.where(outside, np.nan, values)
    return splines


CONTEXT = {"sqrt": np.sqrt, "abs": np.abs, "sin": np.sin, "cos": np.cos, "bs": bs}


@dataclass(frozen=True)
class Parsed:
    """A formula's right side, each lag a column of its own."""

    given: str
    text: str
    columns: list[str]  # that it names, without those that only lags need
    lags: dict[str, tuple[str, int]]  # `lag(x, 2)` -> x, 2
    categorical: list[str]  # columns and lags that stand in C(…)
    every: bool  # whether it contains `.`


def parse(text: str, table: Table, every: Iterable[str], responses: Collection[str]) -> Parsed:
    """`every`: what `.` stands for. Raises InputError for what is not a formula of the table's columns."""
    left, _, right = re.sub(QUOTED, lambda quoted: quoted[0].replace("~", "\0"), text).rpartition("~")
    left, right = (side.replace("\0", "~").strip() for side in (left, right))
    if left.strip("`") not in ("", *responses):
        expected = " or ".join(responses)
        raise refused(text, f"its left side must be the response, {expected}, or empty, but it is {show(left)}")
    lags: dict[str, tuple[str, int]] = {}

    def lagged(match: re.Match[str]) -> str:
        name, order = match[2].strip("`"), int(match[3] or 1)
        _known(text, name, table)
        if not 1 <= order <= MOST_LAGS:
            raise refused(text, f"a lag of {order}; it must be 1 to {MOST_LAGS}")
        if match[1] == "lags" and re.search(r"\w\([^()]*$", right[: match.start()]):
            raise refused(text, "lags(…) is a sum of terms; inside a transform name one lag(…)")
        new = {f"lag({name}, {k})": (name, k) for k in (range(1, order + 1) if match[1] == "lags" else [order])}
        lags.update(new)
        return f"({' + '.join(f'`{each}`' for each in new)})" if match[1] == "lags" else f"`{next(iter(new))}`"

    plain = re.sub(LAG, lagged, _quoted(right, table))
    if re.search(r"\*\*\s*\(?\s*\d{2}|\^\s*\d{2}", plain):  # formulaic would write it out
        raise refused(text, "a power must be below 10")
    try:
        tokens = [*DefaultFormulaParser().get_tokens(plain)]
        if has_point := any(str(token.token) == "." for token in tokens):
            whole = f"({' + '.join(f'`{name}`' for name in every)})"
            plain = " ".join(whole if str(token.token) == "." else _written(token) for token in tokens)
            tokens = [*DefaultFormulaParser().get_tokens(plain)]
        names = {name for token in tokens for name in _names(token)}
        if hasattr(Formula(plain), "_structure"):
            raise refused(text, "it must be one sum of terms")
    except InputError:
        raise
    except Exception as error:  # whatever formulaic and Python's parser raise
        raise unreadable(text, error) from None
    names -= {name for name in names if name in CONTRASTS and name not in table.frame.columns}
    for name in sorted(names - {*lags}):
        _known(text, name, table)
        if name in responses:
            raise refused(text, f"{name} is the response; only its past, lag({name}, 1), can be a factor")
    if not names:
        raise refused(text, "it names no factor; it must name columns, as in contrast * side + log(dots)")
    categorical = [match[1].strip("`") for match in re.finditer(IN_C, plain)]
    columns = [name for name in table.frame.columns if name in names]
    return Parsed(
        text,
        plain,
        columns,
        {name: lag for name, lag in lags.items() if name in names},
        categorical,
        has_point,
    )


def _names(token: Any) -> list[str]:
    """The columns and lags that a token of a formula names."""
    if str(token.kind.value) == "name":
        return [str(token.token)]
    if str(token.kind.value) != "python":
        return []
    stand_ins: dict[str, str] = {}
    code = re.sub(r"`([^`]+)`", lambda quoted: stand_ins.setdefault(quoted[1], f"_{len(stand_ins)}_"), str(token.token))
    tree = ast.parse(code.strip(), mode="eval")
    called = {id(inner) for call in ast.walk(tree) if isinstance(call, ast.Call) for inner in ast.walk(call.func)}
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    quoted = {stand_in: name for name, stand_in in stand_ins.items()}
    return [quoted.get(name, name) for name in names]


def _written(token: Any) -> str:
    return f"`{token.token}`" if str(token.kind.value) == "name" else str(token.token)


def _quoted(right: str, table: Table) -> str:
    """Names with points in backticks."""

    def quote(match: re.Match[str]) -> str:
        return f"`{match[0]}`" if match[0] in table.frame.columns else match[0]

    return re.sub(rf"{QUOTED}|[A-Za-z_]\w*(?:\.\w+)+(?![\w(])", quote, right)


def _known(text: str, name: str, table: Table) -> None:
    if name in table.unusable:
        raise refused(text, f"{name} {table.unusable[name]}")
    if name not in table.frame.columns:
        raise refused(text, f"no column {name!r}; {nearby(name, table.frame.columns)}")


class Unseen(Exception):  # noqa: N818  # a finding about some rows
    """A call inside C(…) gives a category that no trial of the study has."""


def learn(parsed: Parsed, complete: pd.DataFrame) -> ModelSpec:
    """What the formula needs to know of the study's trials; `complete` has no missing value."""
    try:
        spec = ModelSpec.from_spec(Formula(parsed.text), output="numpy", na_action="ignore")
    except Exception as error:
        raise unreadable(parsed.given, error) from None
    spec = _matrix(parsed, spec, complete).model_spec
    terms = [str(term) for term in spec.term_indices]
    if "1" not in terms:
        raise refused(parsed.given, "it removes the intercept, but a psychometric function has one, its bias")
    return spec


def names_of(spec: ModelSpec) -> tuple[list[str], dict[str, list[int]]]:
    """The factors' names, and those made from each term."""
    indices = {str(term).replace("`", ""): [i - 1 for i in which] for term, which in spec.term_indices.items()}
    names = [str(name).replace("`", "") for name in spec.column_names[1:]]
    return names, {term: which for term, which in indices.items() if term != "1"}


def factors(parsed: Parsed, spec: ModelSpec, complete: pd.DataFrame) -> NDArray[np.float64]:
    """(n_rows, n_factors); NaN in rows where a call in C(…) gives a category that no trial of the study has."""
    try:
        return np.asarray(_matrix(parsed, spec, complete), np.float64)[:, 1:]
    except Unseen:
        if len(complete) == 1:
            return np.full((1, len(spec.column_names) - 1), np.nan)
    half = len(complete) // 2
    return np.concatenate([factors(parsed, spec, part) for part in (complete[:half], complete[half:])])


def why_unseen(parsed: Parsed, spec: ModelSpec, row: pd.DataFrame) -> str:
    """Why this row has no factors."""
    try:
        _matrix(parsed, spec, row)
    except Unseen as error:
        return str(error)
    return ""


def _matrix(parsed: Parsed, spec: ModelSpec, complete: pd.DataFrame) -> Any:
    whole = [name for name in parsed.categorical if name in complete and is_whole(complete[name])]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            return spec.get_model_matrix(complete.astype(dict.fromkeys(whole, np.int64)), context=CONTEXT)
    except DataMismatchWarning as error:
        unseen = re.sub(r"np\.\w+\((.*?)\)", r"\1", str(error)).partition("dataset): {")[2].partition("}. They")[0]
        what = "; it must be a number" if unseen == "nan" else ", a category that no trial of the study has"
        raise Unseen(f"a call in C(…) gives {unseen}{what}") from None
    except Exception as error:  # whatever a transform raises on its arguments
        raise unreadable(parsed.given, error) from None


def is_whole(column: pd.Series[Any]) -> bool:
    values = column.to_numpy()
    return values.dtype.kind == "f" and bool((np.abs(values) < EXACT).all() and (values == np.round(values)).all())


def refused(text: str, why: str) -> InputError:
    return InputError(f"formula = {show(text)}: {why}")


def unreadable(text: str, error: BaseException) -> InputError:
    if isinstance(error, SyntaxError | RecursionError):
        return refused(text, "it cannot be read; it must be a sum of columns and transforms of columns")
    words = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error)).strip().splitlines()
    line = "".join(sign if sign.isprintable() else " " for sign in words[0]) if words else type(error).__name__
    return refused(text, line[:200])
