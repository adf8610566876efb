"""The inference of one class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.special import expit, ndtr, ndtri

from hdlogit.asymptotics import predictions
from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.inference.joint import ROOTS, JointFit
from hdlogit.inference.link import Link
from hdlogit.inference.predict import Prediction, average_log_odds, interval_of_probability
from hdlogit.inference.separation import Separated
from hdlogit.psychometric.function import log_odds

Array = NDArray[np.float64]


def wald_interval(estimate: Array, error: Array, level: float) -> tuple[Array, Array]:
    """(low, high), estimate ± z error."""
    half = ndtri(0.5 + level / 2) * error
    return estimate - half, estimate + half


def two_sided(z: Array) -> Array:
    """p-values of standard normal statistics."""
    return np.asarray(2 * ndtr(-np.abs(z)))


def fieller(w: Array, a: Array, c: Array, b: float, z2: float, rejected: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Ends of {β: (w − β)² ≤ z2 (a − 2cβ + bβ²)}, element by element; rejected: whether it leaves out 0."""
    first, middle, last = 1 - z2 * b, w - z2 * c, w**2 - z2 * a  # first β² − 2 middle β + last ≤ 0
    far = middle + np.copysign(np.sqrt(np.maximum(middle**2 - first * last, 0.0)), middle)
    near = np.divide(last, far, out=np.zeros_like(far), where=far != 0)  # the root nearer to 0
    if first > 0:
        return np.minimum(near, far / first), np.maximum(near, far / first)
    low = np.where(rejected & (middle > 0), near, -np.inf)
    return low, np.where(rejected & (middle < 0), near, np.inf)


class LeaveOneOut(NamedTuple):
    """Logits of each trial, predicted from the fit to all others, so that no trial need be held out; (m,) each.

    Of all trials, or of `hdlogit.inference.sums.SAMPLE` evenly spaced ones.
    """

    plain: Array  # V, of the fit
    debiased: Array  # of the debiased weights
    best: Array  # logit of π(V) = P(y = 1 | V)


class Index(NamedTuple):
    """The index of each trial, as measured by the fit without it; as `fit_link`, `logistic_test` and
    `psychometric_curve` take it, for the trials of `LeaveOneOut`.
    """

    logit: Array  # (m,) V, centred; dominant factors rescaled to the scale α of the others
    noise: Array  # (m,) s


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
    inflation: float  # mean of 1/(1 − R²), R the correlation of a factor with all others: 1 where they are uncorrelated
    noise: Array  # (n_factors + 1, n_factors + 1) covariance of the fitted weights and of the logit at x̄: f H⁻¹
    certificate: float  # below 1/2 it proves that the estimate exists; 0 with ridge or shrinkage, where it always does
    note: str | None  # a line where the factors are not of the theory's kind
    leave_one_out: LeaveOneOut
    index: Index
    link: Link  # (γ̂, β̂0, guess and lapse rate) and their errors, NaN for γ̂ if no signal was found; rates are 0
    # unless asked for
    along: float  # variance of log |ŵ|, by its noise
    stretch: float  # variance of log α, the error that all weights share, but those of dominant factors
    shared: Array  # covariance of the corrected weights, as if α were known, with log α̂
    dominant: NDArray[np.intp]  # (d,) factors that carry much of the index and are not normal: `asymptotics.inverse`
    shift: Array  # (2, d) what each adds to fitted logits per unit, for α, or the best slope, to be right for all
    separated: Separated | None = None  # where some trials are: coefficients that are ±infinite, or unknown (NaN)
    joint: JointFit | None = None  # for few factors with rates: `corrected`, its error and p-values are then from it
    reason: str | None = None  # why this class has no inference: everything else is then NaN

    @classmethod
    def refused(cls, reason: str, n_factors: int) -> ClassInference:
        """Of a class that has no inference."""
        nan, of_factors, none = np.full(n_factors + 1, np.nan), np.full(n_factors, np.nan), np.zeros(0)
        matrix = np.full((n_factors + 1, n_factors + 1), np.nan)
        return cls(
            theory=Asymptotics(*[np.nan] * 9),
            estimate=nan,
            classical_error=nan,
            corrected=nan,
            covariance=matrix,
            centre=of_factors,
            scale=of_factors,
            inflation=np.nan,
            noise=matrix,
            certificate=np.nan,
            note=None,
            leave_one_out=LeaveOneOut(none, none, none),
            index=Index(none, none),
            link=Link(np.nan, np.nan, np.nan, np.nan, np.full((4, 4), np.nan), np.nan),
            along=np.nan,
            stretch=np.nan,
            shared=nan,
            dominant=np.zeros(0, np.intp),
            shift=np.zeros((2, 0)),
            reason=reason,
        )

    @property
    def guess_rate(self) -> float:
        return self.link.guess_rate

    @property
    def lapse_rate(self) -> float:
        return self.link.lapse_rate

    @property
    def dispersion(self) -> float:
        """f."""
        return float((self.null_error[0] / self.classical_error[0]) ** 2)

    @property
    def corrected_error(self) -> Array:
        """Standard errors of the corrected coefficients."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def null_error(self) -> Array:
        """(n_factors,) sd of the fitted weight of a factor that has no effect."""
        return np.sqrt(np.diag(self.noise)[:-1])

    @property
    def alpha_error(self) -> float:
        """Standard error of α̂."""
        return self.theory.alpha * math.sqrt(self.stretch)

    def expected_classical_coverage(self, level: float = 0.95) -> tuple[float, float]:
        """(Coverage to expect of the classical intervals of the weights, from the data alone; its error.)

        ŵ_j = αβ_j + n_j Z, with n_j the null error, so a fitted weight is off by ŵ_j − β_j = kαβ_j + n_j Z with
        k = 1 − 1/α. That is also the law of kŵ_j + √(1 − k²) n_j Z', whatever the true weights are; and ŵ_j/n_j is the
        same in all units of the factors. The mean over the weights that have an estimate. Its error is what an α̂ nearer
        to 1 by its own error would change.
        """
        if self.separated:
            return self.separated.expected_classical_coverage(level)
        known = np.isfinite(self.corrected[:-1])
        fitted, corrected, unit = self.estimate[:-1][known], self.corrected[:-1][known], self.null_error[known]
        if not known.any():
            return math.nan, math.nan
        half = ndtri(0.5 + level / 2) * self.classical_error[:-1][known] / unit
        k = np.clip(1 - np.divide(corrected, fitted, out=np.ones_like(fitted), where=fitted != 0), -0.999, 0.999)

        def coverage(part: float) -> float:
            off, sd = part * (fitted - corrected) / unit, np.sqrt(1 - (part * k) ** 2)
            return float(np.mean(ndtr((half - off) / sd) - ndtr((-half - off) / sd)))

        nearer = max(1 - self.alpha_error / max(abs(self.theory.alpha - 1), 1e-9), 0.0)
        return coverage(1.0), abs(coverage(nearer) - coverage(1.0))

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Corrected interval (low, high): every value that a test at its own standard error does not reject.

        (ŵ/α̂ − β)² ≤ z² (A − 2Cβ + Bβ²), A = f [H⁻¹]_jj/α̂², B = Var(log α̂), C their covariance (Fieller 1954): at β = 0
        it is the test of `p_values`, so interval and p-value agree. Without end on one side, or both, where α̂ is hardly
        known (z²B ≥ 1). For the bias ŵ ± z error; for dominant factors, too, as far as it agrees with the p-value.
        """
        if self.joint:
            z = float(ndtri(0.5 + level / 2))
            ends = make_interp_spline(ROOTS, self.joint.profiles, k=1, axis=1)([-z, z])
            return ends[:, 0], ends[:, 1]
        if self.separated:
            return self.separated.interval(level)
        low, high = wald_interval(self.corrected, self.corrected_error, level)
        z2, w, rejected = float(ndtri(0.5 + level / 2)) ** 2, self.corrected[:-1], self.p_values()[:-1] < 1 - level
        ends = fieller(w, (self.null_error / self.theory.alpha) ** 2, self.shared[:-1], self.stretch, z2, rejected)
        usual = np.setdiff1d(np.arange(len(w)), self.dominant)
        low[usual], high[usual] = (end[usual] for end in ends)
        for j in self.dominant.tolist():
            nearest = 1e-9 * w[j] if rejected[j] else 0.0
            if w[j] > 0:
                low[j] = max(low[j], nearest) if rejected[j] else min(low[j], nearest)
            else:
                high[j] = min(high[j], nearest) if rejected[j] else max(high[j], nearest)
        return low, high

    def classical_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """The textbook's Wald interval (low, high)."""
        return wald_interval(self.estimate, self.classical_error, level)

    def z_values(self) -> Array:
        """Statistics of tests that each coefficient is zero; for the bias, debiased bias over its corrected error."""
        if self.joint:
            return self.joint.z
        if self.separated:
            return self.separated.z_values()
        return np.append(self.estimate[:-1] / self.null_error, self.corrected[-1] / self.corrected_error[-1])

    def p_values(self) -> Array:
        """Two-sided p-values of these tests."""
        return two_sided(self.z_values())

    def classical_p_values(self) -> Array:
        """The textbook's two-sided Wald test."""
        return two_sided(self.estimate / self.classical_error)

    def predict(self, factors: NDArray[np.floating], level: float = 0.95) -> Prediction:
        """P(y = 1) of new trials (n, n_factors), with an interval of the true probability."""
        if self.separated:  # their limits would be 0 and 1
            _, low, high = self.separated.shrunken.predict(factors, level)
            return Prediction(np.clip(expit(self.log_odds(factors)), low, high), low, high)
        rates, coefficients = (self.guess_rate, self.lapse_rate), self.corrected
        covariance = self.joint.covariance if self.joint else self._with_rates()
        low, high = interval_of_probability(factors, coefficients, rates, covariance, level)
        return Prediction(expit(self.log_odds(factors)), low, high)

    def _with_rates(self) -> Array:
        """Covariance of (corrected, g, l): a link's error of g or l goes with those of its length and intercept."""
        whole = np.zeros((len(self.corrected) + 2,) * 2)
        whole[:-2, :-2], whole[-2:, -2:] = self.covariance, self.link.covariance[2:, 2:]
        shared = np.outer(self.corrected, self.link.covariance[0, 2:])  # (p + 1, 2)
        shared[-1] = self.link.covariance[1, 2:] - self.centre @ shared[:-1]
        whole[:-2, -2:], whole[-2:, :-2] = shared, shared.T
        return whole

    def log_odds(self, factors: NDArray[np.floating]) -> Array:
        """log P(y = 1) / P(y = 0) of new trials, best prediction, to full precision."""
        if self.joint:
            logit = factors @ self.corrected[:-1] + self.corrected[-1]
            return log_odds(logit, self.guess_rate, self.lapse_rate).astype(np.float64)
        if self.separated:  # of the shrunken fit: the noise along what separates would draw all others to 1/2
            return np.asarray(factors @ self.estimate[:-1] + self.estimate[-1])
        a, centred = self.theory, np.column_stack([factors - self.centre, np.ones(len(factors))])
        fitted = centred[:, :-1] @ self.estimate[:-1] + self._beside(factors) @ self.shift[1]
        noise = np.sqrt(np.vecdot(centred @ self.noise, centred))
        mean, sd = a.intercept + a.slope_of_truth * fitted, a.signal / a.eta * noise
        return average_log_odds(mean, sd, (self.guess_rate, self.lapse_rate))

    def corrected_logits(self, factors: NDArray[np.floating], logits: NDArray[np.floating]) -> tuple[Array, Array]:
        """Of new trials with these fitted logits (n,): those of the debiased weights, and the best ones; log-odds."""
        if self.joint:
            joint = self.log_odds(factors)
            return joint, joint
        if self.separated:
            fitted = np.asarray(logits, np.float64)
            return fitted, fitted
        debiased, best = (logits + self._beside(factors) @ shift for shift in self.shift)
        return predictions.debiased_logits(self.theory, debiased), predictions.best_logits(self.theory, best)

    def _beside(self, factors: NDArray[np.floating]) -> Array:
        """Dominant factors (n, d), centred."""
        return np.asarray(factors[:, self.dominant] - self.centre[self.dominant], np.float64)
