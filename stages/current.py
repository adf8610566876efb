"""Do the results in data/ belong to params.yaml as it is now? Those of an earlier run must not look so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.files import DATA
from stages.files.documents import read_yaml
from stages.files.errors import InputError
from stages.files.parameters import FILE, file_of_parameters, observer
from stages.files.tables import AGAIN, reading

STAGES = ("simulate", "prepare", "train", "evaluate")  # those that make numbers


def check_current() -> None:
    """Raise InputError where a stage that makes numbers has failed, or last ran with other parameters.

    DVC removes the outputs of a stage before it runs it. The parameters of a run are in dvc.lock; without DVC there is
    none, and nothing to compare with.
    """
    for name in ("model.safetensors", "metrics.json"):
        if not (DATA / name).exists():
            raise InputError(f"{DATA / name} is missing: the last run has not come to its end; {AGAIN}")
    check_parameters()


def check_parameters() -> None:
    """Raise InputError where a stage that makes numbers last ran with other parameters than params.yaml has."""
    file, alone = file_of_parameters(), observer()
    lock = file.with_name("dvc.lock")
    if not lock.exists():
        return
    parameters, recorded = read_yaml(file), read_yaml(lock)
    with reading(lock):
        for name in STAGES:
            stage = recorded["stages"].get(f"{name}@{alone}" if alone else name, {})
            for key, value in stage.get("params", {}).get(str(file), {}).items():
                if at(parameters, key) != value:
                    raise InputError(f"{FILE}: {key} is not what {name} last ran with; {AGAIN}")


def at(tree: Any, name: str) -> Any:
    """The value at "train.ridge", say, in nested mappings; None if there is none."""
    for key in name.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
