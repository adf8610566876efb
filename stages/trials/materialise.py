"""The factors of a formula, by formulaic: learned from complete trials, then the same for any others."""

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
from numpy.typing import NDArray

from stages.trials import cells
from stages.trials.formula import refused, unreadable
from stages.trials.parsed import Parsed, State
from stages.trials.table import Table

CONTEXT = {"sqrt": np.sqrt, "abs": np.abs, "sin": np.sin, "cos": np.cos}


def read(
    parsed: Parsed, levels: Mapping[str, list[str] | None], groups: list[str], table: Table, also: list[str]
) -> tuple[pd.DataFrame, pa.RecordBatch]:
    """What the formula names, lags included, NaN or None where it is missing; and other columns of the same rows.

    levels: None for a column of numbers.
    """
    by = groups if parsed.lags else []
    whole = table.whole([*levels, *by, *also])
    columns: dict[str, Any] = {}
    for name, words in levels.items():
        if words is None:
            columns[name] = cells.all_numbers(table, whole.column(name), name, 0).to_numpy(zero_copy_only=False)
        else:
            columns[name] = pd.Series(cells.words(whole.column(name)).to_pylist(), dtype=object)
    codes = np.zeros(whole.num_rows, np.int64)
    if by:
        codes = np.asarray(pc.fill_null(cells.labels(whole, by).dictionary_encode().indices, -1), np.int64)
    source = pd.DataFrame(columns)
    lagged = {name: source[x].groupby(codes).shift(k) for name, (x, k) in parsed.lags.items()}
    return pd.concat([source[parsed.columns], pd.DataFrame(lagged, index=source.index)], axis=1), whole.select(also)


def learn(parsed: Parsed, complete: pd.DataFrame) -> State:
    """What the formula needs to know of the study's trials; `complete` lacks no value."""
    whole = [name for name in parsed.categorical if _is_whole(complete[name])]
    spec = ModelSpec.from_spec(_formula(parsed), output="numpy", na_action="ignore")
    spec = _materialise(parsed, spec, _typed(complete, whole)).model_spec
    terms = {str(term): list(indices) for term, indices in spec.term_indices.items() if str(term) != "1"}
    if len(terms) == len(spec.term_indices):
        raise refused(parsed.given, "it removes the intercept, but a psychometric function has one, its bias")
    if not terms:
        raise refused(parsed.given, "it names no factor")
    categories = {name: state["categories"] for name, (_, state) in spec.encoder_state.items() if "categories" in state}
    return State(
        transforms=_plain(spec.transform_state),
        categories=_plain(categories),
        whole=whole,
        names=[name.replace("`", "") for name in spec.column_names[1:]],
        terms={name.replace("`", ""): [index - 1 for index in indices] for name, indices in terms.items()},
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


def _formula(parsed: Parsed) -> Formula:
    try:
        return Formula(parsed.text)
    except (FormulaicError, ValueError, SyntaxError, RecursionError) as error:
        raise unreadable(parsed.given, error) from None


def _materialise(parsed: Parsed, spec: ModelSpec, complete: pd.DataFrame) -> Any:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            return spec.get_model_matrix(complete, context=CONTEXT)
    except DataMismatchWarning as error:
        unseen = re.sub(r"np\.\w+\((.*?)\)", r"\1", str(error)).partition("dataset): ")[2].partition(". They")[0]
        raise refused(parsed.given, f"categories that the study's trials do not have: {unseen}") from None
    except Exception as error:  # whatever a transform says of what it was given
        raise unreadable(parsed.given, error) from None


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
