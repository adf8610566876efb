"""The trials of a study: how its columns become factors and responses, and the same coding for any other trials."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.account import some
from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import formula, long, programs, responses, where
from stages.trials.choose import choose, question
from stages.trials.read import read
from stages.trials.values import (
    FEW,
    Table,
    canonical,
    check_numbers,
    is_number,
    key,
    keys,
    kind,
    levels,
    merged,
    numbers,
    words,
)

FILLED = 0.5  # of the trials in which a column must have a value, to be a factor that nobody has named

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass
class Coding:
    """Columns as factors: numbers as they are, words by treatment coding; or by a formula."""

    columns: dict[str, list[str] | None]  # that factors are made from: levels, or None for numbers
    groups: list[str]  # lags do not run across them
    parsed: formula.Parsed | None = None
    spec: Any = None  # what the formula has learned
    names: list[str] = field(default_factory=list)  # of the factors
    terms: dict[str, list[int]] = field(default_factory=dict)  # name -> indices of its factors

    def frame(self, table: Table) -> pd.DataFrame:
        """The columns that factors are made from, with lags, as the file holds them."""
        lagged = self.parsed.lags if self.parsed else {}  # of which `columns` has the levels, too, once they are learnt
        held = {name: table.column(name) for name in self.columns if name not in lagged}
        if self.parsed is None:
            return pd.DataFrame(held, table.frame.index)
        codes = np.zeros(len(table.frame), np.int64)
        if self.parsed.lags and self.groups:
            by = pd.DataFrame({j: words(table.column(name)) for j, name in enumerate(self.groups)})
            codes = by.groupby([*by.columns], dropna=False).ngroup().to_numpy()
        lags = {name: held[x].groupby(codes).shift(k) for name, (x, k) in self.parsed.lags.items()}
        return pd.DataFrame({name: held[name] for name in self.parsed.columns} | lags, table.frame.index)

    def learn(self, complete: pd.DataFrame) -> None:
        """Names and terms, and what a formula needs to know; of rows without missing values."""
        if self.parsed is None:
            for name, known in self.columns.items():
                new = [name] if known is None else [f"{name}[T.{level}]" for level in known[1:]]
                self.terms[name] = [*range(len(self.names), len(self.names) + len(new))]
                self.names += new
            return
        for name in complete:
            if self._levels(str(name)) is not None or name in self.parsed.categorical:
                self.columns[str(name)] = levels(complete[name])  # those of a lag, too
        self.spec = formula.learn(self.parsed, self._values(complete))
        self.names, self.terms = formula.names_of(self.spec)

    def encode(self, complete: pd.DataFrame) -> Floats:
        """Factors (n_rows, n_factors) of rows without missing values; NaN in those that cannot be coded."""
        values = self._values(complete)
        factors, fit = np.full((len(complete), len(self.names)), np.nan), values.notna().all(axis=1).to_numpy()
        if self.parsed is None:
            for name, known in self.columns.items():
                for j, level in zip(self.terms[name], known[1:] if known else [None], strict=True):
                    factors[:, j] = values[name] if level is None else values[name] == level
        elif fit.any():
            factors[fit] = formula.factors(self.parsed, self.spec, values[fit])
        factors[~fit | ~np.isfinite(factors).all(axis=1)] = np.nan
        return factors + 0.0  # no −0, which equals 0 but has other bytes

    def why_not(self, row: pd.DataFrame) -> str:
        """Why this row, a frame of one, cannot be coded."""
        for name, value in row.iloc[0].items():
            number, known = numbers(row[name]).iloc[0], self._levels(str(name))
            if known is None and not np.isfinite(number):
                what = f"{show(value)}; it must be a number" if np.isnan(number) else f"{number}; it must be finite"
                return f"{name} is {what}"
            if known is not None and key(canonical(value)) not in map(key, known):
                word = canonical(value)
                return f"{name} is {show(word)}, which it is in no trial of the study; {nearest(word, known)}"
        if self.parsed is None:
            return ""
        if unseen := formula.why_unseen(self.parsed, self.spec, self._values(row)):
            return unseen
        factors = formula.factors(self.parsed, self.spec, self._values(row))[0]
        j = int(np.argmin(np.isfinite(factors)))
        if np.isnan(factors[j]) and "bs(" in self.names[j]:
            return f"{self.names[j]} is outside the range of the study's trials, where a spline is not known"
        return f"{self.names[j]} is {factors[j]}; it must be finite"

    def _levels(self, name: str) -> list[str] | None:
        if name not in self.columns and self.parsed and name in self.parsed.lags:
            name = self.parsed.lags[name][0]
        return self.columns[name]

    def _values(self, complete: pd.DataFrame) -> pd.DataFrame:
        """Numbers as float64, words as the study spells them; NaN where a column is neither, or not finite."""
        found: dict[str, Any] = {}
        for name, given in complete.items():
            known = self._levels(str(name))
            if known is not None:
                spelling = keys(given).map({key(level): level for level in known})
                if not all(map(is_number, known)):
                    found[str(name)] = spelling.astype(object)
                    continue
                given = given.where(spelling.notna())  # numbers in C(…)
            values = numbers(given)
            found[str(name)] = values.where(np.isfinite(values))
        return pd.DataFrame(found, complete.index)


@dataclass(frozen=True)
class Study:
    """A study's trials, coded."""

    p: Prepare
    table: Table
    places: long.Places | None  # of a long file
    coding: Coding
    responses: list[responses.Response]
    constants: dict[str, str]  # columns that would be factors, but have this one value in all trials
    left_out: dict[str, str]  # column -> why it is no factor
    n_rows: int
    n_taken: int
    lacking: dict[str, tuple[int, str]]  # column -> how many taken rows lack a value, and where the first is
    rows: NDArray[np.intp]  # (n_trials,) of the file
    factors: Floats  # (n_trials, n_factors)
    yes: Bools  # (n_trials, n_classes)
    groups: NDArray[np.int32] | None  # (n_trials,) codes, indices of labels
    labels: list[str]  # of the groups, in order of appearance

    @property
    def names(self) -> list[str]:
        """Of all factors."""
        return self.coding.names

    def open(self, path: Path) -> Table:
        """Other trials, in the study's layout."""
        table = prepared(read(path), self.p)
        if self.places:
            _, table = long.pivot(table, self.p, where.Where(), [], self.places)
        elif self.p.intervals:
            table = long.differences(table, *self.p.intervals)
        return _with_signal(table, [response.column for response in self.responses if response.column in table.frame])


def prepared(table: Table, p: Prepare) -> Table:
    """A file's rows with what a program means by them, missing words as missing, and spellings of one word as one."""
    frame = table.frame.copy(deep=False)
    missing = {key(canonical(word)) for word in map(str, p.missing_words or ())}
    alike: dict[str, str] = {}
    for name in frame.columns:
        if missing:
            if frame[name].dtype == "str":
                frame[name] = frame[name].mask(keys(frame[name]).isin(missing))
            else:
                frame[name] = frame[name].mask(frame[name].isin([float(word) for word in missing if is_number(word)]))
        frame[name], same = merged(frame[name])
        alike |= {name: same} if same else {}
    return programs.recognised(dataclasses.replace(table, frame=frame, merged=alike), p)


def learn(p: Prepare, trials: Path | Table) -> Study:
    """Code a study's trials. Raises InputError, in one line, for what cannot be used."""
    table = prepared(read(trials) if isinstance(trials, Path) else trials, p)
    take = where.parse(p.where)
    places = None
    if p.trial:
        places, table = long.pivot(table, p, take, [responses.parts(table, each)[0] for each in p.responses])
    elif p.intervals:
        table = long.differences(table, *p.intervals)
    table = responses.expanded(table, p.responses, p.count)
    wanted = [responses.parts(table, response)[0] for response in p.responses]
    for name in p.groups:
        table.column(name)
    taken, n_rows = take(table), len(table.frame)
    if not taken.any():
        raise InputError(f"{table.name}: {'no row fulfils where' if n_rows else 'it holds no trials'}; nothing to fit")
    coded = [
        responses.resolve(table, each, table.frame[name][taken]) for each, name in zip(p.responses, wanted, strict=True)
    ]
    table = _with_signal(table, wanted)
    needed = np.column_stack([response.code(table) for response in coded])  # (n_rows, n_classes)
    whole = taken & ~np.isnan(needed).any(axis=1) & table.frame[p.groups].notna().all(axis=1).to_numpy()
    columns, left_out, constants, doubt = _factors(table, p, wanted, whole, needed[whole])
    parsed = None
    if p.formula:
        parsed = formula.parse(p.formula, table, columns, wanted)
        used = dict.fromkeys([*parsed.columns, *(column for column, _ in parsed.lags.values())])
        columns = {name: _levels_of(table, name, whole) for name in used}
        left_out, constants = (left_out, constants) if parsed.every else ({}, {})
    if doubt and (parsed is None or parsed.every):
        raise InputError(f"{table.name}: {doubt}")
    for name in columns:
        if columns[name] is None:
            check_numbers(table, name, table.frame[name][whole])
    if not columns:
        raise InputError(
            f"{table.name} holds no factor: it needs columns of numbers or of few words that vary, besides the response"
        )
    fitted = {name: columns[name] for name in parsed.columns} if parsed else columns  # not those that only lags need
    aside, doubts = _chosen(table, fitted, whole, needed[whole], fitted)
    names = [name for name in dict.fromkeys([*wanted, *p.groups, *columns]) if name in table.merged]
    notes = [f"{name}: {why}" for name, why in aside.items()] + [*doubts.values()]
    notes += [f"{name}: {table.merged[name]}" for name in names]
    table = dataclasses.replace(table, notes=(*table.notes, *notes))

    coding = Coding(columns, p.groups, parsed)
    frame = coding.frame(table)
    lacks = {str(name): frame[name].isna().to_numpy() & taken for name in frame}
    lacks |= {each.column: np.isnan(needed[:, k]) & taken for k, each in enumerate(coded)}
    lacks |= {name: table.frame[name].isna().to_numpy() & taken for name in p.groups}
    complete, lacking = _complete(table, taken, lacks, p.missing == "refuse")
    frame = frame[complete]
    coding.learn(frame)
    _check_names(table, coding.names)
    factors = coding.encode(frame)
    if (wrong := np.isnan(factors).any(axis=1)).any():
        row = frame.iloc[[np.argmax(wrong)]]
        raise InputError(f"{table.place(int(row.index[0]))}: {coding.why_not(row)}")
    groups, labels = _grouped(table, p.groups, complete) if p.groups else (None, [])
    return Study(
        p=p,
        table=table,
        places=places,
        coding=coding,
        responses=coded,
        constants=constants,
        left_out=left_out,
        n_rows=n_rows,
        n_taken=int(taken.sum()),
        lacking=lacking,
        rows=frame.index.to_numpy(),
        factors=factors,
        yes=needed[complete] == 1,
        groups=groups,
        labels=labels,
    )


def _complete(
    table: Table, taken: Bools, lacks: dict[str, Bools], refuse: bool
) -> tuple[Bools, dict[str, tuple[int, str]]]:
    """Which rows are taken and lack nothing; and by column how many lack it, and where the first is."""
    index = table.frame.index
    lacking = {
        name: (int(rows.sum()), table.place(int(index[np.argmax(rows)]))) for name, rows in lacks.items() if rows.any()
    }
    if refuse and lacking:
        name, (_, place) = next(iter(lacking.items()))
        raise InputError(f"{place}: {name} is missing; with missing: drop such trials are left out")
    complete = taken & ~np.logical_or.reduce([*lacks.values()])
    if not complete.any():
        raise InputError(
            f"{table.name}: every trial lacks a value (of {some([*lacking])}), so none is left; correct the file"
        )
    return np.asarray(complete), lacking


def _check_names(table: Table, names: list[str]) -> None:
    for name, n in Counter(names).items():
        if n > 1:
            raise InputError(f"{table.name}: two factors are named {name}; rename one of their columns")
    if "bias" in names:
        raise InputError(f"{table.name}: a factor is named bias, as the fit's own bias is; rename that column")


def _grouped(table: Table, groups: list[str], complete: Bools) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of the trials' groups, and the groups' labels, in order of appearance."""
    by = pd.DataFrame({j: words(table.frame[name][complete]) for j, name in enumerate(groups)})
    labels = [" ".join(parts) for parts in by.drop_duplicates().to_numpy(str)]
    for label, n in Counter(labels).items():
        if n > 1:
            raise InputError(f"{table.name}: two groups are both named {show(label)}; rename one")
    return by.groupby([*by.columns], sort=False).ngroup().to_numpy(np.int32), labels


def _levels_of(table: Table, name: str, whole: Bools) -> list[str] | None:
    column = table.frame[name][whole]
    return None if name in table.numeric or kind(column) == "numbers" else levels(column)


def _factors(
    table: Table, p: Prepare, responses_: list[str], whole: Bools, yes: Floats
) -> tuple[dict[str, list[str] | None], dict[str, str], dict[str, str], str]:
    """Columns that become factors without a formula, with their levels; why others do not; constant ones; and doubts.

    `yes` (n_trials, n_classes) are the responses of the trials that are `whole`.
    """
    others = [name for name in table.frame if name not in (*responses_, *p.groups, p.trial)]
    named = [name for pattern in p.factor_patterns for name in _matching(table, pattern, others)]
    columns: dict[str, list[str] | None] = {}
    left_out, constants = dict[str, str](), dict[str, str]()
    for name in dict.fromkeys(named) if p.factors else others:
        column = table.frame[name][whole]
        what = "numbers" if name in table.numeric else kind(column)
        if what in ("empty", "text"):
            left_out[name] = "it is empty" if what == "empty" else f"it is text, of more than {FEW} values"
        elif column.nunique() == 1 if what == "words" else column.max() == column.min():
            constants[name] = canonical(column.dropna().iloc[0])
            value = constants[name] if what == "numbers" else show(constants[name])
            left_out[name] = f"it is {value} in every trial"
        elif column.notna().mean() < FILLED and not (p.factors or p.formula or name in table.numeric):
            left_out[name] = f"it is missing in {column.isna().mean():.0%} of the trials"
        else:
            columns[name] = None if what == "numbers" else levels(column)
    keys = () if p.factors else (p.value, p.position, p.intervals)
    left_out |= {name: f"it {why}" for name, why in table.unusable.items() if not p.factors and name not in keys}
    if p.factors or not columns:
        return columns, left_out, constants, ""
    aside, doubts = _chosen(table, columns, whole, yes, table.numeric | {"signal"})
    chosen = {name: columns[name] for name in columns if name not in aside}
    return chosen, left_out | aside, constants, question([*columns], aside, doubts)


def _chosen(
    table: Table, columns: dict[str, list[str] | None], whole: Bools, yes: Floats, named: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    rows = table.frame[[*columns]]
    rows = rows.assign(**{name: numbers(rows[name]) for name, known in columns.items() if known is None})
    return choose(rows[whole], rows, yes, named)


def _matching(table: Table, pattern: str, others: list[str]) -> list[str]:
    found = [pattern] if pattern in others else [name for name in others if fnmatchcase(name, pattern)]
    if not found:
        table.column(pattern)
        raise InputError(f"factors = {show(pattern)}: it is the response or a group, which cannot be a factor")
    return found


def _with_signal(table: Table, wanted: list[str]) -> Table:
    """With a column `signal` where a response holds outcomes (hit, miss, false alarm, correct rejection)."""
    for name in wanted:
        held = levels(table.frame[name]) if table.frame[name].dtype == "str" else []
        if held and responses.are_outcomes(held) and "signal" not in table.frame:
            found = responses.signal(table.frame[name])
            return dataclasses.replace(table, frame=table.frame.assign(signal=found))
    return table
