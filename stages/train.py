"""Stage `train`: fit the coefficients to the training trials, by Adam as in the notebook, or exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from hdlogit.adam import Training, initial_coefficients
from hdlogit.exact import fit
from hdlogit.exact.objective import largest_gradient
from hdlogit.inference import ridge
from stages.files import checkpoint_name
from stages.files.account import named, separate
from stages.files.errors import InputError, NoEstimateError, check_memory, run_stage
from stages.files.parameters import Train, read_parameters
from stages.files.reading import Floats, Trials, read_names, read_trials
from stages.files.writing import SIGNIFICANT_DIGITS, Outputs

BYTES_PER_PAIR = 64  # of factors, for covariance, Hessian and its factors at the peak; measured: 73
NONE = ", so no maximum-likelihood estimate exists; train.shrinkage: auto gives one, or ridge, or more trials"


class Fitted(NamedTuple):
    """What is written. Coefficients are (n_factors + 1, n_classes), last row = bias."""

    coefficients: Floats
    checkpoints: dict[int, Floats]  # coefficients after these epochs; of an exact fit as if after one
    losses: dict[str, Any]  # the table loss.csv: epoch, loss
    evidence: dict[str, Any]  # ridge; of each class max_gradient, converged, shrinkage, reasons (why it has no
    # estimate, or None), and if any is separated, separating (by which factors)


def main() -> None:
    """Fit, and write the model, its checkpoints and the history of the loss."""
    p = read_parameters().train
    if p.device == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.device = 'cuda', but there is none here; it must be auto or cpu")
    trials = read_trials("train")
    with Outputs("train") as outputs:
        fitted = fit_by_adam(p, trials) if p.solver == "adam" else fit_exactly(p, trials, *read_names(trials))
        means = trials.factors.mean(axis=0, dtype=np.float64)
        for epoch, coefficients in fitted.checkpoints.items():
            outputs.model(checkpoint_name(epoch), coefficients, means)
        how = {"solver": p.solver, "checkpoints": [*fitted.checkpoints], **fitted.evidence}
        outputs.model("model.safetensors", fitted.coefficients, means, **how)
        outputs.table("loss.csv", fitted.losses)


def fit_by_adam(p: Train, trials: Trials) -> Fitted:
    """A given number of epochs of Adam, converged or not: the notebook's fit."""
    device = torch.device("cuda" if p.device != "cpu" and torch.cuda.is_available() else "cpu")
    factors, responses = torch.from_numpy(trials.factors), torch.from_numpy(trials.responses)
    n_factors, n_classes = factors.shape[1], responses.shape[1]
    training = Training(
        initial_coefficients(n_factors, n_classes, p.seed, getattr(torch, p.dtype)).to(device),
        factors,
        responses,
        **p.model_dump(include={"learning_rate", "beta1", "beta2", "amsgrad", "batch_size", "seed"}),
    )
    losses: list[float] = []
    checkpoints: dict[int, Floats] = {}
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
            progress.set_postfix(loss=f"{loss:.5f}", refresh=False)
            if epoch in kept:  # copied, as training changes it in place
                checkpoints[epoch] = training.coefficients.cpu().double().numpy().copy()
    print(f"{p.num_epochs} epochs, loss {losses[-1]:.5f} nats")
    coefficients = training.coefficients.cpu().double().numpy()
    gradients = largest_gradient(trials.factors, trials.responses, coefficients)
    evidence = {
        "ridge": 0.0,
        "max_gradient": gradients.tolist(),
        "converged": (gradients <= p.tolerance).tolist(),
        "shrinkage": [0.0] * n_classes,
        "reasons": [None] * n_classes,
    }
    history = {"epoch": [*range(p.num_epochs)], "loss": losses}
    return Fitted(coefficients, checkpoints, history, evidence)


def fit_exactly(p: Train, trials: Trials, classes: Sequence[str], factors: Sequence[str]) -> Fitted:
    """The minimum of the loss, class by class, with the evidence that it was reached.

    Raises NoEstimateError where no class has an estimate, with the factors that separate its responses.
    """
    what = f"params.yaml: train.solver = 'exact' with {len(factors)} factors"
    check_memory(BYTES_PER_PAIR * len(factors) ** 2, what, "use adam, or fewer factors")
    strength = best_ridge(trials) if p.ridge == "auto" else float(p.ridge)
    with tqdm(unit="iteration", disable=None, leave=False) as progress:

        def advance(iteration: int, gradient: float) -> None:
            progress.set_postfix(max_gradient=f"{gradient:.1e}", refresh=False)
            progress.update(iteration - progress.n)

        try:
            fitted = fit(*trials, strength, p.tolerance, p.max_iterations, advance, True, p.shrinkage)
        except ValueError as error:
            raise InputError(f"data/train: {error}") from None
    without = list[str]()
    for k, (name, reason) in enumerate(zip(classes, fitted.reasons, strict=True)):
        by = [factors[j] for j in fitted.separating[k] or []]
        if reason:
            why = f"{separate(by)} its responses{NONE}" if by else reason
            without.append(f"{named(name, 'class')}: {why}")
    if len(without) == len(classes):
        kind = InputError if "not converged" in without[0] else NoEstimateError
        raise kind(f"data/train: {without[0]}{f' (and {len(without) - 1} more)' if without[1:] else ''}")
    reached, loss = fitted.converged, float(fitted.loss[fitted.converged].mean())
    gradient = f"largest gradient {fitted.max_gradient[reached].max():.1e}"
    print(*without, f"{fitted.iterations.max()} iterations, {gradient}, loss {loss:.7f} nats", sep="\n")
    evidence = {  # not how many iterations it took: that depends on the processor
        "ridge": strength,
        # Below the tolerance, and on the way to no estimate, a gradient depends on the processor.
        "max_gradient": np.where(reached, np.maximum(fitted.max_gradient, p.tolerance), 0).tolist(),
        "converged": reached.tolist(),
        "shrinkage": fitted.shrinkage.tolist(),
        "reasons": fitted.reasons,
    }
    if any(fitted.separating):
        evidence["separating"] = fitted.separating
    return Fitted(fitted.coefficients, {0: fitted.coefficients}, {"epoch": [0], "loss": [loss]}, evidence)


def best_ridge(trials: Trials) -> float:
    """The strength that theory finds best, with a table's digits: others depend on the processor."""
    try:
        strength = f"{ridge.choose(*trials):.{SIGNIFICANT_DIGITS}g}"
    except ValueError as error:
        raise InputError(f"data/train: {error} (params.yaml: train.ridge = auto)") from None
    print(f"ridge {strength}, the best by theory")
    return float(strength)


if __name__ == "__main__":
    run_stage(main)
