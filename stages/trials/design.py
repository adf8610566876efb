"""The factors of trials: learned from a study's trials, then the same for any others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.errors import InputError
from stages.parameters import Prepare
from stages.trials import cells, coding, layouts, responses, where
from stages.trials.files import open_table
from stages.trials.parsed import Parsed, State
from stages.trials.table import BATCH, Table

Floats = NDArray[np.float64]


class Layout(BaseModel):
    """How a file holds its trials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: str | None  # these three of a long file
    position: str | None
    value: str | None
    intervals: str | list[str] | None
    signal: tuple[str, list[str]] | None = None  # an outcome's column and words, which determine the signal

    def open(self, path: Path) -> Table:
        """The file as a table of one row per trial."""
        table = open_table(path)
        if self.trial and self.position and self.value:
            interval = self.intervals if isinstance(self.intervals, str) else None
            table = layouts.pivot(table, self.trial, self.position, self.value, interval)
        elif isinstance(self.intervals, list):
            table = layouts.differences(table, self.intervals)
        return layouts.with_signal(table, *self.signal) if self.signal else table


class Design(BaseModel):
    """How rows of a table become all factors and responses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout
    columns: dict[str, list[str] | None]  # what factors are made of: levels, or None for numbers
    responses: list[responses.Response]
    groups: list[str]  # columns whose values, together, are a trial's group; lags do not run across groups
    formula: Parsed | None
    state: State | None  # what the formula learned
    names: list[str]  # of all factors
    terms: dict[str, list[int]]  # name -> indices of its factors

    def blocks(self, table: Table, also: list[str]) -> Iterator[Block]:
        """All rows, in order. Raises InputError, with the line, for a value that cannot be coded."""
        n_before = 0
        for missing, factors, others in self._coded(table, also):
            complete = ~np.logical_or.reduce(list(missing.values()))
            wrong = np.argwhere(~np.isfinite(factors) & complete[:, None])
            if len(wrong):
                row, j = (int(index) for index in wrong[0])
                raise InputError(
                    f"{table.place(n_before + row)}: {self.names[j]} is {factors[row, j]}; it must be finite"
                )
            n_before += len(factors)
            yield Block(factors, missing, others)

    def _coded(self, table: Table, also: list[str]) -> Iterator[tuple[Missing, Floats, pa.RecordBatch]]:
        if self.formula is None or self.state is None:
            n_before = 0
            for batch in table.batches([*self.columns, *also]):
                missing = {name: np.asarray(pc.is_null(batch.column(name)), bool) for name in self.columns}
                yield missing, coding.encode(table, batch, self.columns, n_before), batch.select(also)
                n_before += batch.num_rows
            return
        from stages.trials import materialise  # and with it pandas: only a formula pays for it

        frame, others = materialise.read(self.formula, self.columns, self.groups, table, also)
        for start in range(0, len(frame), BATCH):
            part = frame.iloc[start : start + BATCH]
            missing = {str(name): part[name].isna().to_numpy() for name in part}
            complete = ~part.isna().to_numpy().any(axis=1)
            factors = np.full((len(part), len(self.names)), np.nan)
            if complete.any():
                factors[complete] = materialise.encode(self.formula, self.state, part[complete])
            yield missing, factors, others.slice(start, BATCH)


Missing = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Block:
    """Some rows."""

    factors: Floats  # (n_rows, n_factors), NaN where a value is missing
    missing: Missing  # column or lag -> in which rows it is missing, (n_rows,)
    also: pa.RecordBatch  # other columns of the same rows


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
        """Columns that are needed besides those of the factors."""
        responses = [response.column for response in self.design.responses]
        return [*dict.fromkeys([*self.take.columns, *responses, *self.design.groups])]


def learn(p: Prepare, path: Path) -> Found:
    """Find out what the columns of a study's trials hold. Raises InputError, in one line, for what cannot be used."""
    layout = Layout(trial=p.trial, position=p.position, value=p.value, intervals=p.intervals)
    table, take = layout.open(path), where.parse(p.where)
    wanted = [responses.column_of(table, response) for response in p.responses]
    table.check([*p.groups, *take.columns])
    found, n_rows, n_taken = cells.scan(table, take)
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
    parsed = None
    if p.formula:
        from stages.trials import formula

        parsed = formula.parse(p.formula, table.columns, columns, wanted)
        named = dict.fromkeys([*parsed.columns, *(column for column, _ in parsed.lags.values())])
        found |= factors
        columns = {name: None if found[name].kind == "numbers" else found[name].levels for name in named}
        left_out = {}
    cells.check_numbers(table, {name: found[name] for name in columns if name in found})
    if not columns:
        raise InputError(
            f"{table.name} holds no factor: it needs columns of numbers or of few words that vary, besides the response"
        )
    names, terms = coding.names(columns)
    design = Design(
        layout=layout,
        columns=columns,
        responses=coded,
        groups=p.groups,
        formula=parsed,
        state=None,
        names=names,
        terms=terms,
    )
    result = Found(table, design, take, n_rows, n_taken, left_out)
    result = _with_state(result, parsed) if parsed else result
    if "bias" in result.design.names:
        raise InputError(f"{table.name}: a factor is named bias, as the fit's own bias is; rename that column")
    return result


def usable(found: Found, missing: Missing, also: pa.RecordBatch) -> tuple[NDArray[np.bool_], Missing]:
    """Which rows are taken and which of those lack nothing, (n_rows,); what the taken ones lack, the response too."""
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
    complete, _ = usable(found, {str(name): frame[name].isna().to_numpy() for name in frame}, also)
    if not complete.any():
        raise InputError(f"{found.table.name}: every trial lacks a value of the formula's columns or of the response")
    state = materialise.learn(parsed, frame[complete])
    update = {"state": state, "names": state.names, "terms": state.terms}
    return Found(found.table, design.model_copy(update=update), found.take, found.n_rows, found.n_taken, {})
