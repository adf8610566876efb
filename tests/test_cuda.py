"""Both solvers on CUDA: a real device where there is one, otherwise one that keeps its rules (`tests.pretend`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch

from hdlogit.adam.model import LogisticRegression
from hdlogit.adam.training import Training
from hdlogit.compute import threads as parallel
from hdlogit.exact import solver as exact
from hdlogit.exact.solver import NoEstimate, fit
from stages import storage, train
from tests.conftest import Project
from tests.pretend import PretendCuda
from tests.test_exact import problem

REAL = torch.cuda.is_available()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    if REAL:
        yield torch.device("cuda", 0)
        return
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(parallel, "CORES", 1)  # the pretence is this thread's
    with PretendCuda():  # type: ignore[no-untyped-call]
        yield torch.device("cuda", 0)


def test_the_pretence_keeps_the_rules_of_a_device(cuda: torch.device) -> None:
    there, here = torch.ones(3, device=cuda), torch.ones(3)
    assert there.is_cuda
    assert there.to(cuda).device == cuda
    assert torch.equal((there + 1).cpu(), here + 1)
    with pytest.raises(RuntimeError, match=r"cpu|CPU"):
        there + here
    with pytest.raises(TypeError, match=r"\.cpu\(\)"):
        there.numpy()


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.01])
@pytest.mark.parametrize("kind", ["ordinary", "duplicated", "far from 0"])
def test_the_exact_fit_is_that_of_the_cpu(
    kind: str, ridge: float, sampled: bool, cuda: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors, responses = problem(21, 3000, 5, 3)
    if kind == "duplicated":
        factors = torch.cat([factors, factors[:, :1]], dim=1)
    elif kind == "far from 0":
        factors = factors + 1e5
    if sampled:
        monkeypatch.setattr(exact, "KEPT", 3 * 600)
    alone = fit(factors, responses, ridge=ridge, tolerance=1e-8)
    states: list[exact.State] = []
    there = partial(fit, factors, responses, ridge=ridge, tolerance=1e-8, device=cuda)
    found = there(keep=lambda state: states.append(state()))
    torch.testing.assert_close(found.coefficients[:-1], alone.coefficients[:-1], rtol=1e-4, atol=1e-6)
    assert found.max_gradient.max() <= 1e-8
    assert torch.equal(there(start=states[0]).coefficients, found.coefficients)


def test_single_precision_on_it_comes_close(cuda: torch.device) -> None:
    factors, responses = problem(22, 2000, 5, 2)
    alone = fit(factors, responses)
    found = fit(factors.float(), responses, dtype=torch.float32, tolerance=1e-5, device=cuda)
    torch.testing.assert_close(found.coefficients, alone.coefficients, rtol=1e-3, atol=1e-3)


def test_where_no_estimate_exists_it_is_found_there_too(cuda: torch.device) -> None:
    factors, responses = problem(23, 500, 4, 2)
    responses[:, 1] = factors[:, 0] > 0
    nearly = responses.clone()
    nearly[:, 1] = factors[:, 0] > -factors[:, 0].abs().min()  # and quasi-separated, for the linear programme
    factors[:5, 0] = 0
    nearly[:5, 1] = torch.tensor([True, False, True, False, True])
    for separated in (responses, nearly):
        with pytest.raises(NoEstimate, match="class 1"):
            fit(factors, separated, device=cuda)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_adam_is_that_of_the_cpu(dtype: torch.dtype, cuda: torch.device) -> None:
    factors, responses = problem(24, 300, 4, 2)
    fits = []
    for device in (torch.device("cpu"), cuda):
        torch.manual_seed(3)
        model = LogisticRegression(4, 2, dtype, device)
        training = Training(
            model,
            factors,
            responses,
            learning_rate=0.01,
            beta1=0.8,
            beta2=0.99,
            amsgrad=True,
            batch_size=64,
            seed=5,
        )
        losses = [*training.epochs(4)]
        training.restore(training.state())
        fits.append((model.coefficients().cpu(), torch.tensor(losses)))
    precision = 1e-12 if dtype is torch.float64 else 1e-5
    torch.testing.assert_close(fits[1], fits[0], rtol=precision, atol=precision)


@pytest.mark.parametrize("device", ["cuda", "auto"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_stage_takes_it(
    solver: str, dtype: str, device: str, copy: Project, cuda: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy.folder)
    asked = {"solver": solver, "dtype": dtype, "tolerance": "1e-5"}
    coefficients = {}
    for name in ("cpu", device):
        copy.set(train={**asked, "device": name})
        train.main()
        coefficients[name] = storage.read_model().coefficients
    assert train.choose_device(device) == cuda
    precision = 1e-3 if dtype == "float32" or solver == "lbfgs" else 1e-9
    np.testing.assert_allclose(coefficients[device], coefficients["cpu"], rtol=precision, atol=precision)


def test_trials_that_do_not_fit_there_are_one_line(
    copy: Project, cuda: torch.device, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[Callable[[], None]], str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.chdir(copy.folder)
    monkeypatch.setattr(exact, "fit", full)
    copy.set(train={"solver": "lbfgs", "device": "cuda"})
    assert "do not fit into the memory of cuda:0" in refuses(train.main)
