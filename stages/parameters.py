"""`params.yaml`: one section per stage, read and checked as a whole before any work.

A section is a frozen dataclass; the type of a field is also its check:

    int, float, bool           the YAML type; an integer is a valid float, 1e4 and 10000.0 are valid integers
    Literal["a", "b"]          one of these words
    Annotated[float, Range]    a number within a range
    A | B                      either

This is written by hand because it is short: a validation library costs each of the four stages its import, and
its messages would still have to be rewritten to name `params.yaml`, the key, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from stages.errors import InputError

FILE = Path("params.yaml")


@dataclass(frozen=True)
class Range:
    """Allowed values of a number: low <= value <= high, or < where that end is open."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below  # a NaN is in no range

    def __str__(self) -> str:
        return f"in {'(' if self.open_low else '['}{self.low:.10g}, {self.high:.10g}{')' if self.open_high else ']'}"


POSITIVE = Range(0, 1e6, open_low=True)
MOMENT = Range(0, 1, open_high=True)
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what numpy.random.RandomState and torch both accept


@dataclass(frozen=True)
class Simulate:
    """Section `simulate`: the true observer and its trials."""

    seed: Seed
    n_factors: Annotated[int, Range(1, 100_000)]
    n_classes: Annotated[int, Range(1, 10_000)]
    n_trials: Annotated[int, Range(1, 1e9)]
    n_test_trials: Annotated[int, Range(1, 1e9)]
    weight_scale: Annotated[float, Range(1e-6, 1e6)]
    dtype: Literal["float64", "float32"]
    streams: Literal["independent", "notebook"]


@dataclass(frozen=True)
class Train:
    """Section `train`: the solver and its settings."""

    solver: Literal["adam", "lbfgs"]
    seed: Seed
    learning_rate: Annotated[float, POSITIVE]
    beta1: Annotated[float, MOMENT]
    beta2: Annotated[float, MOMENT]
    amsgrad: bool
    num_epochs: Annotated[int, Range(1, 1e6)]
    batch_size: Annotated[int, Range(1, 1e6)]
    ridge: Annotated[float, Range(0, 1e6)] | Literal["auto"]
    tolerance: Annotated[float, Range(0, 1, open_low=True)]
    max_iterations: Annotated[int, Range(1, 1e6)]
    dtype: Literal["float64", "float32"]
    device: Literal["auto", "cpu", "cuda"]

    def __post_init__(self) -> None:
        if self.solver == "adam" and self.ridge != 0:
            raise ValueError(f"ridge = {self.ridge!r}, but solver adam has no ridge; it must be 0, or the solver lbfgs")


@dataclass(frozen=True)
class Evaluate:
    """Section `evaluate`: how the metrics are binned."""

    calibration_bins: Annotated[int, Range(1, 1000)]
    histogram_bins: Annotated[int, Range(1, 1000)]
    interval_level: Annotated[float, Range(0, 1, open_low=True, open_high=True)]


@dataclass(frozen=True)
class Plot:
    """Section `plot`: what is drawn and how finely."""

    class_index: Annotated[int, Range(0, 9_999)]
    dpi: Annotated[int, Range(30, 600)]


Section = TypeVar("Section", Simulate, Train, Evaluate, Plot)


def read(section: type[Section], path: Path = FILE) -> Section:
    """The stage's section of `params.yaml`, checked.

    Raises InputError naming the file, the key, the value and what is allowed.
    """
    name = section.__name__.lower()
    sections: Mapping[Any, Any] = _load(path)
    if name not in sections:
        raise InputError(f"{path}: section {name} is missing; there are {_show([*sections])}")
    return check(section, sections[name], where=f"{path}: {name}")


def check(section: type[Section], values: object, where: str) -> Section:
    """`values` as an instance of `section`; raises InputError on the first thing that is wrong."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a section of `key: value` lines, but it is {_show(values)}")
    kinds = get_type_hints(section, include_extras=True)
    for key in values:
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=1, cutoff=0)[0]
            name = key if isinstance(key, str) and key.isprintable() else _show(key)
            raise InputError(f"{where}.{name} is not a parameter; the nearest is {near}")
    for key, kind in kinds.items():
        if key not in values:
            raise InputError(f"{where}.{key} is missing; it must be {_describe(kind)}")
    converted: dict[str, Any] = {key: _convert(kind, values[key], f"{where}.{key}") for key, kind in kinds.items()}
    try:
        return section(**converted)
    except ValueError as conflict:  # values that are right one by one, but not together
        raise InputError(f"{where}.{conflict}") from None


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run this from the folder that holds it") from None
    except Exception as error:  # PyYAML lets through whatever a tag's constructor raises
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, Mapping):
        raise InputError(f"{path} must hold sections of `key: value` lines, but it is {_show(document)}")
    return document


def _convert(kind: Any, value: object, where: str) -> object:
    for option in get_args(kind) if get_origin(kind) is Union else [kind]:
        converted = _as(option, value)
        if converted is not None:
            return converted
    raise InputError(f"{where} = {_show(value)}, but it must be {_describe(kind)}")


def _as(kind: Any, value: object) -> object:
    """`value` as this kind, or None if it is not of it."""
    base, allowed = _split(kind)
    if get_origin(kind) is Literal:
        return value if isinstance(value, str) and value in get_args(kind) else None
    if base is bool:
        return value if isinstance(value, bool) else None
    number = _number(value)
    if number is None or (allowed is not None and number not in allowed):
        return None
    if base is float:
        return float(number)
    return int(number) if number == int(number) else None


def _number(value: object) -> int | float | None:
    """The number a person wrote. PyYAML reads `1e-5`, which is also what `dvc exp run -S` writes, as a string."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _split(kind: Any) -> tuple[Any, Range | None]:
    return get_args(kind) if get_origin(kind) is Annotated else (kind, None)


def _describe(kind: Any) -> str:
    if get_origin(kind) is Union:
        return " or ".join(_describe(option) for option in get_args(kind))
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    base, allowed = _split(kind)
    words = {int: "an integer", float: "a number", bool: "true or false"}[base]
    return words if allowed is None else f"{words} {allowed}"


def _show(value: object) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # an integer of more than 4300 digits, say
        return f"<{type(value).__name__}: {' '.join(str(error).split())}>"
    return text if len(text) <= 60 else f"{text[:57]}..."
