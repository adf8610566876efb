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


def counts(table: Table, response: str, count: str | None) -> tuple[Floats, list[str]] | None:
    """How many times each row was a yes and a no, (n_rows, 2), where it stands for several trials, by `n_yes/n`,
    `proportion*n` or (all of them a yes: of what the response says) the column `count`; and the columns of counts.
    """
    sign = next((sign for sign in "/*" if response not in table.frame and sign in response), "")
    names = [name.strip() for name in response.split(sign)] if sign else []
    is_pair = len(names) == 2 and all(name in table.frame for name in names)
    if not is_pair and count is None:
        return None
    n = _whole(table, names[1] if is_pair else str(count))
    if not is_pair:
        return np.column_stack([n, 0 * n]), [str(count)]
    part = check_numbers(names[0], table.frame[names[0]])
    yes = part if sign == "/" else (n * part).round()
    if sign == "/":
        _whole(table, names[0])
    if (wrong := (yes < 0) | (yes > n)).any():
        raise InputError(f"{first(wrong)}: {names[0]} is {part[wrong].iloc[0]:g}, which is not within 0 and {names[1]}")
    return np.nan_to_num(np.column_stack([yes, n - yes])), names


def _whole(table: Table, name: str) -> pd.Series[Any]:
    """How many trials, 0 where it is missing."""
    n = check_numbers(name, table.column(name))
    if (wrong := (n < 0) | (n % 1 > 0)).any():
        raise InputError(f"{first(wrong)}: {name} is {n[wrong].iloc[0]:g}; it must be a whole number of trials")
    return n


def expanded(table: Table, responses: list[str], count: str | None) -> Table:
    """Rows that stand for several trials as a row for each; a response by counts as a column of 0 and 1 of its name."""
    if (found := counts(table, responses[0], count)) is None:
        return table
    times, dropped = found
    is_pair = responses[0] not in table.frame and len(dropped) == 2
    if is_pair and (responses[1:] or count):
        raise InputError(f"response = {show(responses[0])}: counts can be the only response, and have no column count")
    times_ = np.nan_to_num(times).astype(int).ravel()
    frame = table.frame.drop(columns=dropped).iloc[np.repeat(np.repeat(np.arange(len(times)), 2), times_)]
    if is_pair:
        frame = frame.assign(**{responses[0]: np.repeat(np.tile([1.0, 0.0], len(times)), times_)})
    note = f"{len(times)} rows stand for {len(frame)} trials ({responses[0] if is_pair else count})"
    return dataclasses.replace(table, frame=frame, notes=(*table.notes, note))


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
