"""Replication across groups: against fits by hand, and against the theory, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from hdlogit.asymptotics.theory import solve
from hdlogit.inference.double_pass import double_pass
from hdlogit.inference.replication import replicate
from stages.tables.replication import replication_metrics, replication_table

Array = NDArray[np.float64]
Groups = NDArray[np.int32]
SPREAD = np.linspace(0.5, 3, 40)  # standard deviations of the factors


def days(n_groups: int, n_trials: int, p: int, signal: float, seed: int = 0) -> tuple[Array, NDArray[np.bool_], Groups]:
    """Trials of one observer on so many days: factors of unequal units, responses of one class, groups."""
    rng = np.random.default_rng(seed)
    x = 1 + rng.standard_normal((n_groups * n_trials, p)) * SPREAD[:p]
    beta = rng.standard_normal(p)
    beta *= signal / np.linalg.norm(beta)
    y = rng.random(len(x)) < 1 / (1 + np.exp(-((x - 1) / SPREAD[:p]) @ beta))
    return x, y[:, None], np.repeat(np.arange(n_groups, dtype=np.int32), n_trials)


def test_the_classical_slope_is_that_of_fits_by_hand() -> None:
    x, y, groups = days(3, 300, 5, 1.5)
    x[:, 1] += x[:, 0]
    found = replicate(x, y[:, 0], groups)
    design, m, parts = sm.add_constant(x), np.cov(x.T), np.empty((3, 2))
    for g in range(3):
        one, others = (sm.Logit(y[rows, 0], design[rows]).fit(disp=0) for rows in (groups == g, groups != g))
        w, v = one.params[1:], others.params[1:]
        parts[g] = w @ m @ v, v @ m @ v - np.trace(m @ others.cov_params()[1:, 1:])
    assert found.trials == [300, 300, 300]
    assert found.classical.value == pytest.approx(
        parts[:, 0] / parts[:, 1], rel=0.01
    )  # the textbook's noise is smaller
    assert found.classical.common == pytest.approx(parts[:, 0].sum() / parts[:, 1].sum(), rel=0.01)


def test_one_group_overstates_what_the_theory_says_and_the_correction_corrects_it() -> None:
    x, y, groups = days(40, 400, 40, 1.5)
    found = replicate(x, y[:, 0], groups)
    alpha = solve(0.1, 1.5).alpha
    assert alpha > 1.12
    assert found.classical.common == pytest.approx(alpha, abs=3 * found.classical.common_error)
    assert found.corrected.common == pytest.approx(1, abs=3 * found.corrected.common_error)
    assert max(found.classical.common_error, found.corrected.common_error) < 0.02
    assert replication_metrics([found])["coverage"] == pytest.approx(0.95, abs=0.02)
    for slopes in (found.classical, found.corrected):  # standard errors are those of the scatter over groups
        assert np.std(slopes.value) == pytest.approx(np.sqrt(np.mean(slopes.error**2)), rel=0.35)


def test_the_error_of_the_common_slope_is_its_scatter_and_equal_groups_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(3)
    x, _, groups = days(4, 150, 12, 1.5)
    beta = rng.standard_normal(12) / SPREAD[:12] / 2
    y = rng.random((len(x), 24)) < 1 / (1 + np.exp(-(x - 1) @ beta))[:, None]
    found = [replicate(x, column, groups) for column in y.T]
    for name in ("classical", "corrected"):
        common = [getattr(one, name) for one in found]
        error = np.sqrt(np.mean([one.common_error**2 for one in common]))
        assert np.std([one.common for one in common]) == pytest.approx(error, rel=0.35)
        assert np.mean([one.p_value < 0.05 for one in common]) < 0.22  # of 24 at .05: .999 below


def test_groups_whose_weights_differ_in_length_are_told_apart() -> None:
    x, y, groups = days(6, 300, 10, 1.5)
    rng = np.random.default_rng(1)
    y[groups >= 3, 0] = rng.random((groups >= 3).sum()) < 0.5  # three of six do not look
    found = replicate(x, y[:, 0], groups)
    assert found.corrected.p_value < 1e-6
    assert found.corrected.df == 5


def test_a_group_without_an_estimate_has_a_reason_and_the_others_their_slopes() -> None:
    x, y, groups = days(4, 200, 5, 1.0)
    y[groups == 2] = True
    x[groups == 3, 1] = 7.0
    both = [replicate(x, of_class, groups) for of_class in (y[:, 0], ~y[:, 0])]
    for one in both:
        assert [not reason for reason in one.reasons] == [True, True, False, False]
        assert np.isnan(one.classical.value).tolist() == [False, False, True, True]
        assert "responses" in one.reasons[2]
        assert "factor 1 is constant" in one.reasons[3]
        assert not one.reasons[3].startswith("class")
    first, second = (one.classical for one in both)
    assert (first.value[0], first.error[0]) == pytest.approx((second.value[0], second.error[0]), rel=1e-4)


def test_the_table_names_classes_and_groups_and_the_metrics_are_means_over_classes() -> None:
    x, y, groups = days(4, 200, 5, 1.0)
    y[groups == 2] = True
    found = [replicate(x, of_class, groups) for of_class in (y[:, 0], ~y[:, 0])]
    table = replication_table(dict(zip("ab", found, strict=True)), [f"day {g}" for g in range(4)])
    means = replication_metrics(found)
    assert list(table["class"]) == ["a"] * 4 + ["b"] * 4
    assert list(table["group"]) == [f"day {g}" for g in range(4)] * 2
    assert np.isnan(table["classical"]).tolist() == [False, False, True, False] * 2
    assert [reason != "" for reason in table["reason"]] == [False, False, True, False] * 2
    for name in ("classical", "corrected"):
        values, errors = np.array([getattr(one, name)[2:4] for one in found]).T
        assert means[f"{name}_slope"] == pytest.approx(values.mean())
        assert means[f"{name}_slope_error"] == pytest.approx(np.hypot(*errors) / 2)
    assert means["coverage"] == pytest.approx(np.nanmean(table["covered"]))
    assert means["groups_without_estimate"] == 1


def test_stimuli_shown_twice_are_noticed_but_not_those_of_a_small_set() -> None:
    rng = np.random.default_rng(0)
    x, y, groups = days(2, 200, 5, 1.5)
    x[200:250] = x[50:100]
    found = double_pass(x, np.hstack([y, y]), groups)
    assert found is not None
    assert found[:2] == (50, 2)
    assert found.agreement == pytest.approx([np.mean(y[200:250] == y[50:100])] * 2)
    assert double_pass(days(2, 200, 5, 1.5)[0], y, groups) is None
    assert double_pass(rng.integers(0, 7, (400, 1)).astype(float), y, groups) is None
