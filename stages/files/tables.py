"""CSV files as columns, JSON files as nested numbers; a damaged file is refused in one line that names it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.files import DATA
from stages.files.documents import show, validate
from stages.files.errors import InputError, check_file

Table = dict[str, list[Any]]

AGAIN = "the stage that writes it must run again"
NAMES = {"class", "factor", "group", "term", "reason"}  # columns of text, even if it looks like a number
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", re.ASCII)  # as Python writes it
LARGEST = 1e100  # no number of ours is larger
COEFFICIENTS = "inference/coefficients.csv"  # of which these may be infinite, or nan, where trials are separated
UNBOUNDED = {f"{unit}{name}" for unit in ("", "raw_") for name in ("corrected", "error", "low", "high")}


def read_table(name: str, *columns: str, undefined: Sequence[str] = ()) -> Table:
    """A CSV file as columns: `columns`, and those that may be `undefined` (NaN) in some lines, must be there.

    Cells are numbers, and become floats, except in columns of names.
    """
    path, unbounded = DATA / name, UNBOUNDED if name == COEFFICIENTS else ()
    header, *rows = read_cells(path)
    if not rows or not {*columns, *undefined} <= set(header) or len(header) != len(set(header)):
        raise InputError(f"{path} must have lines with the columns {', '.join((*columns, *undefined))}; {AGAIN}")
    table: Table = {key: [row[index] for row in rows] for index, key in enumerate(header)}
    for key in table.keys() - NAMES:
        for line, cell in enumerate(table[key], start=2):
            if (cell == "nan" and key in undefined) or (cell in ("inf", "-inf", "nan") and key in unbounded):
                continue
            if not NUMBER.fullmatch(cell) or abs(float(cell)) > LARGEST:
                raise InputError(f"{path}, line {line}: {show(key)} is {show(cell)}; it must be a number")
        table[key] = [*map(float, table[key])]
    return table


def read_cells(path: Path) -> list[list[str]]:
    """A CSV file as text: its header, and lines of as many cells."""
    text = read_text(path)
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (ValueError, csv.Error):
        raise InputError(f"{path} is not a CSV table with a header; {AGAIN}") from None
    if "\0" in text:
        raise InputError(f"{path} holds zero bytes, as of a block that was never written; {AGAIN}")
    if not text.endswith("\n"):
        raise InputError(f"{path} is truncated: its last line has no end; {AGAIN}")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{path}, line {line}: {len(row)} values where the header names {len(header)}")
    return [header, *rows]


def read_json(name: str) -> dict[str, Any]:
    """A JSON file of named values."""
    path = DATA / name
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}; {AGAIN}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} holds {show(document)} where named values are wanted; {AGAIN}")
    return document


def parse_json(text: str) -> Any:
    """The contents of JSON text. Raises ValueError for anything else, for NaN, and for a name that occurs twice."""
    try:
        return json.loads(text, parse_constant=_not_finite, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_text(path: Path) -> str:
    """The text of a file, its line ends as they are."""
    check_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:
        raise InputError(f"{path} is not a text file; {AGAIN}") from None


def read_lines(name: str) -> list[str]:
    """The lines of a text file that exists only if it is not empty."""
    path = DATA / name
    return read_text(path).splitlines() if os.path.lexists(path) else []


def unreadable(path: Path, error: OSError) -> InputError:
    """The error that a file is missing, or what else the operating system reports."""
    missing = isinstance(error, FileNotFoundError)
    return InputError(f"{path} is missing; {AGAIN}" if missing else f"{path}: {error.strerror or error}")


def _not_finite(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a name occurs twice")
    return document


# --- metrics.json: the parts that others read

ABSENT: Any = None  # a section that may be missing, but not null
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class _Numbers(BaseModel):
    """Keys that must be there; all other keys hold numbers, too."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    __pydantic_extra__: dict[str, bool | Number | None]


class _Corrected(_Numbers):
    cross_entropy: Number
    calibration_slope: Number | None


class _Scores(_Corrected):
    calibration_intercept: Number | None
    debiased: _Corrected = ABSENT
    best: _Corrected = ABSENT
    bayes_cross_entropy: Annotated[float, Field(ge=0, le=1e9)] | None = None


class _CorrectedRecovery(_Numbers):
    weight_slope: Number
    weight_rmse: Number


class _Recovery(_CorrectedRecovery):
    corrected: _CorrectedRecovery = ABSENT


class _Train(_Numbers):
    cross_entropy: Number


class _FitMetrics(_Numbers):
    ridge: Number


class _Inference(_Numbers):
    level: Number
    coverage: Number = ABSENT
    classical_coverage: Number = ABSENT

    @model_validator(mode="after")
    def _both(self) -> _Inference:
        if (self.coverage is None) != (self.classical_coverage is None):
            raise ValueError("coverage and classical_coverage must occur together")
        return self


class _Theory(_Numbers):
    signal: Number
    kappa: Number
    n_trials: int


class _Replication(_Numbers):
    plain_slope: Number | None
    plain_slope_error: Number | None
    corrected_slope: Number | None
    corrected_slope_error: Number | None


class _Metrics(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    train: _Train
    fit: _FitMetrics
    test: _Scores = ABSENT
    loo: _Scores = ABSENT
    recovery: _Recovery = ABSENT
    inference: _Inference = ABSENT
    theory: _Theory = ABSENT
    replication: _Replication = ABSENT

    @model_validator(mode="after")
    def _inference_is_whole(self) -> _Metrics:
        together = self.inference, self.theory, self.loo and self.loo.best, self.loo and (self.test or self.loo).best
        if len({part is None for part in together}) > 1:
            raise ValueError("inference, theory and loo must occur together")
        return self


def read_metrics() -> dict[str, Any]:
    """metrics.json, whole."""
    document = read_json("metrics.json")
    validate(_Metrics, document, str(DATA / "metrics.json"))
    return document
