"""The inference of one class: plain numbers, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.asymptotics.logistic_normal import logit_of_probability
from hdlogit.inference.link import Link
from hdlogit.inference.predict import Prediction, average_log_odds, interval_of_probability
from hdlogit.inference.profiles import values_at
from hdlogit.inference.sums import Array
from hdlogit.psychometric.function import log_odds

NONE: Array = np.zeros(0)


class LeaveOneOut(NamedTuple):
    """Logits of each trial, predicted from the fit to all others, so that no trial need be held out.

    (m,) each, of all trials, or of `hdlogit.inference.observed.SAMPLE` evenly spaced ones.
    """

    plain: Array  # V, of the fit
    corrected: Array  # of the corrected weights
    best: Array  # logit of π(V) = P(y = 1 | V)


@dataclass(frozen=True)
class Separated:
    """Where a direction of the factors separates some of the trials: `hdlogit.inference.separation`."""

    left: NDArray[np.bool_]  # (n,) the trials that are not separated
    places: NDArray[np.intp]  # among all coefficients, of those of `others`
    infinite: NDArray[np.intp]  # (m,) the coefficients that have no estimate
    profiles: Array  # (m, 161) their values: `hdlogit.inference.profiles`
    others: ClassInference  # from the trials that are left
    shrunken: ClassInference  # of all trials, for predictions

    @property
    def n_separated(self) -> int:
        """How many trials."""
        return int((~self.left).sum())

    def interval(self, level: float) -> tuple[Array, Array]:
        """Without end where a coefficient may be infinite; on the other side to where the score test
        rejects."""
        z, ends = float(ndtri(0.5 + level / 2)), np.empty((2, len(self.shrunken.corrected)))
        ends[:, self.places] = self.others.interval(level)
        ends[:, self.infinite] = values_at(self.profiles, -z), values_at(self.profiles, z)
        return ends[0], ends[1]


@dataclass(frozen=True)
class ClassInference:
    """One class. Of coefficients (p + 1,), the bias last; in the units of the factors, unless noted.

    theory: γ̂ (without dominant factors), β̂0 (at the mean of the factors), α̂, s, λ, b̂; link: the same γ̂,
    β̂0, and guess and lapse rate, 0 unless asked for, with their errors, NaN for γ̂ if no signal was found;
    reason: why this class has no inference: everything else is then NaN.
    """

    theory: Asymptotics
    link: Link
    estimate: Array  # (p + 1,) as fitted
    noise: Array  # (p + 1, p + 1) covariance of the fitted weights and of the logit at x̄: f H⁻¹
    classical_error: Array  # (p + 1,) √[H⁻¹]_jj
    corrected: Array  # (p + 1,)
    covariance: Array  # (p + 3, p + 3) of the corrected coefficients, guess and lapse rate
    z: Array  # (p + 1,) statistics of tests that a coefficient is 0; the bias over its error
    predictor: Array  # (p + 1,) of the logit of the best prediction, before the noise is averaged over
    centre: Array  # (p,) x̄
    scale: Array  # (p,) standard deviations of the factors
    with_stretch: Array  # (p + 1,) covariance of the corrected weights, as if α were known, with log α̂
    dominant: NDArray[np.intp]  # (d,) factors that carry much of the index and are not normal
    leave_one_out: LeaveOneOut
    index: tuple[Array, Array]  # as `fit_link` takes it: V, dominant factors at the others' scale, and s
    predictor_sd: float = 0.0  # typical sd of the true logit about the predictor; 0: nothing is averaged over
    stretch: float = 0.0  # variance of log α, the error that all weights share, but those of dominant factors
    along: float = np.nan  # variance of log |ŵ|, by its noise
    inflation: float = np.nan  # mean of 1/(1 − R²), R the correlation of a factor with all others
    profiles: Array | None = None  # of few factors with rates, fitted jointly: `joint.JointFit`
    separated: Separated | None = None  # where some trials are: coefficients are ±infinite, or unknown (NaN)
    note: str | None = None  # a line on what is unusual
    reason: str | None = None

    @classmethod
    def refused(cls, reason: str | None, n_factors: int) -> ClassInference:
        """Of a class that has no inference: NaN."""
        unknown = np.full((n_factors + 3, n_factors + 3), np.nan)
        square, coefficients, factors = unknown[2:, 2:], unknown[0, 2:], unknown[0, 3:]
        theory = ("kappa", "signal", "intercept", "ridge", "shrinkage", "alpha", "s", "lambda_", "b")
        return cls(
            theory=Asymptotics(**dict.fromkeys(theory, np.nan)),
            link=Link(np.nan, np.nan, 0.0, 0.0, np.zeros((4, 4)), np.nan),
            estimate=coefficients,
            noise=square,
            classical_error=coefficients,
            corrected=coefficients,
            covariance=unknown,
            z=coefficients,
            predictor=coefficients,
            centre=factors,
            scale=factors,
            with_stretch=coefficients,
            dominant=np.zeros(0, np.intp),
            leave_one_out=LeaveOneOut(NONE, NONE, NONE),
            index=(NONE, NONE),
            reason=reason,
        )

    def left_out(self, n_trials: int) -> slice:
        """Which of the n trials were left out one by one: all, or some, evenly spaced."""
        return slice(None, None, -(-n_trials // len(self.leave_one_out.best)))

    @property
    def signal(self) -> float:
        """Standard deviation of the true logit over the trials, with dominant factors."""
        return self.link.gain

    @property
    def guess_rate(self) -> float:
        return self.link.guess_rate

    @property
    def lapse_rate(self) -> float:
        return self.link.lapse_rate

    @property
    def corrected_error(self) -> Array:
        """Standard errors of the corrected coefficients."""
        return np.sqrt(np.diag(self.covariance)[:-2])

    @property
    def null_error(self) -> Array:
        """(p,) sd of the fitted weight of a factor that has no effect."""
        return np.sqrt(np.diag(self.noise)[:-1])

    @property
    def alpha_error(self) -> float:
        """Standard error of α̂."""
        return self.theory.alpha * math.sqrt(self.stretch)

    def expected_classical_coverage(self, level: float = 0.95) -> tuple[float, float]:
        """(Coverage to expect of the classical intervals of the weights, from the data alone; its error.)

        ŵ_j = αβ_j + n_j Z, with n_j the null error, so a fitted weight is off by ŵ_j − β_j = kαβ_j + n_j Z
        with k = 1 − 1/α. That is also the law of kŵ_j + √(1 − k²) n_j Z', whatever the true weights are, and
        ŵ_j/n_j is the same in all units of the factors. The mean over the weights; its error is what an α̂
        nearer to 1 by its own error would change.
        """
        if self.separated:
            return self.separated.others.expected_classical_coverage(level)
        fitted, corrected, unit = self.estimate[:-1], self.corrected[:-1], self.null_error
        if not len(unit):
            return level, 0.0
        half = ndtri(0.5 + level / 2) * self.classical_error[:-1] / unit
        ratio = np.divide(corrected, fitted, out=np.ones_like(fitted), where=fitted != 0)
        k = np.clip(1 - ratio, -0.999, 0.999)

        def coverage(part: float) -> float:
            off, sd = part * (fitted - corrected) / unit, np.sqrt(1 - (part * k) ** 2)
            return float(np.mean(ndtr((half - off) / sd) - ndtr((-half - off) / sd)))

        nearer = max(1 - self.alpha_error / max(abs(self.theory.alpha - 1), 1e-9), 0.0)
        return coverage(1.0), abs(coverage(nearer) - coverage(1.0))

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Corrected interval (low, high): every value that a test at its own standard error does not reject.

        (ŵ/α̂ − β)² ≤ z² (A − 2Cβ + Bβ²), A = f [H⁻¹]_jj/α̂², B = Var(log α̂), C their covariance (Fieller
        1954): at β = 0 it is the test of `p_values`, so interval and p-value agree. Without end on one side,
        or both, where α̂ is hardly known (z²B ≥ 1). For the bias ŵ ± z error; for dominant factors, too, as
        far as it agrees with the p-value.
        """
        z = float(ndtri(0.5 + level / 2))
        if self.profiles is not None:
            return values_at(self.profiles, -z), values_at(self.profiles, z)
        if self.separated:
            return self.separated.interval(level)
        low, high = self.corrected + np.outer([-z, z], self.corrected_error)
        w, rejected = self.corrected[:-1], self.p_values()[:-1] < 1 - level
        null_variance = (self.null_error / self.theory.alpha) ** 2
        # Ends of {β: first β² − 2 middle β + last ≤ 0}; the near one is nearer to 0.
        first, middle = 1 - z**2 * self.stretch, w - z**2 * self.with_stretch[:-1]
        last = w**2 - z**2 * null_variance
        far = middle + np.copysign(np.sqrt(np.maximum(middle**2 - first * last, 0.0)), middle)
        near = np.divide(last, far, out=np.zeros_like(far), where=far != 0)
        if first > 0:
            ends = np.sort([near, far / first], axis=0)
        else:
            ends = np.where([rejected & (middle > 0), rejected & (middle < 0)], near, [[-np.inf], [np.inf]])
        usual = np.setdiff1d(np.arange(len(w)), self.dominant)
        low[usual], high[usual] = ends[:, usual]
        for j in self.dominant.tolist():
            side, inner = (1.0, low) if w[j] > 0 else (-1.0, high)
            reach = side * inner[j]
            inner[j] = side * (max(reach, 1e-9 * abs(w[j])) if rejected[j] else min(reach, 0.0))
        return low, high

    def classical_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """The textbook's Wald interval (low, high)."""
        low, high = self.estimate + ndtri(0.5 + level / 2) * np.outer([-1, 1], self.classical_error)
        return low, high

    def p_values(self) -> Array:
        """Two-sided p-values of the tests that a coefficient is 0."""
        return np.asarray(2 * ndtr(-np.abs(self.z)))

    def classical_p_values(self) -> Array:
        """The textbook's two-sided Wald test."""
        return np.asarray(2 * ndtr(-np.abs(self.estimate / self.classical_error)))

    def predict(self, factors: NDArray[np.floating], level: float = 0.95) -> Prediction:
        """P(y = 1) of new trials (n, p), with an interval of the true probability."""
        p, rates = expit(self.log_odds(factors)), (self.guess_rate, self.lapse_rate)
        if self.separated:  # the limits of its coefficients would be 0 and 1
            _, low, high = self.separated.shrunken.predict(factors, level)
            return Prediction(np.clip(p, low, high), low, high)
        low, high = interval_of_probability(factors, self.corrected, rates, self.covariance, level)
        return Prediction(p, low, high)

    def log_odds(self, factors: NDArray[np.floating]) -> Array:
        """log P(y = 1) / P(y = 0) of new trials (n, p), best prediction, to full precision."""
        mean = np.asarray(factors @ self.predictor[:-1] + self.predictor[-1], np.float64)
        if not self.predictor_sd:
            return np.asarray(log_odds(mean, self.guess_rate, self.lapse_rate), np.float64)
        centred = np.column_stack([factors - self.centre, np.ones(len(factors))])
        noise = np.sqrt(np.vecdot(centred @ self.noise, centred))
        sd = self.predictor_sd / self.theory.s * noise
        return average_log_odds(mean, sd, (self.guess_rate, self.lapse_rate))

    def corrected_logits(self, factors: NDArray[np.floating]) -> tuple[Array, Array]:
        """Of new trials (n, p): log-odds by the corrected coefficients, and the best ones for a typical
        noise."""
        coefficients = self.predictor if self.separated else self.corrected
        corrected, best = (factors @ w[:-1] + w[-1] for w in (coefficients, self.predictor))
        best = logit_of_probability(best, self.predictor_sd)
        corrected, best = (log_odds(logits, self.guess_rate, self.lapse_rate) for logits in (corrected, best))
        return np.asarray(corrected, np.float64), np.asarray(best, np.float64)
