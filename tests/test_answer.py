"""The answer in words agrees with the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from stages.tables.answer import Situation, trustworthy, without_estimate
from tests.conftest import Project, run_here

FINE = Situation("choice=right", 0.9496, 2.2, 1.028, 0.0, 0.0, 0.4)


def test_a_plain_fit_is_good_enough_where_weights_and_intervals_are() -> None:
    [line] = trustworthy(3000, 40, 0.95, [FINE])
    assert line == (
        "3 000 trials, 40 factors, signal 2.2: weights come out 2.8 % too large and classical 95 % intervals cover "
        "95 %: a plain logistic regression is good enough"
    )


def test_the_corrected_column_is_recommended_where_they_are_not() -> None:
    [line] = trustworthy(3000, 400, 0.95, [FINE._replace(alpha=1.18)])
    assert "18 % too large" in line
    assert line.endswith("use the corrected column")
    [line] = trustworthy(3000, 400, 0.95, [FINE._replace(classical_coverage=0.93)])
    assert line.endswith("use the corrected column")
    [line] = trustworthy(3000, 400, 0.9, [FINE._replace(classical_coverage=0.9)])
    assert line.endswith("good enough")


def test_shrunk_weights_are_too_small_and_no_signal_is_no_weights() -> None:
    [line] = trustworthy(3000, 400, 0.95, [FINE._replace(alpha=0.8)])
    assert "20 % too small" in line
    [line] = trustworthy(3000, 400, 0.95, [FINE._replace(signal=0.0)])
    assert "no factor predicts" in line


def test_of_many_classes_the_range_and_the_worst_are_told() -> None:
    classes = [FINE._replace(name=str(k), signal=1.0 + k, alpha=1 + 0.01 * k) for k in range(10)]
    [line] = trustworthy(10_000, 256, 0.95, classes)
    assert line.startswith("10 000 trials, 256 factors, 10 classes, signals 1 to 10: ")
    assert "9 % too large at worst (class 9)" in line


def test_responses_that_are_not_logistic_are_told_with_their_rates() -> None:
    odd = FINE._replace(logistic_p=1e-6, guess_rate=0.05, lapse_rate=0.02)
    assert trustworthy(3000, 40, 0.95, [odd])[1] == (
        "the responses do not follow a logistic function: guess 0.05, lapse 0.02"
    )
    assert "evaluate.asymptotes: estimate" in trustworthy(3000, 40, 0.95, [FINE._replace(logistic_p=1e-6)])[1]
    assert "of 1 of 2 classes" in trustworthy(3000, 40, 0.95, [FINE, odd])[1]
    assert len(trustworthy(3000, 40, 0.95, [FINE._replace(logistic_p=0.009)] * 2)) == 1  # one of many tests


def test_separating_factors_are_named() -> None:
    lines = without_estimate({"2": "separated", "5": "its responses are all alike"}, {"2": ["a", "b"], "3": ["c"]})
    assert lines == [
        "factors a, b separate the responses of class 2: train.shrinkage: auto gives an estimate",
        "factor c separates the responses of class 3; they were shrunk for the fit",
        "class 5 has no estimate: its responses are all alike",
    ]
    assert without_estimate({}, {}) == []
    assert trustworthy(10, 2, 0.95, []) == []


def test_evaluate_writes_and_prints_it_and_so_does_the_summary(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set(train={"solver": "lbfgs"})
    run_here("simulate", "ridge")
    responses = np.load("data/train/responses.npy")
    responses[:, 1] = np.load("data/train/factors.npy")[:, 2] > 0
    np.save("data/train/responses.npy", responses)
    for shrinkage, end in (
        (0, ": train.shrinkage: auto gives an estimate"),
        ("auto", "; they were shrunk for the fit"),
    ):
        project.set(train={"shrinkage": shrinkage})
        run_here("train", "evaluate")
        capsys.readouterr()
        run_here("summary")
        written = (project.data / "inference" / "answer.txt").read_text()
        assert written.startswith("300 trials, 4 factors, ")
        assert f"factor 2 separates the responses of class 1{end}" in written
        assert capsys.readouterr().out.startswith(written)
