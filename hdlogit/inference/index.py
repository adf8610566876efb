"""The law of the true index, from leave-one-out logits that measure it with noise.

    V_i = U_i + N(0, s_i²)        U_i = α x_i·β, centred

The law of U is that of maximum likelihood over all laws on a grid (Kiefer & Wolfowitz 1956; Laird 1978), by
the EM algorithm from the normal law with the variance that the V_i leave for it. So where the index is normal
it stays so, and where a factor with two values, or a few conditions, carry it, its law has steps. A trial
that is known badly (a large s_i) says little, whatever its V_i. Given V_i the index is one of the grid's
points, with the posterior probabilities that everything after this is averaged over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdlogit.inference.observer import Block
from hdlogit.inference.sums import Array

TINY = 1e-100  # in place of no noise, or no variation, at all
CELLS = 128  # of logits of about the same noise; half are quantiles, half evenly spaced
POINTS = 400  # of the grid, at most
FINE = 0.7  # spacing of the grid in units of the noise
STEPS = 30  # of the EM algorithm: more would follow the noise


class Law(NamedTuple):
    """A discrete law: points (k,) and their probabilities; `least` is the smallest noise it can resolve."""

    points: Array
    mass: Array
    least: float

    @property
    def sd(self) -> float:
        return max(float(np.sqrt(self.mass @ (self.points - self.mass @ self.points) ** 2)), TINY)

    def posterior(self, index: Array, noise: Array) -> Array:
        """P(U = point | V) for V (m,) with noise (m,) or a number: (m, k)."""
        z = (index[:, None] - self.points) / np.maximum(noise, self.least)[..., None]
        logarithm = -0.5 * z * z + np.log(np.maximum(self.mass, 1e-300))
        odds = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def law_of_index(index: Array, noise: ArrayLike, responses: ArrayLike) -> tuple[Law, Block]:
    """The law of U, and the trials, those of similar V and s as one cell, with the posterior of U/sd.

    index: (n,) V; noise: s, (n,) or one number; responses: (n,) bool.
    """
    v, s, trials, yes = _cells(index, np.broadcast_to(noise, index.shape), np.asarray(responses, bool))
    low, high = float(v.min()), float(v.max())
    width = max(high - low, 1e-12 * (1 + abs(low)))
    count = int(min(max(width / max(FINE * float(s.min()), 1e-300), 20), POINTS))
    points = np.linspace(low, high, count + 1)
    mean = float(np.average(v, weights=trials))
    variance = max(float(np.average((v - mean) ** 2, weights=trials)), (width / count) ** 2)
    for _ in range(3):  # scoring, if U is normal: a trial that is known badly counts little
        weight = trials / (variance + s**2) ** 2
        variance = max(float(np.average((v - mean) ** 2 - s**2, weights=weight)), (width / count) ** 2)
    mass = np.exp(-0.5 * (points - mean) ** 2 / variance)
    law = Law(points, mass / mass.sum(), FINE * width / count)
    likelihood = np.exp(-0.5 * ((v[:, None] - points) / np.maximum(s, law.least)[:, None]) ** 2)  # (cells, k)
    mass = law.mass
    for _ in range(STEPS):
        ratio = trials / np.maximum(likelihood @ mass, 1e-300)
        mass = mass * (ratio @ likelihood) / trials.sum()
        mass /= mass.sum()
    law = law._replace(mass=mass)
    t = np.column_stack([points / law.sd, np.ones(len(points))])
    return law, Block(t, yes, trials, law.posterior(v, s))


def _cells(index: Array, noise: Array, responses: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Of trials of similar V and s: means of V, root mean squares of s, how many, and how many are a yes."""
    part = np.arange(1, CELLS // 2) / (CELLS // 2)
    edges = np.sort(np.append(np.quantile(index, part), index.min() + part * np.ptp(index)))
    size = np.round(np.log2(np.maximum(noise, TINY) / max(float(np.median(noise)), TINY)))
    number = np.searchsorted(edges, index) + CELLS * np.clip(size, -8, 8)
    _, number = np.unique(number, return_inverse=True)
    trials = np.bincount(number).astype(np.float64)
    mean, square, yes = (np.bincount(number, x) for x in (index, noise**2, responses))
    return mean / trials, np.sqrt(square / trials), trials, yes.astype(np.float64)
