"""Smooth kernels of factors whose neighbours have similar weights, for the patterns of evaluate.smooth."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from hdlogit.smooth import fit_smooth
from stages.files.account import named
from stages.files.families import smooth_families
from stages.files.parameters import Evaluate
from stages.files.reading import Fit

COLUMNS = ["class", "family", "factor", "smooth", "smooth_low", "smooth_high"]


def smooth_table(fit: Fit, p: Evaluate) -> tuple[pd.DataFrame, list[str]]:
    """A row per class and smooth factor, in the order of each family; and what smoothing did, in words."""
    chosen = smooth_families(fit.factors, p.smooth or [])
    groups = {str(family): [*part.index] for family, part in chosen.groupby("family", sort=False)}
    parts, lines = list[pd.DataFrame](), list[str]()
    for k, name in enumerate(tqdm(fit.classes, unit="class", desc="smooth", disable=None, leave=False)):
        of = f" of {named(name, 'class')}" if len(fit.classes) > 1 else ""
        try:
            kernels = fit_smooth(fit.train.factors, fit.train.responses[:, k], [*groups.values()], fit.factors)
        except ValueError as reason:
            lines.append(f"there is no smooth kernel{of}: {reason}")
            continue
        lines += [f"smooth kernel {family}{of}: {kernels.sentence(i)}" for i, family in enumerate(groups)]
        ends = pd.DataFrame(kernels.interval(p.interval_level), columns=COLUMNS[-2:])
        parts.append(chosen.join(ends.assign(smooth=kernels.corrected, **{"class": name}))[COLUMNS])
    if p.asymptotes != "none" or {p.guess_rate, p.lapse_rate} - {0, "auto"}:
        lines.append("smooth kernels know no guesses and lapses, which this study has: they are too small")
    return pd.concat(parts) if parts else pd.DataFrame(), lines
