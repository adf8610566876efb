"""What the estimator takes in another way than scikit-learn's: parameters, labels, weights of trials."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

Parameters = ParamSpec("Parameters")
ELSEWHERE = {  # parameters of scikit-learn's own estimator, and what to use here
    "C": "use ridge = 1 / (n_trials * C); ridge = 0, the default, is C = inf",
    "class_weight": "it would move the intercept, and no theory gives its errors; use a threshold on predict_proba",
    "fit_intercept": "the intercept is always fitted; leave fit_intercept out",
    "penalty": "ridge = 0, the default, is penalty=None, ridge = 1 / (n_trials * C) is 'l2', and 'l1' has no theory",
    "l1_ratio": "there is a ridge, no lasso; ridge = 1 / (n_trials * C) is l1_ratio=0",
    **dict.fromkeys(("solver", "random_state", "n_jobs"), "there is one solver, and its result is exact; leave it out"),
}


def in_place_of_scikit_learns(init: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Say what to use in place of a parameter that only scikit-learn's estimator has."""

    @wraps(init)  # scikit-learn reads the parameters from the signature
    def initialise(*arguments: Parameters.args, **parameters: Parameters.kwargs) -> None:
        for name in parameters:
            if name in ELSEWHERE:
                raise TypeError(f"hdlogit.LogisticRegression has no {name}: {ELSEWHERE[name]}")
        init(*arguments, **parameters)

    return initialise


def check_present(y: ArrayLike) -> None:
    """Raise ValueError for a missing label that is no number: NumPy would make a third label of it, or a TypeError."""
    labels = np.asarray(y, dtype=object if isinstance(y, list | tuple) else None)
    if labels.dtype != object or not labels.ndim:  # NaN among numbers is found by scikit-learn; sparse: no dimension
        return
    for (row, *_), label in np.ndenumerate(labels):
        if label is None or str(label == label) != "True":  # NaN differs from itself, and pandas' NA does not say
            raise ValueError(f"y is {label} in row {row}, counted from 0; leave trials without a label out of X and y")


def repeated(sample_weight: ArrayLike, n: int) -> NDArray[np.intp]:
    """Indices of rows, each as often as its weight says."""
    times = np.asarray(sample_weight, np.float64)
    if times.shape != (n,) or not ((times >= 0) & (times < 2**53) & (times == np.floor(times))).all():
        raise ValueError(
            f"sample_weight must be {n} whole numbers, how often each trial occurred; for other weights no theory "
            "gives errors and intervals"
        )
    if not times.any():
        raise ValueError("sample_weight is zero for every trial, so there is nothing to fit")
    return np.repeat(np.arange(n), times.astype(np.intp))
