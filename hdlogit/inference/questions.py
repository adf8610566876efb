"""What is missing from the model? Score tests from one fit, none of which fits again.

Columns Z that the model lacks are tested by what the fit leaves. With ψ_i = y_i − σ(z_i), D_i = σ'(z_i), t̃ the factors
and 1, and h_i the leverage of trial i,

    Z̃ = Z − T (TᵀDT)⁻¹ TᵀD Z       u = Z̃ᵀψ       f = Σ ψ² / Σ D(1 − h)       S = uᵀ (Z̃ᵀDZ̃)⁻¹ u / f

If Z has no effect, S is the part of m = n − p − 1 squares that lies in J of m directions, so (S/J) / ((m − S)/(m − J))
is distributed nearly as F of J and m − J, with many factors per trial, too (studied: docs/theory.md); with many trials
S is χ²_J. (S − J)/2n is about what Z would gain per trial, in nats, in leave-one-out cross-entropy.

With guess and lapse rates ψ and D are those of the response with rates: with P the probability that the fit without
trial i gives, and P' its slope by the logit, ψ = (y − P) P'/(P(1 − P)) and D = P'²/(P(1 − P)).

The shape of the link, and whether P(y = 1) rises along the index at all, are tested on leave-one-out probabilities,
against responses drawn from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, fdtrc, xlogy

from hdlogit.inference.curve import bins_of
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import Array, Factors, Names, Responses, inverse_root

MOST = 2**25  # numbers in the factors of the trials that are looked at: 256 MB
DEPENDENT = 1e-6  # part of a column's variance that the factors do not explain, below which it adds nothing
LAGS = 3  # previous responses
RARE = 0.05  # of the trials; a two-valued factor with a rarer value is not multiplied with the others
MOST_PRODUCTS = 5  # two-valued factors that are multiplied with the others, those nearest to one half
BINS = 15  # of the index, for whether P(y = 1) rises
SAMPLES = 999  # sets of responses that are drawn
SEED = 0
FEW = 50  # trials per factor, from which on a trial hardly moves the fit
EDGE = 1e-3  # of P between its ends, where the weights of trials end


class Question(NamedTuple):
    """One thing that the model may lack."""

    family: str
    df: int
    statistic: float  # S, or of the link and of rising the like; nearly χ² of df where n is large
    p_value: float
    gain: float  # nats per trial, about, that a model with it would gain in leave-one-out cross-entropy


@dataclass(frozen=True)
class Residuals:
    """What a fit leaves of n responses."""

    design: Array  # (n, p + 1) t̃
    residual: Array  # (n,) ψ
    curvature: Array  # (n,) D
    penalty: float | Array = 0.0  # (p + 1,) of the summed loss

    @classmethod
    def of_fit(cls, design: Array, responses: Array, coefficients: Array, penalty: float | Array = 0.0) -> Residuals:
        """Of a logistic fit: coefficients (p + 1,) of the design's columns; responses (n,), soft with shrinkage."""
        p = expit(design @ coefficients)
        return cls(design, responses - p, p * (1 - p), penalty)

    def of(self, trials: NDArray[np.bool_]) -> Residuals:
        """Of these trials only; all columns are then tested by what the factors do not explain in them."""
        if trials.all():
            return self
        return Residuals(self.design[trials], self.residual[trials], self.curvature[trials], self.penalty)

    @cached_property
    def root(self) -> Array | None:
        """R, upper triangular, of H⁻¹ = RRᵀ; None where H is not positive definite."""
        hessian = (self.design * self.curvature[:, None]).T @ self.design
        return inverse_root(hessian + np.diag(np.broadcast_to(self.penalty, len(hessian))))

    def test(self, added: Array) -> tuple[float, int, float]:
        """(S, J, p) of columns (n, m): J of them that the factors do not explain; NaN where nothing is left to test."""
        if self.root is None:
            return np.nan, 0, np.nan
        z = added - added.mean(axis=0)
        z /= np.maximum(np.abs(z).max(axis=0), 1e-300)
        weighted = z * self.curvature[:, None]
        size = np.einsum("ij,ij->j", weighted, z)
        z -= self.design @ (self.root @ (self.root.T @ (self.design.T @ weighted)))
        left = np.einsum("ij,ij,i->j", z, z, self.curvature)
        z = z[:, left > DEPENDENT * size] / np.sqrt(left[left > DEPENDENT * size])
        values, axes = np.linalg.eigh((z * self.curvature[:, None]).T @ z)
        kept = values > DEPENDENT
        u = (axes[:, kept].T @ (z.T @ self.residual)) / np.sqrt(values[kept])
        leverage = self.curvature * np.square(self.design @ self.root).sum(axis=1)
        f = np.square(self.residual).sum() / (self.curvature @ (1 - leverage))
        s, df, m = float(u @ u / f), int(kept.sum()), float((1 - leverage).sum())
        if not 0 < df < m:
            return np.nan, 0, np.nan
        return s, df, float(fdtrc(df, m - df, s / df * (m - df) / max(m - s, 1e-9)))


def questions(
    result: ClassInference,
    factors: Factors,
    responses: Responses,
    names: Names,
    groups: NDArray[np.generic] | None = None,
) -> list[Question]:
    """What the model of one class may lack, the largest gain first; [] with ridge or shrinkage, or without inference.

    factors: (n, p), trials in the order in which they were run; responses: (n,) bool; names: of the factors; groups:
    (n,) labels of sessions or observers, across which nothing is remembered.
    """
    if result.reason or result.theory.ridge or result.theory.shrinkage or result.separated:
        return []
    n, p = factors.shape
    step = -(-n // len(result.leave_one_out.best))
    trials = np.arange(0, n, step * -(-n * (p + 1) // (step * MOST)))
    chosen = slice(None, None, trials[1] // step)
    y, best = np.asarray(responses[trials], np.float64), result.leave_one_out.best[chosen]
    design = np.column_stack([(factors[trials] - result.centre) / result.scale, np.ones(len(trials))])
    left = _with_rates(result, design, y, best) if _free_rates(result) else _plain(result, design, y)
    asked = []
    for family, (added, rows) in families(factors, responses, names, groups, trials).items():
        s, df, p_value = left.of(rows).test(added[rows])
        if df:
            asked.append(Question(family, df, s, p_value, (s - df) / (2 * len(y))))
    index, noise = (column[chosen] for column in result.index)
    if n >= FEW * p:  # a trial hardly moves the fit, and trials with the same factors must stay together
        index, noise = design @ _standardised(result), np.zeros(1)
    asked.append(rising(best, y, bins_of(index, float(np.sqrt(np.mean(noise**2))), BINS)))
    return sorted(asked, key=lambda question: -question.gain)


def _standardised(result: ClassInference) -> Array:
    """Fitted coefficients (p + 1,) of the design's columns."""
    weights = result.estimate[:-1]
    return np.append(weights * result.scale, result.estimate[-1] + result.centre @ weights)


def _free_rates(result: ClassInference) -> list[int]:
    """Which of guess (2) and lapse rate (3) are estimated."""
    return [k for k in (2, 3) if result.link.covariance[k, k] > 0]


def _plain(result: ClassInference, design: Array, y: Array) -> Residuals:
    return Residuals.of_fit(design, y, _standardised(result))


def _with_rates(result: ClassInference, design: Array, y: Array, best: Array) -> Residuals:
    """P' is that of the corrected logit; what it lacks for the noise of the fit costs power, but no size."""
    p, ends = expit(best), 1 - result.guess_rate - result.lapse_rate
    inside = np.clip((p - result.guess_rate) / ends, EDGE, 1 - EDGE)
    slope, variance = ends * inside * (1 - inside), p * (1 - p)
    rates = {2: (1 - inside) / slope, 3: -inside / slope}
    whole = np.column_stack([design, *(rates[k] for k in _free_rates(result))])
    return Residuals(whole, (y - p) * slope / variance, slope**2 / variance)


def families(
    factors: Factors,
    responses: Responses,
    names: Names,
    groups: NDArray[np.generic] | None = None,
    trials: NDArray[np.intp] | None = None,
) -> dict[str, tuple[Array, NDArray[np.bool_]]]:
    """Columns (trials, m) that a model of these factors may lack, and in which trials they are known, by their name."""
    n, p = factors.shape
    trials = np.arange(n) if trials is None else trials
    x = np.asarray(factors[trials], np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-300)
    _, group = np.unique(np.zeros(n, int) if groups is None else groups, return_inverse=True)
    two = [j for j in range(p) if len(np.unique(x[:, j])) == 2]
    more = np.setdiff1d(np.arange(p), two)
    found = {"squares of the factors": x[:, more] ** 2} if len(more) else {}
    rare = {j: min((x[:, j] > 0).mean(), (x[:, j] <= 0).mean()) for j in two}
    for j in sorted(two, key=lambda j: -rare[j])[:MOST_PRODUCTS]:
        others = np.setdiff1d(np.arange(p), j)
        if rare[j] >= RARE and len(others):
            found[f"products with {names[j]}"] = x[:, [j]] * x[:, others]
    time = trials / max(n - 1, 1) - 0.5
    found["trend over trials"] = time[:, None]
    if group.max() > 0:
        member = (group[trials][:, None] == np.arange(group.max() + 1)).astype(float)
        found["differences between groups"] = member[:, 1:]
        found["trends within groups"] = member * (time - member @ (time @ member / member.sum(axis=0)))[:, None]
    whole = {family: (columns, np.ones(len(trials), bool)) for family, columns in found.items()}
    earlier = [np.maximum(trials - k, 0) for k in range(1, LAGS + 1)]
    same = [(trials >= k) & (group[t] == group[trials]) for k, t in enumerate(earlier, 1)]
    responded = np.stack([responses[t] for t in earlier], axis=1).astype(float)
    before = np.asarray(factors[earlier[0]], np.float64)
    return whole | {
        "previous responses": (responded, np.all(same, axis=0)),
        "factors of the previous trial": (before, same[0]),
    }


def rising(best: Array, y: Array, bins: list[NDArray[np.intp]]) -> Question:
    """Does P(y = 1) rise all along the index? Twice the log-likelihood ratio of free means to means that rise.

    bins: the trials of each part of the index, lowest first.
    """
    trials, order = np.array([len(some) for some in bins], np.float64), np.concatenate(bins)
    first = np.append(0, np.cumsum(trials)[:-1]).astype(int)

    def likelihood(yes: Array, p: Array) -> Array:
        return np.asarray((xlogy(yes, p) + xlogy(trials - yes, 1 - p)).sum(axis=-1))

    def statistic(drawn: Array) -> Array:
        yes = np.add.reduceat(drawn, first, axis=1)
        risen = np.stack([isotonic_regression(row / trials, weights=trials).x for row in yes])
        return 2 * (likelihood(yes, yes / trials) - likelihood(yes, np.clip(risen, 0.0, 1.0)))

    s, p_value = _by_drawing(statistic, expit(best[order]), y[order])
    return Question("yes does not rise along the index", 0, s, p_value, s / (2 * len(y)))


def _by_drawing(statistic: Callable[[Array], Array], p: Array, y: Array) -> tuple[float, float]:
    """(Statistic, p-value) against responses drawn with probabilities p."""
    rng, observed = np.random.default_rng(SEED), float(statistic(y[None])[0])
    at_once = max(2**24 // len(p), 1)
    drawn = [
        statistic((rng.random((min(at_once, SAMPLES - start), len(p))) < p).astype(float))
        for start in range(0, SAMPLES, at_once)
    ]
    return observed, float((1 + (np.concatenate(drawn) >= observed * (1 - 1e-9)).sum()) / (SAMPLES + 1))
