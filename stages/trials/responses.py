"""Which value of a column is a yes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.files.documents import nearest, show
from stages.files.errors import InputError
from stages.trials.cells import Column, canonical, words
from stages.trials.table import Table

TRUTH = {"1": True, "true": True, "0": False, "false": False}
OUTCOMES = {  # names in signal detection -> (whether there was a signal, whether the response was yes)
    "hit": (True, True),
    "miss": (True, False),
    "false alarm": (False, True),
    "falsealarm": (False, True),
    "fa": (False, True),
    "correct rejection": (False, False),
    "correctrejection": (False, False),
    "correct reject": (False, False),
    "cr": (False, False),
}


class Response(BaseModel):
    """One class: a yes or no for each trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    column: str
    yes: list[str]
    no: list[str]

    def code(self, batch: pa.RecordBatch) -> NDArray[np.float64]:
        """1 for yes, 0 for no, NaN where it is missing; (n_rows,)."""
        values = words(batch.column(self.column))
        yes, no = (np.asarray(pc.is_in(values, pa.array(which)), bool) for which in (self.yes, self.no))
        return np.where(yes, 1.0, np.where(no, 0.0, np.nan))


def column_of(table: Table, response: str) -> str:
    """The column that `column` or `column=value` names."""
    return _parts(table, response)[0]


def resolve(table: Table, response: str, columns: Mapping[str, Column]) -> Response:
    """What `column` or `column=value` means, given the column's values. Raises InputError unless there are two."""
    name, value = _parts(table, response)
    levels = columns[name].levels
    if len(levels) < 2:
        what = f"only {show(levels[0])}" if levels else "no values"
        raise InputError(f"{table.name}: the response {name} holds {what}; it must hold two values")
    if value is None and are_outcomes(levels):
        yes = [level for level in levels if OUTCOMES[outcome(level)][1]]
        if 0 < len(yes) < len(levels):
            return Response(name=name, column=name, yes=yes, no=[level for level in levels if level not in yes])
        raise InputError(f"{table.name}: by its {name} every response was the same; it must hold both responses")
    if len(levels) > 2:
        many = ", ".join(map(show, levels[:6])) + (", …" if len(levels) > 6 else "")
        raise InputError(
            f"{table.name}: the response {name} holds more than two values: {many}; take rows with two of them, as in "
            f"where: {name} in ({show(levels[0])}, {show(levels[1])})"
        )
    truths = [TRUTH.get(level.lower()) for level in levels]
    wanted = True if value is None else TRUTH.get(value.lower())
    if wanted is not None and None not in truths and truths[0] != truths[1]:
        yes = [levels[truths.index(wanted)]]
    else:
        if value is None:
            choices = " or ".join(f"{name}={level}" for level in levels)
            raise InputError(
                f"{table.name}: {name} holds {show(levels[0])} and {show(levels[1])}; which is yes? {choices}"
            )
        yes = [level for level in levels if level == canonical(value)]
        if not yes:
            raise InputError(
                f"{table.name}: {name} holds {show(levels[0])} and {show(levels[1])}, but never {show(value)}; "
                f"{nearest(value, levels)}"
            )
    return Response(name=response, column=name, yes=yes, no=[level for level in levels if level not in yes])


def are_outcomes(levels: list[str]) -> bool:
    """Whether these are words of signal detection."""
    return all(outcome(level) in OUTCOMES for level in levels)


def outcome(level: str) -> str:
    """A word of signal detection as OUTCOMES spells it."""
    return " ".join(level.lower().replace("_", " ").replace("-", " ").split())


def _parts(table: Table, response: str) -> tuple[str, str | None]:
    if response in table.columns:
        return response, None
    for at in range(len(response) - 1, 0, -1):
        if response[at] == "=" and response[:at] in table.columns:
            return response[:at], response[at + 1 :]
    table.check([response.partition("=")[0]])
    raise InputError(f"response = {show(response)}, but it must be column or column=value")
