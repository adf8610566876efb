"""The grid of experiments, read from its file: named groups of combinations of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from stages.files.documents import nearest, read_yaml, validate
from stages.files.errors import InputError

Value = bool | int | float | str


class Experiment(NamedTuple):
    """What `dvc exp run --name <name> -S <key>=<value> ...` is to run."""

    name: str
    settings: Mapping[str, Value]


class Group(BaseModel):
    """Experiments that answer one question: every combination of `vary`, with `fix`; `draw` names metrics."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    fix: dict[str, Value] = {}
    vary: Annotated[dict[str, Annotated[list[Value], Field(min_length=1)]], Field(min_length=1)]
    draw: list[str] = []

    def experiments(self, name: str) -> list[Experiment]:
        """Named after the group, the first value, the others with their keys: sample-size-5000-seed-1974."""
        made = []
        for values in itertools.product(*self.vary.values()):
            varied = dict(zip(self.vary, values, strict=True))
            words = [f"{last(key)}-{written(value)}" for key, value in varied.items()]
            parts = [name, written(values[0]), *words[1:]]
            made.append(Experiment("-".join(parts).replace("_", "-"), {**self.fix, **varied}))
        return made


def written(value: object) -> str:
    """A parameter's value as a person writes it in params.yaml; 0 and 0.0 are written alike."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def last(key: str) -> str:
    """A parameter without its section."""
    return key.rpartition(".")[2]


def read_grid(path: Path, parameters: Iterable[str]) -> dict[str, Group]:
    """The groups of the file by name; only `parameters` may be varied. Raises InputError."""
    groups = {str(name): validate(Group, body, f"{path}: {name}") for name, body in read_yaml(path).items()}
    for name, group in groups.items():
        for key in {**group.fix, **group.vary}:
            if key not in parameters:
                raise InputError(f"{path}: {name}: {key} is not a parameter; {nearest(key, parameters)}")
    return groups
