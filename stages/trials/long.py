"""A long file, a row per value, as one row per trial; and two intervals as their difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import pandas as pd

from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import where
from stages.trials.values import Table, check_numbers, kind, levels, numbers, words

Places = list[list[str]]  # a study's positions, each a factor, and its two intervals, if it has any
RESTART = "columns in which trial numbers restart must be there, and named as group"


def pivot(table: Table, p: Prepare, study: Places | None = None) -> tuple[Places, Table]:
    """The places that the rows to take have, and one row per trial with a factor `value[position]` for each position.

    With an interval, the factor is the second interval's value minus the first's. Other columns that are constant in
    each trial stay; a response that differs between a trial's intervals (which of them was chosen) has its value in the
    second. What a trial has no row for is missing; places that are not the study's are ignored.
    Raises InputError for trials that have a value twice, or of which only a part is taken.
    """
    frame, trial, value = table.frame, str(p.trial), str(p.value)
    keys = [str(p.position), *([p.intervals] if isinstance(p.intervals, str) else [])]
    held = {name: words(table.column(name)) for name in (trial, *keys)}
    taken = where.taken(table, p.where if study is None else None, only=True)
    for name, column in held.items():
        if (missing := column.isna() & taken).any():
            raise InputError(f"{missing.idxmax()}: {name} is missing")
    places = study or [levels(held[name][taken]) for name in keys]
    if keys[1:] and taken.any() and len(places[1]) != 2:
        raise InputError(f"{table.name}: {keys[1]} must number two intervals, but holds {show(places[1][:5])}")

    groups = [name for name in p.groups if name in frame and name not in (value, *keys)]
    by = pd.DataFrame({trial: held[trial]} | {name: words(frame[name]) for name in groups})
    heads = by.drop_duplicates()
    labels = f"{table.name}, trial " + heads[trial].fillna("?")
    for name in [name for name in heads if name != trial]:
        labels += f", {name} " + heads[name].fillna("?")
    codes = [pd.Index(known).get_indexer(held[name]) for name, known in zip(keys, places, strict=True)]
    trials = by.groupby([*by], sort=False, dropna=False).ngroup().to_numpy()
    rows = pd.DataFrame({"trial": trials, "taken": taken})
    rows["position"], rows["interval"] = codes[0], codes[1] if keys[1:] else 0
    placed = ((rows.position >= 0) & (rows.interval >= 0)).to_numpy()

    share = rows.groupby("trial").taken.mean()
    for cut in share.index[(share > 0) & (share < 1)][:1]:
        why = f"where takes only a part of its rows; it must take whole trials, and {RESTART}"
        raise InputError(f"{labels.iloc[cut]}: {why}")
    cells = rows.loc[placed & taken, ["trial", "interval", "position"]]
    for twice in cells.trial[cells.duplicated()][:1]:
        raise InputError(f"{labels.iloc[twice]} has two values for one position; {RESTART}")

    factors = [f"{value}[{known}]" for known in places[0]]
    check_numbers(value, table.column(value)[placed & taken])
    cube = np.full((len(keys), len(labels), len(factors)), np.nan)
    at = rows.loc[placed, ["interval", "trial", "position"]].to_numpy().T
    cube[tuple(at)] = numbers(frame[value])[placed]
    values = pd.DataFrame(cube[-1] - cube[0] if keys[1:] else cube[0], labels, factors)
    marks = {response.partition("=")[0] for response in p.responses} if keys[1:] else set[str]()
    rest = frame.drop(columns=[value, *keys, *factors], errors="ignore")
    whole, differing = of_trials(rest, rows, labels, marks)
    is_place = f"is no column of trials, whose factors are named {value}[…]"
    notes = [*table.notes]
    if keys[1:]:
        order = f"{keys[1]}: {' is first and '.join(map(show, places[1]))} second, in their order"
        notes.append(f"{order}; factors are the second's value minus the first's")
    return places, dataclasses.replace(
        table,
        frame=pd.concat([whole, values], axis=1),
        notes=tuple(notes),
        numeric=frozenset(factors),
        unusable={**table.unusable, **dict.fromkeys([value, *keys], is_place), **differing},
    )


def of_trials(
    frame: pd.DataFrame, rows: pd.DataFrame, labels: pd.Series[str], marks: Collection[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The columns that have one value in each trial, and why others have not; `marks` have that of the second interval.

    `rows`: trial, interval, and whether it is taken, of each row of the frame.
    """
    last = np.argsort(-rows.interval, kind="stable")  # rows of the second interval before others
    own = last[np.unique(rows.trial.iloc[last], return_index=True)[1]]
    whole, unusable = frame.iloc[own].set_axis(labels), dict[str, str]()
    frame = frame.set_axis(rows.index)
    differs = frame.groupby(rows.trial).nunique(dropna=False) > 1
    within = frame[rows.taken].groupby([rows.trial, rows.interval]).nunique(dropna=False) > 1
    taken = rows.groupby("trial").taken.any()
    for name in differs.columns[differs[taken].any()]:
        if name in marks and not within[name].any():  # that marks both intervals or none is missing
            is_second = (rows.interval.iloc[own] == 1).to_numpy()
            whole[name] = whole[name].where(differs[name].to_numpy() & is_second)
        else:
            which = labels[taken.to_numpy()].iloc[differs.loc[taken, name].argmax()]
            unusable[name] = f"differs within {which}; it must have one value a trial"
    return whole.drop(columns=[*unusable]), unusable


def differences(table: Table, one: str, other: str) -> Table:
    """Two columns of numbers per factor, one for each interval, become one: the second minus the first.

    `contrast_1` and `contrast_2`, with the endings `_1` and `_2`, become `contrast`. What is not a number is missing.
    """
    is_number = {name for name, column in table.frame.items() if kind(column) == "numbers"}
    bases = [name.removesuffix(one) for name in table.frame if name.endswith(one) and name in is_number]
    bases = [base for base in bases if base and base + other in is_number and one != other]
    rest = table.frame.drop(columns=[base + ending for base in bases for ending in (one, other)])
    if not bases or {*bases} & {*rest}:
        rest_of = "; but no column may be named without them" if bases else ""
        what = f"two columns of numbers must differ in the endings {one!r} and {other!r} alone"
        raise InputError(f"{table.name}: {what} (intervals){rest_of}")
    factors = {base: numbers(table.frame[base + other]) - numbers(table.frame[base + one]) for base in bases}
    note = f"factors are the difference of two columns: the one in {other} minus the one in {one}"
    return dataclasses.replace(
        table, frame=rest.assign(**factors), numeric=frozenset(bases), notes=(*table.notes, note)
    )
