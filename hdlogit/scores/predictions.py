"""Scores of predictions, from their logits: arrays (n_trials, n_classes), which may be memory-mapped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import each, single_threaded_blas
from hdlogit.psychometric.function import Floats, cross_entropy, divergence, logits, probability
from hdlogit.scores.blocks import blocks, mean

Booleans = NDArray[np.bool_]


def write_logits(factors: Floats, coefficients: Floats, out: Floats) -> None:
    """out = logits of `factors` (n, n_factors) under `coefficients` (n_factors + 1, n_classes), finite or not."""
    with np.errstate(invalid="ignore", over="ignore"):  # whether that warns depends on the processor
        for rows in blocks(*factors.shape):
            out[rows] = logits(factors[rows], coefficients)


def cross_entropies(factors: Floats, responses: Booleans, models: Floats) -> Floats:
    """Mean cross-entropy in nats of each of `models` (n_models, n_factors + 1, n_classes): (n_models,)."""
    n_models, _, n_classes = models.shape
    stacked = np.concatenate(models, axis=1)  # (n_factors + 1, n_models * n_classes): one matrix product per block

    def part(rows: slice) -> Floats:
        z = logits(factors[rows], stacked).reshape(-1, n_models, n_classes)
        y = np.broadcast_to(responses[rows, None, :], z.shape)
        return np.asarray(cross_entropy(z, y).sum((0, 2)))

    with single_threaded_blas():
        sums = sum(each(part, [*blocks(len(factors), max(stacked.shape))]), np.zeros(n_models))
    return sums / responses.size


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
