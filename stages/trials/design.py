"""The trials of a study: how its columns become factors and responses, and the same coding for any other trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.account import some
from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import coding, long, programs, responses, where
from stages.trials.choose import choose, question
from stages.trials.read import read
from stages.trials.values import (
    FEW,
    Table,
    check_numbers,
    first,
    is_number,
    key,
    keys,
    kind,
    merged,
    numbers,
    repeated,
    words,
)

FILLED = 0.5  # of the trials in which a column must have a value, to be a factor that nobody has named

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Study:
    """A study's trials, coded."""

    p: Prepare
    table: Table
    places: long.Places | None  # of a long file
    coding: coding.Coding
    responses: list[responses.Response]
    constants: dict[str, str]  # columns that would be factors, but have this one value in all trials
    left_out: dict[str, str]  # column -> why it is no factor
    n_rows: int
    n_taken: int
    lacking: dict[str, tuple[int, str]]  # column -> how many taken rows lack a value, and where the first is
    rows: NDArray[np.object_]  # (n_trials,) where each stands in the file
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
        _, table = laid_out(cleaned(read(path), self.p), self.p, self.places)
        return with_signal(table, [response.column for response in self.responses])


def learn(p: Prepare, trials: Path | Table) -> Study:
    """Code a study's trials. Raises InputError, in one line, for what cannot be used."""
    places, table = laid_out(cleaned(read(trials) if isinstance(trials, Path) else trials, p), p)
    table = responses.expanded(table, p.responses, p.count)
    taken = where.taken(table, p.where)
    if not taken.any():
        what = "no row fulfils where" if len(taken) else "it holds no trials"
        raise InputError(f"{table.name}: {what}; nothing to fit")

    asked = [responses.parts(table, response)[0] for response in p.responses]
    classes = [
        responses.resolve(table, each, table.frame[name][taken]) for each, name in zip(p.responses, asked, strict=True)
    ]
    table = with_signal(table, asked)
    yes = np.column_stack([response.code(table) for response in classes])  # (n_rows, n_classes)
    lacks = {each.column: np.isnan(yes[:, k]) for k, each in enumerate(classes)}
    lacks |= {name: table.column(name).isna().to_numpy() for name in p.groups}
    whole = taken & ~np.logical_or.reduce([*lacks.values()])

    code, left_out, constants, notes = chosen(table, p, asked, whole, yes[whole])
    notes += [
        f"{name}: {table.merged[name]}"
        for name in dict.fromkeys([*asked, *p.groups, *code.origins])
        if name in table.merged
    ]
    table = dataclasses.replace(table, notes=(*table.notes, *notes))
    frame = code.frame(table, p.groups)
    lacks = {str(name): frame[name].isna().to_numpy() for name in frame} | lacks
    complete, lacking = complete_rows(table, taken, lacks, p.missing == "refuse")
    frame = frame[complete]
    factors = code.learn(frame)
    check_names(table, code.names)
    for row in np.flatnonzero(np.isnan(factors).any(axis=1))[:1]:
        raise InputError(f"{frame.index[row]}: {code.why_not(frame.iloc[[row]])}")
    groups, labels = grouped(table, p.groups, complete) if p.groups else (None, [])
    return Study(
        p=p,
        table=table,
        places=places,
        coding=code,
        responses=classes,
        constants=constants,
        left_out=left_out,
        n_rows=len(taken),
        n_taken=int(taken.sum()),
        lacking=lacking,
        rows=frame.index.to_numpy(),
        factors=factors,
        yes=yes[complete] == 1,
        groups=groups,
        labels=labels,
    )


def cleaned(table: Table, p: Prepare) -> Table:
    """A file's rows with what a program means by them, missing words as missing, and spellings of one word as one."""
    frame, alike = table.frame.copy(deep=False), dict[str, str]()
    missing = {key(word) for word in p.missing_words or ()}
    values = [float(word) for word in missing if is_number(word)]
    for name in frame.columns:
        if missing:
            is_text = frame[name].dtype == "str"
            frame[name] = frame[name].mask(keys(frame[name]).isin(missing) if is_text else frame[name].isin(values))
        frame[name], same = merged(frame[name])
        alike |= {name: same} if same else {}
    return programs.recognised(dataclasses.replace(table, frame=frame, merged=alike), p)


def laid_out(table: Table, p: Prepare, study: long.Places | None = None) -> tuple[long.Places | None, Table]:
    """A row per trial."""
    if p.trial:
        marks = [] if study else [responses.parts(table, each)[0] for each in p.responses]
        return long.pivot(table, p, marks, study)
    return None, long.differences(table, *p.intervals) if p.intervals else table


def with_signal(table: Table, columns: list[str]) -> Table:
    """With a column `signal` where a response holds outcomes (hit, miss, false alarm, correct rejection)."""
    for name in columns if "signal" not in table.frame else ():
        if name in table.frame and (found := responses.outcomes(table.frame[name])) is not None:
            return dataclasses.replace(table, frame=table.frame.assign(signal=found))
    return table


def chosen(
    table: Table, p: Prepare, asked: list[str], whole: Bools, yes: Floats
) -> tuple[coding.Coding, dict[str, str], dict[str, str], list[str]]:
    """The coding; why other columns are no factors; those that are constant; and what the factors give away.

    `yes` (n_trials, n_classes) are the responses, in the columns `asked`, of the trials that are `whole`.
    """
    frame, doubt = table.frame[whole], ""
    kinds = {str(name): "numbers" if name in table.numeric else kind(frame[name]) for name in frame}
    numeric = {name for name, what in kinds.items() if what == "numbers"}
    rows = table.frame.assign(**{name: numbers(table.frame[name]) for name in numeric})
    others = {name: what for name, what in kinds.items() if name not in (*asked, *p.groups, p.trial)}
    named = [name for pattern in p.factor_patterns for name in _matching(table, pattern, others)]
    columns, left_out, constants = candidates(frame, {name: kinds[name] for name in named} or others, bool(named))
    if not named:
        hidden = (p.value, p.position, p.intervals)
        left_out |= {name: f"it {why}" for name, why in table.unusable.items() if name not in hidden}
    if columns and not named:
        left_out |= {name: why for name, why in table.aside.items() if name in columns}
        columns = [name for name in columns if name not in table.aside]
        aside, doubts = choose(rows[columns][whole], rows[columns], yes, table.numeric | {"signal"})
        doubt = question(columns, aside, doubts)
        columns, left_out = [name for name in columns if name not in aside], left_out | aside
    code = coding.of_formula(p.formula, table, columns, asked) if p.formula else coding.of_columns(columns)
    if doubt and code.every:
        raise InputError(f"{table.name}: {doubt}")
    if not code.origins:
        needed = "it needs columns of numbers or of few words that vary, besides the response"
        reasons = some([f"{name}: {why}" for name, why in left_out.items()][:3])
        raise InputError(f"{table.name} holds no factor: {needed}{f' ({reasons})' if reasons else ''}")
    code.numeric = numeric
    for name in [name for name in code.origins if name in numeric]:
        check_numbers(name, frame[name])
    fitted = [name for name in code.columns.values() if name not in code.lags]
    aside, doubts = choose(rows[fitted][whole], rows[fitted], yes, fitted)
    notes = [*(f"{name}: {why}" for name, why in aside.items()), *doubts.values()]
    return code, *((left_out, constants) if code.every else ({}, {})), notes


def candidates(
    frame: pd.DataFrame, kinds: Mapping[str, str], is_named: bool
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Columns that vary; why others are no factors; and the values of constant ones."""
    columns, left_out, constants = list[str](), dict[str, str](), dict[str, str]()
    for name, what in kinds.items():
        given = frame[name].dropna()
        if not len(given):
            left_out[name] = "it is empty"
        elif what == "text":
            left_out[name] = f"it is text, of more than {FEW} values"
        elif given.nunique() == 1:
            [constants[name]] = words(given[:1])
            left_out[name] = f"it is {constants[name] if what == 'numbers' else show(constants[name])} in every trial"
        elif len(given) < FILLED * len(frame) and not is_named:
            left_out[name] = f"it is missing in {1 - len(given) / len(frame):.0%} of the trials"
        else:
            columns.append(name)
    return columns, left_out, constants


def _matching(table: Table, pattern: str, others: Collection[str]) -> list[str]:
    found = [pattern] if pattern in others else [name for name in others if fnmatchcase(name, pattern)]
    if not found:
        table.column(pattern)
        raise InputError(f"factors = {show(pattern)}: it is the response or a group, which cannot be a factor")
    return found


def complete_rows(
    table: Table, taken: Bools, lacks: dict[str, Bools], refuse: bool
) -> tuple[Bools, dict[str, tuple[int, str]]]:
    """Which rows are taken and lack nothing; and by column how many lack it, and where the first is."""
    lacking = dict[str, tuple[int, str]]()
    for name, rows in lacks.items():
        if (wrong := pd.Series(rows & taken, table.frame.index)).any():
            lacking[name] = int(wrong.sum()), first(wrong)
    if refuse and lacking:
        name, (_, place) = next(iter(lacking.items()))
        raise InputError(f"{place}: {name} is missing; with missing: drop such trials are left out")
    complete = np.asarray(taken & ~np.logical_or.reduce([*lacks.values()]))
    if not complete.any():
        which = some([*lacking])
        raise InputError(f"{table.name}: every trial lacks a value (of {which}), so none is left; correct the file")
    return complete, lacking


def check_names(table: Table, names: list[str]) -> None:
    for name in repeated(names):
        raise InputError(f"{table.name}: two factors are named {name}; rename one of their columns")
    if "bias" in names:
        raise InputError(f"{table.name}: a factor is named bias, as the fit's own bias is; rename that column")


def grouped(table: Table, groups: list[str], complete: Bools) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of the trials' groups, and the groups' labels, in order of appearance."""
    by = pd.DataFrame({j: words(table.frame[name][complete]) for j, name in enumerate(groups)})
    labels = [" ".join(parts) for parts in by.drop_duplicates().to_numpy(str)]
    for label in repeated(labels):
        raise InputError(f"{table.name}: two groups are both named {show(label)}; rename one")
    return by.groupby([*by.columns], sort=False).ngroup().to_numpy(np.int32), labels
