"""The numbers and tables that the stage `evaluate` writes: pure functions, which neither read nor write files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Table = dict[str, Any]  # columns of equal length


@dataclass
class Findings:
    """Metrics, nested by name, and tables by the name of their file."""

    metrics: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)  # lines for a person: what was left out, and why
    answer: list[str] = field(default_factory=list)  # … and whether the coefficients can be trusted

    def __add__(self, other: Findings) -> Findings:
        """Both together; metrics are merged key by key."""
        return Findings(
            _merged(self.metrics, other.metrics),
            {**self.tables, **other.tables},
            self.notices + other.notices,
            self.answer + other.answer,
        )


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}
