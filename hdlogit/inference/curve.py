"""The psychometric curve along the fitted index, as numbers: observed and fitted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from hdlogit.inference.link import Link
from hdlogit.scores.calibration import wilson

Array = NDArray[np.float64]

BINS = 20
POINTS = 200  # of the smooth curves


@dataclass(frozen=True)
class Curve:
    """Bins of equally many trials, (n_bins,) each, then smooth curves, (POINTS,) each.

    The abscissa is the expected logit given the leave-one-out logit V, so no trial helps to predict itself. Responses
    follow E[P(yes) | V], which is flatter than the psychometric function because V is noisy; the curves are that
    expectation, at the root mean square noise.
    """

    index: Array  # mean expected logit
    trials: Array
    observed: Array  # fraction of yes
    low: NDArray[np.floating]  # its Wilson interval, 95 %
    high: NDArray[np.floating]
    grid: Array  # expected logit
    fitted: Array  # by the link with its guess and lapse rates
    logistic: Array  # by the link without rates
    function: Array  # g + (1 − g − l) σ(logit): the observer's own, without noise


def psychometric_curve(index: ArrayLike, noise: ArrayLike, responses: ArrayLike, link: Link, logistic: Link) -> Curve:
    """The curve of one class. index, noise, responses: as of `fit_link`; link, logistic: its fits, the latter without
    rates.
    """
    v, y = np.asarray(index, np.float64), np.asarray(responses, np.float64)
    s = np.sqrt(np.mean(np.square(noise)))
    bins = bins_of(v, s)
    rows = [(v[k].mean(), len(k), y[k].mean()) for k in bins]
    centre, trials, observed = np.array(rows).T
    low, high = wilson(observed, trials)
    grid = np.linspace(v.min(), v.max(), POINTS)
    fitted, flat = (each.response(grid, np.full(POINTS, s)) for each in (link, logistic))
    logit, g, lapse = link.expected_logit(grid, s), link.guess_rate, link.lapse_rate
    function = g + (1 - g - lapse) * expit(logit)
    return Curve(link.expected_logit(centre, s), trials, observed, low, high, logit, fitted, flat, function)


def bins_of(v: Array, noise: float, most: int = BINS) -> list[NDArray[np.intp]]:
    """Trials of each bin, in the order of V, equally many, but for few stimuli: then one or several to a bin.

    A trial's own response is not in V, so at one and the same stimulus V is a little lower after a yes than after a no:
    a limit between the two would sort trials by their responses.
    """
    order, n = np.argsort(v), len(v)
    gaps, limits = np.diff(v[order]), []
    for place in np.linspace(0, n, min(most, n) + 1)[1:-1].astype(int):
        low, high = np.searchsorted(v[order], v[order[place]] + np.array([-0.5, 0.5]) * noise)
        near = slice(max(low - 1, 0), max(high, low))
        few = (gaps[near] > 1e-9 * noise).mean() < 0.25
        limits.append(near.start + int(gaps[near].argmax()) + 1 if few else place)
    return [some for some in np.split(order, np.unique(limits)) if len(some)]
