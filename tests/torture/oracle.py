"""Whether a damaged file that was accepted still is what its format promises, by other readers than the stages'."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.lib import format as npy
from ruamel.yaml import YAML

from stages.files.documents import read_yaml


def well_formed(path: Path, before: bytes) -> str:
    """Empty, or what the format could have told: another structure or type than before, or a value that is none."""
    if path.name == "trials.npy":
        return ""  # own trials may have any shape, and lack values
    check = {".npy": array, ".json": document, ".csv": table, ".yaml": parameters, ".safetensors": model}
    return check[path.suffix](path, before) if path.suffix in check else ""


def array(path: Path, before: bytes) -> str:
    found, wanted = np.load(path), npy.read_array(_file(before))
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype} {found.shape}"
    if found.dtype == bool and found.view(np.uint8).max(initial=0) > 1:
        return "a truth value that is neither 0 nor 1"
    return "" if np.isfinite(found).all() else "NaN or infinite"


def document(path: Path, before: bytes) -> str:
    """Of trials.json what `evaluate` reads, of metrics.json the sections."""
    new, old = _parsed(path.read_bytes()), json.loads(before)
    if path.name == "trials.json":
        new, old = ({key: part.get(key) for key in ("factors", "classes", "terms", "groups")} for part in (new, old))
        for part in (new, old):
            part["terms"] = [*map(list, (part["terms"] or {}).items())]  # a term's name is any text, as a factor's is
        return _structure(new, old, "")
    return "" if new.keys() <= old.keys() else "another section"


def table(path: Path, before: bytes) -> str:
    text = path.read_bytes().decode(errors="replace")
    found, wanted = ([*csv.reader(io.StringIO(lines, newline=""))] for lines in (text, before.decode()))
    if len({len(row) for row in found}) > 1:
        return "rows of several lengths"
    if "\ufffd" in text and not path.name.startswith("trials."):  # own trials may have another encoding
        return "not UTF-8"
    if path.name.startswith("trials.") or len(found) != len(wanted):  # nothing else counts its lines
        return ""
    numbers = [k for k, name in enumerate(wanted[0]) if name not in ("class", "factor", "group")]
    for new, old in zip(found[1:], wanted[1:], strict=True):
        if any("\0" in cell for cell in new) or any(_number(old[k]) and not _number(new[k]) for k in numbers):
            return f"the line {new}"
    return ""


def parameters(path: Path, before: bytes) -> str:
    """DVC reads params.yaml by ruamel.yaml."""
    theirs = YAML(typ="safe").load(path.read_text())
    return "" if theirs == read_yaml(path) else "DVC reads other values"


def model(path: Path, before: bytes) -> str:
    found, wanted = safetensors.numpy.load_file(path), safetensors.numpy.load(before)
    if {k: (v.shape, v.dtype) for k, v in found.items()} != {k: (v.shape, v.dtype) for k, v in wanted.items()}:
        return "other tensors"
    if not all(np.isfinite(v).all() for v in found.values()):
        return "NaN or infinite"
    new, old = (
        _parsed(part).get("__metadata__", {}).get("evidence") for part in (_head(path.read_bytes()), _head(before))
    )
    return _structure(_parsed(new), json.loads(old), "evidence") if old else ""


def _file(content: bytes) -> Any:
    return io.BytesIO(content)


def _head(content: bytes) -> bytes:
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def _parsed(content: Any) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in found]
        return dict(found) if len(keys) == len({*keys}) else {"twice": keys}

    return json.loads(content, object_pairs_hook=pairs)


def _structure(new: Any, old: Any, place: str) -> str:
    """Where two documents differ other than by values of the same type; null and a number may be for each other."""
    if isinstance(old, dict):
        if not isinstance(new, dict) or new.keys() != old.keys():
            return f"the keys of {place or 'all'}"
        return next(filter(None, (_structure(new[key], old[key], f"{place}.{key}") for key in old)), "")
    if isinstance(old, list):
        if not isinstance(new, list) or len(new) != len(old):
            return f"the length of {place}"
        return next(filter(None, (_structure(a, b, place) for a, b in zip(new, old, strict=True))), "")
    kinds = [float if type(value) is int else type(value) for value in (new, old)]
    if kinds[0] != kinds[1] and None not in (new, old):
        return f"the type of {place}"
    return "" if kinds[0] is not float or math.isfinite(new) else f"{new} in {place}"


def _number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False
