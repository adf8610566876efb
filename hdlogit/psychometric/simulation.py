"""The true observer and its trials, from separate random streams.

Independent streams (the default): every draw comes from `SeedSequence(seed, spawn_key=(what, chunk, ...))`,
where `what` is OBSERVER, TRAIN or TEST and `chunk` counts blocks of CHUNK trials. So the trials do not
depend on how many threads draw them, the first n of more trials are the same n trials, and the number of
held-out trials does not affect the training trials.

Notebook streams: a Mersenne twister, seeded for the observer and *re-seeded with the same seed* for the
training trials, so that the first factors are the entries of W. That is a flaw of the notebook's protocol,
kept to reproduce its figures. Its held-out trials come from an independent stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hdlogit.compute.threads import each, single_threaded_blas
from hdlogit.psychometric.function import Floats, Rate, logits, probability

OBSERVER, TRAIN, TEST = 0, 1, 2
# trials that share a random stream; a constant of the data format: another value gives other trials
CHUNK = 1024
PIECE = 2**17  # numbers drawn before they are stored: one megabyte


def draw_observer(seed: int, n_factors: int, n_classes: int, weight_scale: float, notebook: bool) -> Floats:
    """True coefficients W ~ N(0, weight_scale^2), (n_factors + 1, n_classes), last row = bias."""
    shape = (n_factors + 1, n_classes)
    stream = np.random.RandomState(seed) if notebook else _stream(seed, OBSERVER)
    coefficients = stream.standard_normal(shape)
    coefficients *= weight_scale
    return np.asarray(coefficients)


def draw_trials(
    seed: int,
    split: int,
    coefficients: Floats,
    factors: Floats,
    responses: NDArray[np.bool_],
    guess_rate: Rate = 0.0,
    lapse_rate: Rate = 0.0,
) -> None:
    """Fill `factors` (n_trials, n_factors) ~ N(0, 1) and `responses` (n_trials, n_classes) ~ Bernoulli(p) in
    place.

    Rates change which responses are drawn, not the random streams. Factors are drawn in float64 and rounded
    to the precision of `factors`; responses depend on the rounded ones. All cores draw chunk by chunk;
    nothing of the size of the arrays is allocated, so they may be on disk.
    """

    def draw(start: int) -> None:
        # Two streams, so that the first trials of a chunk do not depend on how many follow.
        stimuli, choices = (_stream(seed, split, start // CHUNK, kind) for kind in (0, 1))
        for rows in _pieces(start, min(start + CHUNK, len(factors)), coefficients):
            factors[rows] = stimuli.standard_normal(factors[rows].shape)
            uniforms = choices.random(responses[rows].shape)
            responses[rows] = _respond(coefficients, factors[rows], uniforms, guess_rate, lapse_rate)

    starts = range(0, len(factors), CHUNK)
    with single_threaded_blas():  # every thread multiplies: BLAS's own would contend
        chunks = each(draw, starts)
        for _ in tqdm(chunks, "simulate", len(starts), unit="chunk", leave=False, disable=None):
            pass


def draw_notebook_trials(
    seed: int,
    coefficients: Floats,
    factors: Floats,
    responses: NDArray[np.bool_],
    guess_rate: Rate = 0.0,
    lapse_rate: Rate = 0.0,
) -> None:
    """The notebook's training trials, bit for bit: re-seed, draw all factors, then all uniforms. In place."""
    stream = np.random.RandomState(seed)
    for rows in _pieces(0, len(factors), coefficients):
        factors[rows] = stream.randn(*factors[rows].shape)
    for rows in _pieces(0, len(factors), coefficients):
        uniforms = stream.rand(*responses[rows].shape)
        responses[rows] = _respond(coefficients, factors[rows], uniforms, guess_rate, lapse_rate)


def _respond(
    coefficients: Floats, factors: Floats, uniforms: Floats, guess_rate: Rate, lapse_rate: Rate
) -> NDArray[np.bool_]:
    # In float64, as the coefficients are.
    return np.asarray(probability(logits(factors, coefficients), guess_rate, lapse_rate) > uniforms)


def _pieces(start: int, end: int, coefficients: Floats) -> Iterator[slice]:
    """Rows start .. end, in pieces whose numbers stay in a core's cache."""
    step = max(1, PIECE // max(coefficients.shape))
    return (slice(first, min(first + step, end)) for first in range(start, end, step))


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
