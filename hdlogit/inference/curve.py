"""The psychometric curve along the fitted index, as numbers: observed and fitted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdlogit.inference.index import law_of_index
from hdlogit.inference.link import Link, fit_link
from hdlogit.inference.sums import Array
from hdlogit.psychometric.function import probability
from hdlogit.scores.calibration import wilson

BINS = 20  # of trials
POINTS = 200  # of the smooth curves
SHARP = 0.1  # noise of V, relative to its sd, below which E[P | V] is P at V to 0.002


@dataclass(frozen=True)
class Curve:
    """Bins of equally many trials, (n_bins,) each, then smooth curves, (POINTS,) each.

    The abscissa is the expected logit given the leave-one-out logit V, so no trial helps to predict itself.
    Responses follow E[P(yes) | V], which is flatter than the psychometric function because V is noisy; the
    curves are that expectation, at the root mean square noise.
    """

    index: Array  # mean expected logit
    trials: Array
    observed: Array  # fraction of yes
    low: NDArray[np.floating]  # its Wilson interval, 95 %
    high: NDArray[np.floating]
    grid: Array  # expected logit
    fitted: Array  # by the link with its guess and lapse rates
    logistic: Array  # by the link without rates
    function: NDArray[np.floating]  # g + (1 − g − l) σ(logit): the observer's own, without noise


def psychometric_curve(index: Array, noise: ArrayLike, responses: NDArray[np.bool_], link: Link) -> Curve:
    """The curve of one class. index, noise, responses: as of `fit_link`; link: along this index."""
    s = np.sqrt(np.mean(np.square(noise)))
    logistic = fit_link(index, noise, responses, (0.0, 0.0))
    law, _ = law_of_index(index, noise, responses)
    bins = bins_of(index, s)
    centre, trials, observed = np.array([(index[k].mean(), len(k), responses[k].mean()) for k in bins]).T
    low, high = wilson(observed, trials)
    grid = np.linspace(index.min(), index.max(), POINTS)

    sharp = s < SHARP * index.std()  # V tells U, between few stimuli, too, where their law has nothing

    def expected(v: Array, of: Link, guess_rate: float | None = None, lapse_rate: float = 0.0) -> Array:
        """E[logit | V = v], or with rates E[P | V = v]."""
        logits = of.gain / law.sd * (v if sharp else law.points) + of.intercept
        values = logits if guess_rate is None else probability(logits, guess_rate, lapse_rate)
        return np.asarray(values if sharp else law.posterior(v, s) @ values)

    def fitted(of: Link) -> Array:
        return expected(grid, of, of.guess_rate, of.lapse_rate)

    at_grid, at_centre = expected(grid, link), expected(centre, link)
    function = probability(at_grid, link.guess_rate, link.lapse_rate)
    return Curve(at_centre, trials, observed, low, high, at_grid, fitted(link), fitted(logistic), function)


def bins_of(v: Array, noise: float, most: int = BINS) -> list[NDArray[np.intp]]:
    """Trials of each bin, in the order of V, equally many, but for few stimuli: then one or several to a bin.

    A trial's own response is not in V, so at one and the same stimulus V is a little lower after a yes than
    after a no: a limit between the two would sort trials by their responses.
    """
    order, n = np.argsort(v), len(v)
    gaps, limits = np.diff(v[order]), []
    for place in np.linspace(0, n, min(most, n) + 1)[1:-1].astype(int):
        low, high = np.searchsorted(v[order], v[order[place]] + np.array([-0.5, 0.5]) * noise)
        near = slice(max(low - 1, 0), max(high, low))
        few = (gaps[near] > 1e-9 * noise).mean() < 0.25
        limits.append(near.start + int(gaps[near].argmax()) + 1 if few else place)
    return [rows for rows in np.split(order, np.unique(limits)) if len(rows)]
