"""Columns as factors: by a formula in the notation of R, by formulaic; and lags, which it does not have.

`lag(x, k)` is the value of x in the k-th row before in the same group; `lags(x, k)` is lag(x, 1) + … + lag(x, k).
`frame*` stands for the sum of all columns that begin with frame; in a call, for the sum of the calls of each.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec, SimpleFormula
from formulaic.transforms import basis_spline, stateful_transform
from formulaic.utils.variables import Variable

from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.trials.values import Floats, Table, is_number, key, levels, numbers, words
from stages.trials.where import aliased, restored

LAG = r"\b(?P<lag>lags?)\(\s*(?P<column>`[^`]+`|[\w.]+)\s*(?:,\s*(?:k\s*=\s*)?(?P<order>\d+)\s*)?\)"
IN_C = r"\bC\((\w+)"
PATTERN = r"[\w.]+\*(?=\s*(?:$|[-+:),])|\s+\*)"  # a product has its second factor right after the *
POINT = r"(?<![\w.])\.(?![\w.])"  # all columns
MOST_LAGS = 1000
LARGEST = 1e100  # beyond it squares of factors are no longer finite


@stateful_transform  # type: ignore[untyped-decorator]
def bs(x: Any, *arguments: Any, _state: dict[str, Any], **keywords: Any) -> Any:
    """formulaic's bs, with NaN for values beyond the bounds, where formulaic raises."""
    return basis_spline(x, *arguments, extrapolation="na", _state=_state, **keywords)


CONTEXT = {"sqrt": np.sqrt, "abs": np.abs, "sin": np.sin, "cos": np.cos, "bs": bs}


@dataclass
class Coding:
    """Numbers as they are, words by treatment coding, or as a formula says; `learn` learns it from a study's trials."""

    text: str  # the formula as it was given
    formula: SimpleFormula  # of names of Python's
    columns: dict[str, str]  # what these stand for: columns and lags
    lags: dict[str, tuple[str, int]]  # `lag(x, 2)` -> x, 2
    numeric: set[str] = field(default_factory=set)  # columns of numbers
    levels: dict[str, list[str] | None] = field(default_factory=dict)  # of columns and lags; None for numbers
    spec: Any = None  # what formulaic has learned
    names: list[str] = field(default_factory=list)  # of the factors
    terms: dict[str, list[int]] = field(default_factory=dict)  # name -> indices of its factors

    def origin(self, name: str) -> str:
        """The column that a column or lag comes from."""
        return self.lags[name][0] if name in self.lags else name

    def frame(self, table: Table, groups: list[str]) -> pd.DataFrame:
        """The columns that factors are made from, as the file holds them; lags do not run across groups."""
        groups = groups if self.lags else []
        by = [words(table.column(name)).to_numpy() for name in groups] or [np.zeros(len(table.frame))]
        held = {name: table.column(self.origin(name)) for name in self.columns.values()}
        held |= {name: held[name].groupby(by, dropna=False).shift(k) for name, (_, k) in self.lags.items()}
        return pd.DataFrame(held, table.frame.index)

    def learn(self, complete: pd.DataFrame) -> Floats:
        """Levels, names and terms, and what transforms need to know, of rows without missing values; their factors.

        Raises InputError for a row that cannot be coded.
        """
        in_c = {self.columns[alias] for alias in re.findall(IN_C, str(self.formula))}
        for name in self.columns.values():
            is_plain = self.origin(name) in self.numeric and name not in in_c
            self.levels[name] = None if is_plain else levels(complete[name])
        with explained(self.text, self.columns):
            self.spec = ModelSpec.from_spec(self.formula, output="numpy", na_action="ignore")
        factors = self.encode(complete)
        is_learned = self.spec.structure is not None  # from at least one row
        names = self.spec.column_names[1:] if is_learned else ()
        self.names = [restored(name, self.columns) for name in names]
        for row in np.flatnonzero(np.isnan(factors).any(axis=1) | (not is_learned))[:1]:
            raise InputError(f"{complete.index[row]}: {self.why_not(complete.iloc[[row]])}")
        terms = {restored(term, self.columns): which for term, which in self.spec.term_indices.items()}
        self.terms = {term: [j - 1 for j in which] for term, which in terms.items() if term != "1"}
        return factors

    def encode(self, complete: pd.DataFrame) -> Floats:
        """Factors (n_rows, n_factors) of rows without missing values; NaN in those that cannot be coded."""
        values = self._values(complete)
        is_known = values.notna().all(axis=1).to_numpy()
        coded = self._matrix(values[is_known]) if is_known.any() else np.zeros((0, len(self.names)))
        factors = np.full((len(complete), coded.shape[1]), np.nan)
        coded[~(np.abs(coded) <= LARGEST).all(axis=1)] = np.nan
        factors[is_known] = coded + 0.0  # no −0, which equals 0 but has other bytes
        return factors

    def why_not(self, row: pd.DataFrame) -> str:
        """Why this row, a frame of one, cannot be coded."""
        right = f"it must be a number within ±{LARGEST:g}"
        for name, known in self.levels.items():
            [value], [word] = row[name], words(row[name])
            if known is None and not numbers(row[name]).abs().item() <= LARGEST:
                return f"{name} is {show(value)}; {right}"
            if known is not None and key(word) not in map(key, known):
                return f"{name} is {show(word)}, which it is in no trial of the study; {nearest(word, known)}"
        [factors] = self._matrix(self._values(row))
        j = int(np.argmin(np.abs(factors) <= LARGEST))
        if np.isnan(factors[j]) and "bs(" in self.names[j]:
            return f"{self.names[j]} is outside the range of the study's trials, where a spline is not known"
        return f"{self.names[j]} is {factors[j]}; {right}"

    def _values(self, complete: pd.DataFrame) -> pd.DataFrame:
        """Numbers, and words as the study spells them; NaN where a column is neither, or too large."""
        values: dict[str, Any] = {}
        for alias, name in self.columns.items():
            column, known = complete[name], self.levels[name]
            if known is not None:
                spelling = {key(level): level for level in known}
                column = words(column)
                column = column.map({word: spelling.get(key(word)) for word in column.unique()}).astype("str")
            if known is None or all(map(is_number, known)):  # numbers in C(…)
                number = numbers(column)
                values[alias] = number.where(number.abs() <= LARGEST)
            else:
                values[alias] = pd.Categorical(column, known)
        return pd.DataFrame(values, complete.index)

    def _matrix(self, values: pd.DataFrame) -> Floats:
        """Factors, also what is not finite; what transforms need to know is learned the first time."""
        in_c = [name for name in re.findall(IN_C, str(self.formula)) if values[name].dtype.kind == "f"]
        whole = [name for name in in_c if (values[name] % 1 == 0).all()]
        with explained(self.text, self.columns):
            matrix = self.spec.get_model_matrix(values.astype(dict.fromkeys(whole, np.int64)), context=CONTEXT)
        self.spec = matrix.model_spec
        return np.asarray(matrix, np.float64)[:, 1:]


def of_formula(text: str, table: Table, every: Collection[str], responses: Collection[str]) -> Coding:
    """`every`: what `.` stands for. Raises InputError for what is not a formula of the table's columns."""
    lags: dict[str, tuple[str, int]] = {}

    def spread(match: re.Match[str]) -> str:
        pattern = re.search(PATTERN, match[0])[0]  # type: ignore[index]  # as the match holds one
        names = [name for name in table.frame.columns if fnmatchcase(name, pattern) and name not in responses]
        if not names:
            raise refused(text, f"no column is like {pattern}; {nearest(pattern[:-1], table.frame.columns)}")
        return f"({' + '.join(match[0].replace(pattern, f'`{name}`') for name in names)})"

    def lagged(match: re.Match[str]) -> str:
        column, order = match["column"].strip("`"), int(match["order"] or 1)
        table.column(column)
        orders = range(1 if match["lag"] == "lags" else max(order, 1), min(order, MOST_LAGS) + 1)
        new = {f"lag({column}, {k})": (column, k) for k in orders}
        lags.update(new)
        return summed(new) if new else match[0]

    left, _, right = replaced(rf"\w+\([^()`]*?{PATTERN}[^()]*\)|{PATTERN}", spread, text).rpartition("~")
    if left.strip(" `") not in ("", *responses):
        expected = f"the response, {' or '.join(responses)}, or empty"
        raise refused(text, f"its left side must be {expected}, but it is {show(left.strip())}")
    without_lags = replaced(POINT, lambda _: summed(every), right)
    right = replaced(LAG, lagged, without_lags)
    rest = re.sub("`[^`]*`", "", right)
    if re.search(r"\w\([^()]*\blags\(", without_lags) or re.search(r"\blags?\(", rest):
        must = f"lag(column, k), k from 1 to {MOST_LAGS}, or, outside of any call, lags(column, k)"
        raise refused(text, f"a lag must be {must}, as in log(lag(dots, 1)) + lags(choice, 5)")
    if re.search(r"\*\*\s*\(?\s*\d{2}|\^\s*\d{2}", right):  # formulaic would write it out
        raise refused(text, "a power must be below 10")
    plain, columns = aliased(right, {*table.frame.columns, *table.unusable})
    with explained(text, columns):
        formula = Formula(plain)
        if not isinstance(formula, SimpleFormula):
            raise ValueError("it must be one sum of terms")
        used = {columns[alias]: alias for alias in re.findall(r"_name\d+_", str(formula))}
        variables = {str(each) for each in formula.required_variables if Variable.Role.VALUE in each.roles}
    for name in sorted({*used} - {*lags} | (variables - {*columns})):
        table.column(name)
        if name in responses:
            raise refused(text, f"{name} is the response; only its past, lag({name}, 1), can be a factor")
    if not used:
        raise refused(text, "it names no factor; it must name columns, as in contrast * side + log(dots)")
    if "1" not in map(str, formula):
        raise refused(text, "it removes the intercept, but a psychometric function has one, its bias")
    if re.search(r"\bC\((?!_name\d+_[,)])", str(formula)):
        raise refused(text, "C(…) must be of a column, as in C(rule) or C(lag(rule, 1))")
    names = {used[name]: name for name in (*table.frame.columns, *lags) if name in used}
    return Coding(text, formula, names, {name: lag for name, lag in lags.items() if name in used})


def summed(names: Collection[str]) -> str:
    return f"({' + '.join(f'`{name}`' for name in names)})"


def replaced(pattern: str, new: Callable[[re.Match[str]], str], text: str) -> str:
    """As re.sub, but not within `names`."""
    return re.sub(rf"`[^`]*`|{pattern}", lambda match: match[0] if match[0].startswith("`") else new(match), text)


def refused(text: str, why: str) -> InputError:
    return InputError(f"formula = {show(text)}: {why}")


@contextlib.contextmanager
def explained(text: str, names: Mapping[str, str]) -> Iterator[None]:
    """Whatever formulaic, transforms and Python's parser raise in one line."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        lines = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", restored(error, names)).strip().splitlines()
        why = "".join(sign if sign.isprintable() else " " for sign in lines[0])[:200] if lines else "it cannot be read"
        raise refused(text, f"{why}; it must be a sum of columns and transforms of columns") from None
