"""An answer where the responses are separated: the same fit with soft responses.

y* = δ y + (1 − δ)/2,  δ = n/(n + p)  in place of y (Diaconis & Ylvisaker's prior): its estimate always exists, and its
logits are the same in any units of the factors, and for any linear combinations of them (Sterzinger & Kosmidis,
arXiv:2311.07419).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdlogit.exact.solver import ExactFit

Fit = ExactFit[NDArray[Any]]
Shrinkage = Literal[0, "auto", "always"]


def with_shrinkage(
    fit: Callable[[NDArray[Any]], Fit], responses: NDArray[np.bool_], n_factors: int, shrinkage: Shrinkage
) -> tuple[Fit, NDArray[np.float64]]:
    """(the fit, 1 − δ per class): with soft responses never (0), in classes without an estimate ("auto"), or "always".

    fit: of the responses that it is given; responses: (n_trials, n_classes). `separating` of a class still names
    the factors that made shrinkage necessary.
    """
    n_trials, n_classes = responses.shape
    softness = n_factors / (n_trials + n_factors)  # 1 − δ
    if shrinkage == "always":
        return fit(responses * (1 - softness) + softness / 2), np.full(n_classes, softness)
    found = fit(responses)
    missing = [k for k, reason in enumerate(found.reasons) if reason and shrinkage]
    used = np.zeros(n_classes)
    if not missing:
        return found, used
    used[missing] = softness
    others = fit(responses[:, missing] * (1 - softness) + softness / 2)
    reasons = dict(enumerate(found.reasons)) | dict(zip(missing, others.reasons, strict=True))
    changed: dict[str, Any] = {"reasons": [*reasons.values()]}
    for name, array in vars(found).items():
        if isinstance(array, np.ndarray):
            changed[name] = array.copy()
            changed[name][..., missing] = getattr(others, name)
    return replace(found, **changed), used
