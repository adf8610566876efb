"""A fit with its trials, its names and, where it is known, the truth: all that the files of a study hold of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stages.files import checkpoint_name
from stages.files.errors import InputError
from stages.files.reading import (
    Description,
    Evidence,
    Floats,
    Observer,
    Trials,
    read_coefficients,
    read_description,
    read_model,
    read_observer,
    read_trials,
)
from stages.files.tables import AGAIN


@dataclass(frozen=True)
class Fit:
    """A fit with its trials and, where it is known, the truth, of some or all classes."""

    classes: Sequence[str]  # names; numbers if they are simulated
    factors: Sequence[str]
    train: Trials
    test: Trials  # may have no trials
    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias
    checkpoints: Mapping[int, Floats]  # coefficients, by epoch
    observer: Observer | None
    evidence: Evidence
    description: Description | None  # of a person's own trials

    @property
    def missing(self) -> dict[str, str]:
        """By the classes that have no estimate, why."""
        return {name: why for name, why in zip(self.classes, self.evidence.reasons, strict=True) if why}

    @property
    def separating(self) -> dict[str, list[str]]:
        """By the classes that have no estimate without shrinkage, the factors that separate their responses."""
        pairs = zip(self.classes, self.evidence.separating or [], strict=False)
        return {name: [self.factors[j] for j in factors] for name, factors in pairs if factors}

    def part(self, places: list[int]) -> Fit:
        """The fit of some of its classes."""
        return replace(
            self,
            classes=[self.classes[k] for k in places],
            train=self.train.of_classes(places),
            test=self.test.of_classes(places),
            coefficients=self.coefficients[:, places],
            checkpoints={epoch: w[:, places] for epoch, w in self.checkpoints.items()},
            observer=self.observer and self.observer.of_classes(places),
            evidence=self.evidence.of_classes(places),
        )


def read_fit() -> Fit:
    """The fit of all classes. Raises InputError where trials, truth and fits have other factors and classes."""
    train, test = read_trials("train"), read_trials("test")
    (coefficients, evidence), observer, description = read_model(), read_observer(), read_description(train)
    checkpoints = {epoch: read_coefficients(checkpoint_name(epoch))[0] for epoch in evidence.checkpoints}
    n_factors, n_classes = train.factors.shape[1], train.responses.shape[1]
    arrays = {"model.safetensors": coefficients}
    arrays |= {f"checkpoints, epoch {epoch}": w for epoch, w in checkpoints.items()}
    arrays |= {"observer.npy": observer.coefficients} if observer else {}
    shapes = {name: (len(w) - 1, w.shape[1]) for name, w in arrays.items()}
    shapes["test"] = test.factors.shape[1], test.responses.shape[1]
    for name, (p, k) in shapes.items():
        if (p, k) != (n_factors, n_classes):
            raise InputError(
                f"data/{name} has {p} factors and {k} classes, but data/train has {n_factors} and {n_classes}; {AGAIN}"
            )
    return Fit(
        description.classes if description else [*map(str, range(n_classes))],
        description.factors if description else [*map(str, range(n_factors))],
        train,
        test,
        coefficients,
        checkpoints,
        observer,
        evidence,
        description,
    )
