"""The one minimum of the loss, with the evidence that it is reached."""

from __future__ import annotations

import torch
from tqdm import tqdm

from hdlogit.exact import solver
from stages.errors import InputError, NoEstimateError
from stages.files.reading import Trials
from stages.parameters import Train
from stages.training import Fitted


def fit(p: Train, ridge: float, trials: Trials, device: torch.device) -> Fitted:
    """The exact fit of all classes."""
    with tqdm(unit="iteration", disable=None, leave=False) as progress:

        def advance(iteration: int, gradient: float) -> None:
            progress.set_postfix(max_gradient=f"{gradient:.1e}", refresh=False)
            progress.update(iteration - progress.n)

        try:
            found = solver.fit(
                torch.from_numpy(trials.factors),
                torch.from_numpy(trials.responses),
                ridge=ridge,
                tolerance=p.tolerance,
                max_iterations=p.max_iterations,
                dtype=getattr(torch, p.dtype),
                device=device,
                progress=advance,
            )
        except solver.NoEstimate as error:
            raise NoEstimateError(f"data/train: {error}") from None
        except (solver.NotConverged, ValueError) as error:
            raise InputError(
                f"data/train: {error} (params.yaml: train.ridge = {p.ridge}, .max_iterations = {p.max_iterations})"
            ) from None
    iterations, loss, gradient = int(found.iterations.max()), float(found.loss.mean()), float(found.max_gradient.max())
    print(f"{iterations} iterations, largest gradient {gradient:.1e}, loss {loss:.7f} nats")
    evidence = {
        "solver": p.solver,
        "ridge": ridge,
        "checkpoints": [iterations],
        "iterations": found.iterations.tolist(),
        "evaluations": found.evaluations.tolist(),
        "max_gradient": found.max_gradient.tolist(),
        "converged": found.converged.tolist(),
    }
    coefficients = found.coefficients.numpy()
    return Fitted(coefficients, {iterations: coefficients}, {"epoch": [iterations], "loss": [loss]}, evidence)
