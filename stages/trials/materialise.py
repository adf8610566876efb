"""The factors of a formula, by formulaic: learned from complete trials, then coded in the same way for any others."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from formulaic import Formula, ModelSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.parser.types import Factor
from formulaic.transforms import basis_spline, stateful_transform
from numpy.typing import NDArray

from stages.trials import cells
from stages.trials.coding import Fault, no_numbers, unknown
from stages.trials.formula import refused, unreadable
from stages.trials.parsed import Parsed, State
from stages.trials.table import Table


@stateful_transform  # type: ignore[untyped-decorator]
def bs(x: Any, *arguments: Any, _state: dict[str, Any], **keywords: Any) -> Any:
    """formulaic's bs, with NaN for values beyond the bounds, where formulaic raises."""
    splines = basis_spline(x, *arguments, extrapolation="clip", _state=_state, **keywords)
    outside = (np.asarray(x) < _state["lower_bound"]) | (np.asarray(x) > _state["upper_bound"])
    for key, values in splines.items():
        splines[key] = np.where(outside, np.nan, values)
    return splines


CONTEXT = {"sqrt": np.sqrt, "abs": np.abs, "sin": np.sin, "cos": np.cos, "bs": bs}


def read(
    parsed: Parsed, levels: Mapping[str, list[str] | None], groups: list[str], table: Table, also: list[str]
) -> tuple[pd.DataFrame, pa.RecordBatch]:
    """What the formula names, with lags, NaN or None where it is missing; and other columns of the same rows.

    levels: None for a column of numbers, which may also hold words, in rows that are not taken.
    """
    by = groups if parsed.lags else []
    whole = table.whole([*levels, *by, *also])
    columns: dict[str, Any] = {}
    for name, words in levels.items():
        if words is None:
            columns[name] = _numbers(whole.column(name))
        else:
            columns[name] = pd.Series(cells.words(whole.column(name)).to_pylist(), dtype=object)
    codes = np.zeros(whole.num_rows, np.int64)
    if by:
        codes = np.asarray(pc.fill_null(cells.labels(whole, by).dictionary_encode().indices, -1), np.int64)
    source = pd.DataFrame(columns)
    lagged = {name: source[x].groupby(codes).shift(k) for name, (x, k) in parsed.lags.items()}
    return pd.concat([source[parsed.columns], pd.DataFrame(lagged, index=source.index)], axis=1), whole.select(also)


def missing(frame: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Column or lag -> in which rows it is missing."""
    return {str(name): frame[name].isna().to_numpy() for name in frame}


def finite(
    parsed: Parsed, levels: Mapping[str, list[str] | None], complete: pd.DataFrame
) -> tuple[pd.DataFrame, list[Fault]]:
    """Rows without missing values, with numbers as numbers, NaN for words; and where they are words or not finite."""
    sources = {name: parsed.lags[name][0] if name in parsed.lags else name for name in map(str, complete)}
    numbers = {name: pd.to_numeric(complete[name], "coerce") for name, x in sources.items() if levels[x] is None}
    values = {name: column.to_numpy(np.float64) for name, column in numbers.items()}
    return complete.assign(**values), [no_numbers(x, complete[x].to_numpy(), values[x]) for x in values]


def learn(parsed: Parsed, complete: pd.DataFrame) -> State:
    """What the formula needs to know of the study's trials; `complete` has no missing value, and all are finite."""
    whole = [name for name in parsed.categorical if _is_whole(complete[name])]
    spec = ModelSpec.from_spec(_formula(parsed), output="numpy", na_action="ignore")
    spec = _materialise(parsed, spec, _typed(complete, whole)).model_spec
    terms = {str(term): list(indices) for term, indices in spec.term_indices.items() if str(term) != "1"}
    if len(terms) == len(spec.term_indices):
        raise refused(parsed.given, "it removes the intercept, but a psychometric function has one, its bias")
    if not terms:
        raise refused(parsed.given, "it names no factor")
    categories = {name: state["categories"] for name, (_, state) in spec.encoder_state.items() if "categories" in state}
    words = [str(name) for name in complete if complete[name].dtype == object or name in parsed.categorical]
    return State(
        levels={name: complete[name].unique().tolist() for name in words},
        transforms=_plain(spec.transform_state),
        categories=_plain(categories),
        whole=whole,
        names=[name.replace("`", "") for name in spec.column_names[1:]],
        terms={name.replace("`", ""): [index - 1 for index in indices] for name, indices in terms.items()},
    )


def encode(
    parsed: Parsed, state: State, levels: Mapping[str, list[str] | None], complete: pd.DataFrame
) -> tuple[NDArray[np.float64], list[Fault]]:
    """Factors (n_rows, n_factors) of rows without missing values; NaN, and why, where they cannot be coded."""
    complete, faults = finite(parsed, levels, complete)
    for name, known in state.levels.items():
        given = complete[name]
        faults.append(
            unknown(
                name, given.to_numpy(), ~given.isin(known).to_numpy(), [cells.canonical(str(level)) for level in known]
            )
        )
    encoders = {name: (Factor.Kind.CATEGORICAL, {"categories": levels}) for name, levels in state.categories.items()}
    transforms = {name: _with_integer_keys(value) for name, value in state.transforms.items()}
    spec = ModelSpec.from_spec(
        _formula(parsed), output="numpy", na_action="ignore", transform_state=transforms, encoder_state=encoders
    )
    factors = np.full((len(complete), len(state.names)), np.nan)
    fit = ~np.logical_or.reduce([np.zeros(len(complete), bool), *(fault.rows for fault in faults)])
    if fit.any():
        factors[fit] = _known(parsed, spec, state, _typed(complete[fit], state.whole))

    def why(row: int) -> str:
        try:
            _materialise(parsed, spec, _typed(complete[row : row + 1], state.whole))
        except Unseen as error:
            return str(error)
        j = int(np.argmin(np.isfinite(factors[row])))
        if np.isnan(factors[row, j]) and re.search(r"\bbs\(", state.names[j]):
            return f"{state.names[j]} is outside the range of the study's trials, where a spline is not known"
        return f"{state.names[j]} is {factors[row, j]}; it must be finite"

    return factors, [*faults, Fault(~np.isfinite(factors).all(axis=1), why)]


def _numbers(column: pa.Array) -> Any:
    """Floats, NaN where a value is missing; if there are words among them, objects."""
    found = cells.numbers(column)
    values = found.to_numpy(zero_copy_only=False)
    is_word = np.asarray(pc.and_(pc.is_valid(column), pc.is_null(found)), bool)
    return np.where(is_word, np.asarray(column.to_pylist(), object), values) if is_word.any() else values


def _formula(parsed: Parsed) -> Formula:
    try:
        return Formula(parsed.text)
    except (FormulaicError, ValueError, SyntaxError, RecursionError) as error:
        raise unreadable(parsed.given, error) from None


class Unseen(Exception):  # noqa: N818  # a finding about some rows
    """A call inside C(…) gives a category that no trial of the study has."""


def _known(parsed: Parsed, spec: ModelSpec, state: State, complete: pd.DataFrame) -> NDArray[np.float64]:
    """Factors of at least one row; NaN in rows of a category that no trial of the study has."""
    try:
        return np.asarray(_materialise(parsed, spec, complete), np.float64)[:, 1:]
    except Unseen:
        inside = [name for name in complete if any(str(name) in call for call in state.categories)]
        codes = complete.groupby(inside).ngroup().to_numpy()
        _, first = np.unique(codes, return_index=True)
        seen = _seen(parsed, spec, complete.iloc[first])[codes]
    factors = np.full((len(complete), len(state.names)), np.nan)
    if seen.any():
        factors[seen] = np.asarray(_materialise(parsed, spec, complete[seen]), np.float64)[:, 1:]
    return factors


def _seen(parsed: Parsed, spec: ModelSpec, complete: pd.DataFrame) -> NDArray[np.bool_]:
    """Which of these rows (at least one) are of categories that trials of the study have."""
    try:
        _materialise(parsed, spec, complete)
        return np.ones(len(complete), bool)
    except Unseen:
        if len(complete) == 1:
            return np.zeros(1, bool)
    half = len(complete) // 2
    return np.concatenate([_seen(parsed, spec, part) for part in (complete[:half], complete[half:])])


def _materialise(parsed: Parsed, spec: ModelSpec, complete: pd.DataFrame) -> Any:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            return spec.get_model_matrix(complete, context=CONTEXT)
    except DataMismatchWarning as error:
        unseen = re.sub(r"np\.\w+\((.*?)\)", r"\1", str(error)).partition("dataset): {")[2].partition("}. They")[0]
        what = "; it must be a number" if unseen == "nan" else ", a category that no trial of the study has"
        raise Unseen(f"a call in C(…) gives {unseen}{what}") from None
    except Exception as error:  # whatever a transform raises on its arguments
        raise unreadable(parsed.given, error) from None


def _typed(complete: pd.DataFrame, whole: list[str]) -> pd.DataFrame:
    return complete.astype({name: np.int64 for name in whole if _is_whole(complete[name])})


def _is_whole(column: pd.Series[Any]) -> bool:
    values = column.to_numpy()
    return values.dtype.kind == "f" and bool((np.abs(values) < 2**53).all() and (values == np.round(values)).all())


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as those of JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _with_integer_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: _with_integer_keys(part) for key, part in value.items()}
    return value
