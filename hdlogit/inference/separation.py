"""Where some trials are separated: no estimate of the weights along there, but one of the others.

Some d separates the responses if s_i x̃_i·d ≥ 0 for every trial, and not all are 0 (s_i = ±1, x̃ = (x, 1)).
Along d the likelihood grows without end, and every trial with s_i x̃_i·d > 0 is fitted perfectly in the
limit. So these trials tell nothing about other directions, and the maximum-likelihood estimate of these is
that of the trials that are left (Albert & Anderson, Biometrika 1984; Geyer, Electronic Journal of Statistics
2009). A weight that d moves is infinite; how small it may be is told by the score test of w_j = c, the others
being fitted with it at c:

    z(c) = Σ x_ij ψ_i / √(f V),    V = Σ D_i x_ij² given the others

The linear programme of `hdlogit.exact.separation` finds them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space, qr
from scipy.optimize import linprog

from hdlogit.inference.observer import Block, Posterior, maximise
from hdlogit.inference.profiles import ROOTS, profile
from hdlogit.inference.result import ClassInference, Separated
from hdlogit.inference.sums import Array, Names, listed

LARGEST = 2**21  # numbers in factors: of more, a linear programme takes too long
MANY = 0.1  # factors per trial, from which on complete separation says little of any of them
SEEN = 1e-7  # of a direction: what is left of it in trials that do not see it
TINY = 1e-8  # penalty of the fits for the score test, without which they may have no minimum
NOTHING = 1e-6  # information, of what trials of probability 1/2 would have four times
FARTHEST = 127.0  # logits per sd from which on a bound is taken for infinite


class Separation(NamedTuple):
    """Of one class; coefficients are (p + 1,), the bias last."""

    left: NDArray[np.bool_]  # (n,) the trials that are not separated
    kept: NDArray[np.intp]  # factors that are independent on these trials
    above: NDArray[np.bool_]  # (p + 1,) whether it may be ∞: some direction that separates has it > 0
    below: NDArray[np.bool_]  # (p + 1,) whether it may be −∞; if neither, the trials that are left tell it


def separated_trials(factors: NDArray[np.floating], responses: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """(n,) which trials a direction separates; None where none does, or there are too many factors to tell."""
    if factors.size > LARGEST:
        return None
    from hdlogit.exact.separation import find_separation  # only here: its room brings torch

    centre, scale = factors.mean(axis=0, dtype=np.float64), factors.std(axis=0, dtype=np.float64)
    try:
        separating = find_separation(factors, responses, centre, 1 / scale, every_trial=True)
    except RuntimeError:
        return None
    return separating and separating[1]


def is_by_chance(separated: NDArray[np.bool_], n_factors: int) -> bool:
    """All trials, because factors are many: which way a weight goes says nothing, and takes long to find."""
    return bool(separated.all()) and n_factors + 1 > MANY * len(separated)


def separation_of(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], separated: NDArray[np.bool_]
) -> Separation:
    """Which coefficients may be infinite. separated: (n,) the `separated_trials`."""
    centre, scale = factors.mean(axis=0, dtype=np.float64), factors.std(axis=0, dtype=np.float64)
    x = np.column_stack([(factors - centre) / scale, np.ones(len(factors))])
    left, kept = x[~separated], np.zeros(0, np.intp)
    # (p + 1, m) the directions in which the trials that are left do not vary
    unseen = null_space(np.linalg.qr(left, mode="r"), rcond=SEEN)
    if len(left):  # the constant is always kept
        order = qr(left[:, :-1] - left[:, :-1].mean(axis=0), mode="r", pivoting=True)[1]
        kept = np.sort(order[: len(order) - unseen.shape[1]]).astype(np.intp)
    signs = np.where(responses, 1.0, -1.0)[:, None]
    cone = (signs * x)[separated] @ unseen  # what moves along c ∈ R^m: cone · c ≥ 0
    unseen[-1] -= centre / scale @ unseen[:-1]  # from the logit at the means to the bias
    above, below = (np.array([_reaches(cone, side * row) for row in unseen]) for side in (1, -1))
    return Separation(~separated, kept, above, below)


def _reaches(cone: Array, row: Array) -> bool:
    """Whether some c has cone · c ≥ 0 and row · c > 0."""
    if not np.abs(row).max() >= SEEN:
        return False
    solved = linprog(-row, A_ub=-cone, b_ub=np.zeros(len(cone)), bounds=[(-1, 1)] * len(row))
    return bool(solved.status == 0 and -solved.fun > SEEN)


def with_separation(
    shrunken: ClassInference,
    others: ClassInference | None,
    separation: Separation,
    factors: NDArray[np.floating],
    responses: NDArray[np.bool_],
    names: Names,
) -> ClassInference:
    """Coefficients of which some are infinite: score tests of these, the ordinary inference of the others.

    shrunken: of all trials, for predictions; others: from the trials that are left, of the kept factors; None
    where there are none of either.
    """
    others = others or _constant(responses[separation.left])
    above, below = separation.above, separation.below
    infinite, finite = np.flatnonzero(above | below), np.flatnonzero(~(above | below))
    places = np.append(separation.kept, len(above) - 1)
    dispersion = (others.null_error[0] / others.classical_error[0]) ** 2 if len(separation.kept) else 1.0
    corrected, z = np.empty((2, len(above)))
    corrected[places], z[places] = others.corrected, others.z
    corrected[infinite] = np.where(above, np.where(below, np.nan, np.inf), -np.inf)[infinite]
    profiles = np.empty((len(infinite), len(ROOTS)))
    for k, j in enumerate(infinite.tolist()):
        root, sd = _score_root(factors, responses, j, dispersion)
        z[j], profiles[k] = -root(0.0), np.where(ROOTS > 0, np.inf, -np.inf)
        if not (above[j] and below[j]):
            profiles[k] = profile(root, 0.0, 1.0, FARTHEST) / sd
    covariance = np.diag(np.append(np.where(above | below, np.inf, 0.0), [0.0, 0.0]))
    of_finite = np.searchsorted(places, finite)
    covariance[np.ix_(finite, finite)] = others.covariance[np.ix_(of_finite, of_finite)]
    known = others if len(separation.kept) else shrunken
    separated = Separated(separation.left, places, infinite, profiles, others, shrunken)
    moved = [names[j] for j in infinite.tolist() if j < factors.shape[1]]
    one, which = len(infinite) == 1, f"factor{'s' * (len(moved) > 1)} {listed(moved)}"
    whose = "the interval of its weight has no end" if one else "the intervals of their weights have no end"
    return replace(
        shrunken,
        theory=known.theory,
        link=known.link,
        stretch=known.stretch,
        corrected=corrected,
        covariance=covariance,
        z=z,
        predictor=shrunken.estimate,
        predictor_sd=0.0,
        separated=separated,
        note=f"{which} separate{'s' * one} {separated.n_separated} of {len(responses)} "
        f"trials: {whose}, and the other coefficients are what the trials that are left tell",
    )


def _constant(responses: NDArray[np.bool_]) -> ClassInference:
    """Of trials (n,) for which no factor is left: logit of the rate, classical error; NaN of no trials."""
    result = ClassInference.refused(None, 0)
    if not len(responses):
        return result
    n_yes, n_no = int(responses.sum()), int((~responses).sum())
    b, error = np.log([n_yes / n_no]), np.sqrt([1 / n_yes + 1 / n_no])
    return replace(result, corrected=b, covariance=np.diag([error[0] ** 2, 0, 0]), z=b / error)


def _score_root(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], j: int, dispersion: float
) -> tuple[Callable[[float], float], float]:
    """−z(c) of coefficient j, the others fitted with it at c, per sd of the factor; that sd."""
    scale, is_weight = factors.std(axis=0, dtype=np.float64), j < factors.shape[1]
    centre = factors.mean(axis=0, dtype=np.float64) if is_weight else 0.0  # the bias is at x = 0
    x = np.column_stack([(factors - centre) / scale, np.ones(len(factors))])
    block = Block(x, responses.astype(np.float64), np.ones(len(x)))
    logistic = Posterior(lambda: [block], TINY * np.eye(x.shape[1]), (0.0, 0.0))
    fixed, start = np.eye(x.shape[1])[j], np.zeros(x.shape[1])

    def root(c: float) -> float:
        start[j] = c
        start[:], end = maximise(logistic, start, fixed)
        others = np.delete(np.arange(len(start)), j)
        cross, whole = end.hessian[others, j], end.hessian[np.ix_(others, others)]
        information = end.hessian[j, j] - TINY - cross @ np.linalg.solve(whole, cross)
        if information < NOTHING * (x[:, j] @ x[:, j]):  # the others separate the trials, whatever c is
            return 0.0
        return -float((end.gradient[j] + TINY * c) / np.sqrt(dispersion * information))

    return root, float(scale[j]) if is_weight else 1.0
