"""To what trial, interval and position each row of a long file belongs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.errors import InputError
from stages.parameters.documents import show
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
    levels: dict[str, list[str]] = {}  # of the study: positions, each a factor, and intervals, first and second

    @property
    def place(self) -> list[str]:
        """Columns that say where in its trial a value belongs."""
        return [self.position, *([self.interval] if self.interval else [])]

    @property
    def factors(self) -> list[str]:
        return [f"{self.value}[{position}]" for position in self.levels[self.position]]


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


def learn(table: Table, batch: pa.RecordBatch, long: Long, taken: Bools) -> Long:
    """With the positions and intervals of rows that are taken. Raises InputError unless intervals are two."""
    levels = {}
    for name in long.place:
        words = cells.words(batch[name]).filter(pa.array(taken)).drop_null()
        levels[name] = sorted(words.unique().to_pylist(), key=cells.order)
    if long.interval and taken.any() and len(levels[long.interval]) != 2:
        found = show(levels[long.interval][:5])
        raise InputError(f"{table.name}: {long.interval} must number two intervals, but it holds {found}")
    return long.model_copy(update={"levels": levels})


def find(table: Table, batch: pa.RecordBatch, long: Long, taken: Bools) -> Rows:
    """Where all rows belong. Raises InputError where that is missing, unknown, or the same for two rows."""
    for name in (long.trial, *long.place):
        _check_present(table, batch, name, taken)
    positions, *intervals = (_codes(batch[name], long.levels[name]) for name in long.place)
    trials, names = _trials(table, batch, long, taken)
    rows = Rows(taken, trials, intervals[0] if intervals else np.zeros_like(positions), positions, names)
    if long.interval:
        _check_known(table, batch, long.interval, long.levels[long.interval], taken & (rows.intervals < 0))
    if (positions[taken] < 0).all():  # of some, it is as of a column that the study has not
        _check_known(table, batch, long.position, long.levels[long.position], taken)
    _check_once(table, rows)
    return rows


def check_shared(table: Table, long: Long, rows: Rows) -> None:
    """Raise InputError for a position that few trials have: a mistake, or each trial has positions of its own."""
    n_trials, counts = len(np.unique(rows.trials[rows.taken])), np.bincount(rows.positions[rows.taken])
    if n_trials and counts.min() < (1 - cells.MOSTLY) * n_trials:
        rare = int(np.argmin(counts))
        row = int(np.argmax(rows.taken & (rows.positions == rare)))
        raise InputError(
            f"{table.place(row)}: {long.position} is {show(long.levels[long.position][rare])}, of which {n_trials} "
            f"trials have {counts[rare]} values; most trials must have a value at each position"
        )


def _codes(column: pa.Array, levels: list[str]) -> Codes:
    """Which of the levels it is, −1 for none."""
    return np.asarray(pc.fill_null(pc.index_in(cells.words(column), pa.array(levels, pa.string())), -1), np.int64)


def _check_present(table: Table, batch: pa.RecordBatch, name: str, taken: Bools) -> None:
    missing = np.flatnonzero(np.asarray(pc.is_null(batch[name]), bool) & taken)
    if len(missing):
        raise InputError(f"{table.place(int(missing[0]))}: {name} is missing")


def _trials(table: Table, batch: pa.RecordBatch, long: Long, taken: Bools) -> tuple[Codes, list[str]]:
    """Codes of trials as they come, and their names: the number and, if there are groups, what they are.

    Rows that are taken and rows that are not are never of one trial.
    """
    groups = [name for name in long.groups if name in table.columns]
    number, *others = (cells.words(batch[name]) for name in dict.fromkeys([long.trial, *groups]))
    codes = np.zeros(batch.num_rows, np.int64)
    for words in (number, *others):
        encoded = words.dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + np.asarray(pc.fill_null(encoded.indices, -1)) + 1
    _check_whole(table, batch, long, codes, taken)
    _, first, codes = np.unique(2 * codes + taken, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(first))
    first = pa.array(np.sort(first))
    names = [str(label) for label in number.take(first).to_pylist()]
    for group, words in zip(groups, others, strict=True):
        labels = (f"no {group}" if word is None else f"{group} {word}" for word in words.take(first).to_pylist())
        names = [f"{name}, {label}" for name, label in zip(names, labels, strict=True)]
    return ranks[codes], names


def _check_whole(table: Table, batch: pa.RecordBatch, long: Long, codes: Codes, taken: Bools) -> None:
    """Raise InputError for a trial, a code, of which only some rows are taken.

    Where both those and the others have a value of the same interval and position, its number stands for two.
    """
    partly = np.isin(codes, codes[taken]) & np.isin(codes, codes[~taken])
    places = np.asarray(pc.fill_null(cells.labels(batch, long.place), "").dictionary_encode().indices)[partly]
    numbers, at = np.unique(codes[partly], return_inverse=True)
    pairs = np.unique(np.stack([at, places]), axis=1)
    cut = np.bincount(at) == np.bincount(pairs[0])
    if cut.any():
        row = int(np.argmax(codes == numbers[np.argmax(cut)]))
        raise InputError(
            f"{table.place(row)}: where takes only a part of the rows of trial {cells.words(batch[long.trial])[row]}; "
            "it must take whole trials, and columns in which trial numbers restart must be named as group"
        )


def _check_known(table: Table, batch: pa.RecordBatch, name: str, levels: list[str], strange: Bools) -> None:
    """Raise InputError for the first of the rows whose value of that column is not of the study."""
    if strange.any():
        row = int(np.argmax(strange))
        known = " or ".join([*map(show, levels[:5]), *(["…"] if levels[5:] else [])])
        word = show(str(cells.words(batch[name])[row]))
        raise InputError(f"{table.place(row)}: {name} is {word}; it must be {known}, as in the study")


def _check_once(table: Table, rows: Rows) -> None:
    """Raise InputError for a trial with two values in one place."""
    known = np.flatnonzero(rows.taken & (rows.positions >= 0))
    where = [codes[known] for codes in (rows.trials, rows.intervals, rows.positions)]
    _, first = np.unique(np.ravel_multi_index(where, [codes.max(initial=0) + 1 for codes in where]), return_index=True)
    again = np.setdiff1d(np.arange(len(known)), first)
    if len(again):
        row = int(known[again[0]])
        raise InputError(
            f"{table.place(row)}: trial {rows.names[rows.trials[row]]} has two values for one position; "
            "name the columns in which trial numbers restart as group"
        )
