"""Sums over trials on threads: all parts once, in order, and the same to the last bit on any number of cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from hdlogit.compute.threads import cut, each, single_threaded_blas, total


@given(n=st.integers(1, 10**6), width=st.integers(1, 5000), most=st.integers(1, 2**22))
def test_parts_cover_all_rows_once_and_in_order(n: int, width: int, most: int) -> None:
    parts = cut(n, width, most) if n * width / most < 10**4 else cut(n, 1, n)
    assert parts[0].start == 0
    assert parts[-1].stop == n
    assert all(a.stop == b.start for a, b in pairwise(parts))
    lengths = [part.stop - part.start for part in parts]
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("waiting", [None, 1, 7])
def test_results_come_in_the_order_of_the_parts_however_long_each_takes(waiting: int | None) -> None:
    def slow(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        return k

    assert list(each(slow, range(20), waiting)) == list(range(20))


def test_a_total_adds_numbers_arrays_and_tuples_of_them() -> None:
    values = np.arange(20.0).reshape(10, 2)
    parts = cut(10, 2, 6)
    assert total(lambda rows: len(values[rows]), parts) == 10
    squares, count = total(lambda rows: (np.square(values[rows]).sum(axis=0), 1), parts)
    assert count == len(parts) > 1
    np.testing.assert_array_equal(squares, np.square(values).sum(axis=0))


@pytest.mark.parametrize("count", [1, 4])
def test_an_error_in_any_thread_is_raised(count: int) -> None:
    def fail(k: int) -> None:
        time.sleep(0.001)
        raise ValueError(k)

    with pytest.raises(ValueError, match=r"\d"):
        list(each(fail, range(count)))


def test_the_fit_is_the_same_to_the_last_bit_on_one_core_and_on_three() -> None:
    """Each in a process of its own: how many cores there are is asked once."""
    program = (
        "import numpy as np, hashlib; from hdlogit.exact import fit; rng = np.random.default_rng(5);"
        "x = rng.standard_normal((20000, 60)); y = rng.random((20000, 3)) < 0.5;"
        "print(hashlib.sha256(fit(x, y).coefficients.tobytes()).hexdigest())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "OMP_NUM_THREADS": cores, "OPENBLAS_NUM_THREADS": cores},
            stdout=subprocess.PIPE,
        )
        for cores in ("1", "3")
    ]
    one, three = (process.communicate(timeout=60)[0] for process in running)
    assert len(one) == 65
    assert one == three


def test_libraries_are_held_to_one_thread_and_let_go() -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = threads(), torch.get_num_threads()
    with single_threaded_blas():
        assert set(threads()) == {1}
        assert torch.get_num_threads() == 1
    assert (threads(), torch.get_num_threads()) == before
