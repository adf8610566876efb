"""The notebook's own code for its data, written down as it stands there: the independent side of several tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N, N_CLASSES, SEED = 256, 10, 1973


def get_data(n_trials: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """W, factors, p and y of the notebook's `get_data(W, seed, n_trials)`."""
    np.random.seed(SEED)  # noqa: NPY002  # the notebook's global stream is the point
    W = np.random.randn(N + 1, N_CLASSES)  # noqa: NPY002
    np.random.seed(SEED)  # noqa: NPY002
    factors = np.random.randn(n_trials, N)  # noqa: NPY002
    p = 1 / (1 + np.exp(-(factors @ W[:-1, :] + W[-1, :])))
    y = p > np.random.rand(n_trials, N_CLASSES)  # noqa: NPY002
    return W, factors, p, y
