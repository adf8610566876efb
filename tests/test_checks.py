"""What the trials of a study allow: factors that determine a weight, and trials that are held out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.trials.prepared import hold_out, undetermined
from tests.coding import asked


def test_factors_that_determine_no_weight_are_named() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([0, 1e6, 0], size=(200, 3))
    factors = np.column_stack([x, np.full(200, 7.0), x[:, 1], x[:, 0] + 2 * x[:, 2], rng.normal(size=200)])
    why_not, mean, sd = undetermined(factors, list("abcdefg"))
    assert why_not == {3: "it is 7 in every trial", 4: "it follows from b", 5: "it follows from a, c"}
    np.testing.assert_allclose(mean, factors.mean(axis=0))
    np.testing.assert_allclose(sd, factors.std(axis=0), rtol=1e-9)


@given(
    n=st.integers(1, 60),
    fraction=st.floats(0, 0.9),
    by=st.sampled_from(["trial", "group", "last"]),
    seed=st.integers(0, 9),
)
def test_what_is_held_out_is_whole(n: int, fraction: float, by: str, seed: int) -> None:
    groups, p = np.arange(n) // 4, asked(held_out=fraction, held_out_by=by, seed=seed, group="g")
    test = hold_out(p, n, groups)
    np.testing.assert_array_equal(test, hold_out(p, n, groups))
    if by == "group":
        assert not {*groups[test]} & {*groups[~test]}
    else:
        assert test.sum() == round(fraction * n)
    if by == "last":
        np.testing.assert_array_equal(np.flatnonzero(test), np.arange(n)[n - test.sum() :])
