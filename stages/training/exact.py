"""The unique minimum of the loss, class by class, with the evidence that it was reached."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hdlogit.exact import ExactFit, fit
from hdlogit.exact.shrinkage import with_shrinkage
from stages.files.account import named
from stages.files.errors import InputError, NoEstimateError, check_memory
from stages.files.parameters import Train
from stages.files.reading import Description, Trials
from stages.files.writing import SIGNIFICANT_DIGITS
from stages.training import Fitted

Fit = ExactFit[NDArray[Any]]

BYTES_PER_PAIR = 64  # of factors, for covariance, Hessian and its factors at the peak; measured with 3000 and 5000: 73


def fit_exactly(p: Train, trials: Trials, description: Description | None) -> Fitted:
    """The exact fit of all classes. Raises NoEstimateError, with the factors' names, where no class has an estimate."""
    n_factors = trials.factors.shape[1]
    what = f"params.yaml: train.solver = 'exact' with {n_factors} factors"
    check_memory(BYTES_PER_PAIR * n_factors**2, what, "use adam, or fewer factors")
    ridge = best_ridge(trials) if p.ridge == "auto" else float(p.ridge)
    found, shrinkage = with_shrinkage(
        lambda responses: _fit(p, ridge, trials.factors, responses),
        trials.responses,
        trials.factors.shape[1],
        p.shrinkage,
    )
    lines = _without_estimate(found, description)
    if len(lines) == len(found.reasons):
        kind = InputError if "not converged" in lines[0] else NoEstimateError
        raise kind(f"data/train: {lines[0]}{f' (and {len(lines) - 1} more)' if lines[1:] else ''}")
    print(*lines, *_shrunk(found, shrinkage, description), _summary(found), sep="\n")
    evidence = {  # not how many iterations it took: that depends on the processor
        "solver": p.solver,
        "ridge": ridge,
        "checkpoints": [0],
        # Below the tolerance, and on the way to no estimate, a gradient depends on the processor.
        "max_gradient": np.where(found.converged, np.maximum(found.max_gradient, p.tolerance), 0).tolist(),
        "converged": found.converged.tolist(),
        "shrinkage": shrinkage.tolist(),
        "reasons": found.reasons,
    }
    if any(found.separating):
        evidence["separating"] = found.separating
    loss = {"epoch": [0], "loss": [float(found.loss[found.converged].mean())]}
    return Fitted(found.coefficients, {0: found.coefficients}, loss, evidence)


def best_ridge(trials: Trials) -> float:
    """The strength that theory finds best, in as many digits as a table has: the next depend on the processor."""
    from hdlogit.inference import ridge  # imports scipy's optimisers, which a given strength does not need

    try:
        strength = ridge.choose(trials.factors, trials.responses)
    except ValueError as error:
        raise InputError(f"data/train: {error} (params.yaml: train.ridge = auto)") from None
    print(f"ridge {strength:.{SIGNIFICANT_DIGITS}g}, the best by theory")
    return float(f"{strength:.{SIGNIFICANT_DIGITS}g}")


def _fit(p: Train, ridge: float, factors: NDArray[Any], responses: NDArray[Any]) -> Fit:
    with tqdm(unit="iteration", disable=None, leave=False) as progress:

        def advance(iteration: int, gradient: float) -> None:
            progress.set_postfix(max_gradient=f"{gradient:.1e}", refresh=False)
            progress.update(iteration - progress.n)

        try:
            return fit(factors, responses, ridge, p.tolerance, p.max_iterations, advance, polish=True)
        except ValueError as error:
            raise InputError(f"data/train: {error}") from None


def _without_estimate(found: Fit, description: Description | None) -> list[str]:
    """A line for each class that has no estimate, and why."""
    none = "so no maximum-likelihood estimate exists; train.shrinkage: auto gives one, or ridge > 0, or more trials do"
    lines = []
    for k, (reason, factors) in enumerate(zip(found.reasons, found.separating, strict=True)):
        if reason:
            why = f"{_separate(factors, description)} its responses, {none}" if factors else reason
            lines.append(f"{_named(k, description)}: {why}")
    return lines


def _shrunk(found: Fit, shrinkage: NDArray[np.float64], description: Description | None) -> list[str]:
    """A line for each class whose responses were shrunk because factors separate them."""
    return [
        f"{_named(k, description)}: {_separate(factors, description)} its responses; shrinkage is {shrinkage[k]:.3g}"
        for k, factors in enumerate(found.separating)
        if factors and shrinkage[k]
    ]


def _named(k: int, description: Description | None) -> str:
    return named(description.classes[k] if description else str(k), "class")


def _separate(factors: list[int], description: Description | None) -> str:
    names = [description.factors[j] if description else str(j) for j in factors]
    if len(names) == 1:
        return f"factor {names[0]} separates"
    return f"factors {', '.join(names[:5])}{f' and {len(names) - 5} more' if names[5:] else ''} separate"


def _summary(found: Fit) -> str:
    reached = found.converged
    return (
        f"{int(found.iterations.max())} iterations, largest gradient {float(found.max_gradient[reached].max()):.1e}, "
        f"loss {float(found.loss[reached].mean()):.7f} nats"
    )
