"""Stage `train`: fit the coefficients to the training trials."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stages import adam
from stages.errors import InputError, run
from stages.model import LogisticRegression
from stages.objective import largest_gradient
from stages.parameters import Train, read
from stages.storage import Outputs, checkpoint_name, read_trials


def main() -> None:
    p = read(Train)
    trials = read_trials("train")
    factors, responses = torch.from_numpy(trials.factors), torch.from_numpy(trials.responses)
    with Outputs("train") as outputs:
        if p.solver == "adam":
            train_adam(p, factors, responses, outputs)
        else:
            train_exact(p, factors, responses, outputs)


def train_adam(p: Train, factors: Tensor, responses: Tensor, outputs: Outputs) -> None:
    """The notebook's fit: so many epochs of Adam, wherever they lead."""
    torch.manual_seed(p.seed)
    dtype, device = getattr(torch, p.dtype), choose_device(p.device)
    model = LogisticRegression(factors.shape[1], responses.shape[1], dtype, device)
    epochs = adam.epochs(
        model,
        factors,
        responses,
        learning_rate=p.learning_rate,
        beta1=p.beta1,
        beta2=p.beta2,
        amsgrad=p.amsgrad,
        num_epochs=p.num_epochs,
        batch_size=p.batch_size,
        seed=p.seed,
    )
    every = max(p.num_epochs // 32, 1)  # where the notebook prints its loss
    losses: list[float] = []
    checkpoints: list[int] = []
    terminal = sys.stderr.isatty()
    with tqdm(total=p.num_epochs, unit="epoch", disable=not terminal) as progress:
        for epoch, loss in enumerate(epochs):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} in epoch {epoch}; lower train.learning_rate in params.yaml, "
                    "or look for NaN and infinite factors in data/train"
                )
            losses.append(loss)
            progress.update()
            if epoch % every == 0 or epoch == p.num_epochs - 1:
                save(outputs, checkpoint_name(epoch), model.coefficients())
                checkpoints.append(epoch)
                progress.set_postfix(loss=f"{loss:.5f}")
                if not terminal:
                    print(f"Iteration: {epoch} - Loss: {loss:.5f}", flush=True)
    coefficients = model.coefficients().cpu().double()
    gradients = largest_gradient(factors, responses, coefficients)
    steps = p.num_epochs * math.ceil(len(factors) / p.batch_size)
    save(
        outputs,
        "model.safetensors",
        coefficients,
        solver=p.solver,
        ridge=0.0,
        checkpoints=checkpoints,
        iterations=[steps] * len(gradients),
        evaluations=[p.num_epochs] * len(gradients),
        pilot_evaluations=0,
        max_gradient=gradients.tolist(),
        converged=(gradients <= p.tolerance).tolist(),
    )
    outputs.table("loss.csv", {"epoch": list(range(p.num_epochs)), "loss": losses})


def train_exact(p: Train, factors: Tensor, responses: Tensor, outputs: Outputs) -> None:
    """The one minimum of the loss, with the evidence that it is reached."""
    from stages import exact, ridge  # and with them scipy: Adam does not pay for it

    precision = str(factors.dtype).removeprefix("torch.")
    if p.device == "cuda":
        raise InputError("params.yaml: train.device = 'cuda', but solver lbfgs runs on the cpu; use auto or cpu")
    if p.dtype != precision:
        raise InputError(
            f"params.yaml: train.dtype = '{p.dtype}', but solver lbfgs works in the factors' precision, {precision}"
        )
    limits: dict[str, Any] = {"tolerance": p.tolerance, "max_iterations": p.max_iterations}
    with tqdm(unit="iteration", disable=None, leave=False) as progress:

        def advance(iteration: int, gradient: float) -> None:
            progress.set_postfix(max_gradient=f"{gradient:.1e}", refresh=False)
            progress.update(iteration - progress.n)

        try:
            strength = ridge.choose(factors, responses, **limits) if p.ridge == "auto" else p.ridge
            fit = exact.fit(factors, responses, ridge=strength, progress=advance, **limits)
        except (exact.NotConverged, ValueError) as error:
            raise InputError(
                f"data/train: {error} (params.yaml: train.ridge = {p.ridge}, .max_iterations = {p.max_iterations})"
            ) from None
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
        print(f"ridge {strength:.6g}, the best by theory")
    print(f"{iterations} iterations, largest gradient {float(fit.max_gradient.max()):.1e}, loss {loss:.7f} nats")


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; "auto" is CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.device = 'cuda', but there is no CUDA device here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def save(outputs: Outputs, name: str, coefficients: Tensor, **evidence: object) -> None:
    """Write coefficients (n_factors + 1, n_classes) as a model."""
    weight, bias = coefficients[:-1].T.contiguous(), coefficients[-1].contiguous()
    outputs.model(name, weight.cpu().numpy(), bias.cpu().numpy(), **evidence)


if __name__ == "__main__":
    run(main)
