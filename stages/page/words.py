"""The results of a run, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

OVERFITTED = 0.01  # held-out predictions are worse than at their best by this fraction


def sentences(answer: Sequence[str], metrics: Mapping[str, Any], trajectory: pd.DataFrame) -> Iterator[str]:
    """The answer of an exact fit, then what the truth and held-out trials say of this run."""
    yield from (f"{line[0].upper()}{line[1:]}." for line in answer if line)
    recovery, inference = metrics.get("recovery", {}), metrics.get("inference", {})
    if recovery.get("weight_slope") is not None:
        text = f"Against the truth, weights are {size(recovery['weight_slope'])}"
        if "corrected" in recovery:
            text += f". Corrected, they are {size(recovery['corrected']['weight_slope'])}"
        yield f"{text}."
    if "coverage" in inference:
        classical, corrected = (f"{100 * inference[key]:.0f} %" for key in ("classical_coverage", "coverage"))
        inside = f"{classical} lie inside their classical intervals, {corrected} inside corrected ones"
        yield f"Of the true weights {inside}."
    if "test_cross_entropy" in trajectory:
        test, epochs = trajectory.test_cross_entropy, trajectory.epoch + 1
        best, last = test.idxmin(), test.index[-1]
        if test[last] > (1 + OVERFITTED) * test[best]:
            when, worse = f"After epoch {epochs[best]:g} of {epochs[last]:g}", test[last] - test[best]
            how = f"held-out trials were predicted ever worse, at the end by {worse:.4f} nats"
            yield f"{when} {how}, while training trials were fitted ever better: overfitting."
    if not inference and not answer:  # after Adam; after an exact fit the answer says why
        yield "This fit comes without corrections and intervals: they need an exact one, train.solver: exact."


def size(slope: float) -> str:
    """How far weights with this slope on the true ones are from the right size."""
    off = 100 * abs(slope - 1)
    return f"{off:.2g} % too {'large' if slope > 1 else 'small'}" if off >= 0.05 else "of the right size"
