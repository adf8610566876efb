"""Does the maximum-likelihood estimate of one class exist? A proof that it does, and a decision for all other cases.

Some d separates the responses if s_i x_i·d >= 0 for every trial, not all of them 0; s_i = +1 for a yes, -1 for a no (a
response between 0 and 1 counts as both), x_i with the bias's 1. The estimate exists if and only if no d does (Albert &
Anderson, Biometrika 1984).

*A proof that it exists.* No d separates if some weights q_i > 0 have sum_i q_i s_i x_i = 0: then sum_i q_i |x_i·d| = 0.
The residuals are almost such weights: r_i = sigmoid(z_i) - y_i has the sign of -s_i, and mean_i |r_i| s_i x_i = -g, the
gradient. What is missing can be made up on any m trials S whose second moments M = mean_S x xᵀ have an inverse:

    q_i = |r_i|, and on S  q_i = |r_i| + (n/m) (TILT - s_i x_i·v),      v = -M⁻¹ (g + c),  c = -TILT · mean_S s_i x_i

so s_i x_i·v < TILT on S proves it. It needs a point at which g + c is small: the minimum of the objective tilted by
c·w, which exists if the estimate exists by some margin, and is close to it. No Hessian is needed, and a proof on a
sample is a proof for all trials.

*A proof that it does not.* If no response is between 0 and 1, and somewhere every |r_i| < 1/2, they are separated.

*In doubt,* Newton's method in double precision continues, for one class over all trials (`hdlogit.exact.newton`).

*Where that gives neither,* as with quasi-separation and the narrowest of gaps, a linear programme decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import cut
from hdlogit.exact.coordinates import inverse_of
from hdlogit.exact.descent import State
from hdlogit.exact.newton import newton
from hdlogit.exact.objective import BLOCK, Array, Floats, Mask
from hdlogit.exact.sample import Sample

TILT = 5e-5
BOUND = 0.8  # of TILT for s_i x_i·v: the rest is for rounding of g, which was 0.002 of TILT with independent factors
DIVERGED = 1e4  # a standardised coefficient beyond which the tilted objective is taken to have no minimum
LARGEST_PROGRAMME = 2**19  # numbers in factors up to which a linear programme names those that separate completely
MARGIN = 1e-6  # of a trial, in standardised coordinates: the linear programme takes less for 0


@dataclass(frozen=True)
class Proof:
    """Proofs for n classes of a sample, at the minima of their tilted objectives. S is the sample's `subset`."""

    sample: Sample
    classes: NDArray[np.intp]

    @cached_property
    def signs(self) -> Floats:
        """s_i of the trials in S, (n, m); 0 for a response between 0 and 1."""
        y = self.sample.subset[1][self.classes]
        return np.where((y == 0) | (y == 1), 2 * y - 1, 0)

    @cached_property
    def tilt(self) -> Array:
        """c, (n, n_factors + 1)."""
        x = self.sample.subset[0]
        return np.asarray(self.signs @ x, dtype=np.float64) * (-TILT / len(x))

    @cached_property
    def inverse(self) -> Floats:
        """M⁻¹ (n_factors + 1, n_factors + 1); NaN, which proves nothing, where M misses a direction of all trials."""
        c, x = self.sample.coordinates, self.sample.subset[0]
        if not c.dependent:
            return inverse_of(c.moments)
        moments = x.T @ x / len(x)
        inverse = np.linalg.pinv(moments, hermitian=True)
        whole = np.allclose(c.projector @ (moments @ inverse)[:-1, :-1], c.projector, atol=1e-4)
        return inverse if whole else np.full_like(inverse, np.nan)

    def holds(self, state: State, tilted: Mask) -> Mask:
        """Whether v proves that the estimate exists, for each class (n,) of a state; `tilted` ones have the shift c."""
        x, proven, bound = self.sample.subset[0], tilted.copy(), BOUND * TILT
        proven &= np.abs(state.gradient).max(1) < bound  # cheap: all others are far from a proof
        if proven.any():
            gradient = state.gradient[proven].astype(x.dtype)
            w = -gradient @ self.inverse
            largest = (self.signs[state.rows[proven]] * (w @ x.T)).max(1)
            proven[proven] = largest < bound
        return proven


def decide(
    sample: Sample, k: np.intp, v: Array, known: bool | None, tolerance: float, progress: Callable[[int, Array], None]
) -> tuple[bool | None, Array, Mask]:
    """Whether the estimate of class k exists, where to go on from, and the factors (n_factors,) that separate it.

    v: (n_factors + 1,), where the descent has ended. known: True if the estimate exists, although the descent does not
    find it; False if v separates the responses; None if neither is known, and returned if it remains so.
    """
    none, exists, end = np.zeros(len(v) - 1, dtype=np.bool_), known, v
    if known is not False:
        exists, end = newton(sample, k, v, tolerance, progress)
        if exists is None:  # where all responses are nearly certain, the curvature vanishes
            exists, end = newton(sample, k, v * 0, tolerance, progress)
        if exists or known:
            return True, end if exists else v, none
    direction = end[:-1]
    if exists is None or sample.trials.factors.size <= LARGEST_PROGRAMME:
        try:
            found = separating_direction(sample, k)
        except RuntimeError:
            if exists is None:
                return None, end, none
            found = None
        if found is None and exists is None:
            return True, v * 0, none
        direction = direction if found is None else found
    return False, end, np.abs(direction) > 0.1 * np.abs(direction).max()


def separating_direction(sample: Sample, k: np.intp, max_rounds: int = 50) -> Array | None:
    """Weights (n_factors,) of the standardised factors that separate class k's responses, or None if none do.

    Minimises sum |d| subject to s_i x~_i·d >= 0, up to MARGIN, and mean_i s_i x~_i·d = 1: feasible if and only if some
    d separates. Its minimum names few factors. Few of the constraints matter, so they are added when they are found
    to be violated; any d that is found has been checked on all trials, and what is infeasible with some constraints is
    infeasible with all. MARGIN is the resolution. Raises RuntimeError where the linear programme gives no answer.
    """
    c, factors = sample.coordinates, sample.trials.factors
    responses = sample.trials.responses[:, k].astype(np.float64)
    signs = np.concatenate([np.where(responses > 0, 1.0, -1.0), np.where(responses < 1, -1.0, 1.0)])
    both = (responses > 0) & (responses < 1)  # such a trial counts as a yes and a no
    rows = np.concatenate([np.arange(len(responses)), np.flatnonzero(both)])
    signs = np.concatenate([signs[: len(responses)], signs[len(responses) :][both]])

    def signed(chosen: NDArray[np.intp]) -> Array:
        x = (factors[rows[chosen]] - c.center) * c.units
        return np.asarray(np.column_stack([x @ c.projector, np.ones(len(x))]) * signs[chosen, None])

    parts = [np.arange(len(rows))[part] for part in cut(len(rows), factors.shape[1], BLOCK)]
    mean = sum(signed(part).sum(0) for part in parts) / len(rows)
    chosen = np.arange(0, len(rows), max(1, len(rows) // (4 * len(mean))))
    for _ in range(max_rounds):
        direction = _sparsest(mean, signed(chosen))
        if direction is None:
            return None
        margins = np.concatenate([signed(part) @ direction for part in parts])
        worst = np.argsort(margins)[: 4 * len(mean)]
        violated = worst[margins[worst] < -MARGIN]
        if not len(violated):
            return np.asarray(direction[:-1] @ c.projector)
        chosen = np.union1d(chosen, violated)
    raise RuntimeError("the linear programme that looks for separation did not end")


def _sparsest(mean: Array, constraints: Array) -> Array | None:
    """argmin sum |d[:-1]| over constraints · d >= 0, mean · d = 1; None if there is none."""
    from scipy.optimize import linprog  # only here: it is seldom needed

    split = np.hstack([constraints, -constraints[:, :-1]])  # positive parts, bias, negative parts
    n = len(mean) - 1
    result = linprog(
        np.concatenate([np.ones(n), [0], np.ones(n)]),
        A_ub=-split,
        b_ub=np.full(len(split), MARGIN / 2),
        A_eq=np.concatenate([mean, -mean[:-1]])[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)] + [(0, None)] * n,
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if result.status == 2:
        return None
    if result.status != 0:
        raise RuntimeError(f"the linear programme that looks for separation failed: {result.message}")
    return np.append(result.x[:n] - result.x[n + 1 :], result.x[n])
