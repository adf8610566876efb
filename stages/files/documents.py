"""YAML files as DVC reads them, and their contents as checked values; every mistake is one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML

from stages.files.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds. Raises InputError, naming the file, for anything else.

    YAML 1.2, as DVC reads and locks it: 1e-5 is a number, 0400 is 400, `yes` and 5:00 are text.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.absolute()} is missing; it must be in the folder of a study") from None
    except Exception as error:  # of ruamel.yaml, or what it does not foresee, such as int("")
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not valid YAML: {one_line(problem)}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} must hold lines of `key: value`, but it is {show(document)}")
    return document


def validate(model: type[Model], document: object, where: str) -> Model:
    """`document` as a `model`. Raises InputError for a mistake: `where: key = value, but it must be …`."""
    try:
        return model.model_validate(document)
    except ValidationError as errors:
        schema = model.model_json_schema()
        sections = schema, *schema.get("$defs", {}).values()
        known = [key for section in sections for key in section.get("properties", ())]
        raise InputError(f"{where}: {_explain(errors.errors(), document, known)}") from None


def _explain(errors: list[ErrorDetails], document: object, known: Iterable[str]) -> str:
    """The first error, unknown keys before others: often they are what is missing elsewhere, misspelt."""
    error = max(errors, key=lambda error: error["type"] == "extra_forbidden")
    name, kind = _name(error, document), error["type"]
    if kind == "extra_forbidden":
        return f"{name} is unknown; {nearest(str(error['loc'][-1]), known)}"
    if kind == "missing":
        return f"{'.'.join(map(str, error['loc']))} is missing"
    if kind == "value_error":  # of our own validators: values that are right one by one, but not together
        return ".".join(filter(None, [name, str(error["ctx"]["error"])]))
    others = [re.sub("^.* should ", "", each["msg"]) for each in errors if _name(each, document) == name]
    return f"{name} = {show(error['input'])}, but it must {' or '.join(dict.fromkeys(others))}"  # by each type


def _name(error: ErrorDetails, document: object) -> str:
    """The place of an error, as in train.ridge: without the types of a value, which pydantic adds."""
    parts = list[str]()
    for part in error["loc"]:
        if isinstance(document, Mapping) and part in document:
            document = document[part]
            parts.append(str(part) if str(part).isprintable() else show(part))
    return ".".join(parts)


def nearest(name: str, known: Iterable[str]) -> str:
    """`the nearest is …` for a name that is not known, where one is near; else what is."""
    names = [each if each.isprintable() else show(each) for each in known]
    if close := difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1):
        return f"the nearest is {next(each for each in names if each.lower() == close[0])}"
    return f"it must be one of {', '.join(names[:12])}{', …' if names[12:] else ''}"


def show(value: object) -> str:
    """A value for an error message: one printable line, not too long."""
    text = one_line(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(text: object) -> str:
    """Text without line breaks."""
    return " ".join(str(text).split())
