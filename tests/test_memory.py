"""Trials that stay on disk: what walks through them allocates a part of their size, whatever their precision."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hdlogit.compute.threads import BLOCK
from hdlogit.inference.infer import infer
from hdlogit.psychometric.function import Floats
from hdlogit.psychometric.simulation import TRAIN, draw_observer, draw_trials
from hdlogit.scores import calibration, predictions
from stages.files.reading import Trials, read_trials
from stages.files.writing import Outputs
from tests.problems import fit

N_TRIALS, N_FACTORS, N_CLASSES = 60_000, 64, 2
LIMIT = 6e6  # bytes; the factors have 15 MB in single precision, 31 MB in double


def peak(call: Callable[[], object]) -> int:
    """The most bytes that NumPy and Python have allocated for `call` at one time; maps of files do not count."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(params=["float64", "float32"])
def drawn(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Trials, Floats, int]:
    """Trials on disk, their observer, and what drawing them took."""
    monkeypatch.chdir(tmp_path)
    observer = draw_observer(1, N_FACTORS, N_CLASSES, 0.2, notebook=False)
    with Outputs("simulate") as outputs:
        factors = outputs.array("train/factors.npy", (N_TRIALS, N_FACTORS), request.param)
        responses = outputs.array("train/responses.npy", (N_TRIALS, N_CLASSES), "bool")
        took = peak(lambda: draw_trials(1, TRAIN, observer, factors, responses))
    return read_trials("train"), observer, took


def test_trials_are_drawn_piece_by_piece(drawn: tuple[Trials, Floats, int]) -> None:
    assert drawn[2] < LIMIT


def test_logits_and_cross_entropies_read_block_by_block(drawn: tuple[Trials, Floats, int]) -> None:
    trials, observer, _ = drawn
    logits: NDArray[np.float64] = np.empty(trials.responses.shape)
    models = np.stack([observer, 2 * observer])
    limit = 1.5 * 8 * BLOCK  # single precision takes one block of factors in double
    assert peak(lambda: predictions.write_logits(trials.factors, observer, out=logits)) < limit
    assert peak(lambda: predictions.cross_entropies(trials.factors, trials.responses, models)) < limit


def test_scores_read_block_by_block(tmp_path: Path) -> None:
    logits = np.memmap(tmp_path / "logits", np.float64, "w+", shape=(10 * BLOCK, 1))  # all 0
    responses = np.memmap(tmp_path / "responses", np.bool_, "w+", shape=logits.shape)
    limit = 8 * 8 * BLOCK  # some temporaries of a block each
    assert peak(lambda: predictions.scores(logits, responses)) < limit
    assert peak(lambda: calibration.calibration_curve(logits, responses, 20)) < limit


def test_inference_reads_block_by_block_and_sums_in_double_precision(drawn: tuple[Trials, Floats, int]) -> None:
    trials, _, _ = drawn
    factors = np.array(trials.factors, np.float64)
    coefficients = fit(factors, np.asarray(trials.responses))
    limit = 0.7 * factors.nbytes  # blocks, and a few numbers per trial
    assert peak(lambda: infer(trials.factors, trials.responses, coefficients)) < limit
    for found, expected in zip(
        infer(trials.factors, trials.responses, coefficients),
        infer(factors, np.asarray(trials.responses), coefficients),
        strict=True,
    ):
        assert not found.reason
        assert np.array_equal(found.corrected, expected.corrected)
