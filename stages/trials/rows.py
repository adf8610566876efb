"""To what trial, interval and position each row of a long file belongs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials import cells
from stages.trials.table import Table

Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]


class Long(BaseModel):
    """The columns of a long file, and what the study's trials held."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: str
    position: str
    value: str
    interval: str | None  # of two different values
    groups: list[str]  # trials of the same number in two groups are two
    positions: list[str] | None = None  # in the study, each a factor; None: they are not known yet
    intervals: list[str] = []  # in the study, the first and the second
    marks: list[str] = []  # the responses' columns, which may mark the chosen interval

    @property
    def place(self) -> list[str]:
        """Columns that say where in its trial a value belongs."""
        return [self.position, *([self.interval] if self.interval else [])]

    @property
    def keys(self) -> list[str]:
        """Columns that describe a value, not a trial."""
        return [self.value, *self.place]

    @property
    def factors(self) -> list[str]:
        return [f"{self.value}[{position}]" for position in self.positions or []]


@dataclass(frozen=True)
class Rows:
    """All (n_rows,)."""

    taken: Bools
    trials: Codes  # in the order in which they come
    intervals: Codes  # 0 if there are none, −1 of an interval or position that is not of the study
    positions: Codes
    names: list[str]  # (n_trials,)

    def first(self, among: Bools) -> Codes:
        """The first row of each trial among these, −1 where it has none; (n_trials,)."""
        rows = np.flatnonzero(among)[::-1]
        first = np.full(len(self.names), -1)
        first[self.trials[rows]] = rows
        return first


def learn_places(table: Table, batch: pa.RecordBatch, long: Long, taken: Bools) -> Long:
    """`long` with the positions and intervals of the rows that are taken.

    Raises InputError unless there are two intervals.
    """
    positions, *intervals = (_levels(batch[name], taken) for name in long.place)
    if intervals and taken.any() and len(intervals[0]) != 2:
        found = show(intervals[0][:5])
        raise InputError(f"{table.name}: {long.interval} must number two intervals, but it holds {found}")
    return long.model_copy(update={"positions": positions, "intervals": intervals[0] if intervals else []})


def _levels(column: pa.Array, taken: Bools) -> list[str]:
    words = cells.words(column).filter(pa.array(taken)).drop_null()
    return sorted(words.unique().to_pylist(), key=cells.order)


def locate(table: Table, batch: pa.RecordBatch, long: Long, taken: Bools) -> Rows:
    """Where all rows belong. Raises InputError where that is missing, unknown, or the same for two rows."""
    for name in (long.trial, *long.place):
        _check_present(table, batch, name, taken)
    known = long.positions or []
    positions = _codes(batch[long.position], known)
    intervals = _codes(batch[long.interval], long.intervals) if long.interval else np.zeros_like(positions)
    trials, names = _trials(table, batch, long, taken)
    rows = Rows(taken, trials, intervals, positions, names)
    if long.interval:
        _check_known(table, batch, long.interval, long.intervals, taken & (intervals < 0))
    if (positions[taken] < 0).all():  # a few unknown positions are like columns that the study does not have
        _check_known(table, batch, long.position, known, taken)
    _check_once(table, long, rows)
    return rows


def check_shared(table: Table, batch: pa.RecordBatch, long: Long, rows: Rows) -> None:
    """Raise InputError for a position that few trials have: a mistake, or each trial has positions of its own."""
    if not rows.taken.any():
        return
    n_positions, n_trials = len(long.factors), len(np.unique(rows.trials[rows.taken]))
    pairs = np.unique((rows.trials * n_positions + rows.positions)[rows.taken])
    counts = np.bincount(pairs % n_positions)  # trials with each position
    if counts.min() < (1 - cells.MOSTLY) * n_trials:
        rare = int(np.argmin(counts))
        row = int(np.argmax(rows.taken & (rows.positions == rare)))
        word = show(str(cells.words(batch[long.position])[row]))
        raise InputError(
            f"{table.place(row)}: {long.position} is {word}, which it is in {counts[rare]} of {n_trials} trials; "
            "correct it, or leave such rows out of the file"
        )


def _codes(column: pa.Array, levels: list[str]) -> Codes:
    """Which of the levels it is, −1 for none."""
    return np.asarray(pc.fill_null(pc.index_in(cells.words(column), pa.array(levels, pa.string())), -1), np.int64)


def _check_present(table: Table, batch: pa.RecordBatch, name: str, taken: Bools) -> None:
    missing = np.flatnonzero(np.asarray(pc.is_null(batch[name]), bool) & taken)
    if len(missing):
        raise InputError(f"{table.place(int(missing[0]))}: {name} is missing")


def _trials(table: Table, batch: pa.RecordBatch, long: Long, taken: Bools) -> tuple[Codes, list[str]]:
    """Codes of trials as they come, and their names: the number and, if there are groups, what they are."""
    number = cells.words(batch[long.trial])
    groups = {name: cells.words(batch[name]) for name in long.groups if name in table.columns}
    codes = np.zeros(batch.num_rows, np.int64)
    for words in (number, *groups.values()):
        encoded = words.dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + np.asarray(pc.fill_null(encoded.indices, -1))
        _, first, codes = np.unique(codes, return_index=True, return_inverse=True)  # at once: products may overflow
    _check_whole(table, long, codes, number, taken)
    ranks = np.argsort(np.argsort(first))
    first = pa.array(np.sort(first))
    names = [str(label) for label in number.take(first).to_pylist()]
    for group, words in groups.items():
        labels = (f"no {group}" if word is None else f"{group} {word}" for word in words.take(first).to_pylist())
        names = [f"{name}, {label}" for name, label in zip(names, labels, strict=True)]
    return ranks[codes], names


def _check_whole(table: Table, long: Long, trials: Codes, number: pa.Array, taken: Bools) -> None:
    """Raise InputError for a trial of which only some rows are taken."""
    cut = np.isin(trials, trials[taken]) & np.isin(trials, trials[~taken])
    if cut.any():
        row = int(np.argmax(cut))
        raise InputError(
            f"{table.place(row)}: where takes only a part of the rows with {long.trial} {number[row]}; it must take "
            "whole trials, and columns in which trial numbers restart must be named as group"
        )


def _check_known(table: Table, batch: pa.RecordBatch, name: str, levels: list[str], strange: Bools) -> None:
    """Raise InputError for the first of the rows whose value of that column is not of the study."""
    if strange.any():
        row = int(np.argmax(strange))
        known = " or ".join([*map(show, levels[:5]), *(["…"] if levels[5:] else [])])
        word = show(str(cells.words(batch[name])[row]))
        raise InputError(f"{table.place(row)}: {name} is {word}; it must be {known}, as in the study")


def _check_once(table: Table, long: Long, rows: Rows) -> None:
    """Raise InputError for a trial with two values in one place."""
    placed = np.flatnonzero(rows.taken & (rows.positions >= 0))
    codes = [each[placed] for each in (rows.trials, rows.intervals, rows.positions)]
    _, first = np.unique(np.ravel_multi_index(codes, [each.max(initial=0) + 1 for each in codes]), return_index=True)
    again = np.ones(len(placed), bool)
    again[first] = False
    if again.any():
        row = int(placed[np.argmax(again)])
        table.check(long.groups)
        raise InputError(
            f"{table.place(row)}: trial {rows.names[rows.trials[row]]} has two values for one position; "
            "name the columns in which trial numbers restart as group"
        )
