"""A penalised logistic fit, and the strengths of penalties by restricted likelihood (REML).

    L(β) − ½ Σ_F λ_F wᵀK_F w        L: log-likelihood of a logistic regression, β = (w, b), K_F = DᵀD

D takes second differences of the weights of a family F of ordered factors; what it lets pass, a constant and
a straight line over the family, is not penalised, nor are b and the weights outside all families. Read as a
prior, the penalty says that second differences are independent normals of variance 1/λ_F. With P = H + Σ λ_F
K_F, H the Hessian of −L, the strengths maximise the Laplace approximation of the likelihood integrated over β
(Wood, JRSS B 2011):

    R(λ) = L(β̂) − ½ Σ λ_F ŵᵀK_Fŵ + ½ Σ (m_F − 2) log λ_F − ½ log|P|        m_F: factors in F, of which 2 are free

    ∂R/∂log λ_F = ½ [m_F − 2 − λ_F ŵᵀK_Fŵ − λ_F tr(P⁻¹K_F) − Σ_i D'_i ż_i w_i],    β̇ = −λ_F P⁻¹K_Fβ̂,  ż_i = x̃_i·β̇

w_i = x̃_iᵀP⁻¹x̃_i, D_i = p_i(1 − p_i), D' = D(1 − 2p). All is in the eigenvectors of the K_F, in which the
penalty is diagonal, so that no strength costs digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from hdlogit.inference.observer import Block, Posterior, maximise
from hdlogit.inference.sums import Array, Refused, inverse_root

DEPENDENT = 1e-10  # part of the curvature of a coefficient that those before it leave
WEAKEST, STRONGEST = np.log([1e-4, 1e9])  # λ in units of the curvature of a weight: hardly any; a line
STEP = 1e-3  # of second derivatives of R
SEPARATED = (
    "the factors outside the families, or straight lines over these, separate its responses or repeat one another, so "
    "the smooth fit does not exist"
)


class Minimum(NamedTuple):
    """Where the penalised log-likelihood is highest; of each trial, what leaving it out needs."""

    coefficients: Array  # (p + 1,) β̂
    value: float  # L(β̂) − penalty, nats
    root: Array  # (p + 1, p + 1), P⁻¹ = root · rootᵀ; upper triangular
    logit: Array  # (n,) z
    residual: Array  # (n,) ψ = y − σ(z)
    curvature: Array  # (n,) D
    leverage: Array  # (n,) w_i = x̃_iᵀP⁻¹x̃_i


class Chosen(NamedTuple):
    """The strengths of the highest restricted likelihood, and the fit with them."""

    log_strengths: Array  # (F,) log λ
    minimum: Minimum
    change: Array  # (p + 1, F) ∂β̂/∂log λ
    covariance: Array  # (F, F) of log λ: the inverse of −∂²R


def spectrum(m: int) -> tuple[Array, Array]:
    """Eigenvalues (m,) of K = DᵀD, of which two are 0, and its eigenvectors: a line and ever faster waves."""
    second = np.diff(np.eye(m), n=2, axis=0)
    values, vectors = np.linalg.eigh(second.T @ second)
    values[:2] = 0.0
    return values, vectors


def minimise(x: Array, y: Array, penalty: Array, start: Array) -> Minimum:
    """For the penalty ½ Σ penalty_j β_j²; raises Refused where nothing is highest.

    That there is a highest is proven by (Newton decrement) · max √w_i < 1/2 (`hdlogit.exact.newton`).
    x: (n, p + 1) with a last column of 1; y: (n,) 0 or 1; penalty, start: (p + 1,).
    """
    block = Block(x, y, np.ones(len(x)))
    beta, end = maximise(Posterior(lambda: [block], np.diag(penalty), (0.0, 0.0)), start)
    z, root = x @ beta, inverse_root(end.hessian)
    if root is not None and (np.diag(root) ** 2 * np.diag(end.hessian)).max() < 1 / DEPENDENT:
        leverage, decrement = np.square(x @ root).sum(axis=1), root.T @ end.gradient
        if decrement @ decrement * leverage.max() < 0.25:
            residual = y * expit(-z) - (1 - y) * expit(z)
            return Minimum(beta, end.value, root, z, residual, expit(z) * expit(-z), leverage)
    raise Refused(SEPARATED)


def choose(x: Array, y: Array, families: Sequence[NDArray[np.intp]], eigenvalues: Sequence[Array]) -> Chosen:
    """By L-BFGS in log λ. x: as of `minimise`; columns `families[k]` have these eigenvalues."""
    size = x.shape[1]
    ranks = np.array([np.count_nonzero(values) for values in eigenvalues])
    units = np.zeros((len(families), size))  # the penalties of strength 1
    for unit, family, values in zip(units, families, eigenvalues, strict=True):
        unit[family] = values
    last = [np.zeros(size)]  # from where the next fit starts

    def fit(log_strengths: Array) -> tuple[Minimum, Array, float, Array]:
        """The fit, ∂β̂/∂log λ (p + 1, F), −R and its gradient."""
        penalties = np.exp(log_strengths)[:, None] * units
        fitted = minimise(x, y, penalties.sum(axis=0), last[0])
        last[0] = beta = fitted.coefficients
        change = -fitted.root @ (fitted.root.T @ (penalties * beta).T)
        bend = fitted.curvature * (1 - 2 * (y - fitted.residual))  # D'
        gradient = ranks - penalties @ (beta**2 + np.square(fitted.root).sum(axis=1))
        gradient -= (bend * fitted.leverage) @ (x @ change)
        restricted = fitted.value + ranks @ log_strengths / 2 + np.log(np.diag(fitted.root)).sum()
        return fitted, change, -restricted, -gradient / 2

    curvature = np.log(len(x) * y.mean() * (1 - y.mean()))  # of a weight, if no factor matters
    bounds = [(curvature + WEAKEST, curvature + STRONGEST)] * len(families)
    begin = np.full(len(families), curvature + 2.0)
    rho = np.asarray(minimize(lambda r: fit(r)[2:], begin, jac=True, bounds=bounds, method="L-BFGS-B").x)
    around = [fit(rho + d)[3] - fit(rho - d)[3] for d in STEP * np.eye(len(rho))]
    curved, vectors = np.linalg.eigh((np.array(around) + np.transpose(around)) / (4 * STEP))
    fitted, change, *_ = fit(rho)
    return Chosen(rho, fitted, change, (vectors / np.maximum(curved, 1e-6)) @ vectors.T)
