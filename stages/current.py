"""Do the results in data/ belong to params.yaml as it is now? Those of an earlier run must not look current."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from stages.files import DATA
from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError
from stages.files.parameters import FILE, file_of_parameters, observer

STAGES = ("simulate", "prepare", "train", "evaluate")  # those that make numbers
BEFORE = ("train", "model.safetensors")  # outputs, in data/, from which the results are made


class _Stage(BaseModel):
    params: dict[str, dict[str, Any]] = {}  # file -> key -> value


class _Lock(BaseModel):
    stages: dict[str, _Stage] = {}


def check_current() -> None:
    """Raise InputError where a stage before the results has no outputs, as DVC removes them before it runs a stage."""
    for path in (DATA / name for name in BEFORE):
        if not path.exists():
            raise InputError(f"{path} is missing: all numbers are from an earlier run; `dvc repro` renews them")
    check_parameters()


def check_parameters() -> None:
    """Raise InputError where a stage that makes numbers last ran with other parameters than params.yaml has.

    The parameters of a run are in dvc.lock; without DVC there is none, and nothing to compare with.
    """
    file, alone = file_of_parameters(), observer()
    lock = file.with_name("dvc.lock")
    if not lock.exists():
        return
    parameters = read_yaml(file)
    stages = validate(_Lock, read_yaml(lock), str(lock)).stages
    for name in STAGES:
        stage = stages.get(f"{name}@{alone}" if alone else name, _Stage())
        for key, value in stage.params.get(str(file), {}).items():
            if at(parameters, key) != value:
                raise InputError(
                    f"{FILE}: {key} is not what {name} last ran with: all numbers are from an earlier run; "
                    "`dvc repro` renews them"
                )


def at(tree: Any, name: str) -> Any:
    """The value at "train.ridge", say, in nested mappings; None if there is none."""
    for key in name.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
