"""Profiles: a test's signed root of every value that a coefficient may have, as a table of values.

The root, (value − estimate)/error where that is normal, is standard normal at the true value for a likelihood
ratio or a score, too. So an interval is all values with roots from −z to z.
"""

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from hdlogit.inference.sums import Array

FAR = 4.0  # signed root to which a profile is followed
NEAR = 0.3  # negative root that is near enough to 0, to which that of a weight without end only tends
ROOTS = np.linspace(-FAR, FAR, 161)  # at which profiles are taken
GAP, NARROW = 0.3, 1e-3  # between what is computed: most in signed roots, least in units of the step


def profile(root: Callable[[float], float], start: float, step: float, farthest: float = np.inf) -> Array:
    """(161,) the values that have the signed roots ROOTS, −∞ and ∞ beyond those that are reached.

    root: rises with the value, on the whole; start, step: where its values are first computed, to ± farthest steps.
    """
    nodes = {start: root(start)}
    for side in (-1.0, 1.0):
        value, stride = start, side * step
        while side * nodes[value] < FAR and abs(value - start) < farthest * step:
            if value != start and -NEAR < side * nodes[value] < 0:
                break
            value, stride = value + stride, 2 * stride
            nodes[value] = root(value)
    while True:  # halve the widest gap
        values = np.array(sorted(nodes))
        roots = _outermost(np.array([nodes[value] for value in values]), int(np.searchsorted(values, start)))
        gaps = np.where(np.diff(values) > NARROW * step, np.diff(np.clip(roots, -FAR, FAR)), 0.0)
        widest = int(gaps.argmax())
        if gaps[widest] <= GAP:
            break
        middle = float(values[widest] + values[widest + 1]) / 2
        nodes[middle] = root(middle)
    rising = np.append(True, np.diff(roots) > 0)
    values, roots = values[rising], roots[rising]
    table = np.where(roots[0] < ROOTS, np.inf, -np.inf)
    if len(roots) > 1:
        reached = (roots[0] <= ROOTS) & (roots[-1] >= ROOTS)
        table[reached] = PchipInterpolator(roots, values)(ROOTS[reached])
    return table


def _outermost(roots: Array, start: int) -> Array:
    """Rising roots: where there are several maxima, a value is rejected only if all beyond it are."""
    above = np.minimum.accumulate(roots[:start:-1])[::-1]
    return np.concatenate([np.maximum.accumulate(roots[:start]), roots[start : start + 1], above])


def values_at(profiles: Array, root: float) -> Array:
    """(m,) the values of profiles (m, 161) that have this signed root."""
    k = int(np.clip(np.searchsorted(ROOTS, root), 1, len(ROOTS) - 1))
    part, (low, high) = (root - ROOTS[k - 1]) / (ROOTS[k] - ROOTS[k - 1]), profiles[:, k - 1 : k + 1].T
    with np.errstate(invalid="ignore"):  # both may be infinite
        return np.asarray(np.where(low == high, low, low + part * (high - low)))
