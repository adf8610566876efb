"""The results of a run, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.files.tables import Table

OVERFITTED = 0.01  # held-out predictions are worse than at their best by this fraction
CALIBRATED = 0.02  # distance of the calibration slope from 1 that is not worth mentioning


def sentences(answer: Sequence[str], metrics: dict[str, Any], trajectory: Table) -> list[str]:
    """The answer of an exact fit, then what the truth, held-out trials and groups say of this run."""
    found = [f"{line[0].upper()}{line[1:]}." for line in answer if line]
    found += truth(metrics) if "recovery" in metrics else []
    found += predictions(metrics)
    found += overfitting(trajectory) if "test_cross_entropy" in trajectory else []
    found += replication(metrics.get("replication", {}))
    if "inference" not in metrics and not answer:  # after Adam; after an exact fit the answer says why
        found.append("This fit comes without corrections and intervals: they need an exact one, train.solver: exact.")
    return found


def truth(metrics: dict[str, Any]) -> list[str]:
    """How the weights and their intervals compare with the true ones."""
    recovery, inference = metrics["recovery"], metrics.get("inference", {})
    slope, correlation, corrected = (recovery.get(key) for key in ("weight_slope", "weight_correlation", "corrected"))
    if slope is None:
        return []
    found = f"Against the truth, weights are {size(slope)}"
    found += "" if correlation is None else f", although they correlate with it at {correlation:.3f}"
    if corrected is None:
        return [f"{found}."]
    lines = [f"{found}. Corrected, they are {size(corrected['weight_slope'])}."]
    if "coverage" in inference:
        classical, ours = (f"{100 * inference[key]:.0f} %" for key in ("classical_coverage", "coverage"))
        lines.append(
            f"Of the true weights {classical} lie inside their classical intervals, {ours} inside corrected ones."
        )
    return lines


def size(slope: float) -> str:
    """How far weights with this slope on the true ones are from the right size."""
    off = 100 * abs(slope - 1)
    return f"{off:.2g} % too {'large' if slope > 1 else 'small'}" if off >= 0.05 else "of the right size"


def predictions(metrics: dict[str, Any]) -> list[str]:
    """How good the predictions of trials are that the fit has not seen."""
    scored, of = metrics.get("test"), "Predictions of held-out trials"
    if scored is None:
        scored, of = metrics.get("loo"), "Predictions of each trial by the fit to all others"
    if scored is None:
        return []
    slope, best, floor = scored["calibration_slope"], scored.get("best"), scored.get("bayes_cross_entropy")
    how = ""
    if slope is not None:
        how = "calibrated" if abs(slope - 1) <= CALIBRATED else "overconfident" if slope < 1 else "too cautious"
        how = f" are {how} (calibration slope {slope:.2f}, where 1 is right) and"
    text = f"{of}{how} cost {scored['cross_entropy']:.4f} nats per response"
    if best and scored["cross_entropy"] - best["cross_entropy"] > 0.00005:
        text += f"; the best correction of them costs {best['cross_entropy']:.4f}"
    text += f"; the true observer's, which no prediction can beat, cost {floor:.4f}" if floor is not None else ""
    return [f"{text}."]


def overfitting(trajectory: Table) -> list[str]:
    """Whether training went on for too long."""
    test, epochs = trajectory["test_cross_entropy"], [f"{epoch + 1:g}" for epoch in trajectory["epoch"]]
    best = min(range(len(test)), key=test.__getitem__)
    worse = test[-1] - test[best]
    if worse <= OVERFITTED * test[best]:
        return []
    after = f"After epoch {epochs[best]} of {epochs[-1]} held-out trials were predicted ever worse, at the end by"
    return [f"{after} {worse:.4f} nats, while training trials were fitted ever better: overfitting."]


def replication(found: dict[str, Any]) -> list[str]:
    """Whether groups of trials have the same weights."""
    slopes = [(found.get(f"{key}_slope"), found.get(f"{key}_slope_error")) for key in ("plain", "corrected")]
    if None in [value for pair in slopes for value in pair]:
        return []
    plain, corrected = (f"{slope:.2f} ± {error:.2f}" for slope, error in slopes)
    return [f"Weights of one group alone are {plain} times those of all others; corrected, {corrected} times."]
