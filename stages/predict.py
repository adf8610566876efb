"""What the observer of a study will answer to new trials: `python -m stages.predict studies/rat new.csv --out p.csv`.

For each trial, and each class, the probability of a yes and an interval of it; empty where a value is missing, or
cannot be coded as the study's: a new word, say, a number beyond a spline, or another value of a constant column.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel
from tqdm import tqdm

from hdlogit.inference import ClassInference
from stages.files import DATA
from stages.files.account import counted, named
from stages.files.documents import validate
from stages.files.errors import InputError, run
from stages.files.tables import read_json
from stages.finished import inside, read_finished
from stages.terminal import say, table
from stages.trials import cells
from stages.trials.coding import Fault, differs, first
from stages.trials.design import Design
from stages.trials.table import Table

Floats = NDArray[np.float64]
LARGEST_FACTOR = 1e100  # its square and sums of such squares are finite
WITHOUT_SIGNAL = "no factor predicts the responses better than chance would, so nothing tells how far they could"

Classes = dict[str, ClassInference | None]  # None: it has no inference


class Dependent(BaseModel):
    """A factor that was not fitted, as in every trial of the study it followed from those that were."""

    index: int  # among the design's factors
    mean: float
    sd: float
    slopes: dict[int, float]  # on fitted factors, by their place among these

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is a fault by itself
    def differs(self, name: str, why: str, factors: Floats, fitted: Floats) -> Fault:
        """Rows of factors, less the means of those that were fitted, where it does not follow from them."""
        moved = fitted[:, [*self.slopes]] * [*self.slopes.values()]
        given = factors[:, self.index]
        tolerance = 1e-3 * (self.sd + np.abs(moved).sum(axis=1)) + 1e-9 * abs(self.mean)  # checks.TOLERANCE is 3e-5 sd
        rows = np.abs(given - self.mean - moved.sum(axis=1)) > tolerance
        return Fault(rows, lambda row: f"{name} is {given[row]:g}, but in the study {why}")


class Coded(BaseModel):
    """What `prepare` wrote of how the study's trials were coded."""

    design: Design
    selected: list[int]  # of the design's factors, those that were fitted
    standardise: bool
    mean: list[float]  # of these
    sd: list[float]
    dependent: list[Dependent]
    left_out: dict[str, str]  # name -> why

    def labels(self, table: Table) -> list[str]:
        """Columns that name the trials of a long file, where they may stand in any order."""
        long = self.design.layout.long
        return [name for name in dict.fromkeys([long.trial, *long.groups]) if name in table.columns] if long else []

    def factors(self, table: Table, counts: Counts) -> Iterator[tuple[pa.RecordBatch, Floats]]:
        """Labels and factors (n_rows, n_factors) of trials, batch by batch, NaN where they cannot be predicted."""
        labels, constants = self.labels(table), self.design.constants
        names = self.design.names
        for block in self.design.blocks(table, [*labels, *(name for name in constants if name in table.columns)]):
            rows = np.flatnonzero(block.complete)
            coded, faults = block.encode(block.complete)
            chosen = coded[:, self.selected]
            faults.append(too_large(chosen, [names[j] for j in self.selected]))
            for d in self.dependent:
                faults.append(d.differs(names[d.index], self.left_out[names[d.index]], coded, chosen - self.mean))
            also = block.also.take(rows)
            faults += [differs(name, also[name], constants[name]) for name in also.schema.names if name in constants]
            found = first(faults)
            if found and not counts.why:
                counts.why = f"{table.place(counts.rows + int(rows[found[0]]))}: {found[1]}"
            chosen[np.logical_or.reduce([fault.rows for fault in faults])] = np.nan
            factors = np.full((len(block.complete), len(self.selected)), np.nan)
            factors[rows] = (chosen - self.mean) / self.sd if self.standardise else chosen
            counts.rows += len(factors)
            counts.lacking += len(factors) - len(rows)
            counts.predicted += int(np.isfinite(factors).all(axis=1).sum())
            yield block.also.select(labels), factors


@dataclass
class Counts:
    """Of the rows of a file."""

    rows: int = 0
    lacking: int = 0  # a value
    predicted: int = 0
    why: str = ""  # the first row that lacks nothing is not predicted, with its line

    def __str__(self) -> str:
        lines = [counted(self.rows, "trial")]
        if self.lacking:
            lines.append(f"lines left empty because a value is missing: {self.lacking}")
        if self.why:
            n = self.rows - self.lacking - self.predicted
            lines.append(f"lines left empty because a value cannot be coded: {n}, the first: {self.why}")
        return "; ".join(lines)


def too_large(factors: Floats, names: list[str]) -> Fault:
    """Where a factor (n_rows, n_factors) is beyond LARGEST_FACTOR."""

    def why(row: int) -> str:
        j = int(np.argmax(np.abs(factors[row])))
        return f"{names[j]} is {factors[row, j]:g}; it must be within ±{LARGEST_FACTOR:g}"

    return Fault(np.asarray((np.abs(factors) > LARGEST_FACTOR).any(axis=1)), why)


def main() -> None:
    """Code the trials as the study's, predict them batch by batch, and name the file at its end."""
    arguments = parse()
    trials, out = Path(arguments.trials).expanduser().absolute(), Path(arguments.out).expanduser().absolute()
    if out.exists():
        raise InputError(f"{arguments.out} exists already; --out must name a new file")
    if not out.parent.is_dir():
        raise InputError(f"{arguments.out}: there is no folder {out.parent}")
    with inside(arguments.study):
        if not (DATA / "trials.json").exists():
            raise InputError(f"{arguments.study} has no {DATA / 'trials.json'}: it must be a study that has been run")
        coded = validate(Coded, read_json("trials.json"), f"{DATA / 'trials.json'}")
        results, p = read_finished()
        classes = usable(results)
    new = coded.design.layout.open(trials)
    level, labels = p.interval_level, coded.labels(new)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with unfinished.open("x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*labels, *header([*classes])])
            counts = Counts()
            total = np.zeros((2, len(classes)))  # of the probabilities and of the widths of their intervals
            for which, factors in tqdm(coded.factors(new, counts), unit="batch", disable=None, leave=False):
                probability, low, high = found = predicted([*classes.values()], factors, level)
                writer.writerows(lines(which, found))
                whole = np.isfinite(factors).all(axis=1)
                total += np.sum([probability, high - low], axis=2, where=whole)  # NaN of a class that has none
        if counts.why and not counts.predicted:
            raise InputError(counts.why)
        unfinished.rename(out)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{arguments.out}: {counts}")
    if counts.predicted:
        headings = ("class", "mean probability\nof yes", f"mean width of\n{100 * level:g} % intervals")
        means = zip(classes, (total / counts.predicted).T, strict=True)
        table(headings, ([name, *(f"{mean:.3f}".replace("nan", "-") for mean in both)] for name, both in means))


def usable(results: dict[str, ClassInference]) -> Classes:
    """By the classes' names; what is left empty, and why, goes to stderr."""
    for name, result in results.items():
        if result.reason:
            print(f"{named(name, 'class')} is left empty: {result.reason}", file=sys.stderr)
        elif not result.theory.signal > 0:
            print(f"{named(name, 'class')}: {WITHOUT_SIGNAL}", file=sys.stderr)
    return {name: None if result.reason else result for name, result in results.items()}


def header(names: list[Any]) -> list[str]:
    """probability, low, high; of several classes each with its name."""
    keys = ("probability", "low", "high")
    return [*keys] if len(names) == 1 else [f"{key}[{name}]" for name in names for key in keys]


def predicted(classes: list[ClassInference | None], factors: Floats, level: float) -> Floats:
    """Probability, low and high (3, n_classes, n_trials) of trials (n_trials, n_factors); NaN for incomplete ones."""
    whole = np.isfinite(factors).all(axis=1)
    found = np.full((3, len(classes), len(factors)), np.nan)
    for k, c in enumerate(classes):
        if c is not None and whole.any():
            found[:, k, whole] = c.predict(factors[whole], level)
    return found


def lines(labels: pa.RecordBatch, found: Floats) -> Iterator[list[str]]:
    """Cells of the file, a list per trial: its labels, and the three numbers of each class."""
    texts = (column if pa.types.is_string(column.type) else cells.words(column) for column in labels.columns)
    named = [column.fill_null("").to_pylist() for column in texts]
    for i, trial in enumerate(found.T.reshape(found.shape[2], -1).tolist()):
        numbers = ("" if value != value else f"{value:.6g}" for value in trial)  # NaN
        yield [*(column[i] for column in named), *numbers]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("study", help="folder of a study that has been run, as in studies/rat")
    parser.add_argument("trials", help="a file of new trials, with the columns of the study's")
    parser.add_argument("--out", required=True, help="the file of predictions to write, a line for each trial")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
