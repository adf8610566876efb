"""A table of coefficients that prints as regression tables do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

DIGITS = {"coef": 4, "std err": 4, "z": 3, "classical coef": 4}
LIMIT_DIGITS = 4  # in columns whose names have a bracket, as "[0.025"


class Summary(pd.DataFrame):  # type: ignore[misc]  # pandas ships no types
    """A DataFrame with all digits, printed with the usual ones and the lines of `attrs["notes"]` below it."""

    @property
    def _constructor(self) -> Any:
        return Summary  # so that a selection from it prints in the same way

    def __repr__(self) -> str:
        return "\n".join([self.to_string(**self._format()), *self._notes()])

    def _repr_html_(self) -> str:
        return "".join([self.to_html(**self._format()), *(f"<p>{note}</p>" for note in self._notes())])

    def _notes(self) -> list[str]:
        return list(self.attrs.get("notes", []))

    def _format(self) -> dict[str, Any]:
        digits = DIGITS | {name: LIMIT_DIGITS for name in map(str, self.columns) if "[" in name or "]" in name}
        formatters = {name: f"{{:.{digits[name]}f}}".format for name in self.columns if name in digits}
        return {"formatters": formatters | {"P>|z|": _p_value}, "max_rows": pd.get_option("display.max_rows")}


def _p_value(p: float) -> str:
    return f"{p:.3f}" if np.isnan(p) or p >= 0.001 else f"{p:.0e}"
