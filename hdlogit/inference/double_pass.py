"""Stimuli that are shown in several groups of trials (double pass: the same frozen noise shown twice).

How often both answers agree measures the noise within the observer (Burgess & Colborne, Journal of the Optical
Society of America A 1988). Groups that share stimuli are not independent: what a model lacks of the stimulus acts alike
in both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import cut
from hdlogit.inference.sums import Factors, Responses

MANY = 10.0  # how much more often than within groups a stimulus must come back across groups


class DoublePass(NamedTuple):
    """Stimuli shown in more than one group."""

    stimuli: int
    groups: int  # that share some of them
    agreement: list[float]  # of each class: fraction of pairs, across groups, with the same response


def double_pass(factors: Factors, responses: Responses, groups: NDArray[np.integer]) -> DoublePass | None:
    """None where no stimulus is shared, or by design: few stimuli come back within groups as well as across them.

    factors: (n, p), a stimulus is a row of them; responses: (n, k) bool; groups: (n,) from 0.
    """
    rows = [hash(row.tobytes()) for block in cut(*factors.shape) for row in np.ascontiguousarray(factors[block])]
    _, stimulus = np.unique(rows, return_inverse=True)
    cell = np.unique(stimulus * (int(groups.max()) + 1) + groups, return_inverse=True)[1]  # a stimulus in a group

    def across(chosen: NDArray[np.bool_]) -> int:
        return _pairs(stimulus[chosen]) - _pairs(cell[chosen])

    everything = np.ones(len(rows), bool)
    n_across, within = across(everything), _pairs(cell)
    possible_within = _pairs(groups)
    possible_across = len(rows) * (len(rows) - 1) / 2 - possible_within
    if n_across == 0 or n_across * possible_within <= MANY * within * possible_across:
        return None
    first = np.unique(cell, return_index=True)[1]
    in_groups = np.bincount(stimulus[first])
    shared = in_groups > 1
    agreeing = [across(y) + across(~y) for y in np.asarray(responses, bool).T]
    return DoublePass(int(shared.sum()), len(np.unique(groups[shared[stimulus]])), [n / n_across for n in agreeing])


def _pairs(codes: NDArray[np.integer]) -> int:
    """Of trials with the same code."""
    counts = np.bincount(codes)
    return int((counts * (counts - 1) // 2).sum())
