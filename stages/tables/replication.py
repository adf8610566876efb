"""Whether the groups of a person's own trials replicate one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hdlogit.inference.replication import GroupReplication, Slope, replicate
from stages.tables import Table
from stages.tables.inferred import Inferred

MOST_ERROR = 1.0  # largest standard error of a slope, which should be 1

Groups = list[GroupReplication]  # of one class


def replications(
    found: Inferred, groups: NDArray[np.integer], progress: Callable[[], object] = lambda: None
) -> list[Groups]:
    """For each class, each group alone against the others pooled, by maximum likelihood with the rates of the class.

    groups: (n_trials,); progress is called after each group of each class.
    """
    trials, names, level = found.fit.train, found.fit.factors, found.p.interval_level
    results = []
    for k, c in enumerate(found.classes):
        y = np.asarray(trials.responses[:, [k]])
        rates = {"guess_rate": c.guess_rate, "lapse_rate": c.lapse_rate}
        results += replicate(
            trials.factors, y, groups, level=level, **rates, names=names, progress=lambda done: progress()
        )
    return results


def replication_table(names: Sequence[str], classes: Sequence[Groups], labels: Sequence[str]) -> Table:
    """One row per class and group; NaN and a reason where a group has no estimate."""
    none, keys = (math.nan, math.nan), ("class", "group", "trials", "plain", "plain_error", "corrected")
    rows = [
        (name, labels[g.group], g.trials, *(g.plain or none), *(g.corrected or none), g.covered, g.reason or "")
        for name, groups in zip(names, classes, strict=True)
        for g in groups
    ]
    table = dict(zip((*keys, "corrected_error", "covered", "reason"), zip(*rows, strict=True), strict=True))
    return table | {"covered": [math.nan if covered is None else covered for covered in table["covered"]]}


def replication_metrics(classes: Sequence[Groups]) -> dict[str, float | int | None]:
    """Mean slopes over the groups, each the mean of its classes, with standard errors; null where there are none.

    Groups that do not determine the size of their corrected weights would dominate the means, and are left out of both.
    """
    by_group = [*zip(*classes, strict=True)]
    metrics: dict[str, float | int | None] = {}
    for name in ("plain", "corrected"):
        means = (_mean(getattr(g, name) for g in group if not _undetermined(g)) for group in by_group)
        slopes = [mean for mean in means if mean is not None]
        error = float(np.std(slopes, ddof=1) / np.sqrt(len(slopes))) if len(slopes) > 1 else None
        metrics |= {f"{name}_slope": float(np.mean(slopes)) if slopes else None, f"{name}_slope_error": error}
    covered = [g.covered for group in by_group for g in group if g.covered is not None]
    metrics["coverage"] = float(np.mean(covered)) if covered else None
    metrics["groups_without_estimate"] = sum(any(g.reason for g in group) for group in by_group)
    metrics["groups_undetermined"] = sum(any(map(_undetermined, group)) for group in by_group)
    return metrics


def _undetermined(group: GroupReplication) -> bool:
    """Whether its corrected slope could as well be 0 or 2 as 1, as in short groups if rates are estimated."""
    return group.corrected is not None and group.corrected.error > MOST_ERROR


def _mean(slopes: Iterable[Slope | None]) -> float | None:
    values = [slope.value for slope in slopes if slope is not None]
    return float(np.mean(values)) if values else None
