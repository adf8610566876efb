"""Trials that stay on disk: what walks through them allocates a part of their size, whatever their precision."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stages.storage import FileRows, Outputs, Trials, read_trials

from hdlogit.inference.infer import infer, mean_variance
from hdlogit.psychometric.function import Floats
from hdlogit.psychometric.simulation import TRAIN, draw_observer, draw_trials
from hdlogit.scores import statistics
from tests.problems import fit

N_TRIALS, N_FACTORS, N_CLASSES = 40_000, 64, 2
LIMIT = 6e6  # bytes; the factors have 10 MB in single precision, 20 MB in double


def peak(call: Callable[[], object]) -> int:
    """The most bytes that NumPy and Python have allocated for `call` at one time; maps of files do not count."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "BLOCK_ELEMENTS", 2**15)


@pytest.fixture(params=[np.float64, np.float32])
def drawn(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Trials, Floats, int]:
    """Trials on disk, their observer, and what drawing them took."""
    monkeypatch.chdir(tmp_path)
    observer = draw_observer(1, N_FACTORS, N_CLASSES, 0.2, notebook=False)
    with Outputs("simulate") as outputs:
        factors = outputs.array("train/factors.npy", (N_TRIALS, N_FACTORS), request.param)
        responses = outputs.array("train/responses.npy", (N_TRIALS, N_CLASSES), np.bool_)
        with FileRows(factors) as rows:
            took = peak(lambda: draw_trials(1, TRAIN, observer, rows, responses))
    return read_trials("train"), observer, took


def test_trials_are_drawn_piece_by_piece(drawn: tuple[Trials, Floats, int]) -> None:
    assert drawn[2] < LIMIT


@pytest.mark.usefixtures("small_blocks")
def test_trials_are_scored_block_by_block(drawn: tuple[Trials, Floats, int]) -> None:
    trials, observer, _ = drawn
    logits: NDArray[np.float64] = np.empty(trials.responses.shape)

    def everything() -> None:
        statistics.write_logits(trials.factors, observer, out=logits)
        statistics.cross_entropies(trials.factors, trials.responses, np.stack([observer, 2 * observer]))
        statistics.scores(logits, trials.responses)
        statistics.recalibration(logits, trials.responses)
        statistics.calibration_curve(logits, trials.responses, 20)

    assert peak(everything) < LIMIT


def test_inference_reads_block_by_block_and_sums_in_double_precision(drawn: tuple[Trials, Floats, int]) -> None:
    trials, _, _ = drawn
    factors = np.array(trials.factors, np.float64)
    coefficients = fit(factors, np.asarray(trials.responses))
    assert peak(lambda: infer(trials.factors, trials.responses, coefficients)) < LIMIT
    assert peak(lambda: mean_variance(trials.factors)) < LIMIT
    assert mean_variance(trials.factors) == pytest.approx(factors.var(axis=0).mean(), rel=1e-12)
    for found, expected in zip(
        infer(trials.factors, trials.responses, coefficients),
        infer(factors, np.asarray(trials.responses), coefficients),
        strict=True,
    ):
        assert np.array_equal(found.corrected, expected.corrected)
