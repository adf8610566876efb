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
    """A factor that determines no weight, as x = mean + Σ slope_i (x_i − mean_i), of earlier ones or of none."""

    index: int  # among all factors
    why: str
    sd: float
    slopes: Floats  # (n_factors,)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is a fault by itself
    def differs(self, factors: Floats, mean: Floats) -> NDArray[np.bool_]:
        """Rows of (n_rows, n_factors) where it does not follow."""
        centred = factors - mean
        size = self.sd + np.abs(centred) @ np.abs(self.slopes)
        tolerance = 1e-3 * size + 1e-9 * abs(mean[self.index])  # TOLERANCE is 3e-5 sd
        return np.asarray(np.abs(centred[:, self.index] - centred @ self.slopes) > tolerance)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by name
def dependent(factors: Floats, names: list[str], file: str) -> tuple[list[Dependent], Floats, Floats]:
    """Factors (n_trials, p) whose weights would be arbitrary; and mean and standard deviation of all, (p,).

    Raises InputError, with the name of the file, for factors so large that their squares are not finite.
    """
    (n, p), mean = factors.shape, factors.mean(axis=0)
    sd = (factors - mean).std(axis=0)
    sd[sd <= 1e-12 * np.abs(mean)] = 0
    for large in np.flatnonzero(~np.isfinite(sd)):
        what = f"{names[large]} holds numbers so large that their squares are not finite"
        raise InputError(f"{file}: {what}; use a larger unit")
    fixed, varying = np.flatnonzero(sd == 0), np.flatnonzero(sd)
    found = [Dependent(int(j), f"it is {mean[j]:.6g} in every trial", 0.0, np.zeros(p)) for j in fixed]
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
        used = np.abs(slopes) > 1e-6
        at, sources, of = int(varying[j]), varying[selected][used], np.zeros(p)
        of[sources] = slopes[used] * sd[at] / sd[sources]
        listed = ", ".join(names[i] for i in sources[:5]) + (", …" if len(sources) > 5 else "")
        is_equal = len(sources) == 1 and np.allclose([mean[at], of.sum()], [mean[sources[0]], 1], atol=0)
        why = f"it equals {listed} in every trial" if is_equal else f"it follows from {listed} (a linear combination)"
        found.append(Dependent(at, why, float(sd[at]), of))
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
    if by == "last" or wanted == 0:
        in_train = np.unique(same[: n - wanted])
        return (np.arange(n) >= n - wanted) & ~np.isin(same, in_train)  # copies of training trials stay with them
    codes: NDArray[np.integer] = same if by == "trial" or groups is None else groups
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[shuffled]) - sizes[shuffled] / 2  # a unit is taken if most of it is wanted
    return np.isin(codes, shuffled[before < wanted])
