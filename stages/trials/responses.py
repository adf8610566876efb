"""Which value of a column is a yes; and rows that stand for several trials."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials.values import (
    PERHAPS,
    Table,
    canonical,
    check_numbers,
    is_number,
    key,
    keys,
    levels,
    nearby,
)

TRUTH = {"1": True, "true": True, "0": False, "false": False}
OUTCOMES = {  # in signal detection: whether there was a signal, whether the response was yes
    **dict.fromkeys(("hit", "h"), (True, True)),
    **dict.fromkeys(("miss", "m"), (True, False)),
    **dict.fromkeys(("false alarm", "falsealarm", "fa"), (False, True)),
    **dict.fromkeys(("correct rejection", "correctrejection", "correct reject", "cr"), (False, False)),
}


@dataclass(frozen=True)
class Response:
    """One class: a yes or no for each trial."""

    name: str
    column: str
    yes: list[str]
    no: list[str]

    def code(self, table: Table) -> NDArray[np.float64]:
        """1 for yes, 0 for no, NaN where it is missing; (n_rows,)."""
        given = keys(table.column(self.column))
        yes, no = (given.isin([*map(key, which)]).to_numpy() for which in (self.yes, self.no))
        coded = np.full(len(given), np.nan)
        coded[yes], coded[no] = 1, 0
        return coded


def parts(table: Table, response: str) -> tuple[str, str | None]:
    """`column` or `column=value`."""
    if response in table.frame:
        return response, None
    for match in re.finditer("=", response):
        if response[: match.start()] in table.frame:
            return response[: match.start()], response[match.end() :]
    table.column(response.partition("=")[0])
    raise InputError(f"response = {show(response)}, but it must be column or column=value")


def expanded(table: Table, responses: list[str], count: str | None) -> Table:
    """Rows that stand for several trials as a row for each: `n_yes/n` or `proportion*n` in place of a response.

    A column of that name, of 0 and 1, replaces both; with `count`, each row is repeated as often as that column says.
    """
    frame, (response, *others) = table.frame, responses
    sign = next((sign for sign in "/*" if response not in frame and _both_there(frame, response.split(sign))), "")
    if not sign and count is None:
        return table
    if sign and (others or count):
        raise InputError(f"response = {show(response)}: counts can be the only response, and have no column count")
    name = count if count is not None else response.split(sign)[1].strip()
    n = _whole(table, name)
    if not sign:
        yes, no, dropped = n, np.zeros_like(n), [name]
    else:
        first = response.split(sign)[0].strip()
        yes = _whole(table, first) if sign == "/" else np.round(n * check_numbers(table, first, table.column(first)))
        yes = np.where(np.isnan(n) | np.isnan(yes), 0, yes)
        dropped, no = [first, name], np.where(np.isnan(n), 0, n) - yes
        if (wrong := (no < 0) | (yes < 0)).any():
            row = int(frame.index[np.argmax(wrong)])
            raise InputError(f"{table.place(row)}: {first} is {frame[first][row]:g}, which is not within 0 and {name}")
    times = np.column_stack([np.nan_to_num(yes), np.nan_to_num(no)]).astype(int).ravel()
    rows = np.repeat(np.repeat(np.arange(len(frame)), 2), times)
    found = frame.drop(columns=dropped).iloc[rows]
    if sign:
        found[response] = np.repeat(np.tile([1.0, 0.0], len(frame)), times)
    note = f"{len(frame)} rows stand for {len(found)} trials ({response if sign else count})"
    return dataclasses.replace(table, frame=found, notes=(*table.notes, note))


def _both_there(frame: pd.DataFrame, names: list[str]) -> bool:
    return len(names) == 2 and all(name.strip() in frame for name in names)


def _whole(table: Table, name: str) -> NDArray[np.float64]:
    """How many trials, (n_rows,)."""
    n = check_numbers(table, name, table.column(name))
    if (wrong := (n < 0) | (n != n.round()) & n.notna()).any():
        row = int(n.index[np.argmax(wrong)])
        raise InputError(f"{table.place(row)}: {name} is {n[row]:g}; it must be a whole number of trials")
    return np.asarray(n, np.float64)


def resolve(table: Table, response: str, column: pd.Series[Any]) -> Response:
    """What `column` or `column=value` means, by the values in the taken rows. Raises InputError unless it has two."""
    name, value = parts(table, response)
    held = [level for level in levels(column) if level.casefold() not in PERHAPS or key(level) == key(value or "")]
    if len(held) < 2:
        what = f"only {show(held[0])}" if held else "no values"
        raise InputError(f"{table.name}: the response {name} holds {what}; it must hold two values")
    if value is None and are_outcomes(held):
        yes = [level for level in held if OUTCOMES[outcome(level)][1]]
        if 0 < len(yes) < len(held):
            return Response(name, name, yes, [level for level in held if level not in yes])
        raise InputError(f"{table.name}: by its {name} every response was the same; it must hold both responses")
    truths = [TRUTH.get(level.lower()) for level in held]
    wanted = True if value is None else TRUTH.get(value.lower())
    is_truth = wanted is not None and sorted(map(str, truths)) == ["False", "True"]
    yes = (
        [held[truths.index(wanted)]]
        if is_truth
        else [each for each in held if key(each) == key(canonical(value or ""))]
    )
    listed = " and ".join(map(show, held)) if len(held) == 2 else ", ".join(map(show, held[:6]))
    if value is not None and not yes:
        raise InputError(f"{table.name}: {name} holds {listed}, but never {show(value)}; {nearby(value, held)}")
    if len(held) > 2:
        counts = column.value_counts()
        frequent = [canonical(each) for each in counts.index if canonical(each) in held and canonical(each) not in yes]
        kept = [*yes, *frequent][:2]
        others = [each for each in held if each not in kept]
        raise InputError(
            f"{table.name}: the response {name} holds more than two values: {listed}{', …' if held[6:] else ''}; "
            f"if {show(others[0])} is no response, leave it out by --missing {others[0]} (missing_words), or take "
            f"rows, as in where: {name} in ({', '.join(kept if all(map(is_number, kept)) else map(show, kept))})"
        )
    if not yes:
        choices = " or ".join(f"{name}={level}" for level in held)
        raise InputError(f"{table.name}: {name} holds {listed}; which is yes? {choices}")
    return Response(response, name, yes, [level for level in held if level not in yes])


def are_outcomes(held: list[str]) -> bool:
    """Whether these are words of signal detection."""
    return all(outcome(level) in OUTCOMES for level in held)


def outcome(level: str) -> str:
    """A word of signal detection as OUTCOMES spells it."""
    return " ".join(re.split(r"[\s_-]+", level.lower()))


def signal(column: pd.Series[Any]) -> pd.Series[Any]:
    """Whether there was a signal, by the outcome: 1 or 0."""
    present = {level: float(OUTCOMES[outcome(level)][0]) for level in levels(column) if outcome(level) in OUTCOMES}
    return column.map(canonical, na_action="ignore").map(present).astype(np.float64)
