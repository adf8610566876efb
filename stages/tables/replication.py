"""Whether the groups of a person's own trials replicate one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hdlogit.inference.replication import GroupReplication, Slope, replicate
from stages.files.fit import Fit
from stages.tables import Findings, Table

MOST_ERROR = 1.0  # largest standard error of a slope, which should be 1

Groups = Sequence[GroupReplication]  # of one class


def replicated(
    fit: Fit,
    groups: NDArray[np.integer],
    rates: Sequence[tuple[float, float]],
    level: float,
    progress: Callable[[int], object] = lambda done: None,
) -> Findings:
    """Each group alone against the others pooled, by maximum likelihood.

    groups: (n_trials,), indices of the description's labels; rates: guess and lapse rate of each class of the fit;
    progress is called with the number of comparisons done: as many as groups, for each pair of rates.
    """
    assert fit.description is not None
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return Findings(notices=["replication is left out: there is one group only"])
    found: dict[int, Groups] = {}
    for before, pair in enumerate(sorted(set(rates))):
        places = [k for k, each in enumerate(rates) if each == pair]
        results = replicate(
            fit.train.factors,
            np.asarray(fit.train.responses[:, places]),
            groups,
            level=level,
            guess_rate=pair[0],
            lapse_rate=pair[1],
            names=fit.factors,
            progress=lambda done, before=before: progress(before * n_groups + done),  # type: ignore[misc]
        )
        found |= dict(zip(places, results, strict=True))
    classes = [found[k] for k in range(len(rates))]
    table = group_table(fit.classes, classes, fit.description.groups)
    return Findings({"replication": metrics(classes)}, {"inference/replication.csv": table})


def group_table(names: Sequence[str], classes: Sequence[Groups], labels: Sequence[str]) -> Table:
    """One row per class and group; NaN and a reason where a group has no estimate."""
    rows = [
        (
            name,
            labels[g.group],
            g.trials,
            *(g.plain or (math.nan, math.nan)),
            *(g.corrected or (math.nan, math.nan)),
            math.nan if g.covered is None else g.covered,
            g.reason or "",
        )
        for name, found in zip(names, classes, strict=True)
        for g in found
    ]
    keys = ("class", "group", "trials", "plain", "plain_error", "corrected", "corrected_error", "covered", "reason")
    return dict(zip(keys, zip(*rows, strict=True), strict=True))


def metrics(classes: Sequence[Groups]) -> dict[str, float | int | None]:
    """Mean slopes over the groups, each the mean of its classes, with standard errors; null where there are none.

    Groups that do not determine the size of their corrected weights would dominate the means, and are left out of both.
    """
    by_group = [*zip(*classes, strict=True)]
    values: dict[str, float | int | None] = {}
    for name in ("plain", "corrected"):
        means = [_mean([getattr(g, name) for g in group if not undetermined(g)]) for group in by_group]
        slopes = [mean for mean in means if mean is not None]
        several = len(slopes) > 1
        values[f"{name}_slope"] = float(np.mean(slopes)) if slopes else None
        values[f"{name}_slope_error"] = float(np.std(slopes, ddof=1) / np.sqrt(len(slopes))) if several else None
    covered = [g.covered for group in by_group for g in group if g.covered is not None]
    values["coverage"] = float(np.mean(covered)) if covered else None
    values["groups_without_estimate"] = sum(any(g.reason is not None for g in group) for group in by_group)
    values["groups_undetermined"] = sum(any(map(undetermined, group)) for group in by_group)
    return values


def undetermined(group: GroupReplication) -> bool:
    """Whether its corrected slope could as well be 0 or 2 as 1, as in short groups if rates are estimated."""
    return group.corrected is not None and group.corrected.error > MOST_ERROR


def _mean(slopes: list[Slope | None]) -> float | None:
    found = [slope.value for slope in slopes if slope is not None]
    return float(np.mean(found)) if found else None
