"""The inference of one class."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.inference.joint import JointFit
from hdlogit.inference.link import Link
from hdlogit.inference.predict import Prediction, best_logits, predict

Array = NDArray[np.float64]


def wald_interval(estimate: Array, error: Array, level: float) -> tuple[Array, Array]:
    """(low, high), estimate ± z error."""
    half = ndtri(0.5 + level / 2) * error
    return estimate - half, estimate + half


def two_sided(z: Array) -> Array:
    """p-values of standard normal statistics."""
    return np.asarray(2 * ndtr(-np.abs(z)))


class Score(NamedTuple):
    """Mean over trials."""

    cross_entropy: float  # nats
    brier: float


@dataclass(frozen=True)
class LeaveOneOut:
    """Scores of predictions of each trial from the fit to all others, so that no trial need be held out.

    From at most `hdlogit.inference.sums.SAMPLE` evenly spaced trials.
    """

    plain: Score  # of the fitted logits
    debiased: Score  # of the debiased weights
    best: Score  # of π(V) = P(y = 1 | V)


class Index(NamedTuple):
    """The true index ζ (of sd 1) of each trial, as estimated by the fit without it: ζ | V ~ N(m V, ν²).

    As `fit_link`, `logistic_test` and `psychometric_curve` take it; for the trials of `LeaveOneOut`.
    """

    logit: Array  # (m,) V, centred
    slope: float  # m
    noise: Array  # (m,) ν


@dataclass(frozen=True)
class ClassInference:
    """One class. Arrays are (n_factors + 1,), the bias last, in the units of the coefficients, unless noted."""

    theory: Asymptotics  # γ̂, β̂0 (at the mean of the factors), α̂, s, λ, b̂
    estimate: Array
    classical_error: Array  # √[H⁻¹]_jj
    corrected: Array  # debiased
    covariance: Array  # (n_factors + 1, n_factors + 1) of the corrected coefficients
    centre: Array  # (n_factors,) x̄
    scale: Array  # (n_factors,) standard deviations of the factors
    noise: Array  # (n_factors + 1, n_factors + 1) covariance of the fitted weights and of the logit at x̄: f H⁻¹
    certificate: float  # below 1/2 it proves that the estimate exists; 0 with ridge or shrinkage, where it always does
    note: str | None  # a line where the factors are not of the theory's kind
    leave_one_out: LeaveOneOut
    index: Index
    link: Link  # (γ̂, β̂0, guess and lapse rate) and their errors, NaN for γ̂ if no signal was found; rates are 0
    # unless asked for
    overlap: Array  # (2, 2) the part of the link's covariance that `noise` already contains
    joint: JointFit | None = None  # for few factors with rates: `corrected`, its error and p-values are then from it

    @property
    def guess_rate(self) -> float:
        return self.link.guess_rate

    @property
    def lapse_rate(self) -> float:
        return self.link.lapse_rate

    @property
    def corrected_error(self) -> Array:
        """Standard errors of the corrected coefficients."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def null_error(self) -> Array:
        """(n_factors,) sd of the fitted weight of a factor that has no effect."""
        return np.sqrt(np.diag(self.noise)[:-1])

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Corrected interval (low, high), see the module's docstring."""
        return self.joint.interval(level) if self.joint else wald_interval(self.corrected, self.corrected_error, level)

    def classical_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """The textbook's Wald interval (low, high)."""
        return wald_interval(self.estimate, self.classical_error, level)

    def z_values(self) -> Array:
        """Statistics of tests that each coefficient is zero; for the bias, debiased bias over its corrected error."""
        if self.joint:
            return self.joint.z_values()
        return np.append(self.estimate[:-1] / self.null_error, self.corrected[-1] / self.corrected_error[-1])

    def p_values(self) -> Array:
        """Two-sided p-values of these tests."""
        return two_sided(self.z_values())

    def classical_p_values(self) -> Array:
        """The textbook's two-sided Wald test."""
        return two_sided(self.estimate / self.classical_error)

    def predict(self, factors: NDArray[np.floating], level: float = 0.95) -> Prediction:
        """P(y = 1) of new trials (n, n_factors), with an interval of the true probability."""
        if self.joint:
            return self.joint.predict(factors, level)
        return predict(*self._index_of(factors), self.link, level, self.overlap)

    def log_odds(self, factors: NDArray[np.floating]) -> Array:
        """log P(y = 1) / P(y = 0) of new trials, best prediction, to full precision."""
        if self.joint:
            return self.joint.log_odds(factors)
        return best_logits(*self._index_of(factors), self.link)

    def _index_of(self, factors: NDArray[np.floating]) -> tuple[Array, float, Array]:
        """(V, m, ν) of new trials."""
        centred = np.column_stack([factors - self.centre, np.ones(len(factors))])
        noise = np.sqrt(np.vecdot(centred @ self.noise, centred)) / self.theory.eta
        return centred[:, :-1] @ self.estimate[:-1], self.index.slope, noise
