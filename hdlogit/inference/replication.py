"""Do groups of trials (sessions, days) replicate one another? A check of the corrections that needs no truth.

Each group g is fitted alone, w_g, and compared with the others pooled, r_g, whose many trials leave little bias and
noise. With M the covariance of the factors and C_g the noise of r_g, the slope of one group, and that of all together,

    slope_g = r_gᵀM w_g / (r_gᵀM r_g − tr M C_g)          slope = Σ_g r_gᵀM w_g / Σ_g (r_gᵀM r_g − tr M C_g)

are regressions through the origin, corrected for the noise of r_g. For the plain weights it is the factor α by which
one group alone overstates them, over that of the others; for the corrected ones it is 1, if the observer is the same in
all groups. Well above that, drift is likely: where weights change from group to group, the pooled fit blurs them, and
its weights are smaller than their mean. No group is left out: the error of a slope grows with the slope, so that
leaving out those with large errors would leave out large slopes.

Groups that differ are found by Q = Σ (slope_g − slope)²/var_g (Cochran 1954).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from hdlogit.compute.threads import cut
from hdlogit.exact import fit
from hdlogit.inference.infer import infer
from hdlogit.inference.result import Array, ClassInference
from hdlogit.inference.sums import NUMBERS, Names, measure

MOST = 2**25  # numbers in the factors of the others, 256 MB: of more, evenly spaced trials stand for all


class Slope(NamedTuple):
    """Slope of a group's weights on those of the others, for standardised factors: product/size."""

    value: float
    error: float  # its standard error, for the noise of both
    one: Array  # (p,) weights of the group,
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


@dataclass(frozen=True)
class GroupReplication:
    """One group of one class."""

    group: int
    trials: int
    plain: Slope | None  # None: there is no estimate, or the others' weights are no larger than their noise
    corrected: Slope | None
    covered: float | None  # fraction of factors in which the interval of the difference of corrected weights holds 0
    reason: str | None  # why there is no estimate


class Replication(NamedTuple):
    """One class."""

    groups: list[GroupReplication]
    plain: Common | None  # None: fewer than two groups have an estimate
    corrected: Common | None


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
) -> list[Replication]:
    """Compare each group with all others, by maximum likelihood; a result per class.

    factors: (n, p); responses: (n, k) bool; groups: (n,), at least two different numbers; guess_rate, lapse_rate: known
    ones, and names, as of `infer`; progress is called with the number of groups done.
    """
    numbers, p = np.unique(groups), factors.shape[1]
    units, z = measure(factors), float(ndtri(0.5 + level / 2))
    blocks = (units.standardise(factors[rows])[:, :-1] for rows in cut(len(factors), p))
    m = sum((t.T @ t for t in blocks), np.zeros((p, p))) / len(factors)
    found: list[list[GroupReplication]] = [[] for _ in range(responses.shape[1])]
    for done, number in enumerate(numbers.tolist(), start=1):
        inside, outside = np.flatnonzero(groups == number), np.flatnonzero(groups != number)
        outside = outside[:: -(-len(outside) * p // MOST)]
        one, others = (
            _infer(factors[rows], responses[rows], guess_rate, lapse_rate, names) for rows in (inside, outside)
        )
        for of_class, c, pooled in zip(found, one, others, strict=True):
            n = len(inside)
            if reason := c.reason or (f"the others: {pooled.reason}" if pooled.reason else None):
                of_class.append(GroupReplication(number, n, None, None, None, reason))
                continue
            noises = _given_scale(c), _given_scale(pooled)
            plain = _slope(c.estimate, pooled.estimate, c.noise, pooled.noise, units.scale, m, n)
            corrected = _slope(c.corrected, pooled.corrected, *noises, units.scale, m, n)
            difference = c.corrected[:-1] - pooled.corrected[:-1]
            covered = np.abs(difference) <= z * np.hypot(c.corrected_error[:-1], pooled.corrected_error[:-1])
            of_class.append(GroupReplication(number, n, plain, corrected, float(covered.mean()), None))
        progress(done)
    return [
        Replication(
            some, _common([g.plain for g in some if g.plain], m), _common([g.corrected for g in some if g.corrected], m)
        )
        for some in found
    ]


def _infer(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], guess_rate: float, lapse_rate: float, names: Names
) -> list[ClassInference]:
    try:
        fitted = fit(factors, responses, polish=True)
    except ValueError as error:
        return [ClassInference.refused(str(error), factors.shape[1])] * responses.shape[1]
    found = infer(factors, responses, fitted.coefficients, guess_rate=guess_rate, lapse_rate=lapse_rate, names=names)
    return [replace(c, reason=reason or c.reason) for reason, c in zip(fitted.reasons, found, strict=True)]


def _slope(
    one: Array, others: Array, noise: Array, others_noise: Array, scale: Array, m: Array, trials: int
) -> Slope | None:
    p, unit = len(scale), np.outer(scale, scale)
    w, v, of_w, of_v = one[:-1] * scale, others[:-1] * scale, noise[:p, :p] * unit, others_noise[:p, :p] * unit
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
