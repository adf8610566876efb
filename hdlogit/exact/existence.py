"""Does the maximum-likelihood estimate of a class exist? A proof that it does, and a decision for all other
cases.

It exists if and only if no direction separates the responses (`hdlogit.exact.separation`): s_i = +1 for a
yes, −1 for a no, x_i with the bias's 1.

*A proof that it exists.* No d separates if some weights q_i > 0 have sum_i q_i s_i x_i = 0, as then sum_i
q_i |x_i·d| = 0. The residuals are almost such weights: r_i = sigmoid(z_i) - y_i has the sign of -s_i, and
mean_i |r_i| s_i x_i = -g, the gradient. What is missing can be made up on any m trials S whose second
moments M = mean_S x xᵀ have an inverse:

    q_i = |r_i|, and on S  q_i = |r_i| + (n/m) (TILT - s_i x_i·v)
    v = -M⁻¹ (g + c),  c = -TILT · mean_S s_i x_i

so s_i x_i·v < TILT on S proves it. It needs a point at which g + c is small: the minimum of the objective
tilted by c·w, which exists if the estimate exists by some margin, and is close to it. No Hessian is needed,
and a proof on a sample is a proof for all trials.

*In doubt,* Newton's method in double precision goes on, for one class over all trials
(`hdlogit.exact.newton`). *Where that gives neither a proof nor a separation,* as with quasi-separation and
the narrowest of gaps, the linear programme decides.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from hdlogit.exact.coordinates import inverse_of
from hdlogit.exact.descent import State, descend, start
from hdlogit.exact.newton import newton
from hdlogit.exact.objective import Array, Mask
from hdlogit.exact.sample import Sample
from hdlogit.exact.separation import find_separation

TILT = 5e-5
BOUND = 0.8 * TILT  # for s_i x_i·v: the rest is for rounding of g, 0.002 of TILT with independent factors
DIVERGED = 1e4  # a standardised coefficient beyond which the tilted objective is taken to have no minimum
LARGEST_PROGRAMME = 2**19  # numbers in factors up to which the linear programme names those that separate
CHIEF = 0.1  # of the largest weight of a direction: what a factor must have to be named


def prove(
    sample: Sample, v: Array, classes: NDArray[np.intp], max_iterations: NDArray[np.int64]
) -> tuple[Mask, NDArray[np.int64]]:
    """Which of n classes have an estimate, by descents from v (n, n_factors + 1), near it; iterations."""
    x, y = sample.subset  # S
    signs = np.where((y == 0) | (y == 1), 2 * y - 1, 0)[classes]  # (n, m)
    tilt = np.asarray(signs @ x, dtype=np.float64) * (-TILT / len(x))
    inverse = inverse_of(sample.coordinates.moments)  # NaN, which proves nothing, if there is none

    def holds(gradient: Array, rows: NDArray[np.intp]) -> Mask:
        found = np.abs(gradient).max(axis=1) < BOUND  # cheap: all others are far from a proof
        if found.any():
            w = -gradient[found].astype(x.dtype) @ inverse
            found[found] = (signs[rows[found]] * (w @ x.T)).max(axis=1) < BOUND
        return np.asarray(found)

    def arrived(state: State) -> Mask:
        return np.asarray(holds(state.gradient, state.rows) | (np.abs(state.v).max(axis=1) > DIVERGED))

    tilted = start(sample, v, classes).shifted(tilt)
    _, gradient, iterations = descend(sample, tilted, arrived, max_iterations)
    return holds(gradient, np.arange(len(v))), iterations


def decide(sample: Sample, k: int, tolerance: float) -> tuple[bool | None, Array]:
    """Whether the estimate of class k exists (None: undecided); v about there, or what separates."""
    nothing = np.zeros_like(sample.ridge)  # where no response is certain: there curvature would vanish
    exists, v = newton(sample, k, nothing, tolerance)
    if exists is None:
        with suppress(RuntimeError):
            direction = _separating(sample, k)
            return (True, v) if direction is None else (False, direction)
    return exists, v


def factors_that_separate(sample: Sample, k: int, v: Array) -> list[int]:
    """Few factors that separate class k, as v (n_factors + 1,) does; many where the trials are many."""
    if sample.trials.factors.size <= LARGEST_PROGRAMME:
        with suppress(RuntimeError):
            direction = _separating(sample, k)
            v = v if direction is None else direction
    size = np.abs(v[:-1])
    return list(np.flatnonzero(size > CHIEF * size.max()).tolist())


def _separating(sample: Sample, k: int) -> Array | None:
    trials, c = sample.trials, sample.coordinates
    found = find_separation(trials.factors, trials.responses[:, k], c.center, c.units, every_trial=False)
    return None if found is None else found[0]
