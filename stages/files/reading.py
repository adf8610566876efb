"""A fit with its trials, its names and, where it is known, the truth, as the stages wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from stages.files import DATA, checkpoint_name
from stages.files.account import read_account
from stages.files.errors import InputError
from stages.files.tables import AGAIN, named_values, reading

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
    evidence: Mapping[str, Any]  # what the solver reports: `stages.training.Fitted`
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
    train, test = read_trials("train"), read_trials("test")
    account, (classes, factors) = read_account(), read_names(train)
    (coefficients, evidence), observer = read_model(), None
    checkpoints = {epoch: read_model(checkpoint_name(epoch))[0] for epoch in evidence["checkpoints"]}
    arrays = {"model.safetensors": coefficients}
    arrays |= {f"checkpoints, epoch {epoch}": w for epoch, w in checkpoints.items()}
    if (DATA / "observer.npy").exists():
        observer = Observer(read_array("observer.npy", 2), read_array("observer_rates.npy", 2))
        arrays["observer.npy"] = observer.coefficients
    shapes = {name: (len(w) - 1, w.shape[1]) for name, w in arrays.items()}
    shapes["test"] = test.factors.shape[1], test.responses.shape[1]
    for name, (p, k) in shapes.items():
        if (p, k) != (len(factors), len(classes)):
            wanted = f"data/train has {len(factors)} and {len(classes)}"
            raise InputError(f"data/{name} has {p} factors and {k} classes, but {wanted}; {AGAIN}")
    with reading(DATA / "model.safetensors"):
        shrinkage = dict(zip(classes, evidence["shrinkage"], strict=True))
        missing = {name: why for name, why in zip(classes, evidence["reasons"], strict=True) if why}
        by_class = zip(classes, evidence.get("separating", ()), strict=False)
        separating = {name: [factors[j] for j in places] for name, places in by_class if places}
    labels = account["groups"] if account else []
    groups = read_groups(len(train.factors), len(labels)) if labels else None
    fitted = coefficients, checkpoints, observer, evidence, shrinkage, missing, separating
    return Fit(classes, factors, train, test, *fitted, account, groups)


def read_trials(split: str) -> Trials:
    """The trials of `split`, "train" or "test"."""
    trials = Trials(read_array(f"{split}/factors.npy", 2), read_array(f"{split}/responses.npy", 2))
    n_factors, n_responses = map(len, trials)
    if n_factors != n_responses:
        lengths = f"factors.npy has {n_factors} trials but responses.npy has {n_responses}"
        raise InputError(f"{DATA / split}: {lengths}; {AGAIN}")
    return trials


def read_names(trials: Trials) -> tuple[list[str], list[str]]:
    """Of classes and factors; of simulated ones, numbers."""
    shape, account = (trials.responses.shape[1], trials.factors.shape[1]), read_account()
    if account is None:
        classes, factors = ([*map(str, range(n))] for n in shape)
    else:
        classes, factors = account["classes"], account["factors"]
    if (len(classes), len(factors)) != shape:
        wanted = f"the {shape[1]} factors and {shape[0]} classes of the trials"
        raise InputError(f"{DATA / 'trials.json'} does not name {wanted}; {AGAIN}")
    return classes, factors


def read_groups(n_trials: int, n_groups: int) -> NDArray[np.integer]:
    """The number of each training trial's group, (n_trials,), below n_groups."""
    groups = read_array("train/groups.npy", 1)
    if len(groups) != n_trials or groups.max(initial=0) >= n_groups:
        raise InputError(f"data/train: groups.npy does not give each trial one of {n_groups} groups; {AGAIN}")
    return groups


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
        evidence = named_values(path, (file.metadata() or {}).get("evidence", "{}"))
        return np.vstack([weight.T.astype(np.float64), bias]), evidence
