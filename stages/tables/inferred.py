"""What is inferred from an exact fit, class by class: for the stage `evaluate` and all commands alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hdlogit.compute.threads import cut
from hdlogit.inference.infer import infer
from hdlogit.inference.result import ClassInference
from hdlogit.scores.predictions import Booleans
from stages.files.parameters import Evaluate
from stages.files.reading import Fit, read_fit
from stages.tables.scores import CORRECTED, Predictions

Results = Mapping[str, ClassInference]  # by class


@dataclass(frozen=True)
class Inferred:
    """The classes of an exact fit that have an inference; at least one."""

    fit: Fit  # of these classes
    classes: list[ClassInference]
    p: Evaluate

    @property
    def responses(self) -> Booleans:
        """Those of the trials that were left out one by one."""
        responses = self.fit.train.responses
        return np.asarray(responses[self.classes[0].left_out(len(responses))])


def read_and_infer(p: Evaluate) -> tuple[Fit, Results]:
    """The fit, and a result for each class that has an estimate, if only why; none after Adam.

    Results are not kept in a file: it would change with the last bits of a processor, and dvc.lock with it.
    """
    fit, results = read_fit(), dict[str, ClassInference]()
    names = [name for name in fit.classes if name not in fit.missing and fit.evidence["solver"] == "exact"]
    for strength in {fit.shrinkage[name] for name in names}:  # those that were shrunk alike together
        alike = [name for name in names if fit.shrinkage[name] == strength]
        part = fit.part([fit.classes.index(name) for name in alike])
        penalties = fit.evidence["ridge"], strength
        inferred = infer(*part.train, part.coefficients, *penalties, p.asymptotes, *p.known_rates, fit.factors)
        results |= dict(zip(alike, inferred, strict=True))
    return fit, {name: results[name] for name in names}


def estimated(fit: Fit, results: Results) -> Fit:
    """The classes that have an estimate, with the coefficients of which inference speaks, a Newton step on."""
    part = fit.part([k for k, name in enumerate(fit.classes) if name not in fit.missing])
    inferred = {name: c.estimate for name, c in results.items() if not c.reason}
    pairs = zip(part.classes, part.coefficients.T, strict=True)
    return replace(part, coefficients=np.stack([inferred.get(name, stored) for name, stored in pairs], axis=1))


def with_inference(fit: Fit, results: Results, p: Evaluate) -> Inferred | None:
    """The part of a fit that has an inference."""
    places = [k for k, name in enumerate(fit.classes) if name in results and not results[name].reason]
    return Inferred(fit.part(places), [results[fit.classes[k]] for k in places], p) if places else None


def left_out_predictions(inferred: Inferred) -> Predictions:
    """Of each training trial from the fit to all others."""
    columns = zip(*(c.leave_one_out for c in inferred.classes), strict=True)
    fitted, corrected, best = (np.stack(logits, axis=1) for logits in columns)
    return Predictions(inferred.responses, {"fitted": fitted, "corrected": corrected, "best": best})


def with_corrected(predicted: Predictions, fit: Fit, results: Results) -> Predictions:
    """Also held-out trials by the corrected fit; of a class without an inference by the fit as it is."""
    x, fitted = fit.test.factors, predicted.logits["fitted"]
    logits = predicted.logits | {name: fitted.copy() for name in CORRECTED}

    for k, name in enumerate(fit.classes):
        for rows in cut(*x.shape) if not results[name].reason else ():
            logits["corrected"][rows, k], logits["best"][rows, k] = results[name].corrected_logits(x[rows])
    return Predictions(predicted.responses, logits)
