"""Parts of trials, and the threads that take them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from hdlogit.compute import threads as parallel
from hdlogit.compute.threads import cut, each, quietly
from hdlogit.exact.solver import fit


@given(n=st.integers(1, 10**6), width=st.integers(1, 5000), most=st.integers(1, 2**22))
def test_parts_cover_all_rows_once_and_in_order(n: int, width: int, most: int) -> None:
    parts = cut(n, width, most) if n * width / most < 10**4 else cut(n, 1, n)
    assert parts[0].start == 0
    assert parts[-1].stop == n
    assert all(a.stop == b.start for a, b in pairwise(parts))
    lengths = [part.stop - part.start for part in parts]
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


def test_results_come_in_the_order_of_the_parts_however_long_each_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CORES", 2)
    monkeypatch.setattr(parallel, "WAITING", 7)

    def slow(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        return k

    assert list(each(slow, range(20))) == list(range(20))


def test_an_error_in_any_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CORES", 2)

    def fail(k: int) -> None:
        time.sleep(0.001)
        raise ValueError(k)

    with pytest.raises(ValueError, match=r"\d"):
        list(each(fail, range(4)))


def test_the_fit_is_the_same_to_the_last_bit_on_one_core_and_on_three(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    factors = torch.from_numpy(rng.standard_normal((3000, 8)))
    responses = torch.from_numpy(rng.random((3000, 3)) < 0.5)
    for module in ("objective", "plane"):
        monkeypatch.setattr(f"stages.{module}.BLOCK", {"cpu": 2**11})
    monkeypatch.setattr("hdlogit.exact.coordinates.PART", 2**11)
    found = []
    with ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(parallel, "_pool", lambda: pool)
        for cores in (1, 3):
            monkeypatch.setattr(parallel, "CORES", cores)
            found.append(fit(factors, responses).coefficients)
    assert torch.equal(*found)


def test_libraries_are_held_to_one_thread_and_let_go() -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = threads(), torch.get_num_threads()
    with quietly():
        assert set(threads()) == {1}
        assert torch.get_num_threads() == 1
    assert (threads(), torch.get_num_threads()) == before
