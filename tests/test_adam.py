"""Adam against the notebook's loop in torch's own parts, and its printed losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hdlogit.adam import Training, initial_coefficients
from hdlogit.psychometric.simulation import draw_notebook_trials, draw_observer


def problem(n_trials: int, n_factors: int, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    factors = torch.randn(n_trials, n_factors, dtype=torch.float64, generator=stream)
    return factors, torch.rand(n_trials, n_classes, generator=stream) < 0.4


def training(
    factors: torch.Tensor,
    responses: torch.Tensor,
    batch_size: int = 16,
    dtype: torch.dtype = torch.float64,
    amsgrad: bool = True,
) -> Training:
    start = initial_coefficients(factors.shape[1], responses.shape[1], 7).to(dtype)
    rates = {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99}
    return Training(start, factors, responses, **rates, amsgrad=amsgrad, batch_size=batch_size, seed=11)


def notebooks_loop(
    factors: torch.Tensor, responses: torch.Tensor, n_epochs: int, batch_size: int, amsgrad: bool
) -> tuple[list[float], torch.Tensor]:
    """Autograd, torch's Adam, BCELoss on the sigmoid, in the same order of trials: losses and coefficients."""
    torch.manual_seed(7)
    model = torch.nn.Linear(factors.shape[1], responses.shape[1], dtype=torch.float64)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.8, 0.99), amsgrad=amsgrad)
    shuffle, means = torch.Generator().manual_seed(11), []
    for _ in range(n_epochs):
        losses = []
        for rows in torch.split(torch.randperm(len(factors), generator=shuffle), batch_size):
            optimiser.zero_grad()
            p = torch.sigmoid(model(factors[rows]))
            loss = torch.nn.BCELoss()(p, responses[rows].to(p.dtype))
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means, torch.vstack([model.weight.T, model.bias]).detach()


@settings(max_examples=40)
@given(
    n_trials=st.integers(1, 70),
    n_factors=st.integers(1, 5),
    n_classes=st.integers(1, 4),
    batch_size=st.integers(1, 80),
    amsgrad=st.booleans(),
)
def test_epochs_are_those_of_the_notebooks_loop(
    n_trials: int, n_factors: int, n_classes: int, batch_size: int, amsgrad: bool
) -> None:
    factors, responses = problem(n_trials, n_factors, n_classes)
    expected, coefficients = notebooks_loop(factors, responses, 3, batch_size, amsgrad)
    ours = training(factors, responses, batch_size, amsgrad=amsgrad)
    assert list(ours.epochs(3)) == pytest.approx(expected, rel=1e-10)
    torch.testing.assert_close(ours.coefficients, coefficients, rtol=1e-8, atol=1e-10)


def test_initial_coefficients_are_a_linear_layers_and_leave_the_callers_stream_alone() -> None:
    torch.manual_seed(5)
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    torch.manual_seed(6)
    expected = torch.rand(1)
    torch.manual_seed(6)
    w = initial_coefficients(3, 2, 5)
    assert torch.equal(w, torch.vstack([layer.weight.T, layer.bias]))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("stored", "used"), [(np.float32, torch.float64), (np.float64, torch.float32)])
def test_a_mapped_file_of_another_precision_gives_the_same_fit(
    stored: type[np.floating], used: torch.dtype, tmp_path: Path
) -> None:
    factors, responses = problem(300, 4, 3)
    factors = factors.float().double()
    np.save(tmp_path / "factors.npy", factors.numpy().astype(stored))
    mapped = torch.from_numpy(np.load(tmp_path / "factors.npy", mmap_mode="r+"))
    expected, ours = training(factors, responses), training(mapped, responses, dtype=used)
    precision = 0 if used == torch.float64 else 1e-4
    for losses in zip(expected.epochs(5), ours.epochs(5), strict=True):
        assert losses[1] == pytest.approx(losses[0], rel=precision)
    assert ours.coefficients.dtype == used
    torch.testing.assert_close(ours.coefficients.double(), expected.coefficients, rtol=0, atol=precision)


def test_the_notebooks_training_reaches_the_notebooks_losses() -> None:
    """All 513 epochs; the notebook printed one run, in another order of trials: hence the tolerances."""
    true = draw_observer(1973, 256, 10, 1.0, notebook=True)
    x, y = np.empty((10_000, 256)), np.empty((10_000, 10), bool)
    draw_notebook_trials(1973, true, x, y)
    factors, responses = torch.from_numpy(x), torch.from_numpy(y)
    settings = {"learning_rate": 0.005, "beta1": 0.9, "beta2": 0.999, "amsgrad": True, "batch_size": 256}
    notebook = Training(initial_coefficients(256, 10, 1973), factors, responses, seed=1973, **settings)  # type: ignore[arg-type]  # bool and int among the floats
    loss = list(notebook.epochs(513))
    assert loss[0] == pytest.approx(0.51191, abs=0.01)
    assert loss[16] == pytest.approx(0.11679, abs=0.002)
    assert loss[128] == pytest.approx(0.07407, abs=0.001)
    assert loss[512] == pytest.approx(0.06920, abs=0.001)
    w = notebook.coefficients
    final = torch.nn.functional.binary_cross_entropy_with_logits(factors @ w[:-1] + w[-1], responses.double())
    assert float(final) == pytest.approx(0.0660, abs=0.0006)
    slope = float((w.numpy()[:-1] * true[:-1]).sum() / (true[:-1] ** 2).sum())
    assert slope == pytest.approx(1.116, abs=0.01)
