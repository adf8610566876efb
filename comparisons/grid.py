"""The grid of experiments, read from its file: named groups of combinations of parameters."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.errors import InputError

Value = bool | int | float | str | None

KEYS = ("fix", "vary", "draw", "may_have_no_estimate")


@dataclass(frozen=True)
class Experiment:
    """What `dvc exp run --name <name> -S <key>=<value> ...` is to run."""

    name: str
    settings: Mapping[str, Value]


@dataclass(frozen=True)
class Group:
    """Experiments that answer one question; `metrics` are drawn against `parameter`."""

    name: str
    parameter: str
    metrics: tuple[str, ...]
    may_have_no_estimate: bool
    experiments: tuple[Experiment, ...]


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested mappings as one, with dotted keys: {"a": {"b": 1}} as {"a.b": 1}."""
    result: dict[str, Value] = {}
    for key, value in nested.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result


def number(value: Value) -> Value:
    """What a value means: `-S x=1e-5` reaches params.yaml as the string '1e-05', and 0 is 0.0."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value if isinstance(value, bool) or value is None else float(value)


def same(settings: Mapping[str, Value], params: Mapping[str, Value]) -> bool:
    """Whether params hold these settings."""
    return all(key in params and _key(params[key]) == _key(value) for key, value in settings.items())


def _key(value: Value) -> tuple[bool, Value]:
    return isinstance(value, bool), number(value)  # True is not 1 here


def nearest(name: str, names: Iterable[str]) -> str:
    """For an error: the names closest to one that does not exist."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:8]
    return f"the nearest: {', '.join(close)}" if close else "there are none"


def read_grid(path: Path, params: Mapping[str, Value]) -> list[Group]:
    """The groups of the file; `params`, flat, are those that may be varied. Raises InputError."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; it holds the grid of experiments") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not document:
        raise InputError(f"{path} must hold named groups with `vary` and `draw`")
    groups = [_group(f"{path}: {name}", str(name), body, params) for name, body in document.items()]
    names = [experiment.name for group in groups for experiment in group.experiments]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two experiments would be called {twice[0]}; rename a group or drop a repeated value")
    return groups


def _group(where: str, name: str, body: Any, params: Mapping[str, Value]) -> Group:
    if not isinstance(body, dict) or not isinstance(body.get("vary"), dict) or not body["vary"]:
        raise InputError(f"{where} must hold `vary: {{parameter: [values]}}`")
    if unknown := [key for key in body if key not in KEYS]:
        raise InputError(f"{where}.{unknown[0]} is not known; a group holds {', '.join(KEYS)}")
    fix, vary, draw = body.get("fix") or {}, body["vary"], body.get("draw") or []
    if not isinstance(fix, dict) or not isinstance(draw, list):
        raise InputError(f"{where}: `fix` must be {{parameter: value}} and `draw` a list of metrics")
    for key in (*fix, *vary):
        if key not in params:
            raise InputError(f"{where}: {key} is not a parameter; {nearest(str(key), params)}")
    for key, values in vary.items():
        if (
            not isinstance(values, list)
            or not values
            or not all(isinstance(v, bool | int | float | str) for v in values)
        ):
            raise InputError(f"{where}: vary.{key} must be a list of values, but it is {values!r}")
    experiments = tuple(
        Experiment(_name(name, combination), {**fix, **combination})
        for values in itertools.product(*vary.values())
        for combination in [dict(zip(vary, values, strict=True))]
    )
    return Group(name, next(iter(vary)), tuple(map(str, draw)), body.get("may_have_no_estimate") is True, experiments)


def _name(group: str, combination: Mapping[str, Value]) -> str:
    """The group, the first value, and the others with the last part of their keys: sample-size-5000-seed-1974."""
    (_, first), *others = combination.items()
    parts = [group, written(first)] + [f"{key.rpartition('.')[2]}-{written(value)}" for key, value in others]
    return "-".join(parts).replace("_", "-")


def written(value: Value) -> str:
    """A value as params.yaml has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
