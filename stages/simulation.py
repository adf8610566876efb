"""The true observer and its trials, from random streams that can be told apart.

Independent streams (the default): every draw comes from `SeedSequence(seed, spawn_key=(what, chunk, ...))`, where
`what` is OBSERVER, TRAIN or TEST and `chunk` counts blocks of CHUNK trials. So the trials do not depend on how many
threads draw them, the first n of more trials are the n, and the number of held-out trials leaves the training trials
alone.

Notebook streams: a Mersenne twister, seeded for the observer and *re-seeded with the same seed* for the training
trials, so that the first factors are the entries of W. That is a flaw of the notebook's protocol, kept to reproduce
its figures. Its held-out trials come from an independent stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from stages.psychometric import Floats, logits, probability

OBSERVER, TRAIN, TEST = 0, 1, 2
CHUNK = 1024  # trials that share a random stream; a constant of the data format: another value gives other trials
PIECE = 2**16  # numbers drawn before they are stored: half a megabyte
QUEUE = 1024  # chunks that wait for a thread


def draw_observer(seed: int, n_factors: int, n_classes: int, weight_scale: float, notebook: bool) -> Floats:
    """True coefficients W ~ N(0, weight_scale^2), (n_factors + 1, n_classes), last row = bias."""
    shape = (n_factors + 1, n_classes)
    stream = np.random.RandomState(seed) if notebook else _stream(seed, OBSERVER)
    coefficients = stream.standard_normal(shape)
    coefficients *= weight_scale
    return np.asarray(coefficients)


def draw_trials(seed: int, split: int, coefficients: Floats, factors: Floats, responses: NDArray[np.bool_]) -> None:
    """Fill `factors` (n_trials, n_factors) ~ N(0, 1) and `responses` (n_trials, n_classes) ~ Bernoulli(p) in place.

    Factors are drawn in float64 and stored in the array's precision; responses are to the factors as stored. Chunk by
    chunk on all cores; nothing of the size of the arrays is allocated, so they may be memory-mapped.
    """

    def draw(start: int) -> None:
        rows = slice(start, start + CHUNK)
        _draw_chunk(seed, split, start // CHUNK, coefficients, factors[rows], responses[rows])

    starts = range(0, len(factors), CHUNK)
    with (
        threadpool_limits(1, user_api="blas"),  # every thread of the pool multiplies: BLAS's own would only contend
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(starts), desc="simulate", unit="chunk", leave=False, disable=None) as progress,
    ):
        for first in range(0, len(starts), QUEUE):
            for _ in pool.map(draw, starts[first : first + QUEUE]):  # iterating raises what a thread raised
                progress.update()


def _draw_chunk(
    seed: int, split: int, chunk: int, coefficients: Floats, factors: Floats, responses: NDArray[np.bool_]
) -> None:
    # Two streams, so that the first trials of a chunk do not depend on how many follow.
    stimuli, choices = _stream(seed, split, chunk, 0), _stream(seed, split, chunk, 1)
    for rows in _pieces(factors, coefficients):
        factors[rows] = stimuli.standard_normal(factors[rows].shape)
        _respond(coefficients, factors[rows], responses[rows], choices.random(responses[rows].shape))


def draw_notebook_trials(seed: int, coefficients: Floats, factors: Floats, responses: NDArray[np.bool_]) -> None:
    """The notebook's training trials, bit for bit: re-seed, draw all factors, then all uniforms. In place."""
    stream = np.random.RandomState(seed)
    for rows in _pieces(factors, coefficients):
        factors[rows] = stream.randn(*factors[rows].shape)
    for rows in _pieces(factors, coefficients):
        _respond(coefficients, factors[rows], responses[rows], stream.rand(*responses[rows].shape))


def _respond(coefficients: Floats, factors: Floats, responses: NDArray[np.bool_], uniforms: Floats) -> None:
    responses[:] = probability(logits(factors, coefficients)) > uniforms  # in float64, as the coefficients are


def _pieces(factors: Floats, coefficients: Floats) -> Iterator[slice]:
    """Rows of the factors, so many at a time that what is made of them stays in a core's cache."""
    step = max(1, PIECE // max(coefficients.shape))
    return (slice(start, start + step) for start in range(0, len(factors), step))


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
