"""Ridge without cross-validation: the strength with the smallest held-out cross-entropy that the theory
predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.predictions import best_ridge
from hdlogit.exact import fit
from hdlogit.inference.infer import infer
from hdlogit.inference.sums import measure


def choose(factors: NDArray[np.floating], responses: NDArray[np.bool_], **how: Any) -> float:
    """One strength for all classes; factors, responses and `how` (tolerance, ...) are as in
    `hdlogit.exact.fit`.

    The theory needs to know the observer: the strength of its signal (γ, the sd of its logits) and its
    intercept. They are estimated by SLOE (`hdlogit.inference.infer`) from a first exact fit without ridge.
    Where that does not exist, or only just, from a fit with the ridge that would suit a signal of 1, then
    with that for the signal estimated; if the first shrinks too much, with a tenth or a hundredth of it. The
    result is best for the root-mean-square signal and the mean size of the intercept over the classes where
    they can be estimated. Raises OutsideTheory where there are none.
    """
    kappa, variance = factors.shape[1] / len(factors), float(np.mean(measure(factors).scale ** 2))
    varied = responses.any(axis=0) & ~responses.all(axis=0)
    if varied.any():  # a class whose responses are all alike has no estimate at any strength
        responses = responses[:, varied]

    def best_after(ridge: float) -> float:
        fitted = fit(factors, responses, ridge=ridge, polish=True, **how)
        for c, reason in enumerate(fitted.reasons):
            if reason:  # the classes that remain have the weaker signals
                raise OutsideTheory(f"class {c}: {reason}")
        results = infer(factors, responses, fitted.coefficients, ridge)
        theories = [result.theory for result in results if not result.reason]
        if not theories:
            raise OutsideTheory(str(results[0].reason))
        signal = float(np.sqrt(np.mean([a.signal**2 for a in theories])))
        return best_ridge(kappa, signal, float(np.mean([abs(a.intercept) for a in theories]))) * variance

    for part in (0.0, 1.0, 0.1, 0.01):
        try:
            strength = best_after(part * kappa * variance)
            return best_after(best_after(strength)) if part else strength
        except OutsideTheory as error:
            reason = error
    raise reason
