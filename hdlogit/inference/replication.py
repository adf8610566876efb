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

from collections.abc import Callable
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


class Slopes(NamedTuple):
    """Slopes of groups' weights on those of the others, for standardised factors, and of all groups together."""

    value: Array  # (G,) NaN: there is no estimate, or the others' weights are no larger than their noise
    error: Array  # (G,) standard errors, for the noise of both
    common: float = np.nan  # NaN: fewer than two groups have a slope
    common_error: float = np.nan  # its standard error, by the jackknife over groups
    q: float = np.nan  # by how much slopes differ: χ² of df if only by chance
    df: int = 0

    @property
    def p_value(self) -> float:
        """That all groups have the same slope."""
        return float(chdtrc(self.df, self.q))


class Replication(NamedTuple):
    """G groups of one class."""

    groups: list[int]
    trials: list[int]
    reasons: list[str]  # why a group has no estimate, or ""
    classical: Slopes
    corrected: Slopes
    covered: Array  # (G,) fraction of factors in which the interval of the difference of corrected weights holds 0

    @property
    def p_value(self) -> float:
        """That groups do not differ, neither in classical weights nor in corrected ones: the larger p-value.

        With rates, corrected weights of short groups run away.
        """
        return float(np.nanmax([self.classical.p_value, self.corrected.p_value]))


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
    p, z, units = factors.shape[1], float(ndtri(0.5 + level / 2)), measure(factors)
    blocks = (units.standardise(factors[rows])[:, :-1] for rows in cut(len(factors), p))
    m = sum((t.T @ t for t in blocks), np.zeros((p, p))) / len(factors)
    numbers, trials = np.unique(groups, return_counts=True)

    def of_trials(rows: NDArray[np.intp]) -> ClassInference:
        try:
            fitted = fit(factors[rows], responses[rows, None], polish=True)
        except ValueError as error:
            return ClassInference.refused(str(error), p)
        rates = guess_rate, lapse_rate
        [c] = infer(factors[rows], responses[rows, None], fitted.coefficients, 0.0, 0.0, "none", *rates, names)
        return replace(c, reason=fitted.reasons[0] or c.reason)

    own, others = list[ClassInference](), list[ClassInference]()
    for number in tqdm(numbers.tolist(), "replication", unit="group", disable=None, leave=False):
        outside = np.flatnonzero(groups != number)
        own.append(of_trials(np.flatnonzero(groups == number)))
        others.append(of_trials(outside[:: -(-len(outside) * p // MOST)]))
    of_others = (c.reason and f"the others: {c.reason}" for c in others)
    reasons = [c.reason or reason or "" for c, reason in zip(own, of_others, strict=True)]
    known = np.array([not reason for reason in reasons])

    def of_groups(value: Callable[[ClassInference], Array]) -> Array:
        """(2, G, …) of each group and of the others; NaN where there is no estimate."""
        values = np.array([[value(c) for c in side] for side in (own, others)])
        values[:, ~known] = np.nan
        return values

    unit = np.outer(units.scale, units.scale)
    noise = of_groups(lambda c: c.noise[:p, :p] * unit), of_groups(lambda c: _given_scale(c)[:p, :p] * unit)
    classical = _slopes(of_groups(lambda c: c.estimate[:-1] * units.scale), noise[0], m, trials)
    corrected = _slopes(of_groups(lambda c: c.corrected[:-1] * units.scale), noise[1], m, trials)
    weights, errors = of_groups(lambda c: c.corrected[:-1]), of_groups(lambda c: c.corrected_error[:-1])
    inside = np.abs(weights[0] - weights[1]) <= z * np.hypot(*errors)
    covered = np.where(known, inside.mean(axis=1), np.nan)
    return Replication(numbers.tolist(), trials.tolist(), reasons, classical, corrected, covered)


def _given_scale(c: ClassInference) -> Array:
    """Covariance of the corrected weights, as if their scale were known: what its error adds along the weights is about
    what knowing the signal takes away. With rates it adds more.
    """
    by_equations = c.profiles is None and c.guess_rate + c.lapse_rate == 0
    return c.noise / c.theory.alpha**2 if by_equations else c.covariance[:-2, :-2]


def _slopes(weights: Array, noise: Array, m: Array, trials: NDArray[np.integer]) -> Slopes:
    """weights (2, G, p) of groups and of the others, with their noise (2, G, p, p).

    The error of the common slope is what each group adds (infinitesimal jackknife), by its own weights and by what it
    moves those of the others, r_g: these are close to the mean of all groups but g, so that without g all of them move
    by about (mean r − r_g) G/(G − 1). Both parts nearly cancel where groups are alike, as the weights of a group that
    happen to be long lengthen those of the pooled groups, too.

    In Q a group's slope on all groups, itself among them, stands for slope_g: it is nearer to the common one by the
    others' part of the trials.
    """
    (w, r), (of_w, of_r) = weights, noise
    along = r @ m
    product, size = np.vecdot(along, w), np.vecdot(along, r) - np.einsum("ij,gij->g", m, of_r)
    size = np.where(size > 0, size, np.nan)
    own_noise, rest = np.einsum("gi,gij,gj->g", along, of_w, along), (w - 2 * (product / size)[:, None] * r) @ m
    error = np.sqrt(own_noise + np.einsum("gi,gij,gj->g", rest, of_r, rest)) / size
    known = np.isfinite(size)
    slopes, n_groups = Slopes(product / size, error), int(known.sum())
    if n_groups < 2:
        return slopes
    w, r, product, size, own_noise, n = (each[known] for each in (w, r, product, size, own_noise, trials))
    common = float(product.sum() / size.sum())
    gradient = (w - 2 * common * r) @ m
    moved = n_groups / (n_groups - 1) * (r.mean(axis=0) - r)
    added = product - common * size + np.vecdot(gradient.sum(axis=0) - gradient, moved)
    common_error = np.sqrt(n_groups / (n_groups - 1) * np.square(added - added.mean()).sum()) / size.sum()
    q = np.square((1 - n / n.sum()) * (product - common * size)) / own_noise
    return slopes._replace(common=common, common_error=float(common_error), q=float(q.sum()), df=n_groups - 1)
