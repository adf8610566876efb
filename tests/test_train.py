"""The train stage with the exact solver: its evidence, and what it says where there is nothing to fit."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from stages import evaluate, plot, storage, train
from tests.conftest import Project

Refuses = Callable[[Callable[[], None]], str]


@pytest.fixture
def exact(copy: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A small project, simulated, whose solver is the exact one."""
    copy.set(train={"solver": "lbfgs"})
    monkeypatch.chdir(copy.folder)
    return copy


def test_the_evidence_is_stored_with_the_model_and_goes_into_the_metrics(exact: Project) -> None:
    train.main()
    evaluate.main()
    plot.main()
    model, trials = storage.read_model(), storage.read_trials("train")
    p = 1 / (1 + np.exp(-trials.factors @ model.coefficients[:-1] - model.coefficients[-1]))
    residual = p - trials.responses
    gradients = np.vstack([trials.factors.T @ residual, residual.sum(0)]) / len(residual)
    assert np.abs(gradients).max(0) == pytest.approx(model.evidence["max_gradient"], rel=1e-3, abs=1e-12)
    assert max(model.evidence["max_gradient"]) <= 1e-6
    fit = json.loads((exact.data / "metrics.json").read_text())["fit"]
    assert fit["converged"] is True
    assert fit["max_gradient"] == pytest.approx(max(model.evidence["max_gradient"]), rel=1e-5)
    assert fit["iterations"] == max(model.evidence["iterations"]) > 0
    assert not (exact.data / "figures" / "loss.png").exists()  # it has no epochs


def test_adam_says_how_far_from_the_optimum_it_stopped(copy: Project) -> None:
    fit = json.loads((copy.data / "metrics.json").read_text())["fit"]
    assert fit["converged"] is False
    assert fit["max_gradient"] > 1e-3
    assert fit["iterations"] == 5 * 5  # epochs, batches


def test_ridge_shrinks_the_weights(exact: Project) -> None:
    train.main()
    free = storage.read_model().coefficients
    exact.set(train={"ridge": "1e-1"})
    train.main()
    shrunk = storage.read_model()
    assert shrunk.evidence["ridge"] == 0.1
    assert np.linalg.norm(shrunk.coefficients[:-1]) < 0.9 * np.linalg.norm(free[:-1])


def separate(project: Project) -> None:
    """Make class 1 say yes to whatever has a positive first factor."""
    path = project.data / "train" / "responses.npy"
    responses = np.load(path)
    responses[:, 1] = np.load(project.data / "train" / "factors.npy")[:, 0] > 0
    path.unlink()  # DVC may have linked it to its cache
    np.save(path, responses)


def test_where_no_estimate_exists_the_class_and_the_remedy_are_named(exact: Project, refuses: Refuses) -> None:
    separate(exact)
    before = (exact.data / "model.safetensors").read_bytes()
    said = refuses(train.main)
    assert "class 1" in said
    assert "ridge > 0" in said
    assert (exact.data / "model.safetensors").read_bytes() == before
    exact.set(train={"ridge": 0.01})
    train.main()


def test_a_fit_that_ends_too_early_fails(exact: Project, refuses: Refuses) -> None:
    exact.set(train={"max_iterations": 1, "tolerance": "1e-12"})
    assert "not converged" in refuses(train.main)


def test_a_device_that_is_not_there_is_said(exact: Project, refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    exact.set(train={"device": "cuda"})
    assert "train.device = 'cuda'" in refuses(train.main)
