"""What do observers have in common? The mean of their corrected weights, and how much they differ.

Observer i has corrected weights b_i with covariance C_i, which is not diagonal: an observer's weights share
the error of their scale. But C_i depends on b_i: who has larger weights, in truth or by chance, also has
larger errors, and most along b_i itself. Weighted by own precision the mean is drawn towards 0 (to .58 with
40 factors: docs/theory.md). So V_i has the shape that is common to all, in units of one's own factors, and
the size that one would have with the median signal γ of all observers,

    S_i C_i S_i = v_i R_i,  tr R_i = p        V_i = S_i⁻¹ R S_i⁻¹ v_i D_i(γ̂_i)/D_i(γ)        R = mean R_i

S_i the standard deviations of the factors, D_i(γ) = E σ'(β̂0_i + γZ), Z ~ N(0, 1), to which information is
proportional. Then `hdlogit.observers.random_effects`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc, stdtr, stdtrit

from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.inference.result import ClassInference
from hdlogit.observers.random_effects import RandomEffects, cochran, random_effects

Array = NDArray[np.float64]

FEW = 10  # observers, below which the weights of a family share one τ²


class FamilyTest(NamedTuple):
    """That the mean of several weights is zero in all: F with these degrees of freedom."""

    statistic: float
    df: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class Population:
    """k observers, p weights in the units of the factors; NaN of one that fewer than two observers tell."""

    names: list[str]  # (p,) of the factors
    estimates: Array  # (k, p) b, NaN where an observer tells nothing
    mean: Array  # (p,) μ̂, of the population
    error: Array  # (p,) its standard error, from the differences between observers
    df: Array  # (p,) degrees of freedom of error
    tau: Array  # (p,) sd between observers; the same in a family (per sd of the factors) if they are few
    heterogeneity: Array  # (p,) Q = Σ (b − μ̃)²/V, χ² of df if observers do not differ; μ̃ weighted by 1/V
    shrunk: Array  # (k, p) each observer's weights, partially pooled: E(β_i | b, T)
    shrunk_error: Array  # (k, p)
    families: dict[str, FamilyTest]

    @property
    def i_squared(self) -> Array:
        """(p,) part of the variance of b between observers: max(0, 1 − df/Q) (Higgins & Thompson 2002)."""
        return np.asarray(np.maximum(0.0, 1 - self.df / np.maximum(self.heterogeneity, 1e-300)))

    def heterogeneity_p_values(self) -> Array:
        """(p,) of the tests that all observers have the same weight, by Q."""
        return np.asarray(chdtrc(self.df, self.heterogeneity))

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """(low, high) of the population means, (p,) each: μ̂ ± t error."""
        half = stdtrit(self.df, 0.5 + level / 2) * self.error
        return self.mean - half, self.mean + half

    def p_values(self) -> Array:
        """(p,) two-sided, of the tests that a population mean is 0."""
        return np.asarray(2 * stdtr(self.df, -np.abs(self.mean / self.error)))


def population(
    results: Sequence[ClassInference],
    names: Sequence[str] | None = None,
    families: Mapping[str, Sequence[int | str]] | None = None,
    pooled: bool | None = None,
) -> Population:
    """The population mean of each weight (not of the biases), with an interval between observers.

    results: of k observers who had the same p factors, in the same units; those with a `reason` tell nothing,
    and a weight that is infinite or unknown in one observer is estimated from the others. names: (p,) of the
    factors; families: of weights (indices or names) that are tested together, by default all; pooled: whether
    the weights of a family share one variance between observers, per sd of the factors, by default with fewer
    than 10 observers. Weights of no family then share one. Raises ValueError, in one line, where there is no
    population: fewer than two observers with an inference, or none who tells of all weights.
    """
    answered = [c for c in results if not c.reason]
    if len({len(c.centre) for c in results}) > 1:
        raise ValueError("observers must have the same factors")
    if len(answered) < 2:
        raise ValueError(f"a population needs two observers with an inference; there are {len(answered)}")
    p = len(results[0].centre)
    names = [*map(str, range(p) if names is None else names)]
    if len(names) != p:
        raise ValueError(f"{len(names)} names for {p} factors")
    members = _members(families or {"all": range(p)}, names)
    sd = np.sqrt(np.mean([c.scale**2 for c in answered], axis=0))  # (p,)
    b = np.stack([np.full(p, np.nan) if c.reason else c.corrected[:-1] for c in results]) * sd
    b[np.isinf(b)] = np.nan
    kept = np.flatnonzero(np.isfinite(b).sum(axis=0) >= 2)
    if not kept.size:
        raise ValueError("no weight has a finite estimate in two observers, so there is no population mean")
    b = b[:, kept]
    v = _covariances(results, b, kept, sd)
    family_of = np.zeros(p, np.intp)
    for number, of in enumerate(members.values(), start=1):
        family_of[of] = number
    common = random_effects(b, v, np.unique(family_of[kept], return_inverse=True)[1])
    few = len(answered) < FEW if pooled is None else pooled
    effects = common if few else random_effects(b, v, np.arange(len(kept)))
    shrunk, shrunk_error = effects.partially_pooled()
    variances = np.where(np.isfinite(b), np.diagonal(v, axis1=1, axis2=2), np.nan)

    def full(values: Array, units: Array | float = 1.0) -> Array:
        """From the weights that are kept, per sd of the factors."""
        whole = np.full((*values.shape[:-1], p), np.nan)
        whole[..., kept] = values
        return whole / units

    return Population(
        names=names,
        estimates=full(b, sd),
        mean=full(effects.mean, sd),
        error=full(effects.error, sd),
        df=full(np.isfinite(b).sum(axis=0) - 1.0),
        tau=full(np.sqrt(effects.tau_squared), sd),
        heterogeneity=full(cochran(b, variances)),
        shrunk=full(shrunk, sd),
        shrunk_error=full(shrunk_error, sd),
        families={name: _test(common, np.flatnonzero(np.isin(kept, of))) for name, of in members.items()},
    )


def _members(families: Mapping[str, Sequence[int | str]], names: list[str]) -> dict[str, NDArray[np.intp]]:
    """The factors' numbers. Raises ValueError for one that is not there."""
    numbers: dict[int | str, int] = {name: j for j, name in enumerate(names)} | {j: j for j in range(len(names))}
    if unknown := [str(one) for of in families.values() for one in of if one not in numbers]:
        raise ValueError(f"unknown factors: {', '.join(unknown)}; there are {', '.join(names[:20])}")
    return {family: np.array([numbers[one] for one in of], np.intp) for family, of in families.items()}


def _covariances(results: Sequence[ClassInference], b: Array, kept: NDArray[np.intp], sd: Array) -> Array:
    """V_i (k, p, p) of the weights that are kept, per sd of the factors; of no meaning where b_i is NaN."""
    known, signal = np.isfinite(b), np.median([c.signal for c in results if not c.reason])
    sizes = np.ones(len(b))
    shapes, units = np.zeros((2, *b.shape, len(kept)))
    for i, c in enumerate(results):
        if known[i].any():
            own = c.scale[kept]
            whole = c.covariance[np.ix_(kept, kept)] * np.outer(own, own)
            size = float(np.diag(whole)[known[i]].mean())
            d = probability_and_slope([c.theory.intercept] * 2, np.array([c.signal, signal]))[1]
            sizes[i], shapes[i] = size * d[0] / d[1], whole / size
            units[i] = np.outer(sd[kept] / own, sd[kept] / own)
    complete = known.all(axis=1)
    if not complete.any():
        raise ValueError("every observer lacks an estimate of some weight that others have")
    return np.asarray(sizes[:, None, None] * shapes[complete].mean(axis=0) * units)


def _test(effects: RandomEffects, members: NDArray[np.intp]) -> FamilyTest:
    """That these weights have mean 0, by effects with one τ² for all of them.

    With R Rᵀ = Φ⁻¹ over the members the statistic is the ratio of two mean squares: of Rᵀμ̂, and of the
    residuals of the observers as W_i weighs them. If weights differ in τ, or correlate between observers, the
    ratio is no F of m and (k − 1) m, but nearly one of m* and (k − 1) m*, with m* = (tr S)²/tr S² (Box 1954),
    S the covariance of the residuals and tr S² estimated without bias (Bai & Saranadasa, Statistica Sinica
    1996).
    """
    answered = np.diagonal(effects.precisions, axis1=1, axis2=2)[:, members].any(axis=1)
    k, m = int(answered.sum()), len(members)
    if k < 2:
        return FamilyTest(np.nan, (np.nan, np.nan), np.nan)
    root = np.linalg.cholesky(np.linalg.inv(effects.covariance[np.ix_(members, members)]))
    # As in `random_effects`, along what the data tell least of the members' means, whitened: Σ Lᵀ W_i L = I.
    along = effects.covariance[:, members] @ root
    scores = np.einsum("kij,kj,im->km", effects.precisions[answered], effects.residuals[answered], along, optimize=True)
    information = np.einsum("im,kij,jm->k", along, effects.precisions[answered], along, optimize=True) / m
    scores /= np.sqrt(information)[:, None]  # (k, m) about uncorrelated, of variance 1
    squares = scores @ scores.T
    between = float(np.trace(squares)) / (k - 1)
    of_squares = float(np.square(squares).sum()) / (k - 1) ** 2 - between**2 / (k - 1)
    of_squares *= (k - 1) ** 2 / max((k - 2) * (k + 1), 1)
    effective = float(np.clip(between**2 / max(of_squares, 1e-300), 1, m)) if k > 2 else 1.0
    statistic = float(np.square(root.T @ effects.mean[members]).sum()) / between
    df = effective, (k - 1) * effective
    return FamilyTest(statistic, df, float(fdtrc(*df, statistic)))
