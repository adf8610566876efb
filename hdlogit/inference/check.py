"""Do the intervals cover for factors like these? The experiment repeated by simulation, from its own
corrected fit.

Responses are drawn from the corrected coefficients (and asymptotes) with the same factors as the data, all
repetitions are fitted at once, as classes that share the factors, and each is analysed as the data were. What
holds for an observer like the estimated one should hold for the true one; no truth is needed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlogit.exact import fit
from hdlogit.inference.infer import infer
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import Array
from hdlogit.psychometric.function import logits, probability

TOGETHER = 50  # repetitions that are fitted together; progress is reported between


class Coverage(NamedTuple):
    """Coverage of nominal intervals, over the repetitions."""

    slope: float  # of the estimated logits on the true ones; infinite if a repetition has an infinite weight
    slope_error: float  # its standard error
    by_factor: Array  # (n_factors,) fraction of its weight's intervals that hold the truth
    all_factors: float  # their mean
    all_factors_error: float
    bias: float


class Check(NamedTuple):
    """The table of one class."""

    classical: Coverage
    corrected: Coverage
    by_chance: Array  # (n_factors,) coverages to expect if all intervals were perfect, from worst to best
    repetitions: int  # that have an inference
    reasons: list[str]  # why the others have none


def check(
    factors: NDArray[np.floating],
    inference: ClassInference,
    *,
    repetitions: int = 200,
    level: float = 0.95,
    ridge: float = 0.0,
    shrinkage: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
    **rates: Any,
) -> Check:
    """Repeat the experiment of one class by simulation.

    factors: (n, p), those that were fitted; inference: of the class; ridge, shrinkage, rates: as given to
    `infer`; progress is called with the number of repetitions done. Raises ValueError where no repetition has
    an inference.
    """
    observer = inference.separated.shrunken if inference.separated else inference  # it is finite
    truth = observer.corrected
    yes = probability(logits(factors, truth[:, None]), inference.guess_rate, inference.lapse_rate)
    rng = np.random.default_rng(seed)
    results: list[ClassInference] = []
    while len(results) < repetitions:
        y = rng.random((len(factors), min(repetitions - len(results), TOGETHER))) < yes
        fitted = fit(factors, (1 - shrinkage) * y + shrinkage / 2 if shrinkage else y, ridge=ridge)
        results += infer(factors, y, fitted.coefficients, ridge, shrinkage, **rates)
        progress(len(results))
    inferred, reasons = [c for c in results if not c.reason], [c.reason for c in results if c.reason]
    if not inferred:
        raise ValueError(f"none of {repetitions} repetitions has an inference; the first: {reasons[0]}")
    centred = factors - factors.mean(axis=0, dtype=np.float64)
    spread = centred.T @ (centred @ truth[:-1])
    classical = _coverage([(c.estimate, *c.classical_interval(level)) for c in inferred], truth, spread)
    corrected = _coverage([(c.corrected, *c.interval(level)) for c in inferred], truth, spread)
    by_chance = expected_by_rank(len(spread), len(inferred), level)
    return Check(classical, corrected, by_chance, len(inferred), reasons)


def expected_by_rank(n_factors: int, repetitions: int, level: float = 0.95) -> Array:
    """Mean coverages (n_factors,), worst to best, if intervals are perfect and independent: simulated."""
    covered = np.random.default_rng(0).binomial(repetitions, level, (200, n_factors))
    return np.asarray(np.sort(covered, axis=1).mean(axis=0) / repetitions)


def _coverage(answers: list[tuple[Array, Array, Array]], truth: Array, spread: Array) -> Coverage:
    """answers: estimate, low and high of each repetition."""
    estimates, low, high = np.array(answers).transpose(1, 0, 2)  # (repetitions, p + 1)
    covered, weights = (low < truth) & (truth < high), estimates[:, :-1]

    def mean_and_error(values: Array) -> tuple[float, float]:
        return float(values.mean()), float(values.std() / np.sqrt(len(values)))

    slope = np.inf, np.inf
    if np.isfinite(weights).all():
        slope = mean_and_error(weights @ spread / (truth[:-1] @ spread))
    all_factors = mean_and_error(covered[:, :-1].mean(axis=1))
    return Coverage(*slope, covered[:, :-1].mean(axis=0), *all_factors, float(covered[:, -1].mean()))
