"""`rules.yaml`: what is good of a metric, and how much worse it may become."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from stages.errors import InputError

FILE = Path("comparisons/rules.yaml")
KEYS = ("better", "target", "absolute", "relative", "required")
DIRECTIONS = ("lower", "higher", "neither")


@dataclass(frozen=True)
class Rule:
    """What is good of a metric: lower or higher values, or those near a target, or neither: it only informs.

    It may become worse by the larger of `absolute`, in the metric's unit, and `relative` times the old value's size.
    """

    better: str = "neither"  # lower | higher | target | neither
    target: float = 0.0
    absolute: float = 0.0
    relative: float = 0.0
    required: bool = False

    def badness(self, value: float) -> float:
        """How bad a value is, in the metric's unit; only differences mean something."""
        return {"lower": value, "higher": -value, "target": abs(value - self.target)}[self.better]

    def allowed(self, old: float) -> float:
        """By how much the badness may grow."""
        return max(self.absolute, self.relative * abs(old))


@dataclass(frozen=True)
class Rules:
    """Rules by name; a name may be a pattern such as `theory.*`. The first that fits a metric is its rule."""

    rules: Mapping[str, Rule]

    def of(self, metric: str) -> Rule | None:
        return next((rule for pattern, rule in self.rules.items() if fnmatchcase(metric, pattern)), None)

    def required(self) -> Iterator[str]:
        return (name for name, rule in self.rules.items() if rule.required)


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once: PyYAML keeps the last of two and says nothing."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"{key} stands there twice")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path = FILE) -> Rules:
    """The rules in a file; raises InputError naming the file, the metric, the key and what would be right."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run this from the folder that holds dvc.yaml") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # PyYAML lets through whatever a tag's constructor raises
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not document:
        raise InputError(f"{path} must hold lines such as `test.accuracy: {{better: higher, absolute: 0.01}}`")
    return Rules({name: _rule(name, keys, path) for name, keys in document.items()})


def _rule(name: object, keys: object, path: Path) -> Rule:
    if not isinstance(name, str):
        raise InputError(f"{path}: {name!r} is no metric's name")
    where = f"{path}: {name}"
    if not isinstance(keys, dict):
        raise InputError(f"{where} must be a rule such as {{better: lower, relative: 0.01}}, but it is {keys!r}")
    for key in keys:
        if key not in KEYS:
            raise InputError(f"{where}.{key} is not a key of a rule; those are {', '.join(KEYS)}")
    better = keys.get("better", "target" if "target" in keys else None)
    if ("better" in keys) == ("target" in keys) or (better not in DIRECTIONS and "target" not in keys):
        raise InputError(f"{where} must have either better: {' | '.join(DIRECTIONS)}, or target: a number")
    target, absolute, relative = (_number(keys, key, where) for key in ("target", "absolute", "relative"))
    required = keys.get("required", False)
    if not isinstance(required, bool):
        raise InputError(f"{where}.required = {required!r}, but it must be true or false")
    if required and any(character in name for character in "*?["):
        raise InputError(f"{where}.required = true, but only a metric named in full can be required, not a pattern")
    if better == "neither" and ("absolute" in keys or "relative" in keys):
        raise InputError(f"{where} has a tolerance, but where neither direction is better none is worse")
    return Rule(str(better), target, absolute, relative, required)


def _number(keys: Mapping[str, object], key: str, where: str) -> float:
    value = keys.get(key, 0)
    if isinstance(value, str):  # PyYAML reads 1e-5 as a string
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e300:
        raise InputError(f"{where}.{key} = {keys[key]!r}, but it must be a number")
    if key != "target" and value < 0:
        raise InputError(f"{where}.{key} = {keys[key]!r}, but it must not be negative")
    return float(value)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; a boolean is none."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
