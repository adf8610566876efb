"""Which value of a column is a yes; and rows that stand for several trials."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials.values import PERHAPS, Table, check_numbers, first, is_number, key, keys, levels

TRUTH = {"1": "1", "true": "1", "0": "0", "false": "0"}
OUTCOMES = {  # in signal detection: whether there was a signal, whether the response was yes
    **dict.fromkeys(("hit", "h"), (1.0, 1.0)),
    **dict.fromkeys(("miss", "m"), (1.0, 0.0)),
    **dict.fromkeys(("falsealarm", "fa"), (0.0, 1.0)),
    **dict.fromkeys(("correctrejection", "correctreject", "cr"), (0.0, 0.0)),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """One class: a yes or no for each trial."""

    name: str
    column: str
    yes: list[str]
    no: list[str]

    def code(self, table: Table) -> Floats:
        """1 for yes, 0 for no, NaN where it is missing; (n_rows,)."""
        code = {key(word): 1.0 for word in self.yes} | {key(word): 0.0 for word in self.no}
        return np.asarray(keys(table.column(self.column)).map(code), np.float64)


def parts(table: Table, response: str) -> tuple[str, str | None]:
    """`column` or `column=value`."""
    if response in table.frame:
        return response, None
    for match in re.finditer("=", response):
        if response[: match.start()] in table.frame:
            return response[: match.start()], response[match.end() :]
    table.column(response.partition("=")[0])
    raise InputError(f"response = {show(response)}, but it must be column or column=value")


def pair(table: Table, response: str) -> list[str]:
    """The two columns of `n_yes/n` or `proportion*n`, where no column has that name."""
    names = [name.strip() for name in re.split("[/*]", response)]
    return names if response not in table.frame and len(names) == 2 and {*names} <= {*table.frame} else []


def counts(table: Table, response: str, count: str | None) -> Floats:
    """Of rows that stand for several trials, how many were a yes and a no, (n_rows, 2), or twice the column `count`."""
    names = pair(table, response) or [str(count)]
    n = check_numbers(names[-1], table.column(names[-1])).fillna(0)
    yes = check_numbers(names[0], table.frame[names[0]]).fillna(0)
    if "*" in response and names[1:]:
        yes = (yes * n).round()
    for name, number in zip(names[::-1], (n, yes), strict=False):
        if (wrong := (number < 0) | (number % 1 > 0)).any():
            raise InputError(
                f"{first(wrong)}: {name} is {number[wrong].iloc[0]:g}; it must be a whole number of trials"
            )
    if (wrong := yes > n).any():
        raise InputError(f"{first(wrong)}: {names[0]} says {yes[wrong].iloc[0]:g} of {n[wrong].iloc[0]:g} trials")
    return np.column_stack([yes, n - yes if names[1:] else n])


def expanded(table: Table, responses: list[str], count: str | None) -> Table:
    """Rows that stand for several trials as a row for each; a response by counts as a column of 0 and 1 of its name."""
    name, names = responses[0], pair(table, responses[0])
    if not names and count is None:
        return table
    if names and (responses[1:] or count):
        raise InputError(f"response = {show(name)}: counts can be the only response, and have no column count")
    times = counts(table, name, count).astype(int) * [1, bool(names)]
    rows = np.repeat(np.repeat(np.arange(len(times)), 2), times.ravel())
    frame = table.frame.drop(columns=names or [str(count)]).iloc[rows]
    if names:
        frame = frame.assign(**{name: np.repeat(np.tile([1.0, 0.0], len(times)), times.ravel())})
    note = f"{len(times)} rows stand for {len(frame)} trials ({name if names else count})"
    return dataclasses.replace(table, frame=frame, notes=(*table.notes, note))


def answers(table: Table, p: Prepare, classes: list[Response]) -> dict[str, Floats]:
    """How often each row was answered by yes and by no, (n_rows, 2); of the classes that the table holds."""
    if pair(table, p.responses[0]):
        return {classes[0].name: counts(table, p.responses[0], None)}
    n = counts(table, "", p.count) if p.count in table.frame else 1.0
    codes = {each.name: each.code(table) for each in classes if each.column in table.frame}
    return {name: np.nan_to_num(np.column_stack([code, 1 - code])) * n for name, code in codes.items()}


def resolve(table: Table, response: str, column: pd.Series[Any]) -> Response:
    """What `column` or `column=value` means, by the values in the taken rows. Raises InputError unless it has two."""
    name, value = parts(table, response)
    held = [word for word in levels(column) if word.casefold() not in PERHAPS or key(word) == key(value or "")]
    listed = " and ".join(map(show, held)) if len(held) == 2 else ", ".join(map(show, held[:6]))
    if len(held) < 2:
        what = f"only {listed}" if held else "no values"
        raise InputError(f"{table.name}: the response {name} holds {what}; it must hold two values")
    if value is None and outcomes(column) is not None:
        yes = [word for word in held if OUTCOMES[outcome(word)][1]]
        if 0 < len(yes) < len(held):
            return Response(name, name, yes, [word for word in held if word not in yes])
        raise InputError(f"{table.name}: by its {name} every response was the same; it must hold both responses")
    wanted = TRUTH.get(key("1" if value is None else value))
    is_truth = wanted is not None and held == ["0", "1"]
    yes = [word for word in held if key(word) == (wanted if is_truth else key(value or ""))]
    if value is not None and not yes:
        raise InputError(f"{table.name}: {name} holds {listed}, but never {show(value)}; {nearest(value, held)}")
    if len(held) > 2:
        frequent = sorted(held, key=lambda word: (word not in yes, -(keys(column) == key(word)).sum()))
        kept, other = frequent[:2], next(word for word in held if word not in frequent[:2])
        raise InputError(
            f"{table.name}: the response {name} holds more than two values: {listed}{', …' if held[6:] else ''}; "
            f"if {show(other)} is no response, leave it out by --missing {other} (missing_words), or take "
            f"rows, as in where: {name} in ({', '.join(kept if all(map(is_number, kept)) else map(show, kept))})"
        )
    if not yes:
        choices = " or ".join(f"{name}={word}" for word in held)
        raise InputError(f"{table.name}: {name} holds {listed}; which is yes? {choices}")
    return Response(response, name, yes, [word for word in held if word not in yes])


def outcome(word: str) -> str:
    """A word of signal detection as OUTCOMES spells it."""
    return re.sub(r"[\s_-]+", "", word.lower())


def outcomes(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Whether there was a signal, 1 or 0, if the column holds outcomes of signal detection (hit, miss, …)."""
    if column.dtype.kind == "f" or not {*map(outcome, held := levels(column))} <= {*OUTCOMES} or not held:
        return None
    return column.map({word: OUTCOMES[outcome(word)][0] for word in held}).astype(np.float64)
