"""Experiment programs, recognised by the columns that they write: which of their rows are trials."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
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
    event: tuple[str, str] = ("", "")  # trials have such a value in this column
    most: str = ""  # trials have the most frequent value of this column, of rows with a response
    time: str = ""  # the column of reaction times, where its name does not say so
    none: str = ""  # the column in which 0 means that there was no response
    sides: tuple[str, ...] = ()  # of two columns, each is missing where the other holds the value: then it is 0


IBL = ("contrastLeft", "contrastRight")
PROGRAMS = (
    Program("PsychoPy", (r".*\.thisN", "psychopyVersion|expName|frameRate|expVersion"), filled=r".*\.thisN"),
    Program("jsPsych", ("trial_type", "trial_index", "time_elapsed"), most="trial_type"),
    Program("OpenSesame", ("opensesame_(version|codename)|experiment_file", "subject_nr|subject_parity|title")),
    Program("Gorilla", ("Experiment ID", "Zone Type"), event=("Zone Type", r"response_.*")),
    Program("Gorilla", ("Experiment ID", "Response Type"), event=("Response Type", "response")),
    Program("lab.js", ("sender", "sender_type", "sender_id"), most="sender", time="duration"),
    Program("E-Prime", ("ExperimentName|Experiment", "Subject", r".*\.RESP"), most="LogFrame.Level"),
    Program("IBL (choice 0 is no response, a contrast missing on one side is 0)", IBL, none="choice", sides=IBL),
    Program("Bpod", (r".*\bTrialTypes", r".*\bTrialStartTimestamp")),
)
PHASES = r"(.*[._ ])?(practi[cs]e|phase|stage|part|section|task|block_?type|running|procedure)(\W.*)?"
PRACTICE = r".*(practi[cs]|\bprac|training|train_|warm.?up|familiari|tutorial|demo\b|example|instruct).*"


def recognised(table: Table, p: Prepare) -> Table:
    """The trials among a program's rows, with a note. Practice is told by words such as that.

    Nothing is left out by a column that `where` names: then the person has decided.
    """
    frame = table.frame
    programs = [each for each in PROGRAMS if all(_like(frame, pattern) for pattern in each.columns)]
    if not programs:
        return table
    program = programs[0]
    kept = pd.Series(True, frame.index)
    telling = frame[[name for name in frame if name not in (p.where or "")]]
    if filled := [name for name in _like(frame, program.filled) if not re.match(PRACTICE, name, re.I)]:
        kept &= frame[filled].notna().any(axis=1)
    if program.event[0] in telling:
        kept &= _matches(frame[program.event[0]], program.event[1])
    for name in _like(telling, PHASES):
        words = rf"{PRACTICE}|yes|y|true|1(\.0)?" if re.match(PRACTICE, name, re.I) else PRACTICE
        kept &= ~_matches(frame[name], words)
    if program.most in telling:
        asked = [name for name in (response.partition("=")[0] for response in p.responses) if name in frame]
        most = frame[program.most][kept & frame[asked].notna().all(axis=1)].mode()
        kept &= frame[program.most].isin(most[:1]) if len(most) else True
    frame = frame[kept] if kept.any() else frame
    note = f"looks like {program.name}"
    if n := len(table.frame) - len(frame):
        note += f": left out {counted(n, 'row')} (practice, instructions, …)"
    if program.none in frame:
        frame = frame.assign(**{program.none: numbers(frame[program.none]).replace(0, np.nan)})
    if program.sides:
        sides = frame[[*program.sides]].apply(numbers)
        frame = frame.assign(**sides.fillna(0.0).where(sides.notna().any(axis=1)))
    time = {program.time: f"is the reaction time in {program.name}"} if program.time in frame else {}
    frame = frame.drop(columns=[*time])
    unusable = {**table.unusable, **time}
    return dataclasses.replace(table, frame=frame, notes=(*table.notes, note), unusable=unusable)


def _like(frame: pd.DataFrame, pattern: str) -> list[str]:
    return [name for name in frame.columns if pattern and re.fullmatch(pattern, name, re.I)]


def _matches(column: pd.Series[Any], pattern: str) -> pd.Series[bool]:
    return column.astype("str").str.fullmatch(pattern, case=False).fillna(False).astype(bool)
