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

MANY = 10  # times as often as within a group a stimulus must come back in each other group


class DoublePass(NamedTuple):
    """Stimuli shown in more than one group."""

    stimuli: int
    groups: int  # that share some of them
    agreement: list[float]  # of each class: fraction of pairs of groups in which a stimulus has the same response


def double_pass(factors: Factors, responses: Responses, groups: NDArray[np.integer]) -> DoublePass | None:
    """None where no stimulus is shared, or by design: few stimuli come back within groups as well as across them.

    factors: (n, p), a stimulus is a row of them; responses: (n, k) bool, of which the first to a stimulus in a group
    counts; groups: (n,).
    """
    rows = [hash(row.tobytes()) for block in cut(*factors.shape) for row in np.ascontiguousarray(factors[block])]
    stimulus = np.unique(rows, return_inverse=True)[1]
    first = np.unique(np.column_stack([stimulus, groups]), axis=0, return_index=True)[1]
    n_groups = np.bincount(stimulus[first])  # in which each stimulus is shown
    again_within, again_across = len(rows) - len(first), len(first) - len(n_groups)
    if again_across <= MANY * (len(np.unique(groups)) - 1) * again_within:
        return None

    def pairs(counts: NDArray[np.integer]) -> int:
        return int((counts * (counts - 1) // 2).sum())

    yes = [np.bincount(stimulus[first[y]], minlength=len(n_groups)) for y in responses[first].T]
    agreement = [(pairs(of_class) + pairs(n_groups - of_class)) / pairs(n_groups) for of_class in yes]
    shared = n_groups > 1
    return DoublePass(int(shared.sum()), len(np.unique(groups[shared[stimulus]])), agreement)
