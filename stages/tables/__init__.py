"""The numbers and tables that the stage `evaluate` writes: pure functions, which neither read nor write files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.files.reading import Description, Evidence, Floats, Observer, Trials

Table = dict[str, Any]  # columns of equal length


@dataclass(frozen=True)
class Fit:
    """A fit with its trials and, where it is known, the truth, for the classes that have an estimate."""

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


@dataclass
class Findings:
    """Metrics, nested by name, and tables by the name of their file."""

    metrics: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)  # lines for a person: what was left out, and why
    answer: list[str] = field(default_factory=list)  # … and whether the coefficients can be trusted

    def __add__(self, other: Findings) -> Findings:
        """Both together; metrics are merged key by key."""
        return Findings(
            _merged(self.metrics, other.metrics),
            {**self.tables, **other.tables},
            self.notices + other.notices,
            self.answer + other.answer,
        )


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}
