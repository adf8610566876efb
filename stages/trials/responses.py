"""Which value of a column is a yes; and rows that stand for several trials."""

from __future__ import annotations

import dataclasses
import re
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials.values import PERHAPS, Floats, Table, check_numbers, key, keys, levels

TRUTH = {"1": "1", "true": "1", "0": "0", "false": "0"}
OUTCOMES = {  # in signal detection: whether there was a signal, whether the response was yes
    **dict.fromkeys(("hit", "h"), (1.0, 1.0)),
    **dict.fromkeys(("miss", "m"), (1.0, 0.0)),
    **dict.fromkeys(("falsealarm", "fa"), (0.0, 1.0)),
    **dict.fromkeys(("correctrejection", "correctreject", "cr"), (0.0, 0.0)),
}


@dataclass(frozen=True)
class Response:
    """One class: a yes or no for each trial."""

    name: str
    column: str
    values: dict[str, float]  # key of a word -> 1 for yes, 0 for no

    def code(self, table: Table) -> Floats:
        """1 for yes, 0 for no, NaN where it is missing; (n_rows,)."""
        return np.asarray(keys(table.column(self.column)).map(self.values), np.float64)


def expanded(table: Table, p: Prepare) -> Table:
    """Rows that stand for several trials as a row for each: by a column `count`, or by a response `n_yes/n` or
    `proportion*n`, which becomes a column of 0 and 1 of its name.
    """
    name, names = p.responses[0], [part.strip() for part in re.split("[/*]", p.responses[0])]
    is_pair = name not in table.frame and len(names) == 2 and {*names} <= {*table.frame}
    if not is_pair and p.count is None:
        return table
    if is_pair and (p.responses[1:] or p.count):
        raise InputError(f"response = {show(name)}: counts must be the only response, without count")
    names = names if is_pair else [str(p.count)]
    n, n_yes = (check_numbers(each, table.column(each)).fillna(0) for each in (names[-1], names[0]))
    n_yes = (n_yes * n).round() if "*" in name and is_pair else n_yes
    if (wrong := (n_yes < 0) | (n_yes > n) | (n_yes % 1 > 0) | (n % 1 > 0)).any():
        what = f"{n_yes[wrong].iloc[0]:g} of {n[wrong].iloc[0]:g} trials"
        raise InputError(f"{wrong.idxmax()}: {p.count or name} says {what}; both must be whole numbers")
    sizes = n.to_numpy(int)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    frame = table.frame.drop(columns=names).iloc[rows]
    if is_pair:
        within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        frame = frame.assign(**{name: (within < n_yes.to_numpy()[rows]).astype(float)})
    note = f"{len(sizes)} rows stand for {len(rows)} trials ({p.count or name})"
    return dataclasses.replace(table, frame=frame, notes=(*table.notes, note))


def resolve(table: Table, response: str, taken: NDArray[np.bool_]) -> Response:
    """What `column` or `column=value` means. Raises InputError unless the taken rows hold two values."""
    name, _, value = (response, "", "") if response in table.frame else response.partition("=")
    column = table.column(name)[taken]
    held = [word for word in levels(column) if word.casefold() not in PERHAPS or key(word) == key(value)]
    listed = " and ".join(map(show, held)) if len(held) == 2 else ", ".join(map(show, held[:6]))
    if len(held) < 2:
        what = f"only {listed}" if held else "no values"
        raise InputError(f"{table.name}: the response {name} holds {what}; it must hold two values")
    if not value and outcomes(column) is not None:
        yes = [word for word in held if OUTCOMES[outcome(word)][1]]
        if not 0 < len(yes) < len(held):
            raise InputError(f"{table.name}: by its {name} every response was the same; it must hold both responses")
        return Response(name, name, {key(word): float(word in yes) for word in held})
    truth = TRUTH.get(key(value or "1")) if held == ["0", "1"] else None
    yes = [word for word in held if key(word) == (truth or key(value))]
    if value and not yes:
        raise InputError(f"{table.name}: {name} holds {listed}, but never {show(value)}; {nearest(value, held)}")
    if len(held) > 2:
        others = [word for word in held if word not in yes]
        rarest = min(others, key=lambda word: (keys(column) == key(word)).sum())
        more = (
            f"{listed}{', …' if held[6:] else ''}; leave out what is no response, as in --missing {shlex.quote(rarest)}"
        )
        raise InputError(f"{table.name}: the response {name} holds more than two values: {more}")
    if not yes:
        choices = " or ".join(f"{name}={word}" for word in held)
        raise InputError(f"{table.name}: {name} holds {listed}; which is yes? {choices}")
    return Response(response, name, {key(word): float(word in yes) for word in held})


def outcome(word: str) -> str:
    """A word of signal detection as OUTCOMES spells it."""
    return re.sub(r"[\s_-]+", "", word.lower())


def outcomes(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Whether there was a signal, 1 or 0, if the column holds outcomes of signal detection (hit, miss, …)."""
    held = [] if column.dtype.kind == "f" else levels(column)
    if not held or not {*map(outcome, held)} <= {*OUTCOMES}:
        return None
    return column.map({word: OUTCOMES[outcome(word)][0] for word in held}).astype(np.float64)
