"""What the trials of a study allow: factors that determine a weight, and trials that are held out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files.errors import InputError
from stages.trials.checks import dependent, hold_out, repeats


def test_a_factor_whose_squares_overflow_is_refused_by_name() -> None:
    factors = np.random.default_rng(0).normal(size=(50, 2))
    factors[3, 1] = 1e200
    with pytest.raises(InputError, match=r"mine\.csv: b holds numbers so large that their squares are not finite"):
        dependent(factors, ["a", "b"], "mine.csv")


def test_factors_that_determine_no_weight_are_named_and_known_elsewhere() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([0, 1e6, 0], size=(200, 3))
    factors = np.column_stack([x, np.full(200, 7.0), x[:, 1], x[:, 0] + 2 * x[:, 2], rng.normal(size=200)])
    found, mean, sd = dependent(factors, list("abcdefg"), "mine.csv")
    assert {each.index: each.why for each in found} == {
        3: "it is 7 in every trial",
        4: "it equals b in every trial",
        5: "it follows from a, c (a linear combination)",
    }
    np.testing.assert_allclose(mean, factors.mean(axis=0))
    np.testing.assert_allclose(sd, factors.std(axis=0), rtol=1e-9)
    for each in found:
        changed = factors.copy()
        changed[7, each.index] += 1
        assert np.flatnonzero(each.differs(changed, mean)).tolist() == [7]


@given(
    hashes=st.lists(st.integers(0, 60), min_size=1, max_size=60),
    fraction=st.floats(0, 0.9),
    by=st.sampled_from(["trial", "group", "last"]),
    seed=st.integers(0, 9),
)
def test_what_is_held_out_is_whole(hashes: list[int], fraction: float, by: str, seed: int) -> None:
    groups = np.arange(len(hashes)) // 4
    same, n_repeated = repeats(np.array(hashes, float)[:, None], np.zeros((len(hashes), 1), bool))
    assert n_repeated == len(hashes) - len(set(hashes))
    test = hold_out(fraction, by, same, groups, seed)
    np.testing.assert_array_equal(test, hold_out(fraction, by, same, groups, seed))
    units = groups if by == "group" else same
    assert not set(units[test]) & set(units[~test])
    if by == "last" and n_repeated == 0:
        np.testing.assert_array_equal(np.flatnonzero(test), np.arange(len(hashes))[len(hashes) - test.sum() :])
    if n_repeated == 0 and by != "group":
        assert test.sum() == round(fraction * len(hashes))
