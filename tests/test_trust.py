"""What the pipeline says of an exact fit, from simulation to metrics, against the truth that the simulation knows."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdlogit.asymptotics.predictions import held_out_cross_entropy
from hdlogit.asymptotics.theory import solve
from hdlogit.exact import solver as exact
from hdlogit.inference import ridge
from stages import evaluate, plot, simulate, storage, train
from tests.conftest import ROOT, Project

Refuses = Callable[[Callable[[], None]], str]


@pytest.fixture
def weak(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An observer whose signal is 4: 80 factors, 1600 trials, 5 classes, fitted exactly."""
    size = {"n_factors": 80, "n_classes": 5, "n_trials": 1600, "n_test_trials": 4000, "weight_scale": 0.45}
    project.set(simulate=size, train={"solver": "lbfgs"}, plot={"class_index": 4})
    monkeypatch.chdir(project.folder)
    simulate.main()
    return project


def results(project: Project) -> dict[str, Any]:
    train.main()
    evaluate.main()
    metrics: dict[str, Any] = json.loads((project.data / "metrics.json").read_text())
    return metrics


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_theory_predicts_what_is_measured_and_the_corrections_mend_it(weak: Project) -> None:
    m = results(weak)
    theory, test, recovery = m["theory"], m["test"], m["recovery"]
    assert theory["n_trials"] == 1600
    assert theory["signal"] == pytest.approx(4, rel=0.15)
    assert theory["certificate"] < 0.5
    assert theory["weight_slope"] == pytest.approx(recovery["weight_slope"], rel=0.05)
    assert theory["residual_sd"] == pytest.approx(recovery["residual_sd"], rel=0.15)
    assert theory["train_cross_entropy"] == pytest.approx(m["train"]["cross_entropy"], rel=0.06)
    assert theory["test_cross_entropy"] == pytest.approx(test["cross_entropy"], rel=0.06)
    assert theory["test_best_cross_entropy"] == pytest.approx(test["best"]["cross_entropy"], rel=0.06)
    assert theory["classical_coverage"] == pytest.approx(m["inference"]["classical_coverage"], abs=0.04)
    assert recovery["corrected"]["weight_slope"] == pytest.approx(1, abs=0.06)
    assert recovery["corrected"]["weight_rmse"] < recovery["weight_rmse"]
    assert test["best"]["cross_entropy"] < test["debiased"]["cross_entropy"] < test["cross_entropy"]
    assert test["best"]["calibration_slope"] == pytest.approx(1, abs=0.08)
    assert m["inference"]["coverage"] == pytest.approx(0.95, abs=5 * np.sqrt(0.05 * 0.95 / 400))
    assert m["inference"]["classical_coverage"] < m["inference"]["coverage"]


def test_the_coefficient_table_is_whole_and_agrees_with_the_metrics(weak: Project) -> None:
    m = results(weak)
    table = rows(weak.data / "inference" / "coefficients.csv")
    assert len(table) == 5 * 81
    inside = [float(r["low"]) <= float(r["true"]) <= float(r["high"]) for r in table if r["factor"] != "bias"]
    assert np.mean(inside) == pytest.approx(m["inference"]["coverage"], abs=0.006)  # the table keeps six digits
    fitted = storage.read_model().coefficients.T.ravel()
    assert np.allclose([float(r["estimate"]) for r in table], fitted, rtol=1e-5)
    assert all(0 <= float(r[key]) <= 1 for r in table for key in ("p", "classical_p"))
    strong = [r for r in table if abs(float(r["true"])) > 1]
    assert np.mean([float(r["p"]) < 0.05 for r in strong]) > 0.9


def test_a_wider_level_covers_more(weak: Project) -> None:
    narrow = results(weak)["inference"]
    weak.set(evaluate={"interval_level": 0.99})
    evaluate.main()
    wide = json.loads((weak.data / "metrics.json").read_text())["inference"]
    assert wide["level"] == 0.99
    assert wide["coverage"] > narrow["coverage"]
    assert wide["classical_coverage"] > narrow["classical_coverage"]


def test_every_figure_of_an_exact_fit_is_drawn_with_and_without_the_truth(weak: Project) -> None:
    results(weak)
    plot.main()
    names = {path.stem for path in (weak.data / "figures").iterdir()}
    assert {"map", "intervals", "coverage", "predictions", "planning"} <= names
    (weak.data / "observer.npy").unlink()
    evaluate.main()
    plot.main()
    without = {path.stem for path in (weak.data / "figures").iterdir()}
    assert names - without == {"coverage", "recovery"}


def test_ridge_auto_is_the_best_of_the_theory_and_of_the_held_out_trials(weak: Project) -> None:
    weak.set(train={"ridge": "auto"})
    m = results(weak)
    chosen = m["fit"]["ridge"]
    signal = float(np.sqrt((storage.read_observer()[:-1] ** 2).sum(0).mean()))  # type: ignore[index]
    around = [chosen * factor for factor in (0.4, 1.0, 2.5)]
    low, here, high = (held_out_cross_entropy(solve(0.05, signal, ridge=strength)) for strength in around)
    assert here < min(low, high)
    assert m["test"]["calibration_slope"] == pytest.approx(1, abs=0.1)
    measured = []
    for strength in (0.2 * chosen, 5 * chosen):
        weak.set(train={"ridge": strength})
        measured.append(results(weak)["test"]["cross_entropy"])
    assert m["test"]["cross_entropy"] < min(measured)


def test_ridge_auto_works_where_no_estimate_exists_without(weak: Project) -> None:
    weak.set(simulate={"n_trials": 200}, train={"ridge": "auto"})
    simulate.main()
    trials = storage.read_trials("train")
    with pytest.raises(exact.NoEstimate):
        exact.fit(torch.from_numpy(trials.factors), torch.from_numpy(trials.responses))
    m = results(weak)
    assert 0 < m["fit"]["ridge"] < 1
    assert m["test"]["cross_entropy"] < np.log(2)


def test_ridge_is_in_the_units_of_the_factors() -> None:
    stream = np.random.default_rng(0)
    factors, weights = stream.standard_normal((1500, 30)), stream.standard_normal((30, 3))
    responses = torch.from_numpy(stream.random((1500, 3)) < 1 / (1 + np.exp(-factors @ weights)))
    limits = {"tolerance": 1e-9, "max_iterations": 500, "dtype": torch.float64}
    one = ridge.choose(torch.from_numpy(factors), responses, **limits)
    ten = ridge.choose(torch.from_numpy(10 * factors + 3), responses, **limits)
    assert ten == pytest.approx(100 * one, rel=1e-3)


def test_after_adam_the_rest_is_there_and_a_line_says_why(
    copy: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy.folder)
    evaluate.main()
    assert "they hold for an exact fit" in capsys.readouterr().out
    metrics = json.loads((copy.data / "metrics.json").read_text())
    assert {"theory", "inference"}.isdisjoint(metrics)
    assert [path.name for path in (copy.data / "inference").iterdir()] == ["left_out.txt"]


def test_where_the_theory_has_no_answer_it_says_so_and_the_rest_is_there(
    weak: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    factors = np.load(weak.data / "train" / "factors.npy")
    factors[:, 0] *= 30  # with ridge, the theory is for factors of one variance
    np.save(weak.data / "train" / "factors.npy", factors)
    weak.set(train={"ridge": 0.001})
    m = results(weak)
    assert "are left out: the factors are correlated" in capsys.readouterr().out
    assert "theory" not in m
    assert m["test"]["cross_entropy"] > 0


def test_an_observer_without_signal_is_evaluated_and_drawn(weak: Project) -> None:
    weak.set(simulate={"weight_scale": "1e-6"})
    simulate.main()
    m = results(weak)
    plot.main()
    assert m["theory"]["signal"] < 1
    assert m["inference"]["coverage"] > 0.9


def test_ridge_auto_passes_over_a_class_that_always_says_yes(weak: Project) -> None:
    responses = np.load(weak.data / "train" / "responses.npy")
    responses[:, 2] = True
    np.save(weak.data / "train" / "responses.npy", responses)
    weak.set(train={"ridge": "auto"})
    train.main()
    assert 0 < storage.read_model().evidence["ridge"] < 1


def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.plan", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_planning_answers_before_any_data_exist() -> None:
    answer = plan("256", "--signal", "16", "--n-trials", "4000", "10000")
    assert "from about 4076 trials on" in answer.stdout
    lines = [line.split("|") for line in answer.stdout.splitlines() if line.startswith("| 4000") or "10000" in line]
    assert lines[0][2].strip() == "no"
    assert float(lines[1][3]) == pytest.approx(1.2316, abs=0.0005)


@pytest.mark.parametrize(
    "arguments", [("256", "--signal", "-1"), ("0", "--signal", "2"), ("9", "--signal", "2", "--base-rate", "1")]
)
def test_planning_refuses_an_impossible_observer_in_one_line(arguments: tuple[str, ...]) -> None:
    answer = plan(*arguments)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: ")
    assert len(answer.stderr.splitlines()) == 1
