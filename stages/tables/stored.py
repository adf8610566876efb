"""What was inferred, class by class, as a file: nothing that comes after `evaluate` infers again.

Last bits depend on the processor, and the hash of the file in dvc.lock must not. So numbers are in single precision, of
factors about their means in units of their standard deviations. Arrays over the trials are left out.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.inference.link import Link
from hdlogit.inference.result import Array, ClassInference, Index, LeaveOneOut, Separated, Trials
from stages.files import DATA
from stages.files.tables import reading

FILE = "inference/inference.safetensors"
KINDS = Asymptotics, ClassInference, Index, LeaveOneOut, Link, Separated, Trials
OF_TRIALS = {"leave_one_out", "index", "trials", "left"}
ROUNDING = (".residual", ".certificate")  # a solver's last step, of which nothing but the size means anything
CENTRE_STEP = 2.0**-20  # of a standard deviation

Arrays = dict[str, NDArray[Any]]


def to_bytes(results: dict[str, ClassInference]) -> bytes:
    """By the classes' names."""
    arrays: Arrays = {}
    document = {name: _pack(c, f"{k}", arrays) for k, (name, c) in enumerate(results.items())}
    metadata = {"classes": json.dumps(document)}  # one entry: the order of several would vary
    return bytes(save(arrays, metadata))


def read_inference() -> dict[str, ClassInference]:
    """By the classes' names."""
    path = DATA / FILE
    with reading(path), safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        document = json.loads(file.metadata()["classes"])
        return {name: _unpack(c, arrays) for name, c in document.items()}


def _pack(value: Any, name: str, arrays: Arrays) -> Any:
    """JSON of a value, in which arrays are named."""
    if isinstance(value, ClassInference) and not value.reason:
        scale = value.scale.astype(np.float32).astype(np.float64)
        step = CENTRE_STEP * 2.0 ** np.floor(np.log2(scale))
        centre = np.round(value.centre / step) * step
        value = _moved(replace(value, centre=centre, scale=scale), centre, scale)
    parts = vars(value) if is_dataclass(value) else getattr(value, "_asdict", dict)()
    if parts:
        packed = {key: _pack(part, f"{name}.{key}", arrays) for key, part in parts.items()}
        return {"kind": type(value).__name__, **packed}
    if isinstance(value, np.ndarray):
        real = value.dtype == np.float64 and not name.endswith(".centre")
        kept = value[:0] if OF_TRIALS.intersection(name.split(".")) else value
        arrays[name] = np.ascontiguousarray(kept, np.float32 if real else value.dtype)
        return {"array": name}
    if isinstance(value, float):
        return np.nan if name.endswith(ROUNDING) else float(np.float32(value))
    return value


def _unpack(document: Any, arrays: Arrays) -> Any:
    if not isinstance(document, dict):
        return document
    if "array" in document:
        array = arrays[document["array"]]
        return array.astype(np.float64) if array.dtype == np.float32 else array
    kind = {kind.__name__: kind for kind in KINDS}[document["kind"]]
    value = kind(**{key: _unpack(part, arrays) for key, part in document.items() if key != "kind"})
    if isinstance(value, ClassInference):
        return _moved(value, -value.centre / value.scale, 1 / value.scale)
    return value


def _moved(c: ClassInference, offset: Array, factor: Array) -> ClassInference:
    """With weights times `factor`, and weights times `offset` added to the bias; not where some are infinite."""
    to, with_bias = np.eye(len(c.covariance)), np.append(factor, 1.0)
    to[: len(factor), : len(factor)], to[len(factor), : len(factor)] = np.diag(factor), offset
    vectors = {name: getattr(c, name) for name in ("estimate", "corrected", "predictor")}
    vectors = {name: to[:-2, :-2] @ w for name, w in vectors.items() if np.isfinite(w).all()}
    covariance = to @ c.covariance @ to.T if np.isfinite(c.covariance).all() else c.covariance
    return replace(c, noise=c.noise * np.outer(with_bias, with_bias), covariance=covariance, **vectors)
