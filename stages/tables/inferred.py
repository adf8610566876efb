"""What is inferred from an exact fit, class by class: `evaluate` infers, and all that follows takes it from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hdlogit.compute.threads import cut, each, single_threaded_blas
from hdlogit.inference.infer import infer
from hdlogit.inference.result import ClassInference
from hdlogit.scores.predictions import Booleans
from stages.files.account import named
from stages.files.fit import Fit, read_fit
from stages.files.parameters import Evaluate
from stages.tables.answer import without_inference
from stages.tables.scores import CORRECTED, Predictions

Rates = tuple[float | None, float | None]  # guess and lapse rate


@dataclass(frozen=True)
class Inferred:
    """The classes of an exact fit that have an inference; at least one."""

    fit: Fit  # of these classes
    classes: list[ClassInference]
    p: Evaluate

    @property
    def rates_estimated(self) -> bool:
        return self.p.asymptotes != "none" and None in known_rates(self.p)

    @property
    def responses(self) -> Booleans:
        """Those of the trials that were left out one by one: all, or some, evenly spaced."""
        return np.asarray(thinned(self.fit.train.responses, self.classes[0]))


def infer_classes(fit: Fit, p: Evaluate) -> list[ClassInference]:
    """A result for each class, which may be that it has none; classes that were shrunk alike are inferred together."""
    results: dict[int, ClassInference] = {}
    for strength in set(fit.evidence.shrinkage):
        places = [k for k, s in enumerate(fit.evidence.shrinkage) if s == strength]
        part = fit.part(places)
        x, y, w = part.train.factors, part.train.responses, part.coefficients
        of_places = infer(x, y, w, fit.evidence.ridge, strength, p.asymptotes, *known_rates(p), fit.factors)
        results |= dict(zip(places, of_places, strict=True))
    return [results[k] for k in range(len(fit.classes))]


def read_and_infer(p: Evaluate) -> tuple[Fit, Fit, list[ClassInference]]:
    """The fit, its part with the classes that have an estimate, and a result for each of these; none after Adam.

    Results are not kept in a file: that would change with the last bits of a processor, and dvc.lock with it.
    """
    whole = read_fit()
    fit = whole.part(whole.evidence.classes)
    return whole, fit, infer_classes(fit, p) if whole.evidence.solver == "exact" else []


def by_class(p: Evaluate) -> tuple[Fit, dict[str, ClassInference]]:
    """The fit, and what `evaluate` has inferred of each class that has an estimate, by its name."""
    whole, fit, results = read_and_infer(p)
    return whole, dict(zip(fit.classes, results, strict=False))


def known_rates(p: Evaluate) -> Rates:
    """Guess and lapse rate as given; None for auto."""
    guess_rate, lapse_rate = (None if rate == "auto" else rate for rate in (p.guess_rate, p.lapse_rate))
    return guess_rate, lapse_rate


def with_inference(fit: Fit, results: list[ClassInference], p: Evaluate) -> Inferred | None:
    """The part of a fit that has an inference."""
    places = [k for k, result in enumerate(results) if not result.reason]
    return Inferred(fit.part(places), [results[k] for k in places], p) if places else None


def refined(fit: Fit, results: list[ClassInference]) -> Fit:
    """The fit with the coefficients that inference begins with: a Newton step from the stored ones."""
    coefficients = fit.coefficients.copy()
    for k, result in enumerate(results):
        if not result.reason:
            coefficients[:, k] = result.estimate
    return replace(fit, coefficients=coefficients)


def thinned(trials: Any, c: ClassInference) -> Any:
    """Of an array over all trials, those that were left out one by one for this class."""
    return trials[:: -(-len(trials) // len(c.index.logit))]


def left_out_predictions(found: Inferred) -> Predictions:
    """Of each training trial from the fit to all others."""
    columns = zip(*(c.leave_one_out for c in found.classes), strict=True)
    fitted, debiased, best = (np.stack(logits, axis=1) for logits in columns)
    return Predictions(found.responses, {"fitted": fitted, "debiased": debiased, "best": best})


def with_corrected(predicted: Predictions, fit: Fit, results: list[ClassInference]) -> Predictions:
    """Also held-out trials by the corrected fit; of a class without an inference, the fitted logits stand for it."""
    x, fitted = fit.test.factors, predicted.logits["fitted"]
    logits = predicted.logits | {name: fitted.copy() for name in CORRECTED}

    def correct(k: int) -> None:
        for rows in cut(*x.shape):
            logits["debiased"][rows, k], logits["best"][rows, k] = results[k].corrected_logits(x[rows])

    with single_threaded_blas():
        list(each(correct, [k for k, result in enumerate(results) if not result.reason]))
    return Predictions(predicted.responses, logits)


def class_notices(names: Sequence[str], results: list[ClassInference]) -> list[str]:
    """A line for each class without an inference, or with a note that the answer does not have."""
    lines = []
    for name, result in zip(names, results, strict=False):  # after Adam there are no results
        if result.reason:
            lines.append(f"{named(name, 'class')}: inference is left out: {result.reason}")
        elif result.note and not result.separated:
            lines.append(f"{named(name, 'class')}: {result.note}")
    return lines


def missing_inference(fit: Fit, results: list[ClassInference]) -> list[str]:
    """The answer for classes without an inference, or that were shrunk and are not said to be separated."""
    by_name = dict(zip(fit.classes, results, strict=False))
    reasons = {name: result.reason for name, result in by_name.items() if result.reason}
    shrunk = {name: factors for name, factors in fit.separating.items() if not by_name[name].separated}
    return without_inference(reasons, shrunk)
