"""Which factors determine no weight of their own, and which trials are held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.errors import InputError

MOST_CHECKED = 2000  # factors up to which dependent ones are looked for; time grows as their number cubed
TOLERANCE = 1e-9  # 1 - R² below which a factor follows from others

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dependent:
    """A factor that determines no weight: it is constant, or x = mean + Σ slope_i (x_i − m_i) of earlier ones."""

    index: int  # among all factors
    why: str
    mean: float
    sd: float
    sources: list[int]  # the earlier factors
    source_means: Floats  # m_i
    slopes: Floats

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is a fault by itself
    def differs(self, factors: Floats) -> NDArray[np.bool_]:
        """Rows of (n_rows, n_factors) where it does not follow."""
        moved = (factors[:, self.sources] - self.source_means) * self.slopes
        tolerance = 1e-3 * (self.sd + np.abs(moved).sum(axis=1)) + 1e-9 * abs(self.mean)  # TOLERANCE is 3e-5 sd
        return np.asarray(np.abs(factors[:, self.index] - self.mean - moved.sum(axis=1)) > tolerance)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by name
def dependent(factors: Floats, names: list[str], file: str) -> tuple[list[Dependent], Floats, Floats]:
    """Factors (n_trials, p) whose weights would be arbitrary; and mean and standard deviation of all, (p,).

    Raises InputError, with the name of the file, for factors so large that their squares are not finite.
    """
    n, mean = len(factors), factors.mean(axis=0)
    sd = (factors - mean).std(axis=0)
    sd[sd <= 1e-12 * np.abs(mean)] = 0
    for large in np.flatnonzero(~np.isfinite(sd)):
        raise InputError(
            f"{file}: {names[large]} holds numbers so large that their squares are not finite; use a larger unit"
        )
    varying = np.flatnonzero(sd)
    found = [
        Dependent(int(j), f"it is {mean[j]:.6g} in every trial", float(mean[j]), 0.0, [], np.zeros(0), np.zeros(0))
        for j in np.flatnonzero(sd == 0)
    ]
    if not 0 < len(varying) < min(n, MOST_CHECKED + 1):
        return found, mean, sd
    scaled = (factors[:, varying] - mean[varying]) / sd[varying]
    correlations = scaled.T @ scaled / n
    left, selected = correlations.copy(), list[int]()  # what remains of each factor given the selected earlier ones
    for j in range(len(varying) if np.linalg.eigvalsh(correlations)[0] <= TOLERANCE else 0):
        if left[j, j] > TOLERANCE:
            selected.append(j)
            left[j + 1 :, j + 1 :] -= np.outer(left[j + 1 :, j], left[j, j + 1 :] / left[j, j])
            continue
        slopes = np.linalg.solve(correlations[np.ix_(selected, selected)], correlations[selected, j])
        used = np.flatnonzero(np.abs(slopes) > 1e-6)
        sources = [int(varying[selected[i]]) for i in used]
        at, slopes = int(varying[j]), slopes[used] * sd[varying[j]] / sd[sources]
        listed = ", ".join(names[i] for i in sources[:5]) + (", …" if len(sources) > 5 else "")
        is_equal = len(sources) == 1 and np.isclose(mean[at], mean[sources[0]]) and np.isclose(slopes[0], 1, rtol=1e-9)
        why = f"it equals {listed} in every trial" if is_equal else f"it follows from {listed} (a linear combination)"
        found.append(Dependent(at, why, float(mean[at]), float(sd[at]), sources, mean[sources], slopes))
    return sorted(found, key=lambda each: each.index), mean, sd


def repeats(factors: Floats, responses: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Which trials are the same, as codes (n_trials,) in order of appearance, and how many repeat an earlier one.

    If more than half do, the stimuli come from a small set: repetition is by design, and each trial counts by itself.
    """
    whole = pd.DataFrame(np.column_stack([factors, responses]), copy=False)
    codes, distinct = pd.factorize(pd.util.hash_pandas_object(whole, index=False))
    n_repeated = len(codes) - len(distinct)
    return (codes if 2 * n_repeated <= len(codes) else np.arange(len(codes))), n_repeated


def hold_out(
    fraction: float, by: str, same: NDArray[np.int64], groups: NDArray[np.integer] | None, seed: int
) -> NDArray[np.bool_]:
    """Which trials are held out, (n,): about `fraction` of them, whole units of equal code in `same` or `groups`."""
    n, wanted = len(same), round(fraction * len(same))
    if wanted == 0:
        return np.zeros(n, bool)
    if by == "last":
        in_train = np.unique(same[: n - wanted])
        return (np.arange(n) >= n - wanted) & ~np.isin(same, in_train)  # copies of training trials stay with them
    codes: NDArray[np.integer] = same if by == "trial" or groups is None else groups
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[shuffled]) - sizes[shuffled] / 2  # a unit is taken if most of it is wanted
    return np.isin(codes, shuffled[before < wanted])
