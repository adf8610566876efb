"""Files as arrays and models; a damaged file is refused in one line that names it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError, safe_open

from stages.files import DATA, checkpoint_name
from stages.files.documents import validate
from stages.files.errors import InputError, check_file
from stages.files.tables import AGAIN, parse_json, read_json, unreadable

Floats = NDArray[np.floating]
Count = Annotated[int, Field(ge=0, le=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Trials:
    """Memory-mapped stimuli and responses of one split, copy-on-write."""

    factors: Floats  # (n_trials, n_factors)
    responses: NDArray[np.bool_]  # (n_trials, n_classes)

    def of_classes(self, classes: list[int]) -> Trials:
        """The same trials with the responses of these classes only."""
        everyone = len(classes) == self.responses.shape[1]
        return self if everyone else Trials(self.factors, self.responses[:, classes])


@dataclass(frozen=True)
class Observer:
    """The truth, where it is known."""

    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias
    rates: Floats  # (2, n_classes): guess rate, lapse rate

    def of_classes(self, classes: list[int]) -> Observer:
        """The truth of these classes only."""
        return Observer(self.coefficients[:, classes], self.rates[:, classes])


class Evidence(BaseModel):
    """What the solver reports, one entry per class where it is a list."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    solver: Literal["adam", "exact"]
    ridge: NotNegative
    checkpoints: Annotated[list[Count], Field(min_length=1)]  # epochs; of an exact fit just 0
    max_gradient: list[NotNegative]
    converged: list[bool]
    shrinkage: list[Annotated[NotNegative, Field(lt=1)]]
    reasons: list[str | None]  # why a class has no estimate; its coefficients are then NaN
    separating: list[list[Count] | None] | None = None  # per class, the factors that separate it; None: of no class

    @model_validator(mode="after")
    def _fits_together(self) -> Evidence:
        if self.checkpoints != sorted(set(self.checkpoints)):
            raise ValueError("checkpoints must be in order, each once")
        return self


PER_CLASS = ("max_gradient", "converged", "shrinkage", "reasons", "separating")


@dataclass(frozen=True)
class Model:
    """Fitted coefficients in the observer's layout, and the evidence for them."""

    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias; NaN for a class without an estimate
    evidence: Evidence

    @property
    def classes(self) -> list[int]:
        """The classes that have an estimate."""
        return [k for k, reason in enumerate(self.evidence.reasons) if reason is None]


class Description(BaseModel):
    """What `prepare` knows of a person's own trials."""

    model_config = ConfigDict(strict=True, frozen=True)

    factors: list[str]
    classes: list[str]
    terms: dict[str, list[Count]]  # of a formula, with their factors
    groups: list[str]
    standardise: bool  # whether factors are deviations from `mean` in units of `sd`
    mean: list[Finite]
    sd: list[Annotated[Finite, Field(gt=0)]]


def read_trials(split: str) -> Trials:
    """The trials of `split`, "train" or "test"; raises InputError if they are not whole or do not fit together."""
    factors = _read_array(DATA / split / "factors.npy", "float64", "float32")
    responses = _read_array(DATA / split / "responses.npy", "bool")
    _check_rows(split, {"factors": len(factors), "responses": len(responses)})
    if responses.view(np.uint8).max(initial=0) > 1:
        raise InputError(f"{DATA / split / 'responses.npy'} holds bytes that are neither 0 nor 1; {AGAIN}")
    if split == "train" and not len(factors):
        raise InputError(f"{DATA / split} holds no trials; {AGAIN}")
    return Trials(factors, responses)


def read_description(trials: Trials) -> Description | None:
    """Names of a person's own trials; None where the trials are simulated."""
    path = DATA / "trials.json"
    if not os.path.lexists(path):
        return None
    description = validate(Description, read_json("trials.json"), str(path))
    shape, named = (trials.factors.shape[1], trials.responses.shape[1]), (description.factors, description.classes)
    if shape != tuple(map(len, named)):
        raise InputError(f"{path} names {len(named[0])} factors and {len(named[1])} classes of {shape}; {AGAIN}")
    if {len(description.mean), len(description.sd)} != {shape[0]}:
        raise InputError(f"{path} has no mean and sd for each of {shape[0]} factors; {AGAIN}")
    for what, names in (("factor", named[0]), ("class", named[1]), ("group", description.groups)):
        if len(set(names)) < len(names):
            raise InputError(f"{path} names a {what} twice; {AGAIN}")
    terms = description.terms.values()
    if not all(terms) or sorted(place for places in terms for place in places) != [*range(shape[0])]:
        raise InputError(f"{path}: terms must name each of the {shape[0]} factors once; {AGAIN}")
    return description


def read_groups(trials: Trials, n_groups: int) -> NDArray[np.integer]:
    """The number of each training trial's group, (n_trials,), below n_groups."""
    path = DATA / "train" / "groups.npy"
    groups = _read_array(path, "int32", n_dimensions=1)
    _check_rows("train", {"factors": len(trials.factors), "groups": len(groups)})
    if groups.min() < 0 or groups.max() >= n_groups:
        raise InputError(f"{path} holds {groups.min()} to {groups.max()}; there are {n_groups} groups")
    return groups


def _check_rows(split: str, counts: dict[str, int]) -> None:
    (one, n), (other, m) = counts.items()
    if n != m:
        raise InputError(
            f"{DATA / split}: {one}.npy has {n} trials but {other}.npy has {m}; both need one row per trial"
        )


def read_observer() -> Observer | None:
    """The truth, or None where it is not known."""
    path = DATA / "observer.npy"
    if not os.path.lexists(path):
        return None
    coefficients = _finite(path, _read_array(path, "float64"))
    path = DATA / "observer_rates.npy"
    rates = _read_array(path, "float64")
    if rates.shape[1] != coefficients.shape[1]:
        raise InputError(
            f"{DATA / 'observer.npy'} has {coefficients.shape[1]} classes but {path.name} has {rates.shape[1]}; {AGAIN}"
        )
    if len(rates) != 2 or not (rates >= 0).all() or not (rates.sum(axis=0) < 1).all():
        raise InputError(f"{path} must hold guess and lapse rates, (2, n_classes), >= 0 and together below 1")
    return Observer(coefficients, rates)


def read_model() -> Model:
    """The fitted model."""
    path = DATA / "model.safetensors"
    coefficients, document = _read_coefficients(path)
    evidence = validate(Evidence, document, f"{path}, evidence")
    n_classes = coefficients.shape[1]
    for name, value in evidence:
        if name in PER_CLASS and value is not None and len(value) != n_classes:
            raise InputError(f"{path}, evidence: {name} has {len(value)} entries for {n_classes} classes; {AGAIN}")
    model = Model(coefficients, evidence)
    _finite(path, coefficients[:, model.classes])
    if not np.isnan(np.delete(coefficients, model.classes, axis=1)).all():
        raise InputError(f"{path} holds coefficients of a class that, it says, has no estimate; {AGAIN}")
    return model


def read_checkpoints(model: Model) -> dict[int, Floats]:
    """Coefficients (n_factors + 1, n_classes) of the model's checkpoints, by epoch."""
    found = {}
    for epoch in model.evidence.checkpoints:
        path = DATA / checkpoint_name(epoch)
        found[epoch], _ = _read_coefficients(path)
        _finite(path, found[epoch][:, model.classes])
    return found


def _read_array(path: Path, *kinds: str, n_dimensions: int = 2) -> NDArray[Any]:
    """A memory-mapped array; copy-on-write, as torch warns when it views a read-only one."""
    check_file(path)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, is_fortran, dtype = read_header[version](file)
            start, size = file.tell(), file.seek(0, os.SEEK_END)
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # NumPy passes on whatever Python's own parser raises on a damaged header
        raise InputError(f"{path} is truncated or not a .npy array: {' '.join(str(error).split())}") from None
    whole = all(type(n) is int and n >= 0 for n in shape) and 0 not in shape[1:]
    if str(dtype) not in kinds or len(shape) != n_dimensions or not whole or is_fortran:
        raise InputError(
            f"{path} holds {dtype} of shape {shape}{' in Fortran order' if is_fortran else ''}; it must be "
            f"{' or '.join(kinds)}, {n_dimensions}-dimensional, not empty and in C order"
        )
    if size - start != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path} is truncated or too long: {size} bytes are not those of {dtype} of shape {shape}")
    return np.memmap(path, dtype, "c", start, shape) if shape[0] else np.zeros(shape, dtype)  # a map cannot be empty


def _read_coefficients(path: Path) -> tuple[Floats, object]:
    """Coefficients (n_factors + 1, n_classes) in float64, and the evidence stored with them."""
    check_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
            evidence = parse_json((file.metadata() or {}).get("evidence", "null"))
    except OSError as error:
        raise unreadable(path, error) from None
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is truncated or not a model of this pipeline: {error}") from None
    kinds = [str(weight.dtype), str(bias.dtype)]
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or 0 in weight.shape or kinds != ["float32", "float64"]:
        raise InputError(
            f"{path}: weight {weight.shape} and bias {bias.shape} of {' and '.join(kinds)} must be "
            "(n_classes, n_factors) of float32 and (n_classes,) of float64"
        )
    return np.vstack([weight.T.astype(np.float64), bias]), evidence


def _finite(path: Path, coefficients: Floats) -> Floats:
    if not np.isfinite(coefficients).all():
        raise InputError(f"{path} holds NaN or infinite coefficients; they must be finite")
    return coefficients
