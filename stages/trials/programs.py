"""Experiment programs, recognised by the columns that they write: which of their rows are trials."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stages.files.account import counted
from stages.files.parameters import Prepare
from stages.trials.values import Table, numbers


@dataclass(frozen=True)
class Program:
    """A program's columns, as regular expressions of whole names, and what its rows are."""

    name: str
    columns: tuple[str, ...]  # each is a column's
    filled: str = ""  # trials have a value in one of these columns
    equal: dict[str, str] = field(default_factory=dict)  # trials have such a value in this column
    most: str = ""  # trials have the most frequent value of this column, of rows with a response
    none: dict[str, float] = field(default_factory=dict)  # a number that means that there was no response
    time: str = ""  # the column of reaction times, where its name does not say so
    sides: tuple[str, ...] = ()  # of two columns, each is missing where the other holds the value: then it is 0


PROGRAMS = (
    Program("PsychoPy", (r".*\.thisN", "psychopyVersion|expName|frameRate|expVersion"), filled=r".*\.thisN"),
    Program("jsPsych", ("trial_type", "trial_index", "time_elapsed"), most="trial_type"),
    Program("OpenSesame", ("opensesame_(version|codename)|experiment_file", "subject_nr|subject_parity|title")),
    Program("Gorilla", ("Experiment ID", "Zone Type"), equal={"Zone Type": r"response_.*"}),
    Program("Gorilla", ("Experiment ID", "Response Type"), equal={"Response Type": "response"}),
    Program("lab.js", ("sender", "sender_type", "sender_id"), most="sender", time="duration"),
    Program("E-Prime", ("ExperimentName|Experiment", "Subject", r".*\.RESP"), most="LogFrame.Level"),
    Program("IBL", ("contrastLeft", "contrastRight"), none={"choice": 0}, sides=("contrastLeft", "contrastRight")),
    Program("Bpod", (r".*\bTrialTypes", r".*\bTrialStartTimestamp")),
)
NAMES_OF_PRACTICE = (
    r"(.*[._ ])?(practi[cs]e|phase|stage|part|section|task|test_part|block_?type|running|procedure)(\W.*)?"
)
PRACTICE = r".*(practi[cs]|\bprac|training|train_|warm.?up|familiari|tutorial|demo\b|example|instruct).*"


def recognised(table: Table, p: Prepare) -> Table:
    """The trials among a program's rows, with a note. Which of them are practice is told by words such as that.

    Nothing is left out by a column that `where` names: then the person has decided.
    """
    frame, named = table.frame, p.where or ""
    found = (each for each in PROGRAMS if all(_like(frame, pattern) for pattern in each.columns))
    if (program := next(found, None)) is None:
        return table
    kept = pd.Series(True, frame.index)
    if filled := [name for name in _like(frame, program.filled) if not re.match(PRACTICE, name, re.I)]:
        kept &= frame[filled].notna().any(axis=1)
    for name in [name for name in program.equal if name not in named]:
        kept &= _matches(frame[name], program.equal[name])
    for name in [name for name in _like(frame, NAMES_OF_PRACTICE) if name not in named]:
        flag = r"yes|y|true|1(\.0)?" if re.match(PRACTICE, name, re.I) else "$^"
        kept &= ~(_matches(frame[name], flag) | _matches(frame[name], PRACTICE))
    asked = [name for name in (response.partition("=")[0] for response in p.responses) if name in frame]
    if program.most in frame and program.most not in named:
        most = frame[program.most][kept & frame[asked].notna().all(axis=1)].mode()
        kept &= frame[program.most].isin(most[:1]) if len(most) else True
    frame = frame[kept] if kept.any() else frame
    said = []
    if n := len(table.frame) - len(frame):
        what = f"{counted(n, 'row')} that {'is' if n == 1 else 'are'} no trial (practice, instructions, …)"
        said.append(f"left out {what}")
    for name in [name for name in program.none if name in frame]:
        said.append(f"{name} {program.none[name]:g} is no response")
        frame = frame.assign(**{name: numbers(frame[name]).replace(program.none[name], np.nan)})
    if program.sides:
        sides = frame[[*program.sides]].apply(numbers)
        frame = frame.assign(**sides.fillna(0.0).where(sides.notna().any(axis=1)))
        said.append("a contrast that is missing on one side is 0")
    note = f"looks like {program.name}{': ' if said else ''}{', '.join(said)}"
    aside = {program.time: f"in {program.name} it is the reaction time"} if program.time in frame else {}
    return dataclasses.replace(table, frame=frame, notes=(*table.notes, note), aside=aside)


def _like(frame: pd.DataFrame, pattern: str) -> list[str]:
    return [name for name in frame.columns if pattern and re.fullmatch(pattern, name, re.I)]


def _matches(column: pd.Series[Any], pattern: str) -> pd.Series[bool]:
    return column.astype("str").str.fullmatch(pattern, case=False).fillna(False).astype(bool)
