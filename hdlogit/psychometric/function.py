"""The psychometric function: many factors in, several independent yes/no responses out.

    logit_k(x) = x @ W[:-1, k] + W[-1, k]      x (n_factors,), W (n_factors + 1, n_classes), last row = bias
    p_k(x)     = 1 / (1 + exp(-logit_k(x)))

At the notebook's setting the logits have a standard deviation of 16, so p rounds to 0 or 1: every quantity here is
computed from logits, never as log(p). Element-wise functions return one value per response; the caller reduces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def logits(factors: Floats, coefficients: Floats) -> Floats:
    """Log odds of "yes": (n_trials, n_factors), (n_factors + 1, n_classes) -> (n_trials, n_classes)."""
    return np.asarray(factors @ coefficients[:-1] + coefficients[-1])


def probability(logits: Floats) -> Floats:
    """p = 1 / (1 + exp(-logit)), element-wise. 1 - p is `probability(-logits)`, with no loss of digits."""
    with np.errstate(over="ignore"):  # exp(-logit) = inf below -709 is right: p = 0
        return np.asarray(1 / (1 + np.exp(-logits)))


def softplus(logits: Floats) -> Floats:
    """log(1 + exp(logit)) = -log(1 - p), element-wise, without overflow: max(z, 0) + log1p(exp(-|z|))."""
    return np.asarray(np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits))))


def cross_entropy(logits: Floats, responses: NDArray[np.bool_]) -> Floats:
    """-log P(response) in nats, element-wise: softplus(-z) for a yes, softplus(z) for a no. Same shapes only."""
    if logits.shape != responses.shape:
        raise ValueError(f"logits {logits.shape} and responses {responses.shape} must have one shape")
    return softplus(np.where(responses, -logits, logits))


def divergence(true_logits: Floats, logits: Floats) -> Floats:
    """Kullback-Leibler divergence true || fitted in nats, element-wise: the cross-entropy in excess of the truth's.

    p (log p - log q) + (1 - p) (log(1 - p) - log(1 - q)), with log p = -softplus(-z) and log(1 - p) = -softplus(z).
    """
    if true_logits.shape != logits.shape:
        raise ValueError(f"true logits {true_logits.shape} and logits {logits.shape} must have one shape")
    yes = probability(true_logits) * (softplus(-logits) - softplus(-true_logits))
    no = probability(-true_logits) * (softplus(logits) - softplus(true_logits))
    return np.asarray(yes + no)
