"""What trials tell where some of them are separated: no estimate of the weights along there, but one of the others.

Some d separates the responses if s_i x̃_i·d ≥ 0 for every trial, and not all are 0 (s_i = ±1, x̃ = (x, 1)). Along d the
likelihood grows without end, and every trial with s_i x̃_i·d > 0 is fitted perfectly in the limit. So these trials tell
nothing about other directions, and the maximum-likelihood estimate of these is that of the trials that are left
(Albert & Anderson, Biometrika 1984; Geyer, Electronic Journal of Statistics 2009). A weight that d moves is infinite;
how small it may be is told by the score test of w_j = c, the others being fitted with it at c:

    z(c) = Σ x_ij ψ_i / √(f V),    V = Σ D_i x_ij² given the others

The linear programme of `hdlogit.exact.separation` finds them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qr
from scipy.optimize import brentq, linprog, minimize
from scipy.special import expit, ndtri

if TYPE_CHECKING:
    from hdlogit.inference.result import ClassInference

Array = NDArray[np.float64]

LARGEST = 2**21  # numbers in factors: of more, a linear programme takes too long
MANY = 0.1  # factors per trial, from which on complete separation says little of any of them
SEEN = 1e-7  # of a direction: what is left of it in trials that do not see it
TINY = 1e-8  # ridge of the fits for the score test, without which they may have no minimum
NOTHING = 1e-6  # information, of what trials of probability 1/2 would have four times
FARTHEST = 7  # doublings of a step from 1 logit per sd, after which a bound is taken for infinite


@dataclass(frozen=True)
class Separation:
    """Of one class; coefficients are (p + 1,), the bias last."""

    left: NDArray[np.bool_]  # (n,) the trials that are not separated
    kept: NDArray[np.intp]  # factors that are independent on these trials
    above: NDArray[np.bool_]  # (p + 1,) whether a coefficient may be ∞: some direction that separates has it > 0
    below: NDArray[np.bool_]  # (p + 1,) whether it may be −∞. If neither, the trials that are left determine it


def separation_of(factors: NDArray[np.floating], responses: NDArray[np.bool_]) -> Separation | None:
    """None where nothing is separated, or where the factors (n, p) are too many to find out."""
    if factors.size > LARGEST:
        return None
    from hdlogit.exact.separation import find_separation  # only here: its room brings torch

    centre, scale = factors.mean(axis=0, dtype=np.float64), factors.std(axis=0, dtype=np.float64)
    try:
        found = find_separation(factors, responses, centre, 1 / scale, every_trial=True)
    except RuntimeError:
        found = None
    if found is None:
        return None
    separated = found[1]
    x = np.column_stack([(factors - centre) / scale, np.ones(len(factors))])
    signed = np.where(responses, 1.0, -1.0)[:, None] * x
    n, size = x.shape
    if separated.all() and size > MANY * n:  # by chance: which way each goes says nothing, and takes long to find
        return Separation(~separated, np.zeros(0, np.intp), *np.ones((2, size), np.bool_))
    left = x[~separated]
    unseen = _null_space(left)  # (p + 1, m) the directions in which the trials that are left do not vary
    kept = np.zeros(0, np.intp)
    if len(left):  # the constant is always kept
        order = qr(left[:, :-1] - left[:, :-1].mean(axis=0), mode="r", pivoting=True)[1]
        kept = np.sort(order[: size - unseen.shape[1] - 1]).astype(np.intp)
    cone = signed[separated] @ unseen  # what moves along c ∈ R^m: cone · c ≥ 0
    unseen[-1] -= centre / scale @ unseen[:-1]  # from the logit at the means to the bias
    above, below = (np.array([_reaches(cone, side * row) for row in unseen]) for side in (1, -1))
    return Separation(~separated, kept, above, below)


def _null_space(x: Array) -> Array:
    _, singular, rows = np.linalg.svd(np.linalg.qr(x, mode="r"))
    rank = int((singular > SEEN * max(float(singular.max(initial=0)), 1e-300)).sum())
    return np.asarray(rows[rank:].T)


def _reaches(cone: Array, row: Array) -> bool:
    """Whether some c has cone · c ≥ 0 and row · c > 0."""
    if not np.abs(row).max() >= SEEN:
        return False
    found = linprog(-row, A_ub=-cone, b_ub=np.zeros(len(cone)), bounds=[(-1, 1)] * len(row))
    return bool(found.status == 0 and -found.fun > SEEN)


class Constant(NamedTuple):
    """The inference of trials for which no factor is left: what `Separated` needs of it. (1,), the bias."""

    corrected: Array
    covariance: Array
    dispersion: float = 1.0

    @classmethod
    def of(cls, responses: NDArray[np.bool_]) -> Constant:
        """logit of the rate, with the textbook's error; of no trials, nothing."""
        if not len(responses):
            return cls(np.array([np.nan]), np.array([[np.nan]]))
        yes, no = responses.mean(), 1 - responses.mean()
        return cls(np.log([yes / no]), np.array([[1 / (len(responses) * yes * no)]]))

    @property
    def z(self) -> Array:
        return np.asarray(self.corrected / np.sqrt(self.covariance[0, :1]))

    def interval(self, level: float) -> tuple[Array, Array]:
        half = ndtri(0.5 + level / 2) * np.sqrt(self.covariance[0, :1])
        return self.corrected - half, self.corrected + half


@dataclass(frozen=True)
class Separated:
    """Coefficients of which some are infinite: score tests of these, the ordinary inference of the others."""

    factors: NDArray[np.floating]
    responses: NDArray[np.bool_]
    separation: Separation
    others: ClassInference | Constant  # from the trials that are left, of the factors that are kept
    shrunken: ClassInference  # of all trials, for predictions

    @property
    def n_separated(self) -> int:
        """How many trials."""
        return int((~self.separation.left).sum())

    @property
    def infinite(self) -> NDArray[np.intp]:
        """The coefficients that have no estimate."""
        return np.flatnonzero(self.separation.above | self.separation.below)

    def whole(self, values: Array, infinite: ArrayLike) -> Array:
        """(p + 1,) from values of the factors that are kept, and the bias, and of those that are `infinite`."""
        result = np.empty(self.factors.shape[1] + 1)
        result[[*self.separation.kept, -1]] = values
        result[self.infinite] = infinite
        return result

    def expected_classical_coverage(self, level: float) -> tuple[float, float]:
        """Of the factors that have an estimate, and its error; the level where there are none."""
        return (level, 0.0) if isinstance(self.others, Constant) else self.others.expected_classical_coverage(level)

    def z_values(self) -> Array:
        """Of tests that each coefficient is zero."""
        return self.whole(self.others.z, [self._z_value(j) for j in self.infinite.tolist()])

    def interval(self, level: float) -> tuple[Array, Array]:
        """Without end where a coefficient may be infinite; on the other side up to where the score test rejects."""
        z, (low, high) = float(ndtri(0.5 + level / 2)), self.others.interval(level)
        above, below = self.separation.above, self.separation.below
        lows = [-np.inf if below[j] else self._bound(j, z) for j in self.infinite.tolist()]
        highs = [np.inf if above[j] else self._bound(j, -z) for j in self.infinite.tolist()]
        return self.whole(low, lows), self.whole(high, highs)

    def _bound(self, j: int, z: float) -> float:
        """Where the score of coefficient j, which falls as it rises, is z: sought from 0 outwards."""
        x, unit = self._columns(j)
        start = np.zeros(x.shape[1] - 1)

        def above(value: float) -> float:
            found, start[:] = self._score(x, j, value, start)
            return found - z

        here, side = 0.0, 1.0 if above(0.0) > 0 else -1.0
        for step in 2.0 ** np.arange(FARTHEST):
            there = here + side * float(step)
            if side * above(there) < 0:
                return float(brentq(above, *sorted((here, there)), xtol=1e-4)) / unit
            here = there
        return side * np.inf

    def _z_value(self, j: int) -> float:
        x, _ = self._columns(j)
        return self._score(x, j, 0.0, np.zeros(x.shape[1] - 1))[0]

    def _columns(self, j: int) -> tuple[Array, float]:
        """Factors (n, p + 1) in units in which coefficient j is what it is but for its unit; that unit."""
        scale = self.factors.std(axis=0, dtype=np.float64)
        centre = self.factors.mean(axis=0, dtype=np.float64) if j < len(scale) else 0.0  # the bias is at x = 0
        x = np.column_stack([(self.factors - centre) / scale, np.ones(len(self.factors))])
        return x, float(scale[j]) if j < len(scale) else 1.0

    def _score(self, x: Array, j: int, value: float, start: Array) -> tuple[float, Array]:
        """Score of coefficient j, in standard errors, and the others fitted with it at this value, from `start`."""
        fixed, others = x[:, j], np.delete(x, j, axis=1)
        arguments = others, self.responses, fixed * value
        fitted = minimize(_loss, start, arguments, "trust-exact", jac=_gradient, hess=_hessian).x
        p = expit(others @ fitted + fixed * value)
        residual, curvature = self.responses - p, p * (1 - p)
        cross = others.T @ (curvature * fixed)
        information = fixed @ (curvature * fixed) - cross @ np.linalg.solve(_hessian(fitted, *arguments), cross)
        if information < NOTHING * (fixed @ fixed):  # the others separate the trials, whatever this coefficient is
            return 0.0, fitted
        return float(fixed @ residual / np.sqrt(float(self.others.dispersion) * information)), fitted


def _loss(w: Array, x: Array, y: NDArray[np.bool_], offset: Array) -> float:
    z = x @ w + offset
    return float(np.logaddexp(0, np.where(y, -z, z)).sum() + 0.5 * TINY * w @ w)


def _gradient(w: Array, x: Array, y: NDArray[np.bool_], offset: Array) -> Array:
    return np.asarray(x.T @ (expit(x @ w + offset) - y) + TINY * w)


def _hessian(w: Array, x: Array, y: NDArray[np.bool_], offset: Array) -> Array:
    z = x @ w + offset
    return np.asarray((x.T * (expit(z) * expit(-z))) @ x + TINY * np.eye(x.shape[1]))
