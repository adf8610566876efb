"""Sums over trials on all cores, in threads that sleep while they wait.

    total(of_block, cut(n_trials, n_factors))        # of_block(rows: slice) -> arrays, which are added up

BLAS and OpenMP have threads of their own, which spin while they wait: with other work on the same cores, a
product of half a millisecond then takes a hundred. So both are held to one thread (`single_threaded_blas`),
trials are cut into blocks of rows, and our own threads take block after block. The cuts depend on the trials
alone, and results are summed in order, so the sum is the same to the last bit on one core or many; memory
does not grow with the number of trials.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from operator import add
from typing import Any, TypeVar

import numpy  # noqa: F401  # the BLAS that is asked
from threadpoolctl import ThreadpoolController, threadpool_info

Part = TypeVar("Part")
Result = TypeVar("Result")

# As many as BLAS would use: OMP_NUM_THREADS or OPENBLAS_NUM_THREADS, or what the processor has.
_BLAS = (library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
CORES = max(_BLAS, default=os.cpu_count() or 1)

BLOCK = 2**18  # numbers in a block: small enough for the cache, large enough for BLAS
WAITING = 64  # results that may wait to be summed


def cut(n: int, width: int, most: int = BLOCK) -> list[slice]:
    """Slices of n rows of this width, about equally long, each of at most `most` numbers where possible."""
    if n == 0:
        return []
    count = -(-n * width // most)
    count = min(n, count + count % 2) if count > 1 else 1  # even, for two cores
    return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]


def each(
    work: Callable[[Part], Result],
    parts: Sequence[Part],
    waiting: int | None = None,
) -> Iterator[Result]:
    """The results of `work` on each part, in order; at most `waiting` (or WAITING) are held at a time."""
    if len(parts) == 1:
        yield work(parts[0])
        return
    window = max(waiting or WAITING, CORES)
    for start in range(0, len(parts), window):
        yield from _each(work, parts[start : start + window])


def total(work: Callable[[Part], Result], parts: Sequence[Part], waiting: int | None = None) -> Result:
    """The sum of the results of `work` on the parts, one or more: numbers, arrays, or tuples of them."""
    results: Iterator[Any] = each(work, parts, waiting)
    found = next(results)
    if not isinstance(found, tuple):
        return sum(results, found)  # type: ignore[no-any-return]  # a sum of results is one
    for result in results:
        found = tuple(map(add, found, result))
    return found  # type: ignore[return-value]


def _each(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    todo, results = iter(range(len(parts))), dict[int, Result]()

    def some() -> None:
        for k in todo:  # shared: each thread takes the next
            results[k] = work(parts[k])

    # The calling thread works too: waking another costs as much as a small product. All share NumPy's state.
    others = [_pool().submit(copy_context().run, some) for _ in range(min(CORES, len(parts)) - 1)]
    some()
    for other in others:
        other.result()
    return [results[k] for k in range(len(parts))]


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Within this, BLAS and OpenMP use the thread that calls them, and no other."""
    torch = sys.modules.get("torch")  # if it is not imported yet, it is not in use
    threads = torch.get_num_threads() if torch else 0
    with _libraries().limit(limits=1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CORES)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
