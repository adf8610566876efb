"""An answer where the responses are separated: the same fit with soft responses.

y* = δ y + (1 − δ)/2,  δ = n/(n + p)  in place of y (Diaconis & Ylvisaker's prior): its estimate always exists, and its
logits are the same in any units of the factors, and for any linear combinations of them (Sterzinger & Kosmidis,
arXiv:2311.07419).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
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
    found, used = None, np.zeros(n_classes)
    if shrinkage != "always":
        found = fit(responses)
    missing = np.array([found is None or found.reasons[k] is not None for k in range(n_classes)])
    if shrinkage != 0 and missing.any():
        used[missing] = n_factors / (n_trials + n_factors)
        soft = responses[:, missing] * (1 - used[missing]) + used[missing] / 2
        found = _with(found, missing, fit(soft))
    assert found is not None
    return found, used


def _with(found: Fit | None, missing: NDArray[np.bool_], others: Fit) -> Fit:
    """The fit with `others` in place of the classes that are `missing` in it."""
    if found is None:
        return others
    places, changed = np.flatnonzero(missing), {}
    for field in fields(ExactFit):
        old, new = getattr(found, field.name), getattr(others, field.name)
        whole = old.copy()
        for k, place in enumerate(places):
            if isinstance(whole, np.ndarray):
                whole[..., place] = new[..., k]
            elif field.name == "reasons":
                whole[place] = new[k]
        changed[field.name] = whole
    return replace(found, **changed)
