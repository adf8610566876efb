"""Stage `train`: fit the coefficients to the training trials."""

from __future__ import annotations

import numpy as np
import torch

from stages.files import checkpoint_name
from stages.files.errors import InputError, run_stage
from stages.files.parameters import read_parameters
from stages.files.reading import read_names, read_trials
from stages.files.writing import Outputs
from stages.training.adam import fit_by_adam


def main() -> None:
    """Fit, and write the model, its checkpoints and the history of the loss."""
    p = read_parameters().train
    if p.device == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.device = 'cuda', but there is none here; it must be auto or cpu")
    device = torch.device("cuda" if p.device != "cpu" and torch.cuda.is_available() else "cpu")
    trials = read_trials("train")
    with Outputs("train") as outputs:
        if p.solver == "adam":
            fitted = fit_by_adam(p, trials, device)
        else:
            from stages.training.exact import fit_exactly  # imports scipy, which Adam does not need

            fitted = fit_exactly(p, trials, *read_names(trials))
        means = trials.factors.mean(axis=0, dtype=np.float64)
        for epoch, coefficients in fitted.checkpoints.items():
            outputs.model(checkpoint_name(epoch), coefficients, means)
        outputs.model("model.safetensors", fitted.coefficients, means, **fitted.evidence)
        outputs.table("loss.csv", fitted.losses)


if __name__ == "__main__":
    run_stage(main)
