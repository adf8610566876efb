"""Do responses have the predicted probabilities? Curve, histogram and recalibrating line.

Arrays are (n_trials, n_classes) and may be memory-mapped. A line that the data do not determine is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hdlogit.psychometric.function import Floats, cross_entropy, probability
from hdlogit.scores.blocks import blocks, mean, total

Booleans = NDArray[np.bool_]

LARGEST_LOGIT = 7.0  # probabilities of 0.0009 and 0.9991


@dataclass(frozen=True)
class CalibrationCurve:
    """Predicted against observed, over the occupied bins of equal width of the predicted logit."""

    predicted: Floats  # mean predicted probability in the bin
    observed: Floats  # fraction of "yes"
    low: Floats  # Wilson's 95 % interval of the fraction
    high: Floats
    responses: NDArray[np.int64]  # responses in the bin

    @property
    def error(self) -> float:
        """Expected calibration error: mean over responses of |observed - predicted| in their bin."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.responses))


def calibration_curve(fitted: Floats, responses: Booleans, n_bins: int) -> CalibrationCurve:
    """The curve of logits `fitted` (n, n_classes), all classes pooled.

    Bins divide the range of the logits within ±LARGEST_LOGIT; logits beyond go to the outer bins. So bins are filled
    evenly even if logits are large and most probabilities near 0 or 1.
    """
    ends = [(fitted[rows].min(), fitted[rows].max()) for rows in blocks(*fitted.shape)]
    low = max(min(end for end, _ in ends), -LARGEST_LOGIT)
    width = (min(max(end for _, end in ends), LARGEST_LOGIT) - low) / n_bins
    counts, predicted, observed = np.zeros(n_bins), np.zeros(n_bins), np.zeros(n_bins)
    for rows in blocks(*fitted.shape):
        z, y = fitted[rows].ravel(), responses[rows].ravel()
        p = probability(z)
        bins = np.clip((z - low) / width if width > 0 else 0 * z, 0, n_bins - 1).astype(np.intp)
        counts += np.bincount(bins, minlength=n_bins)
        predicted += np.bincount(bins, weights=p, minlength=n_bins)
        observed += np.bincount(bins, weights=y, minlength=n_bins)
    used = counts > 0
    n = counts[used]
    fraction = observed[used] / n
    return CalibrationCurve(predicted[used] / n, fraction, *wilson(fraction, n), n.astype(np.int64))


def wilson(fraction: Floats, trials: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Interval (low, high) of a probability, from the fraction observed in so many trials (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (fraction + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(fraction * (1 - fraction) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return centre - half, centre + half


def histogram(logit: Floats, n_bins: int) -> NDArray[np.int64]:
    """How many probabilities fall in each of `n_bins` bins of equal width: (n_bins,)."""
    counts = np.zeros(n_bins, np.int64)
    for rows in blocks(*logit.shape):
        counts += np.bincount(_bins(probability(logit[rows]).ravel(), n_bins), minlength=n_bins)
    return counts


def _bins(p: Floats, n_bins: int) -> NDArray[np.intp]:
    return np.minimum((p * n_bins).astype(np.intp), n_bins - 1)  # p = 1 belongs to the last bin


def recalibration(fitted: Floats, responses: Booleans) -> tuple[float, float] | None:
    """Intercept and slope of the logistic regression of the responses on their fitted logits (Cox 1958).

        P(y = 1) = 1 / (1 + exp(-(intercept + slope * logit)))       all classes pooled

    Calibrated predictions have intercept 0 and slope 1; overconfident ones a slope below 1. None where no
    maximum-likelihood estimate exists, or nearly none: with one regressor that is when a threshold on it separates
    "yes" from "no" (Albert & Anderson 1984).
    """
    if _separable(fitted, responses):
        return None
    centre = mean(np.asarray, fitted)
    scale = math.sqrt(mean(lambda z: (z - centre) ** 2, fitted))  # > 0: constant logits count as separable
    theta: Floats = np.zeros(2)
    step: Floats = -np.array([centre, scale]) if scale < 100 else np.zeros(2)  # to slope 1, unless all is certain there
    loss = math.inf
    for _ in range(200):
        new_loss, gradient, hessian = _derivatives(theta - step, fitted, responses, centre, scale)
        if new_loss > loss * (1 + 1e-12):  # by more than rounding: the step was too long, a shorter one descends
            step = step / 2
            continue
        theta, loss = theta - step, new_loss
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:  # almost separable: no response is uncertain
            return None
        if gradient @ step < 1e-12:  # twice the possible gain in nats; after this step it is about the square of that
            slope = float((theta - step)[1] / scale)
            return float((theta - step)[0] - slope * centre), slope
    return None


def _derivatives(
    theta: Floats, fitted: Floats, responses: Booleans, centre: float, scale: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mean cross-entropy of theta_0 + theta_1 (logit - centre) / scale, its gradient (2,) and Hessian (2, 2)."""

    def sums(logit: Floats, y: Booleans) -> Floats:
        x = ((logit - centre) / scale).ravel()
        z = theta[0] + theta[1] * x
        p, q = probability(z), probability(-z)
        r, d = p - y.ravel(), p * q
        return np.array([[cross_entropy(z, y.ravel()).sum(), r.sum(), r @ x, d.sum(), d @ x, d @ (x * x)]])

    loss, g0, g1, h00, h01, h11 = total(sums, fitted, responses) / fitted.size
    return float(loss), np.array([g0, g1]), np.array([[h00, h01], [h01, h11]])


def _separable(fitted: Floats, responses: Booleans) -> bool:
    """Whether a threshold on the logit separates the responses, ties allowed."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)  # of "no" and of "yes"
    for rows in blocks(*fitted.shape):
        for answer in (0, 1):
            z = fitted[rows][responses[rows] == answer]
            low[answer] = min(low[answer], z.min(initial=np.inf))
            high[answer] = max(high[answer], z.max(initial=-np.inf))
    return bool(high[0] <= low[1] or high[1] <= low[0])
