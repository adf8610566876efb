"""The simulated trials: the notebook's printed values, the model's statistics, and separate streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hdlogit.compute import threads
from hdlogit.psychometric import simulation
from hdlogit.psychometric.function import logits, probability
from hdlogit.psychometric.simulation import CHUNK, TEST, TRAIN, draw_notebook_trials, draw_observer, draw_trials
from tests import notebook

Trials = tuple[NDArray[np.floating], NDArray[np.bool_]]
Float = type[np.floating]

dtypes = st.sampled_from([np.float64, np.float32])
trial_numbers = st.integers(1, 3 * CHUNK)


def draw(
    seed: int, split: int, n_trials: int, n_factors: int = 3, n_classes: int = 2, dtype: Float = np.float64
) -> Trials:
    factors, responses = np.empty((n_trials, n_factors), dtype), np.empty((n_trials, n_classes), bool)
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
    assert np.array_equal(factors.ravel()[: W.size], W.ravel())  # the flaw that independent streams do not have


@given(st.integers(0, 2**32 - 1), trial_numbers, trial_numbers, dtypes)
def test_the_first_trials_of_more_are_the_same(seed: int, fewer: int, more: int, dtype: Float) -> None:
    fewer, more = sorted((fewer, more))
    few, many = draw(seed, TRAIN, fewer, dtype=dtype), draw(seed, TRAIN, more, dtype=dtype)
    assert np.array_equal(few[0], many[0][:fewer])
    assert np.array_equal(few[1], many[1][:fewer])


@pytest.mark.parametrize("cores", [1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_number_of_threads_draws_the_same_trials(cores: int, dtype: Float, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(5, TRAIN, 5 * CHUNK + 1, dtype=dtype)
    monkeypatch.setattr(threads, "CORES", cores)
    factors, responses = draw(5, TRAIN, 5 * CHUNK + 1, dtype=dtype)
    assert np.array_equal(factors, expected[0])
    assert np.array_equal(responses, expected[1])


@given(st.integers(0, 2**32 - 1), trial_numbers, st.integers(1, 300))
@settings(max_examples=30)
def test_single_precision_rounds_the_same_factors(seed: int, n_trials: int, n_factors: int) -> None:
    double, single = (draw(seed, TEST, n_trials, n_factors, dtype=dtype) for dtype in (np.float64, np.float32))
    assert np.array_equal(single[0], double[0].astype(np.float32))
    assert np.mean(single[1] != double[1]) < 1e-3  # rounding moves p by less than 1e-5


def test_single_precision_rounds_the_notebooks_factors_too() -> None:
    W, factors, _, y = notebook.get_data(CHUNK + 17)
    single, responses = np.empty_like(factors, np.float32), np.empty_like(y)
    draw_notebook_trials(notebook.SEED, W, single, responses)
    assert np.array_equal(single, factors.astype(np.float32))
    assert np.mean(responses != y) < 1e-3


def test_responses_are_to_the_factors_as_they_are_stored() -> None:
    """An observer with so large weights that only the sign of the logit counts, and factors with so few digits that
    rounding them changes some of the signs.
    """
    observer = 1e8 * draw_observer(7, 3, 2, 1.0, notebook=False)
    factors, responses = np.empty((100_000, 3), np.float16), np.empty((100_000, 2), bool)
    draw_trials(7, TRAIN, observer, factors, responses)
    stored = logits(factors.astype(np.float64), observer)
    drawn = logits(draw(7, TRAIN, 100_000)[0], observer)
    assert np.array_equal(responses, stored > 0)
    assert not np.array_equal(responses, drawn > 0)


@pytest.mark.parametrize("numbers", [1, 100, 2**30])
def test_the_size_of_the_pieces_does_not_change_the_trials(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(3, TRAIN, CHUNK + 300, n_factors=20)
    monkeypatch.setattr(simulation, "PIECE", numbers)
    factors, responses = draw(3, TRAIN, CHUNK + 300, n_factors=20)
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
    for bin_ in np.array_split(np.argsort(p[:, 0]), 20):  # in every range of p the fraction of yes is p
        spread = np.sqrt((p[bin_, 0] * (1 - p[bin_, 0])).sum()) / len(bin_)
        assert responses[bin_, 0].mean() == pytest.approx(p[bin_, 0].mean(), abs=5 * spread)
    left = responses - p  # and given the factors, the classes are independent
    assert np.mean(left[:, 0] * left[:, 1]) == pytest.approx(0, abs=5 * 0.25 / np.sqrt(n))


def test_guess_and_lapse_rates_bound_the_probability_of_a_yes() -> None:
    """An observer whose logits are ±1000: only guesses and lapses are left to chance."""
    n, observer = 50_000, np.array([[1e5, -1e5], [0.0, 0.0]])
    factors, responses = np.empty((n, 1)), np.empty((n, 2), bool)
    rates = (np.array([0.1, 0.0]), np.array([0.02, 0.3]))
    draw_trials(4, TRAIN, observer, factors, responses, *rates)
    certain = logits(factors, observer) > 0
    for k in range(2):
        for side, expected in ((True, 1 - rates[1][k]), (False, rates[0][k])):
            assert responses[certain[:, k] == side, k].mean() == pytest.approx(expected, abs=0.01)
    assert np.array_equal(factors, draw(4, TRAIN, n, n_factors=1)[0])  # the stimuli are the same


def test_a_rate_changes_only_the_responses_that_it_must() -> None:
    W, factors, _, y = notebook.get_data(CHUNK)
    ours, responses = np.empty_like(factors), np.empty_like(y)
    draw_notebook_trials(notebook.SEED, W, ours, responses, lapse_rate=0.25)
    assert np.array_equal(ours, factors)
    assert not (responses & ~y).any()  # the same uniform numbers decide: a lapse only takes a yes away
    assert (y & ~responses).sum() == pytest.approx(0.25 * y.sum(), rel=0.1)


def test_weight_scale_is_the_standard_deviation_of_the_coefficients() -> None:
    small, large = (draw_observer(3, 500, 20, scale, notebook=False) for scale in (1.0, 2.5))
    assert np.allclose(large, 2.5 * small, rtol=1e-15)
    assert small.std() == pytest.approx(1, abs=0.05)
