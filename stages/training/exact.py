"""The unique minimum of the loss, class by class, with the evidence that it was reached."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from hdlogit.exact import ExactFit, fit
from stages.files.account import named, separate
from stages.files.errors import InputError, NoEstimateError, check_memory
from stages.files.parameters import Train
from stages.files.reading import Trials
from stages.files.writing import SIGNIFICANT_DIGITS
from stages.training import Fitted

BYTES_PER_PAIR = 64  # of factors, for covariance, Hessian and its factors at the peak; measured: 73
NONE = ", so no maximum-likelihood estimate exists; train.shrinkage: auto gives one, or ridge, or more trials"


def fit_exactly(p: Train, trials: Trials, classes: list[str], factors: list[str]) -> Fitted:
    """The exact fit of all classes. Raises NoEstimateError where no class has an estimate, with factors."""
    n_factors = trials.factors.shape[1]
    what = f"params.yaml: train.solver = 'exact' with {n_factors} factors"
    check_memory(BYTES_PER_PAIR * n_factors**2, what, "use adam, or fewer factors")
    ridge = best_ridge(trials) if p.ridge == "auto" else float(p.ridge)
    fitted = _fit(p, ridge, trials)
    without, shrunk = list[str](), list[str]()
    for k, (name, reason) in enumerate(zip(classes, fitted.reasons, strict=True)):
        by = [factors[j] for j in fitted.separating[k] or []]
        what = f"{named(name, 'class')}: {separate(by)} its responses" if by else ""
        if reason:
            without.append(f"{what}{NONE}" if by else f"{named(name, 'class')}: {reason}")
        elif by and (shrinkage := fitted.shrinkage[k]):
            shrunk.append(f"{what}; shrinkage is {shrinkage:.3g}")
    if len(without) == len(fitted.reasons):
        kind = InputError if "not converged" in without[0] else NoEstimateError
        raise kind(f"data/train: {without[0]}{f' (and {len(without) - 1} more)' if without[1:] else ''}")
    reached, loss = fitted.converged, float(fitted.loss[fitted.converged].mean())
    gradient = f"largest gradient {fitted.max_gradient[reached].max():.1e}"
    end = f"{fitted.iterations.max()} iterations, {gradient}, loss {loss:.7f} nats"
    print(*without, *shrunk, end, sep="\n")
    evidence = {  # not how many iterations it took: that depends on the processor
        "solver": p.solver,
        "ridge": ridge,
        "checkpoints": [0],
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
    from hdlogit.inference import ridge  # imports scipy's optimisers, which a given strength does not need

    try:
        strength = ridge.choose(trials.factors, trials.responses)
    except ValueError as error:
        raise InputError(f"data/train: {error} (params.yaml: train.ridge = auto)") from None
    print(f"ridge {strength:.{SIGNIFICANT_DIGITS}g}, the best by theory")
    return float(f"{strength:.{SIGNIFICANT_DIGITS}g}")


def _fit(p: Train, ridge: float, trials: Trials) -> ExactFit:
    with tqdm(unit="iteration", disable=None, leave=False) as progress:

        def advance(iteration: int, gradient: float) -> None:
            progress.set_postfix(max_gradient=f"{gradient:.1e}", refresh=False)
            progress.update(iteration - progress.n)

        how = ridge, p.tolerance, p.max_iterations, advance, True, p.shrinkage
        try:
            return fit(trials.factors, trials.responses, *how)
        except ValueError as error:
            raise InputError(f"data/train: {error}") from None
