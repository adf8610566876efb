"""Do groups of trials (sessions, days) replicate one another? A check of the corrections that needs no truth.

Each group g is fitted alone and compared with the others pooled, o, whose many trials leave little bias and noise
in their weights. With weights in units of the factors' standard deviations, and C_o the noise of w_o,

    slope_g = w_g·w_o / (w_o·w_o − tr C_o)         regression through the origin, corrected for the noise of w_o

which for the plain weights is the factor α_g by which one group alone overstates them, over that of the others; for
the corrected ones it is about 1, if the observer is the same in all groups: in simulations without drift their mean
was 1.03 to 1.06 with 100 to 150 trials of 20 factors a group. Well above that, drift is likely: where weights change
from group to group, the pooled fit blurs them, and its weights are smaller than their mean. With guess and lapse
rates, in short groups, the length of corrected weights is so uncertain, and errs upwards by so much more than
downwards, that slopes exceed 1 without any drift (studies/rat).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hdlogit.exact import fit
from hdlogit.inference.infer import infer
from hdlogit.inference.result import Array, ClassInference
from hdlogit.inference.sums import NUMBERS, Names, measure

MOST = 2**25  # numbers in the factors of the others, 256 MB: of more, evenly spaced trials stand for all


class Slope(NamedTuple):
    """Slope of one group's weights on those of the others."""

    value: float
    error: float  # its standard error, for the noise of both


@dataclass(frozen=True)
class GroupReplication:
    """One group of one class."""

    group: int
    trials: int
    plain: Slope | None  # None: there is no estimate
    corrected: Slope | None
    covered: float | None  # fraction of factors in which the interval of the difference of corrected weights holds 0
    reason: str | None  # why there is no estimate


def replicate(
    factors: NDArray[np.floating],
    responses: NDArray[np.bool_],
    groups: NDArray[np.integer],
    *,
    level: float = 0.95,
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
    names: Names = NUMBERS,
    progress: Callable[[int], object] = lambda done: None,
) -> list[list[GroupReplication]]:
    """Compare each group with all others, by maximum likelihood; per class, a result for each group.

    factors: (n, p); responses: (n, k) bool; groups: (n,), at least two different numbers; guess_rate, lapse_rate: known
    ones, and names, as of `infer`; progress is called with the number of groups done.
    """
    numbers, p = np.unique(groups), factors.shape[1]
    scale, z = measure(factors).scale, float(ndtri(0.5 + level / 2))
    results: list[list[GroupReplication]] = [[] for _ in range(responses.shape[1])]
    for done, number in enumerate(numbers.tolist(), start=1):
        inside, outside = np.flatnonzero(groups == number), np.flatnonzero(groups != number)
        outside = outside[:: -(-len(outside) * p // MOST)]
        one, others = (
            _infer(factors[rows], responses[rows], guess_rate, lapse_rate, names) for rows in (inside, outside)
        )
        for of_class, c, pooled in zip(results, one, others, strict=True):
            of_class.append(_compare(number, len(inside), c, pooled, scale, z))
        progress(done)
    return results


def _infer(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], guess_rate: float, lapse_rate: float, names: Names
) -> list[ClassInference]:
    try:
        fitted = fit(factors, responses, polish=True)
    except ValueError as error:
        return [ClassInference.refused(str(error), factors.shape[1])] * responses.shape[1]
    found = infer(factors, responses, fitted.coefficients, guess_rate=guess_rate, lapse_rate=lapse_rate, names=names)
    return [replace(c, reason=reason or c.reason) for reason, c in zip(fitted.reasons, found, strict=True)]


def _compare(
    number: int, n_trials: int, one: ClassInference, others: ClassInference, scale: Array, z: float
) -> GroupReplication:
    if one.reason or others.reason:
        reason = one.reason or f"the others: {others.reason}"
        return GroupReplication(number, n_trials, None, None, None, reason)
    plain = _slope(one.estimate, others.estimate, one.noise, others.noise, scale)
    corrected = _slope(one.corrected, others.corrected, _given_scale(one), _given_scale(others), scale)
    difference = one.corrected[:-1] - others.corrected[:-1]
    covered = np.abs(difference) <= z * np.hypot(one.corrected_error[:-1], others.corrected_error[:-1])
    return GroupReplication(number, n_trials, plain, corrected, float(covered.mean()), None)


def _given_scale(c: ClassInference) -> Array:
    """Covariance of the corrected weights, as if their scale were known: what its error adds along the weights is about
    what knowing the signal takes away.
    """
    return c.noise / c.theory.alpha**2 if c.profiles is None else c.covariance


def _slope(one: Array, others: Array, noise: Array, others_noise: Array, scale: Array) -> Slope | None:
    """None where the others' weights are no larger than their noise."""
    w, v = one[:-1] * scale, others[:-1] * scale
    of_w, of_v = (covariance[: len(w), : len(w)] * np.outer(scale, scale) for covariance in (noise, others_noise))
    size = float(v @ v - np.trace(of_v))
    if not size > 0:
        return None
    value = float(w @ v) / size
    rest = w - value * v
    return Slope(value, float(np.sqrt(v @ of_w @ v + rest @ of_v @ rest)) / size)
