"""The grid of experiments, read from its file: named groups of combinations of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from stages.files.documents import nearest, read_yaml, validate
from stages.files.errors import InputError

Value = bool | int | float | str


class Group(BaseModel):
    """Experiments that answer one question: every combination of `vary`, with `fix`; `draw` names metrics."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    fix: dict[str, Value] = {}
    vary: Annotated[dict[str, Annotated[list[Value], Field(min_length=1)]], Field(min_length=1)]
    draw: list[str] = []
    may_have_no_estimate: bool = False

    @property
    def parameter(self) -> str:
        """What the metrics are drawn against."""
        return next(iter(self.vary))

    def experiments(self, name: str) -> list[Experiment]:
        """The experiments of this group, given its name."""
        combinations = (dict(zip(self.vary, values, strict=True)) for values in itertools.product(*self.vary.values()))
        return [Experiment(_name(name, combination), {**self.fix, **combination}) for combination in combinations]


@dataclass(frozen=True)
class Experiment:
    """What `dvc exp run --name <name> -S <key>=<value> ...` is to run."""

    name: str
    settings: Mapping[str, Value]

    @property
    def options(self) -> list[str]:
        return [f"{key}={written(value)}" for key, value in self.settings.items()]


def written(value: object) -> str:
    """A parameter's value as a person writes it in params.yaml; 1e-5 and 1e-05, 0 and 0.0 are written alike."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def same(settings: Mapping[str, Value], params: Mapping[str, Value]) -> bool:
    """Whether params hold these settings."""
    return all(key in params and written(params[key]) == written(value) for key, value in settings.items())


def read_grid(path: Path, params: Mapping[str, Value]) -> dict[str, Group]:
    """The groups of the file by name; `params` (flat) holds those that may be varied. Raises InputError."""
    groups = {str(name): validate(Group, body, f"{path}: {name}") for name, body in read_yaml(path).items()}
    if not groups:
        raise InputError(f"{path} must hold named groups with `vary` and `draw`")
    for name, group in groups.items():
        for key in {**group.fix, **group.vary}:
            if key not in params:
                raise InputError(f"{path}: {name}: {key} is not a parameter; {nearest(key, params)}")
    names = [experiment.name for name, group in groups.items() for experiment in group.experiments(name)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: two experiments would be called {name}; rename a group or drop a repeated value")
    return groups


def _name(group: str, combination: Mapping[str, Value]) -> str:
    """The group, the first value, and the others with the last part of their keys: sample-size-5000-seed-1974."""
    (_, first), *others = combination.items()
    parts = [group, written(first)] + [f"{key.rpartition('.')[2]}-{written(value)}" for key, value in others]
    return "-".join(parts).replace("_", "-")
