"""YAML files as DVC reads them, and their contents as checked values; every mistake is one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stages.files.errors import InputError, check_file

Model = TypeVar("Model", bound=BaseModel)


class _Yaml12(yaml.SafeLoader):
    """PyYAML with the numbers and booleans of YAML 1.2: 1e-5 is a number, 0400 is 400, `yes` and 5:00 are text.

    PyYAML alone reads YAML 1.1, in which these are text, 256, true and 300: not the values that DVC locks. A key that
    occurs twice in a mapping is refused, where PyYAML would take the last.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("int", "float", "bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _integer(loader: _Yaml12, node: yaml.ScalarNode) -> int:
    digits = node.value.replace("_", "").lower()
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits.lstrip("+-")[:2], 10)
    return int(digits, base)


def _mapping(loader: _Yaml12, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"line {node.start_mark.line + 1}: the key {show(key)} occurs twice in one mapping")
    return loader.construct_mapping(node, deep=True)


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9_]+(?:[eE][-+][0-9]+)?"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Yaml12.add_constructor("tag:yaml.org,2002:int", _integer)
_Yaml12.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds. Raises InputError, naming the file, for anything else."""
    check_file(path)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Yaml12)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run this from the folder that holds it") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # PyYAML passes on whatever a tag's constructor raises
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} must hold lines of `key: value`, but it is {show(document)}")
    return document


def validate(model: type[Model], document: object, where: str) -> Model:
    """`document` as a `model`. Raises InputError for the first mistake: `where: key = value, but it must be …`."""
    try:
        return model.model_validate(document)
    except ValidationError as errors:
        raise InputError(f"{where}: {_explain(errors, model.model_json_schema())}") from None


def _explain(errors: ValidationError, schema: Mapping[str, Any]) -> str:
    error = max(errors.errors(), key=lambda error: error["type"] == "extra_forbidden")
    place, at = list[str](), schema
    for part in error["loc"]:
        inner = at.get("properties", {}).get(part, at.get("additionalProperties"))
        if not isinstance(inner, Mapping):
            break  # an unknown key; or, below a key, the type that pydantic tried
        place, at = [*place, str(part)], _resolve(inner, schema)
    name = ".".join(place)
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        full = ".".join([*place, key if key.isprintable() else show(key)])
        return f"{full} is unknown; {nearest(key, at['properties'])}"
    if error["type"] == "missing":
        return f"{name} is missing; it must be {_describe(at, schema)}"
    if error["type"] == "value_error":  # from our own validator: values that are right one by one, but not together
        return ".".join([*place, str(error["ctx"]["error"])])
    return f"{name} = {show(error['input'])}, but it must be {_describe(at, schema)}"


def _resolve(part: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    return dict(schema["$defs"][name] if name else part)


def _describe(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    part = _resolve(part, schema)
    if "anyOf" in part:
        return " or ".join(_describe(option, schema) for option in part["anyOf"])
    if "enum" in part or "const" in part:
        return " or ".join(str(value) for value in part.get("enum", [part.get("const")]))
    if part["type"] == "array" and "enum" in part["items"]:
        return f"a list of {_describe(part['items'], schema)}"
    if part["type"] == "array" and part.get("minItems", 1) == part.get("maxItems"):
        return f"a list of {part['maxItems']}"
    words = {
        "integer": "an integer",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "array": "a list",
        "object": "a section of `key: value` lines",
        "null": "null",
    }[part["type"]]
    low, above = part.get("minimum"), part.get("exclusiveMinimum")
    high, below = part.get("maximum"), part.get("exclusiveMaximum")
    if low is None and above is None:
        return words
    start = f"[{low:.10g}" if low is not None else f"({above:.10g}"
    end = f"{high:.10g}]" if high is not None else f"{below:.10g})" if below is not None else "inf)"
    return f"{words} in {start}, {end}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`the nearest is …`, for a name that is not known."""
    [closest] = difflib.get_close_matches(name, [*known], n=1, cutoff=0)
    return f"the nearest is {closest if closest.isprintable() else show(closest)}"


def show(value: object) -> str:
    """A value for an error message: one printable line, not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # an integer of more than 4300 digits, say
        return f"<{type(value).__name__}: {' '.join(str(error).split())}>"
    return text if len(text) <= 60 else f"{text[:57]}..."
