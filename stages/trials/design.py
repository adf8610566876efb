"""The trials of a study: how its columns become factors and responses, and the same coding for any other trials."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.account import first_of
from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import coding, long, programs, responses, values, where
from stages.trials.choose import choose, question
from stages.trials.read import read
from stages.trials.values import FEW, Bools, Floats, Table, key, keys, words

FILLED = 0.5  # of the trials in which a column must have a value, to be a factor that nobody has named


@dataclass(frozen=True)
class Study:
    """A study's trials, coded."""

    p: Prepare
    table: Table
    places: long.Places | None  # of a long file
    coding: coding.Coding
    responses: list[responses.Response]
    left_out: dict[str, str]  # column -> why it is no factor
    taken: Bools  # (n_rows,) by where
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
        return laid_out(cleaned(read(path), self.p), self.p, self.places)[1]


def learn(p: Prepare, trials: Path | Table) -> Study:
    """Code a study's trials. Raises InputError, in one line, for what cannot be used."""
    places, table = laid_out(cleaned(read(trials) if isinstance(trials, Path) else trials, p), p)
    table = responses.expanded(table, p)
    taken = where.taken(table, p.where)
    if not taken.any():
        what = "no row fulfils where" if len(taken) else "it holds no trials"
        raise InputError(f"{table.name}: {what}; nothing to fit")

    classes = [responses.resolve(table, each, taken) for each in p.responses]
    yes = np.column_stack([response.code(table) for response in classes])  # (n_rows, n_classes)
    lacks = {each.column: np.isnan(yes[:, k]) for k, each in enumerate(classes)}
    lacks |= {name: table.column(name).isna().to_numpy() for name in p.groups}
    whole = taken & ~np.logical_or.reduce([*lacks.values()])

    code, left_out, notes = coded(table, p, [each.column for each in classes], whole, yes[whole])
    frame = code.frame(table, p.groups)
    lacks = {str(name): frame[name].isna().to_numpy() for name in frame} | lacks
    complete, lacking = complete_rows(table, taken, lacks, p.missing == "refuse")
    factors = code.learn(frame[complete])
    for name in values.repeated([*code.names, "bias"]):
        raise InputError(f"{table.name}: two factors are named {name} (bias is the fit's own)")
    groups, labels = None, list[str]()
    if p.groups:
        first, *more = (words(table.frame[name][complete]) for name in p.groups)
        codes, names = pd.factorize(first.str.cat([each.to_numpy() for each in more], sep=", "))
        groups, labels = codes.astype(np.int32), names.tolist()
    return Study(
        p=p,
        table=dataclasses.replace(table, notes=(*table.notes, *notes)),
        places=places,
        coding=code,
        responses=classes,
        left_out=left_out,
        taken=taken,
        lacking=lacking,
        rows=frame.index[complete].to_numpy(),
        factors=factors,
        yes=yes[complete] == 1,
        groups=groups,
        labels=labels,
    )


def cleaned(table: Table, p: Prepare) -> Table:
    """A file's rows with what a program means by them, missing words as missing, spellings of one word as one, and a
    column `signal` where a response holds outcomes (hit, miss, false alarm, correct rejection).
    """
    frame, notes = table.frame.copy(deep=False), [*table.notes]
    missing = {key(word) for word in p.missing_words or ()}
    for name in frame.columns:
        if missing:
            frame[name] = frame[name].mask(keys(frame[name]).isin(missing))
        frame[name], alike = values.merged(frame[name])
        notes += [f"{name}: {alike}"] if alike else []
    for name in [response.partition("=")[0] for response in p.responses]:
        signal = responses.outcomes(frame[name]) if name in frame and "signal" not in frame else None
        frame = frame if signal is None else frame.assign(signal=signal)
    return programs.recognised(dataclasses.replace(table, frame=frame, notes=tuple(notes)), p)


def laid_out(table: Table, p: Prepare, study: long.Places | None = None) -> tuple[long.Places | None, Table]:
    """A row per trial."""
    if p.trial:
        return long.pivot(table, p, study)
    return None, long.differences(table, *p.intervals) if p.intervals else table


def coded(
    table: Table, p: Prepare, asked: list[str], whole: Bools, yes: Floats
) -> tuple[coding.Coding, dict[str, str], list[str]]:
    """The coding; why other columns are no factors; and what the factors give away.

    `yes` (n_trials, n_classes) are the responses, in the columns `asked`, of the trials that are `whole`.
    """
    kinds = {str(name): values.kind(column) for name, column in table.frame[whole].items()}
    kinds |= dict.fromkeys(table.numeric, "numbers")
    numeric = {name for name, what in kinds.items() if what == "numbers"}
    rows = table.frame.assign(**{name: values.numbers(table.frame[name]) for name in numeric})
    others = {name: what for name, what in kinds.items() if name not in (*asked, *p.groups, p.trial)}
    columns, left_out = columns_of(table, p, others, rows, whole, yes)
    if not columns and (p.formula is None or re.search(coding.POINT, p.formula)):
        needed = "it needs columns of numbers or of few words that vary, besides the response"
        reasons = first_of([f"{name}: {why}" for name, why in left_out.items()][:3])
        raise InputError(f"{table.name} holds no factor: {needed}{f' ({reasons})' if reasons else ''}")
    code = coding.of_formula(p.formula or coding.summed(columns), table, columns, asked)
    code.numeric = numeric
    fitted = [name for name in code.columns.values() if name not in code.lags]
    for name in [name for name in fitted if name in numeric]:
        values.check_numbers(name, table.frame[name][whole])
    gives_away, doubts = choose(rows[fitted][whole], rows[fitted], yes, fitted)
    notes = [*(f"{name}: {why}" for name, why in gives_away.items()), *doubts.values()]
    return code, left_out, notes


def columns_of(
    table: Table, p: Prepare, kinds: Mapping[str, str], rows: pd.DataFrame, whole: Bools, yes: Floats
) -> tuple[list[str], dict[str, str]]:
    """The columns that are factors, of those of `kinds`, and why others are none.

    `rows` are those of the table, with numbers as such; `yes` the responses in those that are `whole`.
    """
    if p.formula and not re.search(coding.POINT, p.formula):
        return [], {}
    named = list[str]()
    for pattern in p.factor_patterns:
        like = [pattern] if pattern in kinds else [name for name in kinds if fnmatchcase(name, pattern)]
        if not like:
            table.column(pattern)
            raise InputError(f"factors = {show(pattern)}: the response or a group cannot be a factor")
        named += like
    columns, left_out = list[str](), dict[str, str]()
    for name in named or kinds:
        column = table.frame[name][whole].dropna()
        n_missing = int(whole.sum()) - len(column)
        if not len(column):
            left_out[name] = "it is empty"
        elif kinds[name] == "text":
            left_out[name] = f"it is text, of more than {FEW} values"
        elif column.nunique() == 1:
            [value] = words(column[:1])
            left_out[name] = f"it is {value if kinds[name] == 'numbers' else show(value)} in every trial"
        elif n_missing > FILLED * whole.sum() and not named:
            left_out[name] = f"it is missing in {n_missing / whole.sum():.0%} of the trials"
        else:
            columns.append(name)
    if named or not columns:
        return columns, left_out
    places = (p.value, p.position, p.intervals)
    left_out |= {name: f"it {why}" for name, why in table.unusable.items() if name not in places}
    aside, doubts = choose(rows[columns][whole], rows[columns], yes, table.numeric | {"signal"})
    if doubt := question(columns, aside, doubts):
        raise InputError(f"{table.name}: {doubt}")
    return [name for name in columns if name not in aside], left_out | aside


def complete_rows(
    table: Table, taken: Bools, lacks: dict[str, Bools], refuse: bool
) -> tuple[Bools, dict[str, tuple[int, str]]]:
    """Which rows are taken and lack nothing; and by column how many lack it, and where the first is."""
    missing = {name: pd.Series(rows & taken, table.frame.index) for name, rows in lacks.items()}
    lacking = {name: (int(rows.sum()), str(rows.idxmax())) for name, rows in missing.items() if rows.any()}
    if refuse and lacking:
        name, (_, place) = next(iter(lacking.items()))
        raise InputError(f"{place}: {name} is missing; with missing: drop such trials are left out")
    complete = np.asarray(taken & ~np.logical_or.reduce([*lacks.values()]))
    if not complete.any():
        which = first_of([*lacking])
        raise InputError(f"{table.name}: every trial lacks a value (of {which}); correct the file")
    return complete, lacking
