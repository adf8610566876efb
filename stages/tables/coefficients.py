"""The table of an exact fit's coefficients: classical and corrected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hdlogit.inference import ClassInference
from hdlogit.inference.result import Array, wald_interval
from hdlogit.inference.sums import Units
from stages.files.reading import Description
from stages.tables import Table


def coefficient_table(classes: Sequence[ClassInference], level: float) -> Table:
    """Columns of one number per class and coefficient, class by class, the bias last: classical, then corrected."""
    intervals = [(c.classical_interval(level), c.interval(level)) for c in classes]
    columns: dict[str, list[Array]] = {
        "estimate": [c.estimate for c in classes],
        "classical_error": [c.classical_error for c in classes],
        "classical_low": [classical[0] for classical, _ in intervals],
        "classical_high": [classical[1] for classical, _ in intervals],
        "classical_p": [c.classical_p_values() for c in classes],
        "corrected": [c.corrected for c in classes],
        "error": [c.corrected_error for c in classes],
        "low": [ours[0] for _, ours in intervals],
        "high": [ours[1] for _, ours in intervals],
        "p": [c.p_values() for c in classes],
    }
    return {name: np.concatenate(values) for name, values in columns.items()}


def raw_columns(classes: Sequence[ClassInference], description: Description, level: float) -> Table:
    """For standardised factors: the columns of `coefficient_table` per unit of the factors as they were read.

    The bias, that of factors which are 0, is NaN where a weight is infinite.
    """
    units = Units(0, np.array(description.mean), np.array(description.sd))
    to_bias = np.append(-units.centre / units.scale, 1.0)
    columns: dict[str, list[Array]] = {name: [] for name in ("estimate", "corrected", "low", "high")}
    for c in classes:
        weights, low, high = (values[:-1] / units.scale for values in (c.corrected, *c.interval(level)))
        bias, variance = np.full((2, 1), np.nan)
        if c.separated is None:
            bias, variance = c.corrected[-1:] - units.centre @ weights, to_bias @ c.covariance[:-2, :-2] @ to_bias
        ends = wald_interval(bias, np.sqrt(variance), level)
        found = units.original(c.estimate), *map(np.append, (weights, low, high), (bias, *ends))
        for column, values in zip(columns.values(), found, strict=True):
            column.append(values)
    return {f"raw_{name}": np.concatenate(values) for name, values in columns.items()}
