"""The results of a run, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

OVERFITTED = 0.01  # held-out predictions are worse than at their best by this fraction
CALIBRATED, NEARLY = 0.02, 0.1  # distances of the calibration slope from 1

Metrics = Mapping[str, Any]


def sentences(answer: Sequence[str], metrics: Metrics, trajectory: pd.DataFrame) -> Iterator[str]:
    """The answer of an exact fit, then what the truth and held-out trials say of this run."""
    yield from (f"{line[0].upper()}{line[1:]}." for line in answer if line)
    yield from truth(metrics)
    if not answer or "bayes_cross_entropy" in metrics.get(
        "test", {}
    ):  # else the answer says what predictions are worth
        yield from predictions(metrics)
    yield from overfitting(trajectory)
    if "inference" not in metrics and not answer:  # after Adam; after an exact fit the answer says why
        yield "This fit comes without corrections and intervals: they need an exact one, train.solver: exact."


def truth(metrics: Metrics) -> Iterator[str]:
    """How the weights and their intervals compare with the true ones."""
    recovery, inference = metrics.get("recovery", {}), metrics.get("inference", {})
    if recovery.get("weight_slope") is None:
        return
    text = f"Against the truth, weights are {size(recovery['weight_slope'])}"
    if recovery.get("weight_correlation") is not None:
        text += f", although they correlate with it at {recovery['weight_correlation']:.3f}"
    if "corrected" in recovery:
        text += f". Corrected, they are {size(recovery['corrected']['weight_slope'])}"
    yield f"{text}."
    if "coverage" in inference:
        classical, corrected = (f"{100 * inference[key]:.0f} %" for key in ("classical_coverage", "coverage"))
        inside = f"{classical} lie inside their classical intervals, {corrected} inside corrected ones"
        yield f"Of the true weights {inside}."


def size(slope: float) -> str:
    """How far weights with this slope on the true ones are from the right size."""
    off = 100 * abs(slope - 1)
    return f"{off:.2g} % too {'large' if slope > 1 else 'small'}" if off >= 0.05 else "of the right size"


def predictions(metrics: Metrics) -> Iterator[str]:
    """How good the predictions of trials are that the fit has not seen."""
    of = {"test": "held-out trials", "loo": "each trial by the fit to all others"}
    name = next((name for name in of if name in metrics), None)
    if name is None:
        return
    scores = metrics[name]
    slope, best, floor = scores["calibration_slope"], scores.get("best"), scores.get("bayes_cross_entropy")
    text = f"Predictions of {of[name]}"
    if slope is not None:
        how = "overconfident" if slope < 1 else "too cautious"
        if abs(slope - 1) <= NEARLY:  # which few trials do not tell from chance
            how = "calibrated" if abs(slope - 1) <= CALIBRATED else "nearly calibrated"
        text += f" are {how} (calibration slope {slope:.2f}, where 1 is right) and"
    text += f" cost {scores['cross_entropy']:.4f} nats (mean −ln P) per response"
    if best and scores["cross_entropy"] - best["cross_entropy"] > 0.00005:
        text += f"; the best correction of them costs {best['cross_entropy']:.4f}"
    if floor is not None:
        text += f"; the true observer's, which no prediction can beat, cost {floor:.4f}"
    yield f"{text}."


def overfitting(trajectory: pd.DataFrame) -> Iterator[str]:
    """Whether training went on for too long."""
    if "test_cross_entropy" not in trajectory:
        return
    test, epochs = trajectory.test_cross_entropy, trajectory.epoch + 1
    best, last = test.idxmin(), test.index[-1]
    worse = test[last] - test[best]
    if worse > OVERFITTED * test[best]:
        when = f"After epoch {epochs[best]:g} of {epochs[last]:g}"
        how = f"held-out trials were predicted ever worse, at the end by {worse:.4f} nats"
        yield f"{when} {how}, while training trials were fitted ever better: overfitting."
