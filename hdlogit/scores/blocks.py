"""Sums over trials that stay on disk: in blocks of rows, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlogit.compute.threads import each, single_threaded_blas
from hdlogit.psychometric.function import Floats

BLOCK_ELEMENTS = 2**18  # numbers in a block of rows: 2 MB, so that temporaries stay in the cache


def blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Slices of consecutive rows of `width` numbers each, about BLOCK_ELEMENTS numbers at a time."""
    step = max(1, BLOCK_ELEMENTS // width)
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def total(function: Callable[..., Floats], *arrays: NDArray[Any]) -> Floats:
    """Sum over rows of `function(*rows)`, block by block: arrays (n, width) -> (width,) or what `function` gives."""

    def part(rows: slice) -> Floats:
        return np.asarray(function(*(a[rows] for a in arrays)).sum(0))

    with single_threaded_blas():
        return np.asarray(np.sum([*each(part, [*blocks(*arrays[0].shape)])], axis=0))


def mean(function: Callable[..., Floats], *arrays: NDArray[Any]) -> float:
    """Mean of an element-wise `function` over all entries of `arrays` (n, width)."""
    return float(total(function, *arrays).sum() / arrays[0].size)
