"""Inference from an exact fit, from simulation to metrics, against the truth that the simulation knows."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdlogit.asymptotics.predictions import held_out_cross_entropy
from hdlogit.asymptotics.theory import solve
from hdlogit.inference.ridge import choose
from stages import evaluate, plot, simulate, train
from stages.files.reading import read_model, read_trials
from tests.conftest import Project, run_here

Refuses = Callable[..., str]


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What `weak` is a copy of. Not to be changed."""
    project = Project.small(tmp_path_factory.mktemp("fitted") / "project")
    size = {"n_factors": 80, "n_classes": 5, "n_trials": 1600, "n_test_trials": 4000, "weight_scale": 0.45}
    project.set(simulate=size, train={"solver": "exact"}, plot={"class_index": 4})
    with contextlib.chdir(project.folder):
        run_here("simulate", "train", "evaluate")
    return project


@pytest.fixture
def weak(fitted: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An observer whose signal is 4: 80 factors, 1600 trials, 5 classes, fitted exactly; the current folder."""
    copied = fitted.copy_to(tmp_path / "weak")
    monkeypatch.chdir(copied.folder)
    return copied


def metrics(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.data / "metrics.json").read_text())
    return found


def refitted(project: Project, **train: object) -> dict[str, Any]:
    """The metrics with other parameters of the fit."""
    project.set(train=train)
    run_here("train", "evaluate")
    return metrics(project)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_theory_predicts_what_is_measured_and_the_corrections_correct_it(weak: Project) -> None:
    m = metrics(weak)
    theory, test, recovery = m["theory"], m["test"], m["recovery"]
    assert theory["n_trials"] == 1600
    assert theory["signal"] == pytest.approx(4, rel=0.15)
    assert theory["weight_slope"] == pytest.approx(recovery["weight_slope"], rel=0.05)
    assert theory["residual_sd"] == pytest.approx(recovery["residual_sd"], rel=0.15)
    assert theory["train_cross_entropy"] == pytest.approx(m["train"]["cross_entropy"], rel=0.06)
    assert theory["test_cross_entropy"] == pytest.approx(test["cross_entropy"], rel=0.06)
    assert theory["test_best_cross_entropy"] == pytest.approx(test["best"]["cross_entropy"], rel=0.06)
    assert theory["classical_coverage"] == pytest.approx(m["inference"]["classical_coverage"], abs=0.04)
    assert recovery["corrected"]["weight_slope"] == pytest.approx(1, abs=0.06)
    assert recovery["corrected"]["weight_rmse"] < recovery["weight_rmse"]
    assert test["best"]["cross_entropy"] < test["corrected"]["cross_entropy"] < test["cross_entropy"]
    assert test["best"]["calibration_slope"] == pytest.approx(1, abs=0.08)
    assert m["inference"]["coverage"] == pytest.approx(0.95, abs=5 * np.sqrt(0.05 * 0.95 / 400))
    assert m["inference"]["classical_coverage"] < m["inference"]["coverage"]


def test_the_coefficient_table_is_whole_and_agrees_with_the_metrics(weak: Project) -> None:
    m = metrics(weak)
    table = rows(weak.data / "inference" / "coefficients.csv")
    assert len(table) == 5 * 81
    inside = [float(r["low"]) <= float(r["true"]) <= float(r["high"]) for r in table if r["factor"] != "bias"]
    assert np.mean(inside) == pytest.approx(m["inference"]["coverage"], abs=0.006)  # the table has six digits
    fitted = read_model()[0].T.ravel()
    assert np.allclose([float(r["estimate"]) for r in table], fitted, rtol=1e-5, atol=5e-6)
    assert all(0 <= float(r[key]) <= 1 for r in table for key in ("p", "classical_p"))
    strong = [r for r in table if abs(float(r["true"])) > 1]
    assert np.mean([float(r["p"]) < 0.05 for r in strong]) > 0.9


def test_a_wider_level_covers_more(weak: Project) -> None:
    narrow = metrics(weak)["inference"]
    weak.set(evaluate={"interval_level": 0.99})
    evaluate.main()
    wide = metrics(weak)["inference"]
    assert wide["level"] == 0.99
    assert wide["coverage"] > narrow["coverage"]
    assert wide["classical_coverage"] > narrow["classical_coverage"]


def test_without_the_truth_an_exact_fit_is_drawn_without_it(weak: Project) -> None:
    (weak.data / "observer.npy").unlink()
    weak.set(evaluate={"guess_rate": 0.1})
    run_here("evaluate", "plot")
    curve = rows(weak.data / "inference" / "curve.csv")
    assert min(float(r["fitted"]) for r in curve) >= 0.1
    assert min(float(r["logistic"]) for r in curve) < 0.02  # without rates, also where they are known
    drawn = {path.stem for path in (weak.data / "figures").iterdir()}
    assert drawn == {"calibration", "psychometric", "weights"}


def test_ridge_auto_is_the_best_of_the_theory_and_of_the_held_out_trials(weak: Project) -> None:
    m = refitted(weak, ridge="auto")
    chosen = m["fit"]["ridge"]
    signal = float(np.sqrt((np.load("data/observer.npy")[:-1] ** 2).sum(0).mean()))
    around = [chosen * factor for factor in (0.4, 1.0, 2.5)]
    low, here, high = (held_out_cross_entropy(solve(0.05, signal, ridge=strength)) for strength in around)
    assert here < min(low, high)
    assert m["test"]["calibration_slope"] == pytest.approx(1, abs=0.1)
    for strength in (0.2 * chosen, 5 * chosen):
        weak.set(train={"ridge": strength})
        run_here("train")
        assert m["test"]["cross_entropy"] < held_out()


def held_out() -> float:
    """Mean cross-entropy of the model on the held-out trials, in nats."""
    model, trials = read_model()[0], read_trials("test")
    z = trials.factors @ model[:-1] + model[-1]
    return float(np.mean(np.logaddexp(0, z) - trials.responses * z))


def test_ridge_auto_works_where_no_estimate_exists_without(weak: Project, refuses: Refuses) -> None:
    weak.set(simulate={"n_trials": 200})
    simulate.main()
    refuses(train.main, status=3)
    m = refitted(weak, ridge="auto")
    assert 0 < m["fit"]["ridge"] < 1
    assert m["test"]["cross_entropy"] < np.log(2)


def test_ridge_is_in_the_units_of_the_factors() -> None:
    stream = np.random.default_rng(0)
    factors, weights = stream.standard_normal((1500, 30)), stream.standard_normal((30, 3))
    responses = stream.random((1500, 3)) < 1 / (1 + np.exp(-factors @ weights))
    one, ten = (choose(x, responses, tolerance=1e-9) for x in (factors, 10 * factors + 3))
    assert ten == pytest.approx(100 * one, rel=1e-3)


def test_where_the_theory_has_no_answer_it_says_so_and_the_rest_is_there(
    weak: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    factors = np.load(weak.data / "train" / "factors.npy")
    factors[:, 0] *= 30  # with ridge, the theory is for factors of one variance
    np.save(weak.data / "train" / "factors.npy", factors)
    m = refitted(weak, ridge=0.001)
    reason = "with ridge the theory is for isotropic factors"
    answer, names = (weak.data / "inference" / "answer.txt").read_text(), ", ".join(f"class {k}" for k in range(5))
    assert answer.startswith(f"no corrections and intervals of {names}: {reason}")
    run_here("plot", "summary")
    assert answer[1:].strip() in capsys.readouterr().out
    page = (weak.data / "report.html").read_text()
    assert f'<div class="answer">\n<p>No corrections and intervals of {names}: {reason}' in page
    assert "they need an exact one" not in page
    assert "theory" not in m
    assert m["test"]["cross_entropy"] > 0


def test_an_observer_without_signal_is_evaluated_and_drawn(weak: Project) -> None:
    weak.set(simulate={"weight_scale": "1e-6"})
    simulate.main()
    m = refitted(weak)
    plot.main()
    assert m["theory"]["signal"] < 1
    assert m["inference"]["coverage"] > 0.9


def test_ridge_auto_passes_over_a_class_that_always_says_yes(weak: Project) -> None:
    responses = np.load(weak.data / "train" / "responses.npy")
    responses[:, 2] = True
    np.save(weak.data / "train" / "responses.npy", responses)
    weak.set(train={"ridge": "auto"})
    run_here("train")
    assert 0 < read_model()[1]["ridge"] < 1
