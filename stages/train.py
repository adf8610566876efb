"""Stage `train`: fit the coefficients to the training trials."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from hdlogit.adam import training as adam
from hdlogit.compute import processes
from stages.errors import InputError, run
from hdlogit.adam.model import LogisticRegression
from hdlogit.exact.objective import largest_gradient
from stages.parameters import Train, read_parameters
from stages.storage import Outputs, Unfinished, checkpoint_name, read_trials


def main() -> None:
    p = read_parameters().train
    launcher = os.environ.get(processes.LAUNCHER)
    if launcher and not processes.launched():
        processes.launch(launcher, "stages.train")
        return
    device = choose_device(p.device)
    trials = read_trials("train")
    factors, responses = torch.from_numpy(trials.factors), torch.from_numpy(trials.responses)
    try:
        with processes.together(device):
            first, asked = processes.rank() == 0, (p, str(device), processes.count())
            unfinished = Unfinished("train", asked, keep=first)
            with Outputs("train", keep=first) as outputs:
                fit = train_adam if p.solver == "adam" else train_exact
                fit(p, factors, responses, device, outputs, unfinished)
            unfinished.done()
    except processes.Lost as lost:
        raise InputError(f"train: {lost}; no model was written") from None
    except torch.OutOfMemoryError:
        what, instead = f"the {len(factors)} trials of data/train", "simulate.dtype: float32"
        if p.solver == "adam":
            what, instead = f"batches of train.batch_size = {p.batch_size} trials", "a smaller one"
        raise InputError(
            f"{what} do not fit into the memory of {device}; take {instead}, or train.device: cpu"
        ) from None


def train_adam(
    p: Train, factors: Tensor, responses: Tensor, device: torch.device, outputs: Outputs, unfinished: Unfinished
) -> None:
    """The notebook's fit: so many epochs of Adam, wherever they lead."""
    torch.manual_seed(p.seed)
    model = LogisticRegression(factors.shape[1], responses.shape[1], getattr(torch, p.dtype), device)
    training = adam.Training(
        model,
        factors,
        responses,
        learning_rate=p.learning_rate,
        beta1=p.beta1,
        beta2=p.beta2,
        amsgrad=p.amsgrad,
        batch_size=p.batch_size,
        seed=p.seed,
    )
    every = max(p.num_epochs // 32, 1)  # where the notebook prints its loss
    losses: list[float] = []
    checkpoints: dict[int, NDArray[Any]] = {}
    state = processes.same(unfinished.state())
    if state:
        training.restore(state)
        losses = state["losses"].tolist()
        checkpoints = dict(zip(state["epochs"].tolist(), state["checkpoints"], strict=True))
        say(f"going on from epoch {len(losses)}, where an earlier run was stopped")

    def kept() -> dict[str, NDArray[Any]]:
        at, fits = np.array([*checkpoints]), np.stack([*checkpoints.values()])
        return {**training.state(), "losses": np.array(losses), "epochs": at, "checkpoints": fits}

    terminal = sys.stderr.isatty() and processes.rank() == 0
    with tqdm(total=p.num_epochs, initial=len(losses), unit="epoch", disable=not terminal) as progress:
        for epoch, loss in enumerate(training.epochs(p.num_epochs), start=len(losses)):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} in epoch {epoch}; lower train.learning_rate in params.yaml, "
                    "or look for NaN and infinite factors in data/train"
                )
            losses.append(loss)
            progress.update()
            if epoch % every == 0 or epoch == p.num_epochs - 1:
                checkpoints[epoch] = model.coefficients().cpu().numpy()
                progress.set_postfix(loss=f"{loss:.5f}")
                if not terminal:
                    say(f"Iteration: {epoch} - Loss: {loss:.5f}")
            unfinished.offer(kept)
    coefficients = model.coefficients().cpu().double()
    gradients = largest_gradient(factors, responses, coefficients)
    steps = p.num_epochs * math.ceil(len(factors) / p.batch_size)
    for epoch, fitted in checkpoints.items():
        save(outputs, checkpoint_name(epoch), torch.from_numpy(fitted))
    save(
        outputs,
        "model.safetensors",
        coefficients,
        solver=p.solver,
        ridge=0.0,
        checkpoints=[*checkpoints],
        iterations=[steps] * len(gradients),
        evaluations=[p.num_epochs] * len(gradients),
        pilot_evaluations=0,
        max_gradient=gradients.tolist(),
        converged=(gradients <= p.tolerance).tolist(),
    )
    outputs.table("loss.csv", {"epoch": list(range(p.num_epochs)), "loss": losses})


def train_exact(
    p: Train, factors: Tensor, responses: Tensor, device: torch.device, outputs: Outputs, unfinished: Unfinished
) -> None:
    """The one minimum of the loss, with the evidence that it is reached."""
    from hdlogit.exact import solver as exact  # and with them scipy: Adam does not pay for it
    from hdlogit.inference import ridge

    how: dict[str, Any] = {
        "tolerance": p.tolerance,
        "max_iterations": p.max_iterations,
        "dtype": getattr(torch, p.dtype),
        "device": device,
    }
    if processes.rank() > 0:
        exact.serve(factors, responses, device)
        return
    state = unfinished.state()
    if state:
        say(f"going on from iteration {state['counts'][0]}, where an earlier run was stopped")
    with tqdm(unit="iteration", disable=None, leave=False) as progress:

        def advance(iteration: int, gradient: float) -> None:
            progress.set_postfix(max_gradient=f"{gradient:.1e}", refresh=False)
            progress.update(iteration - progress.n)

        try:
            strength = ridge.choose(factors, responses, **how) if p.ridge == "auto" else p.ridge
            fit = exact.fit(
                factors, responses, ridge=strength, progress=advance, start=state, keep=unfinished.offer, **how
            )
        except (exact.NotConverged, ValueError) as error:
            processes.tell()
            raise InputError(
                f"data/train: {error} (params.yaml: train.ridge = {p.ridge}, .max_iterations = {p.max_iterations})"
            ) from None
    processes.tell()
    iterations, loss = int(fit.iterations.max()), float(fit.loss.mean())
    evidence = {
        name: getattr(fit, name).tolist() for name in ("iterations", "evaluations", "max_gradient", "converged")
    }
    save(outputs, checkpoint_name(iterations), fit.coefficients)
    save(
        outputs,
        "model.safetensors",
        fit.coefficients,
        solver=p.solver,
        ridge=strength,
        checkpoints=[iterations],
        pilot_evaluations=fit.pilot_evaluations,
        **evidence,
    )
    outputs.table("loss.csv", {"epoch": [iterations], "loss": [loss]})
    if p.ridge == "auto":
        say(f"ridge {strength:.6g}, the best by theory")
    say(f"{iterations} iterations, largest gradient {float(fit.max_gradient.max()):.1e}, loss {loss:.7f} nats")


def say(line: str) -> None:
    """A line for a person, once and not from every process."""
    if processes.rank() == 0:
        print(line, flush=True)


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; "auto" is CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.device = 'cuda', but there is no CUDA device here; use auto or cpu")
    cuda = name != "cpu" and torch.cuda.is_available()
    return processes.local_device(torch.device("cuda" if cuda else "cpu"))


def save(outputs: Outputs, name: str, coefficients: Tensor, **evidence: object) -> None:
    """Write coefficients (n_factors + 1, n_classes) as a model."""
    weight, bias = coefficients[:-1].T.contiguous(), coefficients[-1].contiguous()
    outputs.model(name, weight.numpy(), bias.numpy(), **evidence)


if __name__ == "__main__":
    run(main)
