"""A table of coefficients that prints as regression tables do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

FORMATS = {"z": "{:.3f}".format, "P>|z|": lambda p: f"{p:.3f}" if np.isnan(p) or p >= 0.001 else f"{p:.0e}"}


def significant(value: float) -> str:
    """Of what has a unit, which may be a small one."""
    return f"{value:#.4g}".replace("inf", "∞")


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
        own = {name: FORMATS[name] for name in self.columns if name in FORMATS}
        rows = pd.get_option("display.max_rows")
        return {"formatters": own, "float_format": significant, "na_rep": "undetermined", "max_rows": rows}
