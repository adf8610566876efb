"""The factors of trials: learned from a study's trials, then coded in the same way for any others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import cells, coding, layouts, responses, where
from stages.trials.files import open_table
from stages.trials.long import pivot
from stages.trials.parsed import Parsed, State
from stages.trials.rows import Long
from stages.trials.table import BATCH, Table

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


class Layout(BaseModel):
    """How a file holds its trials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    long: Long | None
    endings: list[str] | None  # of a wide file's columns of two intervals
    signal: tuple[str, list[str]] | None = None  # an outcome's column and words, which determine the signal

    def open(self, path: Path) -> Table:
        """The file as a table of one row per trial."""
        return self.learn(path)[1]

    def learn(
        self, path: Path, responses: Collection[str] = (), take: where.Where = where.EVERY
    ) -> tuple[Layout, Table]:
        """The layout with the positions and intervals of a long file, and the file as a table of one row per trial.

        The columns `responses` are checked for what they mark. In a long file, rows that are not taken make no factor
        and raise no error.
        """
        table, long = open_table(path), self.long
        if long:
            long, table = pivot(table, long, responses, take)
        elif self.endings:
            table = layouts.differences(table, self.endings)
        table = layouts.with_signal(table, *self.signal) if self.signal else table
        return self.model_copy(update={"long": long}), table


class Design(BaseModel):
    """How rows of a table become all factors and responses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout
    columns: dict[str, list[str] | None]  # those that factors are made from: levels, or None for numbers
    constants: dict[str, str]  # columns that would be factors, but have this one value in the study
    responses: list[responses.Response]
    groups: list[str]  # columns whose values together define a trial's group; lags do not run across groups
    formula: Parsed | None
    state: State | None  # what the formula learned
    names: list[str]  # names of all factors
    terms: dict[str, list[int]]  # name -> indices of its factors

    def blocks(self, table: Table, also: list[str]) -> Iterator[Block]:
        """All rows, in order."""
        if self.formula is None or self.state is None:
            for batch in table.batches([*self.columns, *also]):
                lacking = {name: np.asarray(pc.is_null(batch.column(name)), bool) for name in self.columns}
                yield Block(lacking, batch.select(also), partial(self._encode, batch))
            return
        from stages.trials import materialise  # imports pandas, which only a formula needs

        frame, others = materialise.read(self.formula, self.columns, self.groups, table, also)
        for start in range(0, len(frame), BATCH):
            part = frame.iloc[start : start + BATCH]
            yield Block(materialise.missing(part), others.slice(start, BATCH), partial(self._materialise, part))

    def _encode(self, batch: pa.RecordBatch, rows: NDArray[np.bool_]) -> tuple[Floats, list[coding.Fault]]:
        return coding.encode(batch.filter(pa.array(rows)), self.columns)

    def _materialise(self, frame: pd.DataFrame, rows: NDArray[np.bool_]) -> tuple[Floats, list[coding.Fault]]:
        from stages.trials import materialise

        assert self.formula is not None
        assert self.state is not None
        return materialise.encode(self.formula, self.state, self.columns, frame[rows])


Missing = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Block:
    """Some rows; their factors are coded only on request."""

    missing: Missing  # column or lag -> in which rows it is missing, (n_rows,)
    also: pa.RecordBatch  # other columns of the same rows
    encode: Callable[[NDArray[np.bool_]], tuple[Floats, list[coding.Fault]]]
    """Factors (n, n_factors) of n chosen rows (n_rows,) without missing values; and which of the n cannot be coded."""

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which rows have no missing value, (n_rows,)."""
        return np.asarray(~np.logical_or.reduce(list(self.missing.values())), bool)


@dataclass(frozen=True)
class Found:
    """A study's trials, and what was found in their file."""

    table: Table
    design: Design
    take: where.Where
    n_rows: int
    n_taken: int
    left_out: dict[str, str]  # column -> why it is no factor

    @property
    def also(self) -> list[str]:
        """Columns that are needed in addition to those of the factors."""
        responses = [response.column for response in self.design.responses]
        return [*dict.fromkeys([*self.take.columns, *responses, *self.design.groups])]

    def encode(self, block: Block, rows: NDArray[np.bool_], n_before: int) -> Floats:
        """Factors of these rows of a block, which begins at the table's row `n_before`.

        Raises InputError, with the line, for a value that cannot be coded.
        """
        factors, faults = block.encode(rows)
        coding.refuse(faults, lambda row: self.table.place(n_before + int(np.flatnonzero(rows)[row])))
        return factors


def layout_of(p: Prepare) -> Layout:
    """How a study's file holds its trials, before it is read."""
    if not (p.trial and p.position and p.value):
        return Layout(long=None, endings=p.intervals if isinstance(p.intervals, list) else None)
    interval = p.intervals if isinstance(p.intervals, str) else None
    keys = Long(trial=p.trial, position=p.position, value=p.value, interval=interval, groups=p.groups)
    return Layout(long=keys, endings=None)


def learn(p: Prepare, path: Path) -> Found:
    """Find out what the columns of a study's trials hold. Raises InputError, in one line, for what cannot be used."""
    take = where.parse(p.where)
    layout, table = layout_of(p).learn(path, p.responses, take)
    wanted = [responses.column_of(table, response) for response in p.responses]
    table.check([*p.groups, *take.columns])
    found, n_rows, n_taken = cells.scan(table, take, [*dict.fromkeys([*wanted, *p.groups])])
    if not n_taken:
        raise InputError(
            f"{table.name}: {'no row fulfils where' if n_rows else 'it holds no trials'}; there is nothing to fit"
        )
    coded = [responses.resolve(table, response, found) for response in p.responses]
    factors = {name: column for name, column in found.items() if name not in (*wanted, *p.groups, p.trial)}
    for name in wanted:
        if responses.are_outcomes(found[name].levels) and layout.signal is None and "signal" not in table.columns:
            layout = layout.model_copy(update={"signal": (name, found[name].levels)})
            table = layouts.with_signal(table, name, found[name].levels)
            factors["signal"] = cells.Column(n_numbers=n_taken, values={"0": 0, "1": 0})
    columns, left_out = coding.usable(factors)
    keys = layout.long.keys if layout.long else []
    left_out |= {name: f"it {why}" for name, why in table.unusable.items() if name not in keys}
    constants = {name: column.levels[0] for name, column in factors.items() if len(column.values) == 1}
    parsed = None
    if p.formula:
        from stages.trials import formula

        parsed = formula.parse(p.formula, table, columns, wanted)
        named = dict.fromkeys([*parsed.columns, *(column for column, _ in parsed.lags.values())])
        found |= factors
        columns = {name: None if found[name].kind == "numbers" else found[name].levels for name in named}
        if not parsed.every:  # other columns are no factors by choice
            left_out, constants = {}, {}
    cells.check_numbers(table, {name: found[name] for name in columns if name in found})
    if not columns:
        raise InputError(
            f"{table.name} holds no factor: it needs columns of numbers or of few words that vary, besides the response"
        )
    names, terms = coding.names(columns)
    design = Design(
        layout=layout,
        columns=columns,
        constants=constants,
        responses=coded,
        groups=p.groups,
        formula=parsed,
        state=None,
        names=names,
        terms=terms,
    )
    result = Found(table, design, take, n_rows, n_taken, left_out)
    result = _with_state(result, parsed) if parsed else result
    twice = [name for name, n in Counter(result.design.names).items() if n > 1]
    if twice:
        raise InputError(f"{table.name}: two factors are named {twice[0]}; rename one of their columns")
    if "bias" in result.design.names:
        raise InputError(f"{table.name}: a factor is named bias, as the fit's own bias is; rename that column")
    return result


def usable(found: Found, missing: Missing, also: pa.RecordBatch) -> tuple[NDArray[np.bool_], Missing]:
    """Which rows are taken and have no missing value, (n_rows,); and what taken rows lack, the response included."""
    taken = found.take(also)
    lacks = {name: rows & taken for name, rows in missing.items()}
    for response in found.design.responses:
        lacks[response.column] = np.isnan(response.code(also)) & taken
    for group in found.design.groups:
        lacks[group] = np.asarray(pc.is_null(also.column(group)), bool) & taken
    return taken & ~np.logical_or.reduce(list(lacks.values())), lacks


def _with_state(found: Found, parsed: Parsed) -> Found:
    """Let the formula learn from the complete trials."""
    from stages.trials import materialise

    design = found.design
    frame, also = materialise.read(parsed, design.columns, design.groups, found.table, found.also)
    complete, _ = usable(found, materialise.missing(frame), also)
    if not complete.any():
        raise InputError(f"{found.table.name}: every trial lacks a value of the formula's columns or of the response")
    chosen, faults = materialise.finite(parsed, design.columns, frame[complete])
    coding.refuse(faults, lambda row: found.table.place(int(np.flatnonzero(complete)[row])))
    state = materialise.learn(parsed, chosen)
    update = {"state": state, "names": state.names, "terms": state.terms}
    return Found(found.table, design.model_copy(update=update), found.take, found.n_rows, found.n_taken, found.left_out)
