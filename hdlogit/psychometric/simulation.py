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

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hdlogit.psychometric.function import Floats, Rate, logits, probability

OBSERVER, TRAIN, TEST = 0, 1, 2
# trials that share a random stream; a constant of the data format: another value gives other trials
CHUNK = 1024
PIECE = 2**17  # numbers drawn before they are stored: one megabyte
QUEUE = 1024  # chunks that may wait for a thread


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

    Rates change which responses are drawn, not the random streams.

    Factors are drawn in float64 and rounded to the precision of `factors`; responses depend on the rounded
    factors. All cores draw chunk by chunk; nothing of the size of the arrays is allocated, so they may be on
    disk.
    """

    def draw(start: int) -> None:
        pieces = _draw_chunk(seed, split, start, coefficients, factors, responses.shape[1])
        for rows, drawn, uniforms in pieces:
            factors[rows] = drawn
            responses[rows] = _respond(coefficients, drawn, uniforms, guess_rate, lapse_rate)

    starts = range(0, factors.shape[0], CHUNK)
    with (
        threadpool_limits(1, user_api="blas"),  # every thread of the pool multiplies: BLAS's own would contend
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(starts), desc="simulate", unit="chunk", leave=False, disable=None) as progress,
    ):
        for first in range(0, len(starts), QUEUE):
            for _ in pool.map(draw, starts[first : first + QUEUE]):  # iterating raises what a thread raised
                progress.update()


def _draw_chunk(
    seed: int, split: int, start: int, coefficients: Floats, factors: Floats, n_classes: int
) -> Iterator[tuple[slice, Floats, Floats]]:
    """Piece by piece: rows, their factors and the uniform numbers that decide their responses."""
    chunk, end = start // CHUNK, min(start + CHUNK, factors.shape[0])
    # Two streams, so that the first trials of a chunk do not depend on how many follow.
    stimuli, choices = _stream(seed, split, chunk, 0), _stream(seed, split, chunk, 1)
    for rows in _pieces(start, end, coefficients):
        n = rows.stop - rows.start
        drawn = stimuli.standard_normal((n, factors.shape[1])).astype(factors.dtype, copy=False)
        yield rows, drawn, choices.random((n, n_classes))


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
