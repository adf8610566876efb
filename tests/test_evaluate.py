"""The stage `evaluate`: its files against the same numbers computed from the raw files, without its code."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from stages import evaluate
from tests.conftest import Project, run_here

Array = NDArray[np.float64]


class Raw:
    """What simulate and train wrote, read without our code."""

    def __init__(self, project: Project) -> None:
        self.data = project.data
        self.observer: Array = np.load(self.data / "observer.npy")
        self.model = self.coefficients("model.safetensors")

    def coefficients(self, name: str) -> Array:
        parts = load_file(self.data / name)
        return np.vstack([parts["weight"].T.astype(float), parts["bias"]])

    def probabilities(self, split: str, coefficients: Array) -> Array:
        factors = np.load(self.data / split / "factors.npy")
        return np.asarray(1 / (1 + np.exp(-factors @ coefficients[:-1] - coefficients[-1])))

    def cross_entropy(self, split: str, coefficients: Array) -> float:
        p, y = self.probabilities(split, coefficients), np.load(self.data / split / "responses.npy")
        return float(-np.mean(np.where(y, np.log(p), np.log(1 - p))))

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.data / name).open() as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def raw(simulated: Project) -> Raw:
    return Raw(simulated)


@pytest.fixture(scope="module")
def metrics(simulated: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((simulated.data / "metrics.json").read_text())
    return found


def test_cross_entropies_are_those_of_their_own_split_and_coefficients(raw: Raw, metrics: dict[str, Any]) -> None:
    assert metrics["train"]["cross_entropy"] == pytest.approx(raw.cross_entropy("train", raw.model), rel=1e-5)
    assert metrics["test"]["cross_entropy"] == pytest.approx(raw.cross_entropy("test", raw.model), rel=1e-5)
    assert metrics["test"]["bayes_cross_entropy"] == pytest.approx(raw.cross_entropy("test", raw.observer), rel=1e-5)


def test_the_excess_is_the_divergence_of_the_fitted_from_the_true_probabilities(
    raw: Raw, metrics: dict[str, Any]
) -> None:
    p, q = raw.probabilities("test", raw.observer), raw.probabilities("test", raw.model)
    expected = np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert metrics["test"]["excess_cross_entropy"] == pytest.approx(expected, rel=1e-5)


def test_the_trajectory_is_that_of_the_checkpoints(raw: Raw) -> None:
    rows = raw.table("trajectory.csv")
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4]
    for row in rows:
        w = raw.coefficients(f"checkpoints/epoch-{int(row['epoch']):06d}.safetensors")
        assert float(row["train_cross_entropy"]) == pytest.approx(raw.cross_entropy("train", w), rel=1e-5)
        assert float(row["test_cross_entropy"]) == pytest.approx(raw.cross_entropy("test", w), rel=1e-5)
        slope = (w[:-1] * raw.observer[:-1]).sum() / (raw.observer[:-1] ** 2).sum()
        assert float(row["weight_slope"]) == pytest.approx(slope, rel=1e-5)


def test_the_table_of_coefficients_puts_fitted_beside_true(raw: Raw) -> None:
    for row in raw.table("coefficients.csv"):
        factor = -1 if row["factor"] == "bias" else int(row["factor"])
        assert float(row["true"]) == pytest.approx(raw.observer[factor, int(row["class"])], rel=1e-5)
        assert float(row["fitted"]) == pytest.approx(raw.model[factor, int(row["class"])], rel=1e-5)


def test_the_calibration_counts_every_response(raw: Raw) -> None:
    assert sum(int(row["responses"]) for row in raw.table("calibration.csv")) == 200 * 2


def test_adam_reports_how_far_from_the_optimum_it_stopped(metrics: dict[str, Any]) -> None:
    assert metrics["fit"]["converged"] is False
    assert metrics["fit"]["max_gradient"] > 1e-3


def test_trials_without_a_known_observer_are_evaluated_and_drawn(results: Project, metrics: dict[str, Any]) -> None:
    (results.data / "observer.npy").unlink()
    run_here("evaluate", "plot")
    found = json.loads((results.data / "metrics.json").read_text())
    assert "recovery" not in found
    left_out = {"bayes_cross_entropy", "excess_cross_entropy"}
    assert found["test"] == {key: value for key, value in metrics["test"].items() if key not in left_out}
    assert (results.data / "figures" / "weights.png").exists()
    assert not (results.data / "figures" / "recovery.png").exists()


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_held_out_factor_that_is_not_finite_is_refused(
    results: Project, refuses: Callable[..., str], value: float
) -> None:
    factors = np.load("data/test/factors.npy")
    factors[17, 2] = value
    np.save("data/test/factors.npy", factors)
    before = (results.data / "metrics.json").read_bytes()
    assert "look for NaN" in refuses(evaluate.main)
    assert (results.data / "metrics.json").read_bytes() == before


def test_after_adam_a_line_tells_why_there_are_no_intervals(simulated: Project, metrics: dict[str, Any]) -> None:
    assert {"theory", "inference"}.isdisjoint(metrics)
    [note] = (simulated.data / "inference").iterdir()
    assert note.read_text() == "intervals and corrections are left out: they are for exact fits, train.solver: exact\n"
