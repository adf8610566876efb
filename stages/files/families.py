"""Families of factors: names that differ in one number only, such as frame01 … frame32, in the order of these."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

FEWEST = 4  # numbers that make a family
NUMBER = re.compile(r"(?<![A-Za-z0-9.)\]])-?\d+(?:\.\d+)?|\d+(?:\.\d+)?")  # a minus sign, but the hyphen of tone-3


def families(names: Sequence[str], axis: Sequence[Any] | None = None) -> pd.DataFrame:
    """The family, the position and what that is, of each name: (n_names,) each; None and NaN where it has none.

    Names that differ in one number only are a family if there are FEWEST or more: signal[absent]:frame01 is in
    `signal[absent]:frame…`, and lag(choice, 2) in `lag(choice, …)`. The position is that number, for lags in
    trials; for others times the spacing, where axis is [what positions are, spacing].
    """
    label, spacing = axis or ("number in the name", 1)
    ways = [{f"{name[: m.start()]}…{name[m.end() :]}": float(m[0]) for m in NUMBER.finditer(name)} for name in names]
    sizes = Counter(family for way in ways for family in way)
    rows: list[tuple[str | None, float, str]] = []
    for way in ways:
        family = max(way, key=lambda one: sizes[one], default=None)
        if family is None or sizes[family] < FEWEST:
            rows.append((None, math.nan, ""))
        elif family.startswith("lag("):
            rows.append((family, way[family], "trials back"))
        else:
            rows.append((family, spacing * way[family], label))
    return pd.DataFrame(rows, columns=["family", "position", "axis"])
