"""Our Adam against torch's own: the optimiser, the gradient, whole epochs, and the notebook's printed losses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hdlogit.adam.model import LogisticRegression
from hdlogit.adam.training import Adam, Training
from tests.conftest import Project

CPU = torch.device("cpu")


def problem(n_trials: int, n_factors: int, n_classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    factors = torch.randn(n_trials, n_factors, dtype=torch.float64, generator=stream)
    return factors, torch.rand(n_trials, n_classes, generator=stream) < 0.4


def naive_epochs(
    model: LogisticRegression, factors: torch.Tensor, responses: torch.Tensor, n: int, size: int, seed: int, ams: bool
) -> list[float]:
    """The notebook's loop: autograd, torch's Adam, BCELoss on the sigmoid, in the same order of trials."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.8, 0.99), amsgrad=ams)
    shuffle, means = torch.Generator().manual_seed(seed), []
    for _ in range(n):
        losses = []
        for rows in torch.split(torch.randperm(len(factors), generator=shuffle), size):
            optimiser.zero_grad()
            p = torch.sigmoid(model(factors[rows]))
            loss = torch.nn.BCELoss()(p, responses[rows].to(p.dtype))
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


@given(
    n_trials=st.integers(1, 70),
    n_factors=st.integers(1, 5),
    n_classes=st.integers(1, 4),
    batch_size=st.integers(1, 80),
    amsgrad=st.booleans(),
)
def test_epochs_are_those_of_torchs_own_parts(
    n_trials: int, n_factors: int, n_classes: int, batch_size: int, amsgrad: bool
) -> None:
    factors, responses = problem(n_trials, n_factors, n_classes)
    torch.manual_seed(7)
    naive = LogisticRegression(n_factors, n_classes, torch.float64, CPU)
    ours = LogisticRegression(n_factors, n_classes, torch.float64, CPU)
    ours.load_state_dict(naive.state_dict())
    expected = naive_epochs(naive, factors, responses, 3, batch_size, 11, amsgrad)
    settings = {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99}
    losses = list(
        Training(ours, factors, responses, **settings, amsgrad=amsgrad, batch_size=batch_size, seed=11).epochs(3)
    )
    assert losses == pytest.approx(expected, rel=1e-10)
    assert torch.allclose(ours.coefficients(), naive.coefficients(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("amsgrad", [True, False])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.0), (0.5, 0.1)])
def test_a_step_is_torchs_step(amsgrad: bool, betas: tuple[float, float]) -> None:
    stream = torch.Generator().manual_seed(3)
    x = torch.randn(5, 2, dtype=torch.float64, generator=stream)
    parameter = torch.nn.Parameter(x.clone())
    torchs = torch.optim.Adam([parameter], lr=0.1, betas=betas, amsgrad=amsgrad)
    ours = Adam(x, 0.1, *betas, amsgrad)
    for scale in (1.0, 100.0, 1e-9, 0.0, 3.0):  # a large gradient first makes AMSGrad's maximum matter
        gradient = scale * torch.randn(5, 2, dtype=torch.float64, generator=stream)
        parameter.grad = gradient.clone()
        torchs.step()
        ours.gradient.copy_(gradient)
        ours.step()
        assert torch.allclose(ours.coefficients, parameter.detach(), rtol=1e-10, atol=1e-13)


def test_spans_of_any_length_give_the_same_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    factors, responses = problem(200, 3, 2)

    def fit() -> torch.Tensor:
        torch.manual_seed(1)
        model = LogisticRegression(3, 2, torch.float64, CPU)
        settings = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "amsgrad": True}
        for _ in Training(model, factors, responses, **settings, batch_size=16, seed=2).epochs(4):  # type: ignore[arg-type]
            pass
        return model.coefficients()

    expected = fit()
    for elements in (1, 100, 10**9):
        monkeypatch.setattr("hdlogit.adam.training.SPAN_ELEMENTS", elements)
        assert torch.equal(fit(), expected)


def test_float32_is_float64_up_to_its_rounding() -> None:
    factors, responses = problem(500, 4, 3)
    fits = []
    for dtype in (torch.float64, torch.float32):
        model = LogisticRegression(4, 3, dtype, CPU)
        model.load_coefficients(torch.zeros(5, 3, dtype=dtype))
        settings = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "amsgrad": True}
        for _ in Training(model, factors, responses, **settings, batch_size=64, seed=0).epochs(20):  # type: ignore[arg-type]
            pass
        fits.append(model.coefficients())
    assert fits[1].dtype == torch.float32
    assert torch.allclose(fits[0], fits[1].double(), atol=1e-4)


def test_the_notebooks_training_reaches_the_notebooks_losses(project: Project) -> None:
    """All 513 epochs through the pipeline's own stages; the notebook printed one run, so the tolerance is its noise."""
    size = {"n_factors": 256, "n_classes": 10, "n_trials": 10_000, "n_test_trials": 50_000, "weight_scale": 1.0}
    project.set(simulate={**size, "streams": "notebook"}, train={"num_epochs": 513, "batch_size": 256})
    for stage in ("simulate", "train", "evaluate"):
        result = project.stage(stage)
        assert result.returncode == 0, result.stderr
        if stage == "train":
            assert len(result.stdout.splitlines()) == 33  # where the notebook prints
    with Path(project.data / "loss.csv").open() as file:
        loss = {int(row["epoch"]): float(row["loss"]) for row in csv.DictReader(file)}
    assert loss[0] == pytest.approx(0.51191, abs=0.01)
    assert loss[16] == pytest.approx(0.11679, abs=0.002)
    assert loss[128] == pytest.approx(0.07407, abs=0.001)
    assert loss[512] == pytest.approx(0.06920, abs=0.001)
    metrics = json.loads((project.data / "metrics.json").read_text())
    assert metrics["train"]["cross_entropy"] == pytest.approx(0.0660, abs=0.0006)
    assert metrics["recovery"]["weight_slope"] == pytest.approx(1.116, abs=0.01)
    assert metrics["test"]["cross_entropy"] == pytest.approx(0.0991, abs=0.0015)
    assert metrics["test"]["bayes_cross_entropy"] == pytest.approx(0.0797, abs=0.0015)
