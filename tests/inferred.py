"""Inference whose every class must succeed, and what is asked of it again and again."""

import numpy as np
from numpy.typing import NDArray

from hdlogit.inference import ClassInference, infer

Array = NDArray[np.float64]


def inferred(*args: object, **how: object) -> list[ClassInference]:
    """The inference of every class, none of which may be refused."""
    results = infer(*args, **how)  # type: ignore[arg-type]  # handed on as they are
    assert [r.reason for r in results if r.reason] == []
    return results


def covered(classes: list[ClassInference], observer: Array, *, classical: bool = False) -> NDArray[np.bool_]:
    """(p + 1, k): whether the 95 % interval holds the truth."""
    limits = [c.classical_interval() if classical else c.interval() for c in classes]
    low, high = np.stack([x[0] for x in limits], axis=1), np.stack([x[1] for x in limits], axis=1)
    return np.asarray((low < observer) & (observer < high))


def pooled_slope(estimates: Array, weights: Array) -> float:
    return float((estimates * weights).sum() / (weights**2).sum())
