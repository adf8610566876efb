"""A fit with its trials, its names and, where it is known, the truth, as the stages wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from stages.files import DATA, checkpoint_name
from stages.files.account import read_account
from stages.files.errors import InputError
from stages.files.tables import AGAIN, Document, reading

Floats = NDArray[np.floating]


class Trials(NamedTuple):
    """Memory-mapped stimuli and responses of one split, copy-on-write."""

    factors: Floats  # (n_trials, n_factors)
    responses: NDArray[np.bool_]  # (n_trials, n_classes)


class Observer(NamedTuple):
    """The truth, where it is known."""

    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias
    rates: Floats  # (2, n_classes): guess rate, lapse rate


@dataclass(frozen=True)
class Fit:
    """A fit of some or all classes, with its trials. What is by the names of classes is of all."""

    classes: Sequence[str]  # names; numbers if they are simulated
    factors: Sequence[str]
    train: Trials
    test: Trials  # may have no trials
    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias; NaN for a class without an estimate
    checkpoints: Mapping[int, Floats]  # coefficients, by epoch; of an exact fit just 0
    observer: Observer | None
    evidence: Mapping[str, Any]  # what the solver reports: `stages.train.Fitted`
    shrinkage: Mapping[str, float]  # by class
    missing: Mapping[str, str]  # by the classes that have no estimate, why
    separating: Mapping[str, list[str]]  # by the classes that have none without shrinkage, by which factors
    account: Mapping[str, Any] | None  # of a person's own trials: data/trials.json
    groups: NDArray[np.integer] | None  # (n_trials,) the number of each training trial's group, if it has one

    @property
    def labels(self) -> list[str]:
        """The names of the groups."""
        return self.account["groups"] if self.account else []

    def part(self, places: list[int]) -> Fit:
        """The fit of some of its classes."""
        if len(places) == len(self.classes):
            return self
        return replace(
            self,
            classes=[self.classes[k] for k in places],
            train=Trials(self.train.factors, self.train.responses[:, places]),
            test=Trials(self.test.factors, self.test.responses[:, places]),
            coefficients=self.coefficients[:, places],
            checkpoints={epoch: w[:, places] for epoch, w in self.checkpoints.items()},
            observer=self.observer and Observer(*(array[:, places] for array in self.observer)),
        )


def read_fit() -> Fit:
    """The fit of all classes. Raises InputError where trials, truth and fits do not have the same ones."""
    train, test, account = read_trials("train"), read_trials("test"), read_account()
    classes, factors = read_names(train)
    coefficients, evidence = read_model()
    checkpoints = {epoch: read_model(checkpoint_name(epoch))[0] for epoch in evidence["checkpoints"]}
    labels = account["groups"] if account else []
    groups = read_array("train/groups.npy", 1) if labels else np.zeros(len(train.factors), int)
    observer = None
    if (DATA / "observer.npy").exists():
        observer = Observer(read_array("observer.npy", 2), read_array("observer_rates.npy", 2))
    shapes = [w.shape for w in (coefficients, *checkpoints.values(), *(observer or ())[:1])]
    shapes += [(x.shape[1] + 1, y.shape[1]) for x, y in (train, test)]
    is_grouped = len(groups) == len(train.factors) and groups.max(initial=0) < max(len(labels), 1)
    if {*shapes} != {(len(factors) + 1, len(classes))} or not is_grouped:
        raise InputError(f"{DATA}: trials, names, groups, models and observer do not fit together; {AGAIN}")
    with reading(DATA / "model.safetensors"):
        shrinkage = dict(zip(classes, evidence["shrinkage"], strict=True))
        missing = {name: why for name, why in zip(classes, evidence["reasons"], strict=True) if why}
        by_class = zip(classes, evidence.get("separating", ()), strict=False)
        separating = {name: [factors[j] for j in places] for name, places in by_class if places}
    fitted = coefficients, checkpoints, observer, evidence, shrinkage, missing, separating
    return Fit(classes, factors, train, test, *fitted, account, groups if labels else None)


def read_trials(split: str) -> Trials:
    """The trials of `split`, "train" or "test"."""
    trials = Trials(read_array(f"{split}/factors.npy", 2), read_array(f"{split}/responses.npy", 2))
    if len(trials.factors) != len(trials.responses):
        raise InputError(f"{DATA / split}: factors and responses are of different numbers of trials; {AGAIN}")
    return trials


def read_names(trials: Trials) -> tuple[list[str], list[str]]:
    """Of classes and factors; of simulated ones, numbers."""
    if account := read_account():
        return account["classes"], account["factors"]
    return [*map(str, range(trials.responses.shape[1]))], [*map(str, range(trials.factors.shape[1]))]


def read_array(name: str, n_dimensions: int) -> NDArray[Any]:
    """A memory-mapped .npy file; copy-on-write, as torch warns when it views a read-only array."""
    with reading(DATA / name):
        array = np.lib.format.open_memmap(DATA / name, mode="c")
        if array.ndim != n_dimensions:
            raise ValueError(f"it has {array.ndim} dimensions, not {n_dimensions}")
    return array


def read_model(name: str = "model.safetensors") -> tuple[Floats, dict[str, Any]]:
    """Coefficients (n_factors + 1, n_classes), last row = bias, and what the solver reports of a model."""
    path = DATA / name
    with reading(path), safe_open(path, framework="numpy") as file:
        weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        evidence = json.loads((file.metadata() or {}).get("evidence", "{}"), object_hook=Document)
        return np.vstack([weight.T.astype(np.float64), bias]), evidence
