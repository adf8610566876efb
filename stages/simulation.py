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
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.psychometric import Floats, logits, probability

OBSERVER, TRAIN, TEST = 0, 1, 2
CHUNK = 1024  # trials that share a random stream; a constant of the data format: another value gives other trials


def draw_observer(seed: int, n_factors: int, n_classes: int, weight_scale: float, notebook: bool) -> Floats:
    """True coefficients W ~ N(0, weight_scale^2), (n_factors + 1, n_classes), last row = bias."""
    shape = (n_factors + 1, n_classes)
    stream = np.random.RandomState(seed) if notebook else _stream(seed, OBSERVER)
    coefficients = stream.standard_normal(shape)
    coefficients *= weight_scale
    return np.asarray(coefficients)


def draw_trials(seed: int, split: int, coefficients: Floats, factors: Floats, responses: NDArray[np.bool_]) -> None:
    """Fill `factors` (n_trials, n_factors) ~ N(0, 1) and `responses` (n_trials, n_classes) ~ Bernoulli(p) in place.

    Chunk by chunk on all cores; nothing of the size of the arrays is allocated, so they may be memory-mapped.
    """

    def draw(rows: slice) -> None:
        _draw_chunk(seed, split, coefficients, factors[rows], responses[rows], rows.start // CHUNK)

    chunks = _chunks(len(factors))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(draw, chunks), "simulate", len(chunks), unit="chunk", leave=False, disable=None):
            pass  # the results are in place; iterating raises what a thread raised


def _draw_chunk(
    seed: int, split: int, coefficients: Floats, factors: Floats, responses: NDArray[np.bool_], chunk: int
) -> None:
    # Two streams, so that the first trials of a chunk do not depend on how many follow.
    _stream(seed, split, chunk, 0).standard_normal(out=factors)
    _respond(coefficients, factors, responses, _stream(seed, split, chunk, 1).random(responses.shape))


def draw_notebook_trials(seed: int, coefficients: Floats, factors: Floats, responses: NDArray[np.bool_]) -> None:
    """The notebook's training trials, bit for bit: re-seed, draw all factors, then all uniforms. In place."""
    stream = np.random.RandomState(seed)
    for rows in _chunks(len(factors)):
        factors[rows] = stream.randn(*factors[rows].shape)
    for rows in _chunks(len(factors)):
        _respond(coefficients, factors[rows], responses[rows], stream.rand(*responses[rows].shape))


def _respond(coefficients: Floats, factors: Floats, responses: NDArray[np.bool_], uniforms: Floats) -> None:
    responses[:] = probability(logits(factors, coefficients)) > uniforms


def _chunks(n_trials: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, n_trials)) for start in range(0, n_trials, CHUNK)]


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
