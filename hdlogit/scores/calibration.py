"""Do responses have the predicted probabilities? Curve and recalibrating line.

Arrays are (n_trials, n_classes) and may be memory-mapped. A line that the data do not determine is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import cut, total
from hdlogit.psychometric.function import Floats, probability

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

    Bins divide the range of the logits within ±LARGEST_LOGIT; logits beyond go to the outer bins. So bins
    are filled evenly even if logits are large and most probabilities near 0 or 1.
    """
    low = max(float(fitted.min()), -LARGEST_LOGIT)
    width = (min(float(fitted.max()), LARGEST_LOGIT) - low) / n_bins

    def of_block(rows: slice) -> tuple[NDArray[Any], ...]:
        z, y = fitted[rows].ravel(), responses[rows].ravel()
        bins = np.clip((z - low) / width if width > 0 else 0 * z, 0, n_bins - 1).astype(np.intp)
        return tuple(np.bincount(bins, weights, n_bins) for weights in (np.ones(len(z)), probability(z), y))

    counts, predicted, observed = total(of_block, cut(*fitted.shape))
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


def recalibration(fitted: Floats, responses: Booleans) -> tuple[float, float] | None:
    """Intercept and slope of the logistic regression of the responses on their fitted logits (Cox 1958).

        P(y = 1) = 1 / (1 + exp(-(intercept + slope * logit)))       all classes pooled

    Calibrated predictions have intercept 0 and slope 1; overconfident ones a slope below 1. None where no
    maximum-likelihood estimate exists: with one regressor that is when a threshold on it separates "yes" from
    "no" (Albert & Anderson 1984).
    """
    from scipy.optimize import minimize  # only here, as it takes its time

    z, y = fitted.ravel(), responses.ravel()
    if y.all() or not y.any() or z[y].min() >= z[~y].max() or z[y].max() <= z[~y].min():
        return None
    centre, scale = z.mean(dtype=np.float64), z.std(dtype=np.float64)
    t = np.stack([np.ones(len(z)), (z - centre) / scale])  # (2, n)

    def loss(line: Floats) -> tuple[float, Floats]:
        logit = line @ t
        return float(np.mean(np.logaddexp(0, logit) - y * logit)), t @ (probability(logit) - y) / len(y)

    def hessian(line: Floats) -> Floats:
        p = probability(line @ t)
        return np.asarray(t * (p * (1 - p)) @ t.T / len(y))

    found = minimize(loss, np.zeros(2), jac=True, hess=hessian, method="trust-exact", options={"gtol": 1e-12})
    slope = float(found.x[1] / scale)
    return float(found.x[0] - slope * centre), slope
