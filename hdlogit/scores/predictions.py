"""Scores of predictions, from their logits: arrays (n_trials, n_classes), which may be memory-mapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import cut, single_threaded_blas, total
from hdlogit.psychometric.function import Floats, cross_entropy, divergence, logits, probability

Booleans = NDArray[np.bool_]


def write_logits(factors: Floats, coefficients: Floats, out: Floats) -> None:
    """out = logits of `factors` (n, n_factors) under `coefficients` (n_factors + 1, n_classes)."""
    with np.errstate(invalid="ignore", over="ignore"):  # whether that warns depends on the processor
        for rows in cut(*factors.shape):
            out[rows] = logits(factors[rows], coefficients)


def cross_entropies(factors: Floats, responses: Booleans, models: Floats) -> Floats:
    """Mean cross-entropy in nats of each of `models` (n_models, n_factors + 1, n_classes): (n_models,)."""
    n_models, _, n_classes = models.shape
    # (n_factors + 1, n_models * n_classes): one matrix product per block
    stacked = np.concatenate(models, axis=1)

    def of_block(rows: slice) -> Floats:
        z = logits(factors[rows], stacked).reshape(-1, n_models, n_classes)
        y = np.broadcast_to(responses[rows, None, :], z.shape)
        return np.asarray(cross_entropy(z, y).sum((0, 2)))

    with single_threaded_blas():
        return total(of_block, cut(len(factors), max(stacked.shape))) / responses.size


def mean(function: Callable[..., Floats], *arrays: NDArray[Any]) -> float:
    """Mean of an element-wise `function` over all entries of `arrays` (n, width)."""
    sums = total(lambda rows: function(*(a[rows] for a in arrays)).sum(axis=0), cut(*arrays[0].shape))
    return float(sums.sum() / arrays[0].size)


def scores(fitted: Floats, responses: Booleans) -> dict[str, float]:
    """Cross-entropy (nats), accuracy (fraction on the likelier side) and Brier score of logits `fitted`."""
    return {
        "cross_entropy": mean(cross_entropy, fitted, responses),
        "accuracy": mean(lambda z, y: (z > 0) == y, fitted, responses),
        "brier": mean(lambda z, y: (probability(z) - y) ** 2, fitted, responses),
    }


def excess(true: Floats, fitted: Floats) -> float:
    """Mean Kullback-Leibler divergence true || fitted, in nats, from both logits."""
    return mean(divergence, true, fitted)
