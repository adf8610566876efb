"""Families of factors: names that differ in one number only, such as frame01 … frame32, in its order."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from stages.files.account import first_of
from stages.files.errors import InputError

FEWEST = 4  # numbers that make a family
# With a minus sign, but without the hyphen of tone-3.
NUMBER = re.compile(r"(?<![A-Za-z0-9.)\]])-?\d+(?:\.\d+)?|\d+(?:\.\d+)?")


def families(names: Sequence[str], axis: Sequence[Any] | None = None) -> pd.DataFrame:
    """The family, the position and what that is, of each name; None and NaN where it has none.

    Names that differ in one number only are a family if there are FEWEST or more: signal[absent]:frame01 is
    in `signal[absent]:frame…`, and lag(choice, 2) in `lag(choice, …)`. The position is that number, for lags
    in trials; for others times the spacing, where axis is [what positions are, spacing].
    """
    label, spacing = axis or ("number in the name", 1)
    ways = [{f"{name[: m.start()]}…{name[m.end() :]}": float(m[0]) for m in NUMBER.finditer(name)} for name in names]
    sizes = Counter(family for way in ways for family in way)
    rows: list[tuple[str | None, float, str]] = []
    for way in ways:
        family = max(way, key=lambda one: sizes[one], default=None)
        if family is None or sizes[family] < FEWEST:
            rows.append((None, math.nan, ""))
        else:
            is_lag = family.startswith("lag(")
            rows.append((family, way[family] * (1 if is_lag else spacing), "trials back" if is_lag else label))
    return pd.DataFrame(rows, columns=["family", "position", "axis"])


def smooth_families(names: Sequence[str], patterns: Sequence[str]) -> pd.DataFrame:
    """Factor and family of the factors that the patterns take, by index; families in order of their numbers.

    * stands for anything. Raises InputError where a pattern takes none, or some that are not evenly spaced.
    """
    taken = set[int]()
    for pattern in patterns:
        literal = pattern.replace("[", "[[]").replace("…", "*")  # names have brackets, families a …
        matching = {j for j, name in enumerate(names) if fnmatchcase(name, literal)}
        if not matching:
            there = first_of([*names])
            raise InputError(f"evaluate.smooth: {pattern}: no factor has such a name; there are {there}")
        taken |= matching
    chosen = families(names).assign(factor=names).loc[sorted(taken)].sort_values("position", kind="stable")
    for name in chosen.factor[chosen.family.isna()]:
        wanted = f"a kernel needs {FEWEST} factors whose names differ in one number"
        raise InputError(f"evaluate.smooth: {name}: {wanted}")
    parts = [part for _, part in chosen.groupby("family")]
    for part in parts:
        steps = np.diff(part.position)
        if not np.allclose(steps, steps[0]) or steps[0] == 0:
            raise InputError(f"evaluate.smooth: {part.family.iloc[0]}: a kernel's factors must be evenly spaced")
    return pd.concat(parts) if parts else chosen
