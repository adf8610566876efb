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

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from hdlogit.exact.coordinates import Sample
from hdlogit.exact.objective import Array, blocks

Floats = NDArray[np.floating[Any]]

MOST = 2**22  # numbers in the factors that a proof may use: 32 MB
MARGIN = 1e-6  # of a trial, in standardised coordinates: less is 0 to the linear programme


def exists_at(
    sample: Sample, residuals: Tensor, gradient: Array, point: Array, factors: Tensor, responses: Tensor, basis: Array
) -> bool:
    """Whether the proof above succeeds with trials of this sample, for one class.

    residuals: (n_sampled,), at the point; point: (rank + 1,), and gradient: (rank + 1,), of the mean
    cross-entropy of all trials there. factors: (n_trials, n_factors), responses: (n_trials,) bool, and basis:
    (rank + 1, n_factors + 1), of all trials: where factors seem to depend on one another, the coordinates would
    magnify the rounding of the sample, so its trials are taken from there, in double precision.

    Twice |g| is asked for, and what rounding can take away: an error of eps |x_i| in x_i is worth at most
    eps · mean |r_i| |x_i| = eps · tr H, and `_smallest_eigenvalue_exceeds` leaves rank times that.
    """
    weights, n_used = residuals.abs(), 3 * len(gradient) // 2  # often enough; and single precision, too
    if sample.inverse is not None:  # the factors as they are: where they are not much correlated, this will do
        direction, slope = point[:-1] @ sample.basis[:-1, :-1], sample.inverse @ gradient
        used = weights.topk(min(n_used, len(weights)))
        chosen = torch.nn.functional.pad(sample.factors.index_select(0, used.indices), (0, 1), value=1.0).cpu().numpy()
        share = (used.values / len(factors)).cpu().numpy()
        for precision in (np.float32, np.float64):  # of 1000 factors single precision cannot be sure any more
            own: Floats = chosen.astype(precision)  # (n_used, n_factors + 1)
            if _proves(own, share.astype(precision), slope, direction):
                return True
    most = min(len(weights), max(MOST // len(basis), 4 * len(basis)))
    while True:
        rows = sample.rows[weights.topk(min(n_used, most)).indices.cpu()]
        x = factors.index_select(0, rows).double().numpy() @ basis[:, :-1].T + basis[:, -1]  # (n_used, rank + 1)
        signs = 2 * responses[rows].double().numpy() - 1
        with np.errstate(over="ignore"):
            wrong = 1 / (1 + np.exp(signs * (x @ point)))  # |residual|, in double precision
        if _proves(x, wrong / len(factors), gradient, point[:-1]):
            return True
        if n_used >= most:
            return False
        n_used *= 4


def _proves(x: Floats, weight: Floats, gradient: Array, direction: Array) -> bool:
    """Whether trials x (n_used, rank + 1), whose |r_i| / n_trials are `weight`, are proof; x is changed.

    The trials with large residuals lie near the boundary, and so hardly vary across it, that is along the fitted
    weights `direction`. They are stretched in that direction until they vary there as much as the bias, which makes
    the smallest eigenvalue larger. This leaves |g| alone: at the end of a fit g has next to no component there.
    """
    across = np.append(direction, 0) / max(float(np.linalg.norm(direction)), 1e-30)
    along = x @ across.astype(x.dtype)  # (n_used,)
    variance = float(weight @ np.square(along) / weight.sum())
    extra = float(x[0, -1]) / variance**0.5 - 1 if variance > 0 else 0.0
    x += np.outer(x.dtype.type(extra) * along, across.astype(x.dtype))
    bound = 2 * float(np.linalg.norm(gradient + extra * (gradient @ across) * across))
    return _smallest_eigenvalue_exceeds(bound, x, weight / np.sqrt(np.vecdot(x, x)))


def _smallest_eigenvalue_exceeds(bound: float, x: Floats, weights: Floats) -> bool:
    """Whether sum_i weights_i x_i x_iᵀ - bound · 1 is positive definite, beyond its rounding error."""
    weighted = x * np.sqrt(weights)[:, None]
    matrix = weighted.T @ weighted
    rounding = len(matrix) * float(np.finfo(x.dtype).eps) * float(matrix.trace())
    matrix[np.diag_indices_from(matrix)] -= bound + rounding
    return not torch.linalg.cholesky_ex(torch.from_numpy(matrix)).info


def is_separable(factors: Tensor, responses: Tensor, coefficients: Array, basis: Array) -> bool:
    """Whether some direction separates the responses, or all but those on the boundary: linear programming.

    Maximises mean_i s_i x~_i·d over -1 <= d <= 1 subject to s_i x~_i·d >= 0: positive if and only if d
    separates. Few of the constraints matter, so they are added as they are found violated, beginning with the
    trials that `coefficients` serve worst. Any d that is found is checked on all trials; a maximum of 0 with
    a part of the constraints is 0 with all of them. MARGIN is the resolution.

    factors: (n_trials, n_factors); responses: (n_trials,) bool; coefficients: (n_factors + 1,), bias last.
    """
    rank, n_trials = len(basis), len(factors)
    signs = 2 * responses.double() - 1
    objective = basis @ _signed_sum(factors, signs) / n_trials
    margins = _margins(factors, signs, coefficients)
    chosen = margins.topk(min(n_trials, 4 * rank), largest=False).indices
    while True:
        x = factors[chosen].double().numpy() @ basis[:, :-1].T + basis[:, -1]  # (n_chosen, rank + 1)
        direction = _widest(objective, signs[chosen, None].numpy() * x)
        margins = _margins(factors, signs, direction @ basis)
        if float(direction @ objective) <= 0 or float(margins.max()) <= MARGIN:
            return False
        worst = margins.topk(min(n_trials, 4 * rank), largest=False)
        violated = worst.indices[worst.values < -MARGIN]
        if not len(violated):
            return True
        chosen = torch.cat([chosen, violated])


def _signed_sum(factors: Tensor, signs: Tensor) -> Array:
    """sum_i s_i (x_i, 1), (n_factors + 1,)."""
    total = signs.new_zeros(factors.shape[1] + 1)
    for rows in blocks(factors):
        total[:-1] += signs[rows] @ factors[rows].double()
    total[-1] = signs.sum()
    return np.asarray(total.numpy())


def _margins(factors: Tensor, signs: Tensor, coefficients: Array) -> Tensor:
    """s_i (x_i·w + b) for every trial, (n_trials,)."""
    weights = torch.from_numpy(coefficients[:-1]).to(signs)
    logits = torch.cat([factors[rows].double() @ weights for rows in blocks(factors)])
    return (logits + float(coefficients[-1])) * signs


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
