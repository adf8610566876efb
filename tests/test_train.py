"""The stages `ridge` and `train`: the exact fit's evidence, and what is reported where nothing can be fitted."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from stages import train
from stages.files.reading import read_model, read_trials
from stages.files.tables import read_json, read_table
from tests.conftest import Project, run_here

Refuses = Callable[..., str]


@pytest.fixture
def exact(results: Project) -> Project:
    """A small project, simulated, whose solver is the exact one."""
    results.set(train={"solver": "exact"})
    return results


def test_the_evidence_is_stored_with_the_model_and_goes_into_the_metrics(exact: Project) -> None:
    run_here("train", "evaluate")
    (coefficients, evidence), trials = read_model(), read_trials("train")
    assert max(evidence["max_gradient"]) <= 1e-6
    p = 1 / (1 + np.exp(-trials.factors @ coefficients[:-1] - coefficients[-1]))
    residual = p - trials.responses
    gradients = np.vstack([trials.factors.T @ residual, residual.sum(0)]) / len(residual)
    assert np.abs(gradients).max() < 2e-6  # of the stored weights, in single precision, and rounded biases
    fit = json.loads((exact.data / "metrics.json").read_text())["fit"]
    assert fit["converged"] is True
    assert fit["max_gradient"] == pytest.approx(max(evidence["max_gradient"]), rel=1e-5)
    assert evidence["checkpoints"] == [0]


def test_ridge_shrinks_the_weights(exact: Project) -> None:
    train.main()
    free, _ = read_model()
    exact.set(train={"ridge": "1e-1"})
    run_here("train")
    shrunk, evidence = read_model()
    assert evidence["ridge"] == 0.1
    assert np.linalg.norm(shrunk[:-1]) < 0.9 * np.linalg.norm(free[:-1])


def separate(project: Project, *classes: int) -> None:
    """Make these classes say yes to whatever has a positive first factor."""
    path = project.data / "train" / "responses.npy"
    responses = np.load(path)
    responses[:, classes] = np.load(project.data / "train" / "factors.npy")[:, :1] > 0
    np.save(path, responses)


def test_where_no_class_has_an_estimate_the_remedy_and_the_status_tell_it(exact: Project, refuses: Refuses) -> None:
    separate(exact, 0, 1)
    before = (exact.data / "model.safetensors").read_bytes()
    reported = refuses(train.main, status=3)
    assert "data/train: class 0: factor 0 separates its responses" in reported
    assert "train.shrinkage: auto gives one" in reported
    assert (exact.data / "model.safetensors").read_bytes() == before
    exact.set(train={"ridge": 0.01})
    run_here("train")


UNITS = {"standardise": False, "in_order": True, "mean": [0.0] * 4, "sd": [1.0] * 4}


def test_what_separates_own_responses_is_named(exact: Project, refuses: Refuses) -> None:
    separate(exact, 0, 1)
    names = {
        "factors": ["contrast", "side", "rule", "lag"],
        "classes": ["choice=right", "sure"],
        "terms": {"all": [0, 1, 2, 3]},
    }
    (exact.data / "trials.json").write_text(json.dumps({**names, **UNITS, "groups": []}))
    reported = refuses(train.main, status=3)
    assert "choice=right: factor contrast separates its responses" in reported
    assert reported.endswith("(and 1 more)")


def test_a_class_without_an_estimate_leaves_the_others_theirs(
    exact: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here("train")
    alone = read_model()[0][:, 0]
    separate(exact, 1)
    run_here("train", "evaluate", "plot")
    assert "class 1: factor 0 separates its responses" in capsys.readouterr().out
    coefficients, evidence = read_model()
    assert [bool(reason) for reason in evidence["reasons"]] == [False, True]
    assert np.isnan(coefficients[:, 1]).all()
    assert coefficients[:, 0] == pytest.approx(alone, abs=1e-4)  # both to the tolerance
    assert set(read_table("coefficients.csv")["class"]) == {"0"}
    assert read_json("metrics.json")["fit"]["classes_without_estimate"] == 1


def test_shrinkage_gives_a_separated_class_an_answer_and_names_the_factor(
    exact: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    separate(exact, 1)
    exact.set(train={"shrinkage": "auto"})
    run_here("train", "evaluate")
    assert "factor 0 [" in capsys.readouterr().out
    coefficients, evidence = read_model()
    assert evidence["reasons"] == [None, None]
    assert evidence["shrinkage"] == [0, pytest.approx(4 / 304, rel=1e-5)]
    assert coefficients[0, 1] == np.abs(coefficients[:-1, 1]).max()


def test_a_fit_that_ends_too_early_fails(exact: Project, refuses: Refuses) -> None:
    exact.set(train={"max_iterations": 1, "tolerance": "1e-12"})
    assert "not converged" in refuses(train.main)


def test_no_best_ridge_is_reported_in_one_line(exact: Project, refuses: Refuses) -> None:
    exact.set(train={"ridge": "auto"})
    path = exact.data / "train" / "responses.npy"
    np.save(path, np.ones_like(np.load(path)))  # yes to everything
    assert "params.yaml: train.ridge = auto" in refuses(train.main)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_adam_whose_loss_is_not_finite_is_stopped(results: Project, refuses: Refuses) -> None:
    results.set(train={"dtype": "float32"})
    path = results.data / "train" / "factors.npy"
    np.save(path, 1e300 * np.load(path))
    assert "lower train.learning_rate" in refuses(train.main)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a device that is not there")
def test_a_device_that_is_not_there_is_refused(exact: Project, refuses: Refuses) -> None:
    exact.set(train={"device": "cuda"})
    assert "train.device = 'cuda'" in refuses(train.main)
