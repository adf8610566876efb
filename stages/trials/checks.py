"""Which factors determine no weight of their own, and which trials are held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.errors import InputError

MOST_CHECKED = 2000  # factors up to which dependent ones are looked for; time grows as their number cubed
BLOCK = 4096  # rows
TOLERANCE = 1e-9  # 1 - R² below which a factor follows from others

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Moments:
    """Moments of factors over trials: mean (p,), sd (p,) and, up to MOST_CHECKED factors, their correlations (p, p)."""

    n_trials: int
    mean: Floats
    sd: Floats
    correlations: Floats | None


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by name in `undetermined`
def moments(factors: Floats) -> Moments:
    """Of (n_trials, p), over blocks of rows, centred at the first trial: a large offset costs no digits."""
    n, width = factors.shape
    centre = factors[0]
    total, squares = np.zeros(width), np.zeros(width)
    products = np.zeros((width, width)) if width <= MOST_CHECKED else None
    for start in range(0, n, BLOCK):
        centred = factors[start : start + BLOCK] - centre
        total += centred.sum(axis=0)
        squares += (centred * centred).sum(axis=0)
        if products is not None:
            products += centred.T @ centred
    shift = total / n
    variance = np.maximum(squares / n - shift**2, 0)
    is_constant = variance <= 1e-24 * np.maximum(centre**2, 1e-300)
    sd = np.where(is_constant, 0, np.sqrt(variance))
    if products is not None:
        scale = np.where(sd > 0, sd, 1)
        products = (products / n - np.outer(shift, shift)) / np.outer(scale, scale)
    return Moments(n, centre + shift, sd, products)


def undetermined(found: Moments, names: list[str], file: str) -> dict[int, str]:
    """Factors that are constant or follow from earlier ones, by index, and why. Their weights would be arbitrary.

    Raises InputError, with the name of the file, for factors so large that their squares are not finite.
    """
    for large in np.flatnonzero(~np.isfinite(found.sd)):
        raise InputError(
            f"{file}: {names[large]} holds numbers so large that their squares are not finite; use a larger unit"
        )
    reasons = {int(j): f"it is {found.mean[j]:.6g} in every trial" for j in np.flatnonzero(found.sd == 0)}
    varying = [j for j in range(len(names)) if j not in reasons]
    if found.correlations is None or len(varying) >= found.n_trials or not varying:
        return reasons
    matrix = found.correlations[np.ix_(varying, varying)]
    if np.linalg.eigvalsh(matrix)[0] > TOLERANCE:
        return reasons
    left, selected = matrix.copy(), list[int]()  # what remains of each factor given the selected earlier ones
    for j in range(len(varying)):
        if left[j, j] > TOLERANCE:
            selected.append(j)
            left[j + 1 :, j + 1 :] -= np.outer(left[j + 1 :, j], left[j, j + 1 :] / left[j, j])
            continue
        slopes = np.linalg.solve(matrix[np.ix_(selected, selected)], matrix[selected, j])
        sources = [varying[selected[i]] for i in np.flatnonzero(np.abs(slopes) > 1e-6)]
        reasons[varying[j]] = _because(found, varying[j], sources, names)
    return dict(sorted(reasons.items()))


def _because(found: Moments, j: int, sources: list[int], names: list[str]) -> str:
    listed = ", ".join(names[i] for i in sources[:5]) + (", …" if len(sources) > 5 else "")
    if len(sources) == 1 and np.isclose(found.mean[j], found.mean[sources[0]]) and found.sd[j] == found.sd[sources[0]]:
        return f"it equals {listed} in every trial"
    return f"it follows from {listed} (a linear combination)"


@dataclass(frozen=True)
class Dependent:
    """A factor that was not fitted, as it follows from those that were: x = mean + Σ slope_i (x_i − mean_i)."""

    index: int  # among all factors
    mean: float
    sd: float
    slopes: Floats  # (n_selected,)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is a fault by itself
    def differs(self, factors: Floats, centred: Floats) -> NDArray[np.bool_]:
        """Rows where it does not follow; `centred` are the fitted factors less their means, (n_rows, n_selected)."""
        moved = centred * self.slopes
        tolerance = 1e-3 * (self.sd + np.abs(moved).sum(axis=1)) + 1e-9 * abs(self.mean)  # TOLERANCE is 3e-5 sd
        return np.asarray(np.abs(factors[:, self.index] - self.mean - moved.sum(axis=1)) > tolerance)


def dependence(found: Moments, selected: list[int], others: list[int]) -> list[Dependent]:
    """How the factors that are not selected follow from those that are."""
    slopes: Floats = np.zeros((len(selected), len(others)))
    if found.correlations is not None and others and len(selected) < found.n_trials:  # else the others are constant
        at, on = found.correlations[np.ix_(selected, selected)], found.correlations[np.ix_(selected, others)]
        slopes = np.linalg.solve(at, on)
    slopes[np.abs(slopes) < 1e-6] = 0
    slopes *= found.sd[others] / found.sd[selected][:, None]
    pairs = zip(others, slopes.T, strict=True)
    return [Dependent(j, float(found.mean[j]), float(found.sd[j]), column) for j, column in pairs]


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
