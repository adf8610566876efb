"""Is a model any use, and which of several predicts better? By what each says of trials that it has not seen.

Leave-one-out logits score a model on its own trials: with l_i the cross-entropy of trial i, predicted without it, the
mean of l is compared with that of other models trial by trial, d_i = l_i − l'_i, mean d ± sd(d)/√n. The constant that
a model must beat is the fraction of yes among the other trials. What adds to a nested model is tested, as terms are, by
the score (`hdlogit.inference.terms`), which holds with many factors per trial, where the likelihood ratio does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import log_expit, xlogy

from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import Array, Factors, Responses
from hdlogit.inference.terms import score_test
from hdlogit.psychometric.function import log_odds

NESTED = 1e-6  # part of a factor's variance that another model's factors may leave unexplained, in a nested model
ROWS = 20_000  # trials from which it is told


class Usefulness(NamedTuple):
    """Of one class: leave-one-out cross-entropies, nats per trial, and what the factors together tell."""

    constant: float  # the fraction of yes
    classical: float  # the fit as it is
    best: float  # the best prediction
    gain: float  # of the best prediction over the constant,
    gain_error: float  # with its standard error, trial by trial
    statistic: float  # of the test that no factor has an effect,
    df: int  # its degrees of freedom,
    p_value: float  # and its p-value

    @property
    def r_squared(self) -> float:
        """McFadden's, leave-one-out: 1 − best/constant; below 0 the constant predicts better."""
        return 1 - self.best / self.constant


class Model(NamedTuple):
    """One class of a model, and the trials that it is of."""

    name: str
    result: ClassInference
    factors: Factors  # (n, p)
    responses: Responses  # (n,)


class Comparison(NamedTuple):
    """A model beside the first one."""

    name: str
    leave_one_out: float  # cross-entropy, nats per trial, of its best prediction
    gain: float  # over the first model's,
    gain_error: float  # with its standard error, trial by trial
    n_parameters: int
    aic: float
    bic: float  # both of the maximum of the likelihood; NaN after another fit, and where rates are not of a joint one
    df: int  # by how many columns the larger of two nested models exceeds the other; 0 where they are not nested
    p_value: float  # of the test that these have no effect


def losses(logits: Array, responses: Responses) -> Array:
    """Cross-entropy of each trial, nats."""
    return np.asarray(-log_expit(np.where(responses, logits, -logits)))


def constant_losses(responses: Responses) -> Array:
    """Of the fraction of yes among the other trials, to which half a yes and half a no are added (Krichevsky &
    Trofimov 1981): else a single yes would cost infinitely much."""
    y = np.asarray(responses, np.float64)
    p = (y.sum() - y + 0.5) / len(y)
    return np.asarray(-(xlogy(y, p) + xlogy(1 - y, 1 - p)))


def usefulness(result: ClassInference, factors: Factors, responses: Responses) -> Usefulness:
    """Of a class with an inference; factors (n, p), responses (n,) bool: those that it is from."""
    y, logits = responses[result.left_out(len(responses))], result.leave_one_out
    constant, classical, best = constant_losses(y), losses(logits.plain, y), losses(logits.best, y)
    statistic, df, p_value = score_test(factors, responses, np.arange(factors.shape[1]))
    means = float(constant.mean()), float(classical.mean()), float(best.mean())
    return Usefulness(*means, *_paired(constant, best), statistic, df, p_value)


def compare(models: Sequence[Model]) -> list[Comparison]:
    """Each model beside the first. Raises ValueError where they are not of the same trials, or one has no inference."""
    first = models[0]
    for model in models:
        if model.result.reason:
            raise ValueError(f"{model.name} has no inference: {model.result.reason}")
        if not np.array_equal(model.responses, first.responses):
            raise ValueError(f"{model.name} and {first.name} are not of the same trials: their responses differ")
    return [_beside(first, model) for model in models]


def _beside(first: Model, model: Model) -> Comparison:
    result, n = model.result, len(model.responses)
    y = model.responses[result.left_out(n)]
    mine, other = losses(result.leave_one_out.best, y), losses(first.result.leave_one_out.best, y)
    gain, error = _paired(other, mine)
    deviance, k = _deviance(model), len(result.estimate) + result.link.known.count(None)
    df, p_value = _nested(first, model)
    aic, bic = deviance + 2 * k, deviance + k * float(np.log(n))
    return Comparison(model.name, float(mine.mean()), gain, error, k, aic, bic, df, p_value)


def _paired(first: Array, second: Array) -> tuple[float, float]:
    """Mean of the differences, and its standard error."""
    d = first - second
    return float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))


def _deviance(model: Model) -> float:
    """−2 maximum of the log-likelihood; NaN with ridge or shrinkage, or rates not fitted together with the weights."""
    c, joint = model.result, model.result.profiles is not None
    if (c.guess_rate + c.lapse_rate > 0 and not joint) or c.theory.ridge or c.theory.shrinkage:
        return np.nan
    w = c.corrected if joint else c.estimate
    z = np.asarray(model.factors @ w[:-1] + w[-1], np.float64)
    log_odds_of_yes = np.asarray(log_odds(z, c.guess_rate, c.lapse_rate), np.float64)
    return 2 * float(losses(log_odds_of_yes, model.responses).sum())


def _nested(first: Model, second: Model) -> tuple[int, float]:
    """(Degrees of freedom, p-value) of what the larger of two nested models adds; (0, NaN) of others.

    Nested: every factor of one model is a linear combination of the other's.
    """
    small, large = sorted((first, second), key=lambda model: model.factors.shape[1])
    c, every = small.result, max(len(small.responses) // ROWS, 1)
    if c.guess_rate + c.lapse_rate > 0 or c.theory.ridge:
        return 0, np.nan
    z, x = (np.asarray(model.factors[::every], np.float64) for model in (small, large))
    z, x = ((a - a.mean(axis=0)) / np.maximum(a.std(axis=0), 1e-300) for a in (z, x))
    unexplained = np.square(z - x @ np.linalg.lstsq(x, z, rcond=None)[0]).mean(axis=0)
    if unexplained.max() >= NESTED:
        return 0, np.nan
    p = small.factors.shape[1]
    _, df, p_value = score_test(
        np.hstack([small.factors, large.factors]), small.responses, p + np.arange(large.factors.shape[1])
    )
    return df, p_value
