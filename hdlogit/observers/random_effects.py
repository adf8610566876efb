"""Random effects: k observers' estimates of p weights, each with a covariance, and what lies behind them.

    b_i ~ N(μ, V_i + T)        T = diag τ²        W_i = (V_i + T)⁻¹        Φ = (Σ W_i)⁻¹        μ̂ = Φ Σ W_i b_i

T by restricted maximum likelihood (Patterson & Thompson 1971; of several outcomes: Jackson, Riley & White,
Statistics in Medicine 2011), with one τ² for each weight, or one for each group of weights.
With r_i = b_i − μ̂ it maximises

    −½ [ Σ log |V_i + T| + log |Σ W_i| + Σ r_iᵀ W_i r_i ]

The error of μ̂_j is not √Φ_jj, which takes T for known, but √(q_j Φ_jj) with k − 1 degrees of freedom
(Hartung & Knapp, Statistics in Medicine 2001; Sidik & Jonkman 2002). Of one weight

    q_j = Σ w_i (b_i − μ̂)² / (k − 1)

and of several the same along the direction d = Φ_·j/Φ_jj, in which the data tell least of μ_j: there observer
i says dᵀW_i r_i / dᵀW_i d with variance 1/dᵀW_i d, and Σ_i dᵀW_i d = 1/Φ_jj.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RandomEffects:
    """k observers, p weights."""

    mean: Array  # (p,) μ̂
    covariance: Array  # (p, p) Φ
    tau_squared: Array  # (p,) variance between observers
    adjustment: Array  # (p,) q
    precisions: Array  # (k, p, p) W_i, zero where an observer says nothing
    residuals: Array  # (k, p) b_i − μ̂, zero where there is no b_i

    @property
    def error(self) -> Array:
        """(p,) of μ̂."""
        return np.asarray(np.sqrt(self.adjustment * np.diag(self.covariance)))

    def partially_pooled(self) -> tuple[Array, Array]:
        """Each observer's own weights given all estimates and T, and their errors, (k, p) each.

        β̂_i = μ̂ + T W_i r_i (empirical Bayes); variance T − T W_i T + (I − T W_i) Φ (I − T W_i)ᵀ.
        """
        pull = self.tau_squared[:, None] * self.precisions  # (k, p, p) T W_i
        left = np.eye(len(self.mean)) - pull
        variance = np.einsum("kij,jl,kil->ki", left, self.covariance, left, optimize=True)
        variance += self.tau_squared * (1 - np.einsum("kjj->kj", pull))
        return self.mean + np.einsum("kij,kj->ki", pull, self.residuals), np.asarray(np.sqrt(variance))


def random_effects(estimates: Array, covariances: Array, groups: NDArray[np.intp]) -> RandomEffects:
    """By REML. estimates: (k, p), NaN where an observer tells nothing of a weight; covariances: (k, p, p),
    there ignored; groups: (p,) numbers from 0 on; weights of one number have one τ².
    Each weight needs two observers.
    """
    known = np.isfinite(estimates)
    variances = np.where(known, np.diagonal(covariances, axis1=1, axis2=2), np.nan)
    n_groups = int(groups.max()) + 1
    unit = np.array([np.nanmean(variances[:, groups == g]) for g in range(n_groups)])
    spread = np.nanvar(estimates, axis=0, ddof=1)
    start = [spread[groups == g].mean() / unit[g] for g in range(n_groups)]

    def loss(x: Array) -> tuple[float, Array]:
        effects, log_determinant = _at(estimates, covariances, known, (x * unit)[groups])
        w, r = effects.precisions, effects.residuals
        scores = np.einsum("kij,kj->ki", w, r)
        value = log_determinant - np.linalg.slogdet(effects.covariance)[1] + np.vdot(r, scores)
        slope = np.einsum("kjj->j", w) - np.einsum("kja,ab,kbj->j", w, effects.covariance, w, optimize=True)
        slope -= np.square(scores).sum(axis=0)
        return 0.5 * float(value), 0.5 * np.bincount(groups, slope) * unit

    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-7}
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_groups, options=options)
    return _at(estimates, covariances, known, (best.x * unit)[groups])[0]


def _at(
    estimates: Array, covariances: Array, known: NDArray[np.bool_], tau_squared: Array
) -> tuple[RandomEffects, float]:
    """What follows from these τ² (p,), and Σ log |V_i + T|."""
    both = known[:, :, None] & known[:, None, :]
    added = np.where(known, tau_squared, 1.0)[:, :, None] * np.eye(len(tau_squared))
    whole = np.where(both, covariances, 0.0) + added  # by blocks, of which the missing one is the identity
    precisions = np.where(both, np.linalg.inv(whole), 0.0)
    log_determinant = float(np.linalg.slogdet(whole)[1].sum())
    covariance = np.linalg.inv(precisions.sum(axis=0))
    b = np.where(known, estimates, 0.0)
    mean = covariance @ np.einsum("kij,kj->i", precisions, b)
    residuals = np.where(known, b - mean, 0.0)
    directions = covariance / np.diag(covariance)  # (p, p) a column for each weight
    along = np.einsum("kij,ki->kj", precisions @ directions, residuals)
    information = np.einsum("ij,kij->kj", directions, precisions @ directions)
    squares = np.divide(along**2, information, out=np.zeros_like(along), where=known)
    adjustment = squares.sum(axis=0) / (known.sum(axis=0) - 1)
    return RandomEffects(mean, covariance, tau_squared, adjustment, precisions, residuals), log_determinant


def cochran(estimates: Array, variances: Array) -> Array:
    """(p,) Q = Σ (b_i − μ̃)²/v_i, μ̃ = Σ b_i/v_i / Σ 1/v_i, weight by weight: χ² if observers do not differ.

    (k, p) each, NaN where an observer tells nothing.
    """
    weight = 1 / variances
    centre = np.nansum(weight * estimates, axis=0) / np.nansum(weight, axis=0)
    return np.asarray(np.nansum(weight * (estimates - centre) ** 2, axis=0))
