"""Stage `train`: fit the coefficients to the training trials."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from numpy.typing import NDArray
from tqdm import tqdm

from stages.adam import epochs
from stages.errors import InputError, run
from stages.model import LogisticRegression
from stages.parameters import Train, read
from stages.storage import Outputs, read_trials


def main() -> None:
    p = read(Train)
    device = choose_device(p.device)
    trials = read_trials("train")
    factors, responses = torch.from_numpy(trials.factors), torch.from_numpy(trials.responses)
    torch.manual_seed(p.seed)
    model = LogisticRegression(factors.shape[1], responses.shape[1], getattr(torch, p.dtype), device)
    training = epochs(
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
    terminal = sys.stderr.isatty()
    with (
        Outputs("train") as outputs,
        tqdm(total=p.num_epochs, unit="epoch", disable=not terminal) as progress,
    ):
        for epoch, loss in enumerate(training):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} in epoch {epoch}; lower train.learning_rate in params.yaml, "
                    "or look for NaN and infinite factors in data/train"
                )
            losses.append(loss)
            progress.update()
            if epoch % every == 0 or epoch == p.num_epochs - 1:
                outputs.model(f"checkpoints/epoch-{epoch:06d}.safetensors", *arrays(model), epoch=epoch)
                progress.set_postfix(loss=f"{loss:.5f}")
                if not terminal:
                    print(f"Iteration: {epoch} - Loss: {loss:.5f}", flush=True)
        outputs.model("model.safetensors", *arrays(model), solver=p.solver, epochs=p.num_epochs)
        outputs.table("loss.csv", {"epoch": list(range(p.num_epochs)), "loss": losses})


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; "auto" is CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.device = 'cuda', but there is no CUDA device here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def arrays(model: LogisticRegression) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight (n_classes, n_factors) and bias (n_classes,) as NumPy arrays."""
    weight, bias = (part.detach().cpu().numpy() for part in (model.linear.weight, model.linear.bias))
    return weight, bias


if __name__ == "__main__":
    run(main)
