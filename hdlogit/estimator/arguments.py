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
    "class_weight": "no theory gives the errors of an intercept so moved; use a threshold on predict_proba",
    "fit_intercept": "the intercept is always fitted; leave fit_intercept out",
    "penalty": "ridge = 0, the default, is penalty=None, ridge = 1 / (n_trials * C) 'l2'; 'l1' has no theory",
    "l1_ratio": "there is a ridge, no lasso; ridge = 1 / (n_trials * C) is l1_ratio=0",
    **dict.fromkeys(("solver", "random_state", "n_jobs"), "there is one solver, an exact one; leave it out"),
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
    """Raise ValueError for a missing label that is no number: NumPy would take it for a third, or fail."""
    labels = np.asarray(y, dtype=object if isinstance(y, list | tuple) else None)
    # NaN among numbers is found by scikit-learn; sparse: no dimension
    if labels.dtype != object or not labels.ndim:
        return
    for (row, *_), label in np.ndenumerate(labels):
        # NaN differs from itself, and pandas' NA does not say
        if label is None or str(label == label) != "True":
            where = f"in row {row}, counted from 0"
            raise ValueError(f"y is {label} {where}; leave trials without a label out of X and y")


def repeated(sample_weight: ArrayLike, n: int) -> NDArray[np.intp]:
    """Indices of rows, each as often as its weight says."""
    times = np.asarray(sample_weight, np.float64)
    if times.shape != (n,) or not ((times >= 0) & (times < 2**53) & (times == np.floor(times))).all():
        line = f"sample_weight must be {n} whole numbers, how often each trial occurred"
        raise ValueError(f"{line}; for other weights no theory gives errors and intervals")
    if not times.any():
        raise ValueError("sample_weight is zero for every trial, so there is nothing to fit")
    return np.repeat(np.arange(n), times.astype(np.intp))
