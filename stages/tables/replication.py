"""Whether the groups of a person's own trials replicate one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import chdtrc
from tqdm import tqdm

from hdlogit.inference.double_pass import DoublePass
from hdlogit.inference.replication import Replication, replicate
from stages.tables.answer import Agreement
from stages.tables.inferred import Inferred


def replications(inferred: Inferred) -> list[Replication]:
    """For each class, each group alone against the others pooled, with the rates of the class."""
    fit, results = inferred.fit, list[Replication]()
    assert fit.groups is not None
    total = len(fit.labels) * len(inferred.classes)
    with tqdm(total=total, unit="group", desc="replication", disable=None, leave=False) as progress:
        for k, c in enumerate(inferred.classes):
            results += replicate(
                fit.train.factors,
                np.asarray(fit.train.responses[:, [k]]),
                fit.groups,
                level=inferred.p.interval_level,
                guess_rate=c.guess_rate,
                lapse_rate=c.lapse_rate,
                names=fit.factors,
                progress=lambda done: progress.update(),
            )
    return results


def replication_table(classes: Mapping[str, Replication], labels: Sequence[str]) -> pd.DataFrame:
    """One row per class and group; NaN and a reason where a group has no estimate."""
    rows = []
    for name, one in classes.items():
        for g in one.groups:
            row = {"class": name, "group": labels[g.group], "trials": g.trials}
            for kind, slope in (("classical", g.plain), ("corrected", g.corrected)):
                row[kind], row[f"{kind}_error"] = slope[:2] if slope else (np.nan, np.nan)
            rows.append(row | {"covered": g.covered, "reason": g.reason or ""})
    return pd.DataFrame(rows).astype({"covered": float})


def replication_metrics(
    classes: Sequence[Replication], passes: DoublePass | None = None
) -> dict[str, float | int | None]:
    """Slopes of all groups, means over the classes, with standard errors; null where there are none.

    p: that all groups have the same slope, over all classes.
    """
    metrics: dict[str, float | int | None] = {}
    for name, attribute in (("classical", "plain"), ("corrected", "corrected")):
        keys = f"{name}_slope", f"{name}_slope_error", f"{name}_heterogeneity_p"
        metrics |= dict.fromkeys(keys)
        if some := [common for one in classes if (common := getattr(one, attribute))]:
            slopes, errors, q, df = zip(*some, strict=True)
            numbers = np.mean(slopes), np.linalg.norm(errors) / len(some), chdtrc(sum(df), sum(q))
            metrics |= dict(zip(keys, map(float, numbers), strict=True))
    by_group = [*zip(*(one.groups for one in classes), strict=True)]
    covered = [g.covered for group in by_group for g in group if g.covered is not None]
    metrics["coverage"] = float(np.mean(covered)) if covered else None
    metrics["groups_without_estimate"] = sum(any(g.reason for g in group) for group in by_group)
    if passes:
        metrics["shared_stimuli"] = passes.stimuli
        metrics["double_pass_agreement"] = float(np.mean(passes.agreement))
    return metrics


def agreement(one: Replication) -> Agreement | None:
    """What the answer in words needs to know of a class; None where fewer than two groups have an estimate.

    Groups that differ do so in their plain weights, too; with rates, corrected ones of short groups run away.
    """
    if one.plain is None or one.corrected is None:
        return None
    slopes, of_all = [group.corrected.value for group in one.groups if group.corrected], one.corrected
    p_value = max(one.plain.p_value, of_all.p_value)
    return Agreement(min(slopes), max(slopes), of_all.value, of_all.error, of_all.df, p_value)


def double_pass_line(names: Sequence[str], passes: DoublePass) -> str:
    """What to know of groups that share stimuli."""
    same = ", ".join(f"{name} {share:.2f}" for name, share in zip(names, passes.agreement, strict=True))
    return (
        f"{passes.stimuli} stimuli are shown in more than one group ({passes.groups} groups share some): "
        "such groups are not independent; the answers to both agree in a fraction of the pairs "
        f"(double-pass consistency): {same}"
    )
