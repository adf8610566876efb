"""`rules.yaml`: what is good for a metric, and how much worse it may become."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError

Tolerance = Annotated[FiniteFloat, Field(ge=0)]


class Rule(BaseModel):
    """What is good for a metric: lower or higher values, or those near a target, or neither: for information only.

    It may become worse by the larger of `absolute`, in the metric's unit, and `relative` times the old value's size.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    better: Literal["lower", "higher", "neither"] | None = None
    target: FiniteFloat | None = None
    absolute: Tolerance = 0.0
    relative: Tolerance = 0.0
    required: bool = False

    @model_validator(mode="after")
    def _has_one_goal(self) -> Rule:
        if (self.better is None) == (self.target is None):
            raise ValueError("must have either better: lower | higher | neither, or target: a number")
        if self.better == "neither" and (self.absolute or self.relative):
            raise ValueError("has a tolerance, but where neither direction is better none is worse")
        return self

    def badness(self, value: float) -> float:
        """How bad a value is, in the metric's unit; only differences have a meaning."""
        if self.target is not None:
            return abs(value - self.target)
        return value if self.better == "lower" else -value

    def allowed(self, old: float) -> float:
        """How much the badness may grow."""
        return max(self.absolute, self.relative * abs(old))


Rules = Mapping[str, Rule]  # by name; a name may be a pattern such as `theory.*`


def rule_of(metric: str, rules: Rules) -> Rule | None:
    """The first rule that fits a metric."""
    return next((rule for pattern, rule in rules.items() if fnmatchcase(metric, pattern)), None)


def rules_file() -> Path:
    """The rules of the current folder, or else those of this project's own metrics."""
    own = Path("rules.yaml")
    return own if own.exists() else Path(os.path.relpath(Path(__file__).with_name("rules.yaml")))


def read_rules(path: Path) -> Rules:
    """The rules in a file; raises InputError naming the file, the metric, the key and what would be right."""
    rules = {name: validate(Rule, body, f"{path}: {name}") for name, body in read_yaml(path).items()}
    for name, rule in rules.items():
        if rule.required and set(name) & set("*?["):
            raise InputError(f"{path}: {name} is required, but only a metric named in full can be, not a pattern")
    return rules


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; a boolean is none."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
