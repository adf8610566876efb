"""A formula as data: what data/trials.json holds of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Parsed(BaseModel):
    """A checked formula, in parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    given: str  # as in params.yaml
    text: str  # the right-hand side, each lag a column of its own
    every: bool  # whether `.` stands for all columns in it
    columns: list[str]  # of the file, without those that only lags need
    lags: dict[str, tuple[str, int]]  # `lag(x, 2)` -> x, 2
    categorical: list[str]  # columns and lags inside C(…)


class State(BaseModel):
    """What a formula learned from the study's trials and needs to code others in the same way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: dict[str, list[Any]]  # values of each column or lag of words, or in C(…)
    transforms: dict[str, Any]  # formulaic's: means, knots, …
    categories: dict[str, list[Any]]  # levels
    whole: list[str]  # columns in C(…) that hold whole numbers
    names: list[str]
    terms: dict[str, list[int]]  # name -> indices of its factors
