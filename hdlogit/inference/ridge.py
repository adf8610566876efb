"""Ridge without cross-validation: the strength with the smallest held-out cross-entropy that the theory predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.predictions import best_ridge
from hdlogit.exact.solver import NoEstimate, fit
from hdlogit.inference.infer import UntrustedFit, infer, mean_variance

ROUNDS = 2  # of estimating the signal at one ridge, and the best ridge for that signal


def choose(factors: NDArray[np.floating], responses: NDArray[np.bool_], **how: Any) -> float:
    """One strength for all classes; all arguments are `hdlogit.exact.fit`'s.

    The theory needs to know the observer: the strength of its signal (gamma, the sd of its logits) and its intercept.
    They are estimated by SLOE from a first exact fit without ridge. Where that does not exist, or
    nearly not, from a fit with ridge: at first as strong as would suit a signal of 1, then as suits the signal found;
    and where the first shrinks so much that the signal cannot be told, from a tenth or a hundredth of it. What is
    returned is best for the root-mean-square signal and the mean size of the intercept over the classes that can be
    told. Raises OutsideTheory or UntrustedFit where none can.
    """
    kappa, variance = factors.shape[1] / len(factors), mean_variance(factors)
    x, y = torch.from_numpy(factors), torch.from_numpy(responses)

    def best_after(ridge: float) -> float:
        fitted = fit(x, y, ridge=ridge, **how)
        signal, intercept = _observer(x, y, fitted.coefficients, ridge)
        return best_ridge(kappa, signal, intercept) * variance

    for start in (0.0, kappa * variance, 0.1 * kappa * variance, 0.01 * kappa * variance):
        try:
            strength = best_after(start)
            for _ in range(ROUNDS if start > 0 else 0):
                strength = best_after(strength)
            return strength
        except (NoEstimate, OutsideTheory, UntrustedFit) as error:
            reason = error
    raise reason


def _observer(factors: Tensor, responses: Tensor, coefficients: Tensor, ridge: float) -> tuple[float, float]:
    """Root-mean-square signal and mean |intercept| over the classes for which they can be told."""
    signals, intercepts = [], []
    for k in range(responses.shape[1]):
        try:
            one = slice(k, k + 1)
            [found] = infer(factors.numpy(), responses[:, one].numpy(), coefficients[:, one].numpy(), ridge)
        except (OutsideTheory, UntrustedFit) as error:
            reason = error
        else:
            signals.append(found.theory.signal)
            intercepts.append(abs(found.theory.intercept))
    if not signals:
        raise reason
    return float(np.sqrt(np.mean(np.square(signals)))), float(np.mean(intercepts))
