"""Which factors determine no weight of their own, and which trials are held out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.files.errors import InputError

MOST_CHECKED = 2000  # factors up to which dependent ones are looked for; time grows as their number cubed
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
def moments(blocks: Iterable[Floats], n_factors: int) -> Moments:
    """Summed over blocks (rows, p), centred at the first block's means: a large offset costs no digits."""
    n, centre = 0, np.zeros(n_factors)
    total, squares = np.zeros(n_factors), np.zeros(n_factors)
    products = np.zeros((n_factors, n_factors)) if n_factors <= MOST_CHECKED else None
    for block in blocks:
        if n == 0 and len(block):
            centre = block.mean(axis=0)
        centred = block - centre
        n, total = n + len(block), total + centred.sum(axis=0)
        squares += (centred * centred).sum(axis=0)
        if products is not None:
            products += centred.T @ centred
    shift = total / max(n, 1)
    variance = np.maximum(squares / max(n, 1) - shift**2, 0)
    is_constant = variance <= 1e-24 * np.maximum(centre**2, 1e-300)
    sd = np.where(is_constant, 0, np.sqrt(variance))
    if products is not None:
        scale = np.where(sd > 0, sd, 1)
        products = (products / max(n, 1) - np.outer(shift, shift)) / np.outer(scale, scale)
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


def dependence(found: Moments, selected: list[int], others: list[int]) -> list[dict[str, Any]]:
    """How undetermined factors follow from the selected ones: x_j = mean_j + Σ slope_i (x_i − mean_i) in every trial.

    Slopes, keyed by places in `selected`, have few digits: the last ones differ between processors.
    """
    slopes: Floats = np.zeros((len(selected), len(others)))
    if found.correlations is not None:  # else only constant factors were looked for
        at, on = found.correlations[np.ix_(selected, selected)], found.correlations[np.ix_(selected, others)]
        slopes = np.linalg.solve(at, on)
    slopes[np.abs(slopes) < 1e-6] = 0
    slopes *= found.sd[others] / found.sd[selected][:, None]
    return [
        {
            "index": j,
            "mean": float(f"{found.mean[j]:.12g}"),
            "sd": float(f"{found.sd[j]:.12g}"),
            "slopes": {int(i): float(f"{column[i]:.6g}") for i in np.flatnonzero(column)},
        }
        for j, column in zip(others, slopes.T, strict=True)
    ]


def repeats(hashes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Which trials are the same, as codes (n,), and how many repeat an earlier one.

    If more than half do, the stimuli come from a small set: repetition is by design, and each trial counts by itself.
    """
    _, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
    codes = np.argsort(np.argsort(first))[codes]  # in order of appearance: hashes differ from run to run
    n_repeated = len(codes) - len(first)
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
