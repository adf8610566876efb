"""What a fit works on: all trials, and a standardised copy of some or all of them in single precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.compute.threads import cut, each
from hdlogit.exact.coordinates import Coordinates, coordinates_of
from hdlogit.exact.objective import Array, Floats, Mask, Trials

FACTORS = 2**25  # numbers in the copy's factors: 128 MB in single precision
LOGITS = 2**22  # logits (n_classes · n_trials) of the copy
PER_FACTOR = 24  # least trials per factor in the copy, if there are so many: fewer are easily separable
SUBSET, SUBSET_PER_FACTOR = 1024, 3  # about how many trials the subset has, or how many per factor
PART = 2**22  # factors that a core takes at once: smaller parts cost more to hand out than they save
LOGIT = 32  # factors that take as long to compute with as one logit
SINGLE = 1e-7  # tolerance that single precision can reach


@dataclass(frozen=True)
class Sample:
    """The trials, and the copy of some of them."""

    trials: Trials  # all of them
    coordinates: Coordinates
    ridge: Array  # (n_factors + 1,), the penalty's Hessian in v
    n_trials: int  # of the copy
    factors: list[Floats]  # of each part of it, standardised, with a 1 for the bias: (rows, n_factors + 1)
    responses: list[Floats]  # (n_classes, rows)
    subset: tuple[Floats, Floats]  # factors (m, n_factors + 1), responses (n_classes, m) of m trials
    progress: Callable[[float], None]  # told the largest gradient left, after each step

    @classmethod
    def draw(cls, trials: Trials, ridge: float, tolerance: float, progress: Callable[[float], None]) -> Sample:
        n_trials, n_factors = trials.factors.shape
        n_classes = trials.responses.shape[1]
        most = min(max(FACTORS // n_factors, PER_FACTOR * n_factors), max(1, LOGITS // n_classes))
        rows = sampled_rows(n_trials, most)
        subset = rows[:: max(1, round(len(rows) / max(SUBSET_PER_FACTOR * n_factors, SUBSET)))]
        c = coordinates_of(trials, subset, ridge)
        dtype = np.float64 if tolerance < SINGLE or c.needs_double else np.float32

        def copy(chosen: slice | NDArray[np.intp]) -> tuple[Floats, Floats]:
            raw = trials.factors[chosen]
            x = np.ones((len(raw), n_factors + 1), dtype)
            np.subtract(raw, c.center, out=x[:, :-1], casting="same_kind")
            x[:, :-1] *= c.units.astype(dtype)
            # In two passes: to turn and convert responses at once takes five times as long.
            return x, np.ascontiguousarray(trials.responses[chosen].T).astype(dtype)

        parts = cut(len(rows), n_factors + LOGIT * n_classes, PART)
        copies = list(each(lambda part: copy(part if len(rows) == n_trials else rows[part]), parts))
        factors, responses = map(list, zip(*copies, strict=True))
        penalty = ridge * np.append(c.units, 0) ** 2
        return cls(trials, c, penalty, len(rows), factors, responses, copy(subset), progress)

    def logits(self, v: Array, part: int, out: Floats | None = None) -> Floats:
        """(n_classes, rows) of one part, from standardised coefficients (n_classes, n_factors + 1)."""
        x = self.factors[part]
        v = v.astype(x.dtype)
        out = np.empty((len(v), len(x)), x.dtype) if out is None else out
        if len(v) == 1:
            np.matmul(v, x.T, out=out)
        else:  # for a few classes torch's product is up to twice as fast
            torch.mm(torch.from_numpy(v), torch.from_numpy(x).T, out=torch.from_numpy(out))
        return out

    def evaluate(self, v: Array, classes: NDArray[np.intp]) -> tuple[Array, Array, Array, Mask]:
        """Of all trials, in double precision, at v (n, n_factors + 1) of n classes: coefficients there, loss
        (n,) without the penalty, the objective's gradient in v, and whether all residuals are below 1/2 (n,).
        """
        coefficients = self.coordinates.coefficients(v)
        loss, gradient, fitted = self.trials.evaluate(coefficients, classes)
        return coefficients, loss, self.coordinates.standardised_gradient(gradient) + self.ridge * v, fitted

    def report(self, gradient: Array) -> None:
        """That a step has been made, to this gradient (n, n_factors + 1)."""
        self.progress(float(np.abs(gradient).max()))


def sampled_rows(n_trials: int, most: int) -> NDArray[np.intp]:
    """At most `most` rows, in order: one at random from each run of equal length, always the same ones."""
    stride = -(-n_trials // most)
    if stride == 1:
        return np.arange(n_trials)
    starts = np.arange(0, n_trials - stride + 1, stride)
    return np.asarray(starts + np.random.default_rng(0).integers(stride, size=len(starts)))
