"""Which trials the factors separate, and along which direction: one linear programme.

Some d separates the responses if s_i x̃_i·d >= 0 for every trial, not all of them 0; s_i = +1 for a yes, −1
for a no (a response between 0 and 1 counts as both), x̃ = (x, 1). The maximum-likelihood estimate exists if
and only if no d does (Albert & Anderson, Biometrika 1984). Here

    min_d  Σ_a max(0, 1 − a·d) + RESOLUTION Σ_j |d_j|     subject to s_i x̃_i·d >= 0, the bias not penalised,

where a is each s_i x̃_i, and d then separates every trial that any direction does; or their sum alone, and d
has few factors. It is solved by way of its dual, which has few rows: max Σ u_a, 0 <= u_a <= 1, with weights
q_i >= 0 such that Σ u_a a + Σ q_i s_i x̃_i = 0 (up to RESOLUTION): a proof, where all u_a are 1, that
nothing is separated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]

RESOLUTION = 1e-7  # a gap between yes and no that is narrower, in standard deviations, is taken for none
MARGIN = 1e-6  # of a trial: less is taken for 0
ROUNDS = 50


def find_separation(
    factors: NDArray[np.floating[Any]],
    responses: NDArray[Any],
    centre: Array,
    units: Array,
    *,
    every_trial: bool,
) -> tuple[Array, NDArray[np.bool_]] | None:
    """d (p + 1,) of the standardised factors, and which trials (n,) it separates; None where nothing is
    separated.

    factors: (n, p), standardised as (factors − centre) · units; responses: (n,) in [0, 1]. every_trial: d
    separates every trial that any direction does. Else it has few factors, and is found from few trials and
    the sum of all, to which those are added that it violates: what these do not allow, all trials do not.

    Raises RuntimeError where the linear programme gives no answer.
    """
    yes, no = np.flatnonzero(responses > 0), np.flatnonzero(responses < 1)
    rows = np.concatenate([yes, no])
    signs = np.repeat([1.0, -1.0], [len(yes), len(no)])

    def signed(chosen: NDArray[np.intp]) -> Array:
        x = np.ones((len(chosen), len(centre) + 1))
        x[:, :-1] = (factors[rows[chosen]] - centre) * units
        # an outlier is as good as any trial
        return np.asarray(x * (signs[chosen] / np.abs(x).max(axis=1))[:, None])

    few = 4 * (len(centre) + 1)
    blocks = np.array_split(np.arange(len(rows)), -(-len(rows) // 2**13))
    chosen = np.arange(0, len(rows), 1 if every_trial else max(1, len(rows) // few))
    chosen = np.union1d(chosen, len(rows) - 1)  # a no, too: without any the bias alone separates those chosen
    total = np.sum([signed(block).sum(axis=0) for block in blocks], axis=0)
    for _ in range(ROUNDS):
        constraints = signed(chosen)
        d = _direction(constraints if every_trial else total[None], constraints)
        if not d[:-1].any():
            return None
        margins = np.concatenate([signed(block) @ d for block in blocks])
        worst = np.argsort(margins)[:few]
        violated = worst[margins[worst] < -MARGIN]
        if not len(violated):
            separated = np.zeros(len(responses), np.bool_)
            separated[rows] = margins > 0.5
            return d, separated
        chosen = np.union1d(chosen, violated)
    raise RuntimeError("the linear programme that looks for separation did not end")


def _direction(separate: Array, constraints: Array) -> Array:
    """d (p + 1,), multipliers of the dual's equations; separate: (m, p + 1) a; constraints: (n, p + 1)."""
    (m, size), n = separate.shape, len(constraints)
    answer = linprog(
        np.repeat([-1.0, 0.0, 0.0], [m, n, size - 1]),
        A_eq=np.hstack([separate.T, constraints.T, np.eye(size)[:, :-1]]),
        b_eq=np.zeros(size),
        bounds=np.repeat([[0, 1], [0, np.inf], [-RESOLUTION, RESOLUTION]], [m, n, size - 1], axis=0),
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if answer.status != 0:
        raise RuntimeError(f"the linear programme that looks for separation failed: {answer.message}")
    return np.asarray(-answer.eqlin.marginals)
