"""Trials, the truth and fits, as the stages wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from stages.files import DATA
from stages.files.errors import InputError
from stages.files.tables import AGAIN, read_json, reading

Floats = NDArray[np.floating]


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


@dataclass(frozen=True)
class Evidence:
    """What the solver reports, one entry per class where it is a list."""

    solver: str  # adam or exact
    ridge: float
    checkpoints: list[int]  # epochs; of an exact fit just 0
    max_gradient: list[float]
    converged: list[bool]
    shrinkage: list[float]
    reasons: list[str | None]  # why a class has no estimate; its coefficients are then NaN
    separating: list[list[int] | None] | None = None  # per class, the factors that separate it; None: of no class

    @property
    def classes(self) -> list[int]:
        """The classes that have an estimate."""
        return [k for k, reason in enumerate(self.reasons) if reason is None]

    def of_classes(self, classes: list[int]) -> Evidence:
        """The evidence for these classes only."""
        return replace(
            self,
            max_gradient=[self.max_gradient[k] for k in classes],
            converged=[self.converged[k] for k in classes],
            shrinkage=[self.shrinkage[k] for k in classes],
            reasons=[self.reasons[k] for k in classes],
            separating=self.separating and [self.separating[k] for k in classes],
        )


class Model(NamedTuple):
    """Fitted coefficients, and the evidence for them."""

    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias; NaN for a class without an estimate
    evidence: Evidence


@dataclass(frozen=True)
class Description:
    """What `prepare` knows of a person's own trials."""

    factors: list[str]
    classes: list[str]
    terms: dict[str, list[int]]  # of a formula, with their factors
    groups: list[str]
    in_order: bool  # whether trials are in the order in which they were run
    standardise: bool  # whether factors are deviations from `mean` in units of `sd`
    mean: list[float]
    sd: list[float]


def read_trials(split: str) -> Trials:
    """The trials of `split`, "train" or "test"."""
    factors, responses = (read_array(f"{split}/{name}.npy", 2) for name in ("factors", "responses"))
    if len(factors) != len(responses):
        raise InputError(
            f"{DATA / split}: factors.npy has {len(factors)} trials but responses.npy has {len(responses)}; {AGAIN}"
        )
    return Trials(factors, responses)


def read_description(trials: Trials) -> Description | None:
    """Names of a person's own trials; None where the trials are simulated."""
    path = DATA / "trials.json"
    if not path.exists():
        return None
    document = read_json(path.name)
    description = Description(**{field.name: document[field.name] for field in fields(Description)})
    shape = trials.factors.shape[1], trials.responses.shape[1]
    if shape != (len(description.factors), len(description.classes)):
        raise InputError(f"{path} does not name the {shape[0]} factors and {shape[1]} classes of the trials; {AGAIN}")
    return description


def read_groups(trials: Trials, n_groups: int) -> NDArray[np.integer]:
    """The number of each training trial's group, (n_trials,), below n_groups."""
    groups = read_array("train/groups.npy", 1)
    if len(groups) != len(trials.factors) or groups.max(initial=0) >= n_groups:
        raise InputError(f"{DATA / 'train'}: groups.npy does not give each trial one of {n_groups} groups; {AGAIN}")
    return groups


def read_observer() -> Observer | None:
    """The truth, or None where it is not known."""
    if not (DATA / "observer.npy").exists():
        return None
    return Observer(read_array("observer.npy", 2), read_array("observer_rates.npy", 2))


def read_model() -> Model:
    """The fitted model."""
    coefficients, evidence = read_coefficients("model.safetensors")
    with reading(DATA / "model.safetensors"):
        return Model(coefficients, Evidence(**json.loads(evidence)))


def read_array(name: str, n_dimensions: int) -> NDArray[Any]:
    """A memory-mapped .npy file; copy-on-write, as torch warns when it views a read-only array."""
    path = DATA / name
    with reading(path):
        array = np.lib.format.open_memmap(path, mode="c")
        if array.ndim != n_dimensions:
            raise ValueError(f"it has {array.ndim} dimensions, not {n_dimensions}")
    return array


def read_coefficients(name: str) -> tuple[Floats, str]:
    """Coefficients (n_factors + 1, n_classes), last row = bias, and the evidence stored with them, as JSON."""
    path = DATA / name
    with reading(path), safe_open(path, framework="numpy") as file:
        weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        return np.vstack([weight.T.astype(np.float64), bias]), (file.metadata() or {}).get("evidence", "")
