"""What was found in a person's own trials, from data/trials.json; and names, as a reader sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.files import DATA
from stages.files.tables import read_json

MOST = 8  # names or lines of a kind that are listed


def read_account() -> dict[str, Any] | None:
    """data/trials.json, which `prepare` writes of a person's own trials; None where they are simulated."""
    return read_json("trials.json") if (DATA / "trials.json").exists() else None


def named(name: str, what: str) -> str:
    """A name as it is, a number as `factor 3`."""
    return f"{what} {name}" if name.isdigit() else name


def counted(n: int, what: str) -> str:
    """`1 factor`, `2 factors`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def measured(value: float, error: float) -> str:
    """`0.20 ± 0.01`: as many decimals as the standard error has."""
    if not 0 < error < math.inf:
        return f"{value:.2g} ± {error:.1g}"
    decimals = max(0, -math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def first_of(names: Sequence[str], most: int = MOST) -> str:
    """`a, b, c, d, e and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def separate(factors: Sequence[str]) -> str:
    """`factors a, b separate`."""
    return f"factor {factors[0]} separates" if len(factors) == 1 else f"factors {first_of(factors)} separate"


def lacking(account: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Columns that lack values, in how many trials, and where the first is; of lags only the longest one."""
    missing = account["missing"]
    lags = [name for name in missing if name.startswith("lag(")]
    longest = max(lags, key=lambda name: int(missing[name]["trials"]), default="")
    for name, column in missing.items():
        if name not in lags or name == longest:
            yield name, column["trials"], column["first"]
