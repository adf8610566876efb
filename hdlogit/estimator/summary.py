"""A table of coefficients that prints as regression tables do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


class Summary(pd.DataFrame):  # type: ignore[misc]  # pandas ships no types
    """A DataFrame with all digits, printed with the usual ones and the lines of `attrs["notes"]` below it."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame  # what is selected from it is no summary

    def __repr__(self) -> str:
        return "\n".join([self.to_string(formatters=self._formatters()), *self._notes()])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{note}</p>" for note in self._notes())
        return f"{self.to_html(formatters=self._formatters())}{notes}"

    def _notes(self) -> list[str]:
        return list(self.attrs.get("notes", []))

    def _formatters(self) -> dict[str, Any]:
        digits = dict.fromkeys(self.columns, "{:.4f}".format)
        return digits | {"z": "{:.3f}".format, "P>|z|": _p_value}


def _p_value(p: float) -> str:
    return f"{p:.3f}" if np.isnan(p) or p >= 0.001 else f"{p:.0e}"
