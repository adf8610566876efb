"""Replication across groups: against fits by hand, and against the theory, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from hdlogit.asymptotics.theory import solve
from hdlogit.inference.replication import GroupReplication, Slope, replicate
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


def test_the_plain_slope_is_that_of_two_fits_by_hand() -> None:
    x, y, groups = days(3, 300, 5, 1.5)
    [found] = replicate(x, y, groups)
    design, sd = sm.add_constant(x), x.std(axis=0)
    for g, group in enumerate(found):
        one, others = (sm.Logit(y[rows, 0], design[rows]).fit(disp=0) for rows in (groups == g, groups != g))
        w, v = one.params[1:] * sd, others.params[1:] * sd
        noise = (np.diag(others.cov_params())[1:] * sd**2).sum()
        assert group.trials == 300
        assert group.plain is not None
        assert group.plain.value == pytest.approx(w @ v / (v @ v - noise), rel=0.01)  # the textbook's noise is smaller


def test_one_group_overstates_what_the_theory_says_and_the_correction_corrects_it() -> None:
    x, y, groups = days(40, 400, 40, 1.5)
    [found] = replicate(x, y, groups)
    means = replication_metrics([found])
    alpha = solve(0.1, 1.5).alpha
    assert alpha > 1.12
    assert means["plain_slope"] == pytest.approx(alpha, abs=3 * (means["plain_slope_error"] or 0))
    assert means["corrected_slope"] == pytest.approx(1, abs=3 * (means["corrected_slope_error"] or 0))
    assert means["coverage"] == pytest.approx(0.95, abs=0.02)
    for name in ("plain", "corrected"):  # standard errors are those of the scatter over groups
        slopes = [getattr(group, name) for group in found]
        claimed = np.sqrt(np.mean([slope.error**2 for slope in slopes]))
        assert np.std([slope.value for slope in slopes]) == pytest.approx(claimed, rel=0.35)


def test_a_group_without_an_estimate_has_a_reason_and_the_others_their_slopes() -> None:
    x, y, groups = days(4, 200, 5, 1.0)
    y[groups == 2] = True
    x[groups == 3, 1] = 7.0
    both = replicate(x, np.hstack([y, ~y]), groups)
    for found in both:
        assert [group.reason is None for group in found] == [True, True, False, False]
        assert found[2].plain is None
        assert "responses" in str(found[2].reason)
        assert "factor 1 is constant" in str(found[3].reason)
        assert not str(found[3].reason).startswith("class")
    assert both[0][0].plain == pytest.approx(both[1][0].plain, rel=1e-4)


def test_the_table_names_classes_and_groups_and_the_metrics_are_its_means() -> None:
    x, y, groups = days(4, 200, 5, 1.0)
    y[groups == 2] = True
    found = replicate(x, np.hstack([y, ~y]), groups)
    table = replication_table(["a", "b"], found, [f"day {g}" for g in range(4)])
    means = replication_metrics(found)
    assert list(table["class"]) == ["a"] * 4 + ["b"] * 4
    assert list(table["group"]) == [f"day {g}" for g in range(4)] * 2
    assert np.isnan(table["plain"]).tolist() == [False, False, True, False] * 2
    assert [reason != "" for reason in table["reason"]] == [False, False, True, False] * 2
    for name in ("plain", "corrected"):
        by_group = np.reshape(table[name], (2, 4))[:, [0, 1, 3]].mean(axis=0)
        assert means[f"{name}_slope"] == pytest.approx(by_group.mean())
        assert means[f"{name}_slope_error"] == pytest.approx(by_group.std(ddof=1) / np.sqrt(3))
    assert means["coverage"] == pytest.approx(np.nanmean(table["covered"]))
    assert means["groups_without_estimate"] == 1


def test_groups_that_determine_no_slope_are_counted_and_do_not_count() -> None:
    """A day of 81 trials of the rat, with guess and lapse rates estimated, has the slope 39 ± 19."""
    good = [GroupReplication(g, 200, Slope(1.2, 0.1), Slope(1 + 0.1 * g, 0.2), 0.95, None) for g in range(3)]
    short = GroupReplication(3, 81, Slope(2.2, 1.1), Slope(38.8, 18.8), 1.0, None)
    with_it, without = replication_metrics([[*good, short]]), replication_metrics([good])
    assert with_it["groups_undetermined"] == 1
    assert without["groups_undetermined"] == 0
    for name in ("plain_slope", "corrected_slope", "corrected_slope_error"):
        assert with_it[name] == without[name]
    assert replication_metrics([[short]])["corrected_slope"] is None
