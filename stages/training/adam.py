"""A given number of epochs of Adam, converged or not."""

from __future__ import annotations

import math

import numpy as np
import torch
from tqdm import tqdm

from hdlogit.adam import Training, initial_coefficients
from hdlogit.exact.objective import largest_gradient
from stages.files.errors import InputError
from stages.files.parameters import Train
from stages.files.reading import Floats, Trials
from stages.training import Fitted


def fit_by_adam(p: Train, trials: Trials, device: torch.device) -> Fitted:
    """The notebook's fit."""
    factors, responses = torch.from_numpy(trials.factors), torch.from_numpy(trials.responses)
    n_factors, n_classes = factors.shape[1], responses.shape[1]
    training = Training(
        initial_coefficients(n_factors, n_classes, p.seed, getattr(torch, p.dtype)).to(device),
        factors,
        responses,
        learning_rate=p.learning_rate,
        beta1=p.beta1,
        beta2=p.beta2,
        amsgrad=p.amsgrad,
        batch_size=p.batch_size,
        seed=p.seed,
    )
    losses: list[float] = []
    checkpoints: dict[int, Floats] = {}
    printed = {*range(0, p.num_epochs, max(p.num_epochs // 32, 1)), p.num_epochs - 1}  # as in the notebook
    # Some 34 checkpoints, with the first and the last, each a sixth later than the one before: most is early.
    kept = {round(count) - 1 for count in np.geomspace(1, p.num_epochs, 41).tolist()}
    with tqdm(total=p.num_epochs, unit="epoch", disable=None) as progress:
        for epoch, loss in enumerate(training.epochs(p.num_epochs)):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} in epoch {epoch}; lower train.learning_rate in params.yaml, "
                    "or look for NaN and infinite factors in data/train"
                )
            losses.append(loss)
            progress.update()
            if epoch in kept:  # copied, as training changes it in place
                checkpoints[epoch] = training.coefficients.cpu().double().numpy().copy()
            if epoch in printed:
                progress.set_postfix(loss=f"{loss:.5f}")
                if progress.disable:  # no terminal
                    print(f"Iteration: {epoch} - Loss: {loss:.5f}", flush=True)
    coefficients = training.coefficients.cpu().double()
    gradients = largest_gradient(trials.factors, trials.responses, coefficients.numpy())
    evidence = {
        "solver": p.solver,
        "ridge": 0.0,
        "checkpoints": [*checkpoints],
        "max_gradient": gradients.tolist(),
        "converged": (gradients <= p.tolerance).tolist(),
        "shrinkage": [0.0] * n_classes,
        "reasons": [None] * n_classes,
    }
    history = {"epoch": [*range(p.num_epochs)], "loss": losses}
    return Fitted(coefficients.numpy(), checkpoints, history, evidence)
