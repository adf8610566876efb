"""Stage `train`: fit the coefficients to the training trials."""

from __future__ import annotations

import numpy as np
import torch

from stages.files import checkpoint_name
from stages.files.errors import InputError, run_stage
from stages.files.parameters import read_parameters
from stages.files.reading import Floats, read_description, read_trials
from stages.files.writing import Outputs
from stages.training import Fitted
from stages.training.adam import fit_by_adam


def main() -> None:
    p = read_parameters().train
    device = choose_device(p.device)
    trials = read_trials("train")
    with Outputs("train") as outputs:
        if p.solver == "adam":
            fitted = fit_by_adam(p, trials, device)
        else:
            from stages.training.exact import fit_exactly  # imports scipy, which Adam does not need

            fitted = fit_exactly(p, trials, read_description(trials))
        write(outputs, fitted, trials.factors.mean(axis=0, dtype=np.float64))


def write(outputs: Outputs, fitted: Fitted, means: Floats) -> None:
    """The model, its checkpoints and the history of the loss; means: those of the factors, (n_factors,)."""
    for epoch, coefficients in fitted.checkpoints.items():
        outputs.model(checkpoint_name(epoch), coefficients, means)
    outputs.model("model.safetensors", fitted.coefficients, means, **fitted.evidence)
    outputs.table("loss.csv", fitted.losses)


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; "auto" is CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.device = 'cuda', but there is no CUDA device here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    run_stage(main)
