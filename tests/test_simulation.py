"""The simulated trials: the notebook's printed values, the model's statistics, and streams that can be told apart."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.psychometric import logits, probability
from stages.simulation import CHUNK, TEST, TRAIN, draw_notebook_trials, draw_observer, draw_trials
from tests import notebook

Trials = tuple[NDArray[np.float64], NDArray[np.bool_]]


def draw(seed: int, split: int, n_trials: int, n_factors: int = 3, n_classes: int = 2) -> Trials:
    factors, responses = np.empty((n_trials, n_factors)), np.empty((n_trials, n_classes), bool)
    observer = draw_observer(seed, n_factors, n_classes, 1.0, notebook=False)
    draw_trials(seed, split, observer, factors, responses)
    return factors, responses


def test_the_notebook_prints_these_probabilities() -> None:
    stream = np.random.RandomState(1973)
    observer = draw_observer(1973, 256, 10, 1.0, notebook=True)
    stream.randn(257, 10)  # its 4 trials follow on W, with no re-seeding
    p = probability(logits(stream.randn(4, 256), observer))
    assert p[0, :3] == pytest.approx([9.99953315e-01, 3.45805742e-04, 9.99999999e-01], rel=1e-8)


def test_the_notebook_prints_this_histogram() -> None:
    observer = draw_observer(1973, 256, 10, 1.0, notebook=True)
    factors, responses = np.empty((4, 256)), np.empty((4, 10), bool)
    draw_notebook_trials(1973, observer, factors, responses)
    counts, _ = np.histogram(probability(logits(factors, observer)), bins=10)
    assert counts.tolist() == [17, 1, 1, 0, 0, 2, 0, 0, 0, 19]


def test_notebook_streams_give_the_notebooks_trials_bit_for_bit() -> None:
    W, factors, _, y = notebook.get_data(2 * CHUNK + 17)
    ours, responses = np.empty_like(factors), np.empty_like(y)
    observer = draw_observer(notebook.SEED, notebook.N, notebook.N_CLASSES, 1.0, notebook=True)
    draw_notebook_trials(notebook.SEED, observer, ours, responses)
    assert np.array_equal(observer, W)
    assert np.array_equal(ours, factors)
    assert np.array_equal(responses, y)
    assert np.array_equal(factors.ravel()[: W.size], W.ravel())  # the flaw that independent streams mend


@given(st.integers(0, 2**32 - 1), st.integers(1, 2 * CHUNK), st.integers(1, 3 * CHUNK))
def test_the_first_trials_of_more_are_the_same(seed: int, fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    few, many = draw(seed, TRAIN, fewer), draw(seed, TRAIN, more)
    assert np.array_equal(few[0], many[0][:fewer])
    assert np.array_equal(few[1], many[1][:fewer])


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_any_number_of_threads_draws_the_same_trials(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(5, TRAIN, 5 * CHUNK + 1)
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    factors, responses = draw(5, TRAIN, 5 * CHUNK + 1)
    assert np.array_equal(factors, expected[0])
    assert np.array_equal(responses, expected[1])


def test_splits_seeds_and_chunks_are_independent() -> None:
    streams = [draw(seed, split, 2 * CHUNK)[0] for seed in (0, 1) for split in (TRAIN, TEST)]
    halves = np.array([half.ravel() for stream in streams for half in np.split(stream, 2)])
    observer = draw_observer(0, halves.shape[1] - 1, 1, 1.0, notebook=False).ravel()
    correlation = np.corrcoef([*halves, observer]) - np.eye(len(halves) + 1)
    assert np.abs(correlation).max() < 5 / np.sqrt(halves.shape[1])


def test_factors_are_standard_normal_and_responses_follow_the_model() -> None:
    n = 200_000
    factors, responses = draw(1, TRAIN, n, n_factors=1, n_classes=2)
    assert factors.mean() == pytest.approx(0, abs=5 / np.sqrt(n))
    assert factors.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    p = probability(logits(factors, draw_observer(1, 1, 2, 1.0, notebook=False)))
    for bin_ in np.array_split(np.argsort(p[:, 0]), 20):  # in every range of p the share of yes is p
        spread = np.sqrt((p[bin_, 0] * (1 - p[bin_, 0])).sum()) / len(bin_)
        assert responses[bin_, 0].mean() == pytest.approx(p[bin_, 0].mean(), abs=5 * spread)
    left = responses - p  # and given the factors, the classes are independent
    assert np.mean(left[:, 0] * left[:, 1]) == pytest.approx(0, abs=5 * 0.25 / np.sqrt(n))


def test_weight_scale_is_the_standard_deviation_of_the_coefficients() -> None:
    small, large = (draw_observer(3, 500, 20, scale, notebook=False) for scale in (1.0, 2.5))
    assert np.allclose(large, 2.5 * small, rtol=1e-15)
    assert small.std() == pytest.approx(1, abs=0.05)
