"""Which factors determine a weight of their own, and which trials are held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.files.parameters import Prepare

MOST_CHECKED = 2000  # factors up to which dependent ones are looked for; time grows as their number cubed
TOLERANCE = 1e-9  # 1 - R² below which a factor follows from others

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """Factors that determine a weight of their own, and how the others follow from them."""

    mean: Floats  # (n_factors,) of all
    sd: Floats
    fitted: list[int]
    why_not: dict[int, str]  # of the others
    slopes: Floats  # (n_fitted, n_others) of standardised factors

    def differs(self, factors: Floats) -> NDArray[np.bool_]:
        """Where factors that are not fitted do not follow, (n_rows, n_others), of all (n_rows, n_factors)."""
        others = [*self.why_not]
        scaled = (factors[:, self.fitted] - self.mean[self.fitted]) / self.sd[self.fitted]
        expected = self.mean[others] + self.sd[others] * (scaled @ self.slopes)
        size = self.sd[others] * (1 + np.abs(scaled) @ np.abs(self.slopes))
        tolerance = 1e-3 * size + 1e-9 * np.abs(self.mean[others])  # TOLERANCE is 3e-5 sd
        return np.asarray(np.abs(factors[:, others] - expected) > tolerance)


def select(factors: Floats, names: list[str]) -> Selection:
    """Of factors (n_trials, n_factors) those that vary, and do not follow from earlier ones."""
    (n, p), mean = factors.shape, factors.mean(axis=0)
    sd = (factors - mean).std(axis=0)
    sd[sd <= 1e-12 * np.abs(mean)] = 0
    fitted = np.flatnonzero(sd).tolist()
    is_checked = 0 < len(fitted) < min(n, MOST_CHECKED + 1)
    if is_checked:
        scaled = (factors - mean) / np.where(sd > 0, sd, 1)
        correlations = scaled.T @ scaled / n
        fitted = independent(correlations)
    others = sorted({*range(p)} - {*fitted})
    slopes = np.zeros((len(fitted), len(others)))
    if is_checked:
        slopes = np.linalg.solve(correlations[np.ix_(fitted, fitted)], correlations[np.ix_(fitted, others)])
    why_not = {}
    for j, slope in zip(others, slopes.T, strict=True):
        sources = [names[i] for i in np.array(fitted)[np.abs(slope) > 1e-6]] if sd[j] else []
        listed = ", ".join(sources[:5]) + (", …" if sources[5:] else "")
        why_not[j] = f"it follows from {listed}" if sources else f"it is {mean[j]:.6g} in every trial"
    mean, sd = (np.array([*map(stable, each)]) for each in (mean, sd))
    return Selection(mean, sd, fitted, why_not, slopes)


def independent(correlations: Floats) -> list[int]:
    """The columns of which a part remains, given the earlier ones, by Gaussian elimination."""
    if np.linalg.eigvalsh(correlations)[0] > TOLERANCE:
        return [*range(len(correlations))]
    rest, columns = correlations.copy(), list[int]()
    for j in range(len(rest)):
        if rest[j, j] > TOLERANCE:
            columns.append(j)
            rest[j + 1 :, j + 1 :] -= np.outer(rest[j + 1 :, j], rest[j, j + 1 :] / rest[j, j])
    return columns


def hold_out(p: Prepare, n_trials: int, groups: NDArray[np.integer] | None) -> NDArray[np.bool_]:
    """Which trials are held out, (n_trials,): about the fraction `held_out`, the last, or whole groups, or any."""
    wanted = round(p.held_out * n_trials)
    if p.held_out_by == "last" or wanted == 0:
        return np.arange(n_trials) >= n_trials - wanted
    codes = np.arange(n_trials) if p.held_out_by == "trial" or groups is None else groups
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(p.seed).permutation(len(sizes))
    before = np.cumsum(sizes[shuffled]) - sizes[shuffled] / 2  # a unit is taken if most of it is wanted
    return np.isin(codes, shuffled[before < wanted])


def stable(value: float) -> float:
    """Without the last digits, which differ between processors."""
    return float(f"{value:.12g}")
