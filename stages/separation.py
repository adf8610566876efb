"""Does the maximum-likelihood estimate of one class exist? A proof for yes, and a decision for the rest.

Some d separates the responses if s_i x_i·d >= 0 for every trial (s_i = +1 for yes, -1 for no; x_i with the
bias's 1), not all of them 0. The estimate exists if and only if no d does (Albert & Anderson, Biometrika
1984). Directions along which no x_i varies are left out throughout: `basis` holds the coordinates that
remain, x~_i = basis · (x_i, 1).

*A proof that it exists.* At any coefficients whatever, the residual r_i = sigmoid(z_i) - y_i has the sign of
-s_i, and the gradient is g = mean_i r_i x_i. If d separates, no two terms of g·d cancel, and so by |x_i·d| >=
(x_i·d)² / (|x_i| |d|)

    |g| |d|  >=  |g·d|  =  mean_i |r_i| |x_i·d|  >=  dᵀ H d / |d|,      H = mean_i (|r_i| / |x_i|) x_i x_iᵀ.

Hence |g| < (smallest eigenvalue of H) excludes every d: the estimate exists. Terms may be left out of H, they
are not negative; so the few trials with the largest residuals are tried first. As the gradient goes to zero
where an estimate exists and H does not, the proof must come.

*A proof that it does not.* If at some coefficients every |r_i| < 1/2, they separate. (The solver sees this by
itself.)

*In doubt,* which is left for quasi-separation and the narrowest of gaps, a linear programme decides.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from stages.objective import blocks

MOST = 2**22  # numbers in the factors that a proof may use: 32 MB
MARGIN = 1e-6  # of a trial, in standardised coordinates: less is 0 to the linear programme


def exists_at(
    factors: Tensor,
    rows: Tensor,
    residuals: Tensor,
    gradient: Tensor,
    direction: Tensor,
    basis: Tensor,
    n_trials: int,
) -> bool:
    """Whether the proof above succeeds with the trials in these rows of the factors.

    factors: (n_trials, n_factors), or a standardised copy of some of them in single precision; rows and
    residuals: (m,); gradient: (rank + 1,), of the mean cross-entropy of all trials, and direction: (rank + 1,),
    the fitted weights with a bias of 0, both in the coordinates of `basis`, (rank + 1, n_factors + 1); n_trials: of
    which the rows are all, or some.

    Twice |g| is asked for, and what rounding can take away: an error of eps |x_i| in x_i is worth at most
    eps · mean |r_i| |x_i| = eps · tr H, and `_smallest_eigenvalue_exceeds` leaves rank times that.
    """
    weights = residuals.abs().double() / n_trials
    basis = basis.to(factors.dtype)
    n_used, precision = 3 * len(basis) // 2, torch.float32  # often enough, and then half the cost
    most = min(len(weights), MOST // len(basis))
    while True:
        used = weights.topk(min(n_used, most)).indices
        x = torch.addmm(basis[:, -1], factors[rows[used]], basis[:, :-1].T)  # (n_used, rank + 1)
        weight = weights[used].to(precision)
        x, slope = _stretch(x.to(precision), weight, gradient.to(precision), direction.to(precision))
        if _smallest_eigenvalue_exceeds(2 * slope.norm(), x, weight / x.norm(dim=1)):
            return True
        if n_used >= most and precision == torch.float64:
            return False
        n_used, precision = 4 * n_used, torch.float64


def _stretch(x: Tensor, weights: Tensor, gradient: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """x and g in coordinates stretched along one direction, in which H has a larger smallest eigenvalue.

    The trials with large residuals lie near the boundary, and so hardly vary across it. They are stretched
    until they vary there as elsewhere (the standardised coordinates have variance 4). This leaves g alone: at
    the end of a fit it has next to no component in the direction of the weights.
    """
    across = direction / direction.norm().clamp_min(1e-30)
    along = x @ across  # (n_used,)
    variance = float(weights @ along.square() / weights.sum())
    extra = 2 / variance**0.5 - 1 if variance > 0 else 0.0
    return x.addr(along, across, alpha=extra), gradient + extra * (gradient @ across) * across


def _smallest_eigenvalue_exceeds(bound: Tensor, x: Tensor, weights: Tensor) -> bool:
    """Whether sum_i weights_i x_i x_iᵀ - bound · 1 is positive definite, beyond its rounding error."""
    matrix = (x * weights[:, None]).T @ x
    matrix.diagonal().sub_(bound + len(matrix) * torch.finfo(x.dtype).eps * matrix.trace())
    return not torch.linalg.cholesky_ex(matrix).info


def is_separable(factors: Tensor, responses: Tensor, coefficients: Tensor, basis: Tensor) -> bool:
    """Whether some direction separates the responses, or all but those on the boundary: linear programming.

    Maximises mean_i s_i x~_i·d over -1 <= d <= 1 subject to s_i x~_i·d >= 0: positive if and only if d
    separates. Few of the constraints matter, so they are added as they are found violated, beginning with the
    trials that `coefficients` serve worst. Any d that is found is checked on all trials; a maximum of 0 with
    a part of the constraints is 0 with all of them. MARGIN is the resolution.

    factors: (n_trials, n_factors); responses: (n_trials,) bool; coefficients: (n_factors + 1,), bias last.
    """
    rank, n_trials = len(basis), len(factors)
    signs = 2 * responses.double() - 1
    objective = (_signed_sum(factors, signs) @ basis.T / n_trials).numpy()
    margins = _margins(factors, signs, coefficients)
    chosen = margins.topk(min(n_trials, 4 * rank), largest=False).indices
    while True:
        x = torch.addmm(basis[:, -1], factors[chosen].double(), basis[:, :-1].T)  # (n_chosen, rank + 1)
        direction = _widest(objective, (signs[chosen, None] * x).numpy())
        margins = _margins(factors, signs, torch.from_numpy(direction) @ basis)
        if float(direction @ objective) <= 0 or float(margins.max()) <= MARGIN:
            return False
        worst = margins.topk(min(n_trials, 4 * rank), largest=False)
        violated = worst.indices[worst.values < -MARGIN]
        if not len(violated):
            return True
        chosen = torch.cat([chosen, violated])


def _signed_sum(factors: Tensor, signs: Tensor) -> Tensor:
    """sum_i s_i (x_i, 1), (n_factors + 1,)."""
    total = torch.zeros(factors.shape[1] + 1).double()
    for rows in blocks(factors):
        total[:-1] += signs[rows] @ factors[rows].double()
    total[-1] = signs.sum()
    return total


def _margins(factors: Tensor, signs: Tensor, coefficients: Tensor) -> Tensor:
    """s_i (x_i·w + b) for every trial, (n_trials,)."""
    logits = [factors[rows].double() @ coefficients[:-1] for rows in blocks(factors)]
    return (torch.cat(logits) + coefficients[-1]) * signs


def _widest(objective: np.ndarray, constraints: np.ndarray) -> np.ndarray:
    """argmax of objective·d over constraints · d >= 0, -1 <= d <= 1."""
    tolerance = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    result = linprog(
        -objective,
        A_ub=-constraints,
        b_ub=np.zeros(len(constraints)),
        bounds=(-1, 1),
        method="highs",
        options=tolerance,
    )
    if result.status != 0:
        raise RuntimeError(f"the linear programme that looks for separation failed: {result.message}")
    return np.asarray(result.x)
