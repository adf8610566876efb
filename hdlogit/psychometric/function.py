"""The psychometric function: many factors in, several independent yes/no responses out.

    logit_k(x) = x @ W[:-1, k] + W[-1, k]      x (n_factors,), W (n_factors + 1, n_classes), last row = bias
    p_k(x)     = g_k + (1 - g_k - l_k) / (1 + exp(-logit_k(x)))    guess rate g, lapse rate l: 0 unless given

At the notebook's setting the logits have a standard deviation of 16, so p rounds to 0 or 1: every quantity here is
computed from logits, never as log(p). Element-wise functions return one value per response; the caller reduces.
Rates are one number, or one per class; g, l >= 0 and g + l < 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Rate = float | Floats


def logits(factors: Floats, coefficients: Floats) -> Floats:
    """Log odds of "yes": (n_trials, n_factors), (n_factors + 1, n_classes) -> (n_trials, n_classes)."""
    return np.asarray(factors @ coefficients[:-1] + coefficients[-1])


def probability(logits: Floats, guess_rate: Rate = 0.0, lapse_rate: Rate = 0.0) -> Floats:
    """p = g + (1 - g - l) / (1 + exp(-logit)), element-wise.

    1 - p is `probability(-logits, lapse_rate, guess_rate)`, with no loss of digits.
    """
    with np.errstate(over="ignore"):  # exp(-logit) = inf below -709 is right: p = g
        return np.asarray(guess_rate + (1 - guess_rate - lapse_rate) * (1 / (1 + np.exp(-logits))))


def surprisal(logits: Floats, guess_rate: Rate = 0.0, lapse_rate: Rate = 0.0) -> Floats:
    """-log p in nats, element-wise; that of a no is `surprisal(-logits, lapse_rate, guess_rate)`.

    p = (1 - l + g exp(-z)) / (1 + exp(-z)), and numerator and denominator are both scaled by exp(min(z, 0)).
    """
    scale = np.minimum(logits, 0)
    if np.any(guess_rate) or np.any(lapse_rate):
        with np.errstate(divide="ignore"):  # log 0 = -inf is right: the term is zero
            scale = np.logaddexp(np.log1p(-lapse_rate) + scale, np.log(guess_rate) - np.maximum(logits, 0))
    return np.asarray(np.log1p(np.exp(-np.abs(logits))) - scale)


def log_odds(logits: Floats, guess_rate: Rate = 0.0, lapse_rate: Rate = 0.0) -> Floats:
    """log p / (1 - p) of p = g + (1 - g - l) / (1 + exp(-logit)), element-wise; the logit itself where g = l = 0."""
    if not np.any(guess_rate) and not np.any(lapse_rate):
        return np.asarray(logits)
    return surprisal(-logits, lapse_rate, guess_rate) - surprisal(logits, guess_rate, lapse_rate)


def cross_entropy(logits: Floats, responses: NDArray[np.bool_]) -> Floats:
    """-log P(response) in nats, element-wise, without rates. Logits and responses must have the same shape."""
    if logits.shape != responses.shape:
        raise ValueError(f"logits {logits.shape} and responses {responses.shape} must have one shape")
    return surprisal(np.where(responses, logits, -logits))


def divergence(true_logits: Floats, logits: Floats) -> Floats:
    """Kullback-Leibler divergence true || fitted in nats, element-wise: the cross-entropy in excess of the truth's.

    p (log p - log q) + (1 - p) (log(1 - p) - log(1 - q)), all four logarithms from logits, which may be `log_odds`.
    """
    if true_logits.shape != logits.shape:
        raise ValueError(f"true logits {true_logits.shape} and logits {logits.shape} must have one shape")

    def term(sign: int) -> Floats:
        excess = surprisal(sign * logits) - surprisal(sign * true_logits)
        return np.asarray(probability(sign * true_logits) * excess)

    return term(1) + term(-1)
