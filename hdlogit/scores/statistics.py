"""What is measured of a fit: scores of its predictions, their calibration, and the recovery of the true coefficients.

Arrays of trials may be memory-mapped: they are walked in blocks of rows, so memory does not grow with their number.
A number that the data do not define (the correlation of a single weight, say) is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlogit.psychometric.function import Floats, cross_entropy, divergence, logits, probability

Booleans = NDArray[np.bool_]

BLOCK_ELEMENTS = 2**20  # numbers in a block of rows: 8 MB, so that temporaries stay near the caches
Z95 = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


def blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Slices of consecutive rows of `width` numbers each, about BLOCK_ELEMENTS numbers at a time."""
    step = max(1, BLOCK_ELEMENTS // width)
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def total(function: Callable[..., Floats], *arrays: NDArray[Any]) -> Floats:
    """Sum over rows of `function(*rows)`, block by block: arrays (n, width) -> (width,) or what `function` gives."""
    sums = [function(*(a[rows] for a in arrays)).sum(0) for rows in blocks(*arrays[0].shape)]
    return np.asarray(np.sum(sums, axis=0))


def mean(function: Callable[..., Floats], *arrays: NDArray[Any]) -> float:
    """Mean of an element-wise `function` over all entries of `arrays` (n, width)."""
    return float(total(function, *arrays).sum() / arrays[0].size)


# ------------------------------------------------------------------------------------------------------- predictions


def write_logits(factors: Floats, coefficients: Floats, out: Floats) -> None:
    """out = logits of `factors` (n, n_factors) under `coefficients` (n_factors + 1, n_classes)."""
    for rows in blocks(*factors.shape):
        out[rows] = logits(factors[rows], coefficients)


def all_finite(logits: Floats) -> bool:
    """Whether no entry of `logits` (n, n_classes) is NaN or infinite."""
    return all(bool(np.isfinite(logits[rows]).all()) for rows in blocks(*logits.shape))


def cross_entropies(factors: Floats, responses: Booleans, models: Floats) -> Floats:
    """Mean cross-entropy in nats of each of `models` (n_models, n_factors + 1, n_classes): (n_models,)."""
    n_models, _, n_classes = models.shape
    stacked = np.concatenate(models, axis=1)  # (n_factors + 1, n_models * n_classes): one matrix product per block
    sums = np.zeros(n_models)
    for rows in blocks(len(factors), max(stacked.shape)):
        z = logits(factors[rows], stacked).reshape(-1, n_models, n_classes)
        y = np.broadcast_to(responses[rows, None, :], z.shape)
        sums += cross_entropy(z, y).sum((0, 2))
    return sums / responses.size


def scores(fitted: Floats, responses: Booleans) -> dict[str, float]:
    """Cross-entropy (nats), accuracy (share of responses on the likelier side) and Brier score of logits `fitted`."""
    return {
        "cross_entropy": mean(cross_entropy, fitted, responses),
        "accuracy": mean(lambda z, y: (z > 0) == y, fitted, responses),
        "brier": mean(lambda z, y: (probability(z) - y) ** 2, fitted, responses),
    }


def excess(true: Floats, fitted: Floats) -> float:
    """Mean Kullback-Leibler divergence of the fitted from the true probabilities, in nats, from both logits."""
    return mean(divergence, true, fitted)


# ------------------------------------------------------------------------------------------------------- calibration


@dataclass(frozen=True)
class CalibrationCurve:
    """Predicted against observed, over the occupied bins of equal width of the predicted probability."""

    predicted: Floats  # mean predicted probability in the bin
    observed: Floats  # share of "yes"
    low: Floats  # Wilson's 95 % interval of the share (Wilson 1927)
    high: Floats
    responses: NDArray[np.int64]  # responses in the bin

    @property
    def error(self) -> float:
        """Expected calibration error: mean over responses of |observed - predicted| of their bin."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.responses))


def calibration_curve(fitted: Floats, responses: Booleans, n_bins: int) -> CalibrationCurve:
    """The curve of logits `fitted` (n, n_classes), all classes pooled."""
    counts, predicted, observed = np.zeros(n_bins), np.zeros(n_bins), np.zeros(n_bins)
    for rows in blocks(*fitted.shape):
        p, y = probability(fitted[rows]).ravel(), responses[rows].ravel()
        bins = _bins(p, n_bins)
        counts += np.bincount(bins, minlength=n_bins)
        predicted += np.bincount(bins, weights=p, minlength=n_bins)
        observed += np.bincount(bins, weights=y, minlength=n_bins)
    used = counts > 0
    n = counts[used]
    share = observed[used] / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    return CalibrationCurve(predicted[used] / n, share, centre - half, centre + half, n.astype(np.int64))


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
    scale = math.sqrt(mean(lambda z: (z - centre) ** 2, fitted))  # > 0: constant logits were separable
    theta: Floats = np.zeros(2)
    step: Floats = np.zeros(2)
    loss = math.inf
    for _ in range(200):
        new_loss, gradient, hessian = _derivatives(theta - step, fitted, responses, centre, scale)
        if new_loss > loss * (1 + 1e-12):  # by more than rounding: the step went too far, and a shorter one descends
            step = step / 2
            continue
        theta, loss = theta - step, new_loss
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:  # so nearly separable that no response is uncertain
            return None
        if gradient @ step < 1e-20:  # the Newton decrement, twice what is left to gain in nats
            slope = float((theta - step)[1] / scale)
            return float((theta - step)[0] - slope * centre), slope
    return None


def _derivatives(
    theta: Floats, fitted: Floats, responses: Booleans, centre: float, scale: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mean cross-entropy of theta_0 + theta_1 (logit - centre) / scale, its gradient (2,) and Hessian (2, 2)."""

    def terms(logit: Floats, y: Booleans) -> Floats:
        x = ((logit - centre) / scale).ravel()
        z = theta[0] + theta[1] * x
        p, q = probability(z), probability(-z)
        r, d = p - y.ravel(), p * q
        return np.stack([cross_entropy(z, y.ravel()), r, r * x, d, d * x, d * x * x], axis=1)

    loss, g0, g1, h00, h01, h11 = total(terms, fitted, responses) / fitted.size
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


# ---------------------------------------------------------------------------------------------------------- recovery


def weight_slope(fitted: Floats, true: Floats) -> float:
    """<fitted, true> / <true, true> over the weights of all classes: 1 where the fit has the truth's size."""
    w, t = fitted[:-1].ravel(), true[:-1].ravel()
    return float(w @ t / (t @ t))


def recovery(fitted: Floats, true: Floats) -> dict[str, float | None]:
    """How close `fitted` is to `true`, both (n_factors + 1, n_classes), over all classes."""
    w, t = fitted[:-1].ravel(), true[:-1].ravel()
    spread = w.std() * t.std()
    return {
        "weight_slope": weight_slope(fitted, true),
        "weight_correlation": float(np.mean((w - w.mean()) * (t - t.mean())) / spread) if spread > 0 else None,
        "weight_rmse": float(np.sqrt(np.mean((w - t) ** 2))),
        "bias_rmse": float(np.sqrt(np.mean((fitted[-1] - true[-1]) ** 2))),
    }


def residual_sd(fitted: Floats, true: Floats) -> float | None:
    """Root-mean-square of what the fitted weights have besides slope times the true ones, class by class."""
    w, t = fitted[:-1], true[:-1]
    if len(w) == 1:
        return None  # a slope explains a single weight whole
    return float(np.sqrt(np.mean((w - t * ((w * t).sum(0) / (t * t).sum(0))) ** 2)))
