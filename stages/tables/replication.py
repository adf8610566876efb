"""Whether the groups of a person's own trials replicate one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from hdlogit.inference.double_pass import DoublePass
from hdlogit.inference.replication import Replication, replicate
from stages.tables.inferred import Inferred


def replications(inferred: Inferred) -> list[Replication]:
    """For each class, each group alone against the others pooled, with the rates of the class."""
    fit, level = inferred.fit, inferred.p.interval_level
    assert fit.groups is not None
    x, results = fit.train.factors, list[Replication]()
    for y, c in zip(fit.train.responses.T, inferred.classes, strict=True):
        known = {"guess_rate": c.guess_rate, "lapse_rate": c.lapse_rate}
        results.append(replicate(x, y, fit.groups, level=level, names=fit.factors, **known))
    return results


def replication_table(classes: Mapping[str, Replication], labels: Sequence[str]) -> pd.DataFrame:
    """One row per class and group; NaN and a reason where a group has no estimate."""
    tables = []
    for name, one in classes.items():
        table = pd.DataFrame({"class": name, "group": [labels[g] for g in one.groups], "trials": one.trials})
        for kind in ("classical", "corrected"):
            table[kind], table[f"{kind}_error"] = getattr(one, kind)[:2]
        tables.append(table.assign(covered=one.covered, reason=one.reasons))
    return pd.concat(tables, ignore_index=True)


def replication_metrics(
    classes: Sequence[Replication], passes: DoublePass | None = None
) -> dict[str, float | int | None]:
    """Slopes of all groups, means over the classes, with standard errors; null where there are none.

    p: that all groups have the same slope, over all classes.
    """
    metrics: dict[str, float | int | None] = {}
    for name in ("classical", "corrected"):
        keys = f"{name}_slope", f"{name}_slope_error", f"{name}_heterogeneity_p"
        metrics |= dict.fromkeys(keys)
        if slopes := [slopes for one in classes if (slopes := getattr(one, name)).df]:
            _, _, values, errors, q, df = zip(*slopes, strict=True)
            numbers = np.mean(values), np.linalg.norm(errors) / len(slopes), chdtrc(sum(df), sum(q))
            metrics |= dict(zip(keys, map(float, numbers), strict=True))
    covered = np.concatenate([one.covered for one in classes])
    metrics["coverage"] = None if np.isnan(covered).all() else float(np.nanmean(covered))
    metrics["groups_without_estimate"] = sum(map(any, zip(*(one.reasons for one in classes), strict=True)))
    if passes:
        metrics["shared_stimuli"] = passes.stimuli
        metrics["double_pass_agreement"] = float(np.mean(passes.agreement))
    return metrics


def double_pass_line(names: Sequence[str], passes: DoublePass) -> str:
    """What to know of groups that share stimuli."""
    same = ", ".join(f"{name} {share:.2f}" for name, share in zip(names, passes.agreement, strict=True))
    shared = f"groups share stimuli ({passes.stimuli}, in {passes.groups} groups) and are not independent"
    return f"{shared}; both answers agree in a fraction of the pairs (double-pass consistency): {same}"
