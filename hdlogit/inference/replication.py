"""Do groups of trials (sessions, days) replicate one another? A check of the corrections that needs no truth.

Each group g is fitted alone, w_g, and compared with the others pooled, r_g, whose many trials leave little bias and
noise. With M the covariance of the factors and C_g the noise of r_g, the slope of one group, and that of all together,

    slope_g = r_gᵀM w_g / (r_gᵀM r_g − tr M C_g)          slope = Σ_g r_gᵀM w_g / Σ_g (r_gᵀM r_g − tr M C_g)

are regressions through the origin, corrected for the noise of r_g. For classical weights it is the factor α by which
one group alone overstates them, over that of the others; for corrected ones it is 1, if the observer is the same in all
groups. Well above that, drift is likely: where weights change from group to group, the pooled fit blurs them, and
its weights are smaller than their mean. No group is left out: the error of a slope grows with the slope, so that
leaving out those with large errors would leave out large slopes.

Groups that differ are found by Q = Σ (slope_g − slope)²/var_g (Cochran 1954).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri
from tqdm import tqdm

from hdlogit.compute.threads import cut
from hdlogit.exact import fit
from hdlogit.inference.infer import infer
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import NUMBERS, Array, Factors, Names, Responses, measure

MOST = 2**25  # numbers in the factors of the others, 256 MB: of more, evenly spaced trials stand for all


class Slope(NamedTuple):
    """Slope of a group's weights on those of the others, for standardised factors: product/size."""

    value: float
    error: float  # its standard error, for the noise of both
    own: Array  # (p,) weights of the group,
    others: Array  # and of the others
    product: float
    size: float  # positive
    variance: float  # of the product, by the group's own noise
    trials: int


class Common(NamedTuple):
    """Slope of all groups together."""

    value: float
    error: float  # its standard error, by the jackknife over groups
    q: float  # by how much the groups' slopes differ: χ² of df if only by chance
    df: int

    @property
    def p_value(self) -> float:
        """That all groups have the same slope."""
        return float(chdtrc(self.df, self.q))


class Group(NamedTuple):
    """One group beside the others."""

    number: int
    trials: int
    reason: str | None = None  # why there is no estimate
    classical: Slope | None = None  # None: there is no estimate, or the others' weights are no larger than their noise
    corrected: Slope | None = None
    covered: float | None = None  # fraction of factors in which the interval of the difference of weights holds 0


class Replication(NamedTuple):
    """Groups of one class."""

    groups: list[Group]
    classical: Common | None  # None: fewer than two groups have an estimate
    corrected: Common | None

    @property
    def p_value(self) -> float:
        """That groups do not differ, neither in classical weights nor in corrected ones: the larger p-value.

        With rates, corrected weights of short groups run away.
        """
        return max(one.p_value for one in (self.classical, self.corrected) if one)


def replicate(
    factors: Factors,
    responses: Responses,
    groups: NDArray[np.integer],
    *,
    level: float = 0.95,
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
    names: Names = NUMBERS,
) -> Replication:
    """Compare each group with all others, by maximum likelihood.

    factors: (n, p); responses: (n,) bool; groups: (n,), at least two different numbers; guess_rate, lapse_rate: known
    ones, and names, as of `infer`.
    """
    p = factors.shape[1]
    units, z = measure(factors), float(ndtri(0.5 + level / 2))
    blocks = (units.standardise(factors[rows])[:, :-1] for rows in cut(len(factors), p))
    m, scale = sum((t.T @ t for t in blocks), np.zeros((p, p))) / len(factors), units.scale

    def of_trials(rows: NDArray[np.intp]) -> ClassInference:
        try:
            fitted = fit(factors[rows], responses[rows, None], polish=True)
        except ValueError as error:
            return ClassInference.refused(str(error), p)
        trials, rates = (factors[rows], responses[rows, None]), (guess_rate, lapse_rate)
        [c] = infer(*trials, fitted.coefficients, 0.0, 0.0, "none", *rates, names)
        return replace(c, reason=fitted.reasons[0] or c.reason)

    def compared(number: int) -> Group:
        inside, outside = np.flatnonzero(groups == number), np.flatnonzero(groups != number)
        own, others, n = of_trials(inside), of_trials(outside[:: -(-len(outside) * p // MOST)]), len(inside)
        if reason := own.reason or (f"the others: {others.reason}" if others.reason else None):
            return Group(number, n, reason)
        difference = own.corrected[:-1] - others.corrected[:-1]
        covered = np.abs(difference) <= z * np.hypot(own.corrected_error[:-1], others.corrected_error[:-1])
        classical = _slope(own.estimate, others.estimate, own.noise, others.noise, scale, m, n)
        noises = _given_scale(own), _given_scale(others)
        corrected = _slope(own.corrected, others.corrected, *noises, scale, m, n)
        return Group(number, n, None, classical, corrected, float(covered.mean()))

    numbers = tqdm(np.unique(groups).tolist(), "replication", unit="group", disable=None, leave=False)
    each = [compared(number) for number in numbers]
    classical = [one.classical for one in each if one.classical]
    corrected = [one.corrected for one in each if one.corrected]
    return Replication(each, _common(classical, m), _common(corrected, m))


def _slope(
    own: Array, others: Array, noise: Array, others_noise: Array, scale: Array, m: Array, trials: int
) -> Slope | None:
    p, unit = len(scale), np.outer(scale, scale)
    w, v, of_w, of_v = own[:-1] * scale, others[:-1] * scale, noise[:p, :p] * unit, others_noise[:p, :p] * unit
    product, size, along = float(v @ m @ w), float(v @ m @ v - np.vdot(m, of_v)), m @ v
    if not size > 0:
        return None
    variance, rest = float(along @ of_w @ along), m @ (w - 2 * product / size * v)
    error = float(np.sqrt(variance + rest @ of_v @ rest)) / size
    return Slope(product / size, error, w, v, product, size, variance, trials)


def _given_scale(c: ClassInference) -> Array:
    """Covariance of the corrected weights, as if their scale were known: what its error adds along the weights is about
    what knowing the signal takes away. With rates it adds more.
    """
    by_equations = c.profiles is None and c.guess_rate + c.lapse_rate == 0
    return c.noise / c.theory.alpha**2 if by_equations else c.covariance


def _common(slopes: Sequence[Slope], m: Array) -> Common | None:
    """The slope of all groups.

    Its error is what each group adds (infinitesimal jackknife), by its own weights and by what it moves those of the
    others, r_g: these are close to the mean of all groups but g, so that without g all of them move by about
    (mean r − r_g) G/(G − 1). Both parts nearly cancel where groups are alike, as the weights of a group that happen to
    be long lengthen those of the pooled groups, too.

    In Q a group's slope on all groups, itself among them, stands for slope_g: it is nearer to the common one by the
    others' part of the trials.
    """
    if len(slopes) < 2:
        return None
    _, _, own, others, product, size, own_noise, n = (np.array(values) for values in zip(*slopes, strict=True))
    slope = float(product.sum() / size.sum())
    gradient = (own - 2 * slope * others) @ m
    moved = len(n) / (len(n) - 1) * (others.mean(axis=0) - others)
    added = product - slope * size + np.vecdot(gradient.sum(axis=0) - gradient, moved)
    error = float(np.sqrt(len(n) / (len(n) - 1) * np.square(added - added.mean()).sum()) / size.sum())
    q = np.square((1 - n / n.sum()) * (product - slope * size)) / own_noise
    return Common(slope, error, float(q.sum()), len(n) - 1)
