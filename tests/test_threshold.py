"""Threshold and slope of a psychometric function; d′ and criterion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit
from scipy.stats import norm

from hdlogit import LogisticRegression
from hdlogit.inference.threshold import stimuli
from hdlogit.psychometric.detection import detection
from stages.files.reading import Trials
from stages.files.tables import read_table
from stages.tables.psychometric import in_words, psychometric_table
from tests.coding import DEFAULTS
from tests.conftest import ROOT, SMALL, run_here

Array = NDArray[Any]

LEVELS = np.array([10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 100]) * 1e-4
CORRECT = np.array([45, 50, 44, 44, 52, 53, 62, 64, 76, 79, 88, 90, 90])  # of 90: psignifit's example, 2AFC


def trials(levels: Array, yes: Sequence[int] | Array, n: int) -> tuple[Array, Array]:
    return np.repeat(levels, n)[:, None], np.concatenate([np.arange(n) < k for k in yes])


def fitted(x: Array, y: Array, at: Sequence[float] = (), **options: Any) -> pd.DataFrame:
    model = LogisticRegression(**options).fit(x, y)
    return model.threshold(x, y, at).set_index("quantity")


def test_psignifits_example() -> None:
    """psignifit 4.3 with a logistic sigmoid: threshold .004633, width .004831, lapse rate 0, slope 152.4."""
    table = fitted(*trials(LEVELS, CORRECT, 90), at=[0.75], guess_rate=0.5, asymptotes="estimate")
    assert table.estimate["threshold"] == pytest.approx(0.004633, rel=1e-3)
    assert table.estimate["threshold at 0.75"] == pytest.approx(table.estimate["threshold"], rel=1e-3)
    assert table.estimate["width"] == pytest.approx(0.004831, rel=5e-3)
    assert table.estimate["slope"] == pytest.approx(152.4, rel=5e-3)
    assert table.estimate["lapse rate"] == pytest.approx(0, abs=1e-6)
    # Its intervals allow for overdispersion: threshold .00424 to .00492, width .0034 to .0063, lapse to .020.
    assert table.loc["threshold", ["low", "high"]].tolist() == pytest.approx([0.00424, 0.00492], rel=0.03)
    assert 0.0034 < table.low["width"] < 0.0040
    assert 0.0057 < table.high["width"] < 0.0064
    assert 0.005 < table.high["lapse rate"] < 0.02


def test_intervals_are_likelihood_ratios_where_a_lapse_rate_is_estimated() -> None:
    levels, n = np.linspace(-2, 2, 7), 29
    yes = np.array([15, 14, 18, 17, 25, 28, 27])
    x, y = trials(levels, yes, n)
    table = fitted(x, y, guess_rate=0.5, asymptotes="estimate")

    def loss(threshold: float, weight: float, lapse: float) -> float:
        p = 0.5 + (0.5 - lapse) * expit(weight * (levels - threshold))
        prior = 9 * np.log1p(-lapse) - weight**2 * (x.var() + (x.mean() - threshold) ** 2) / 200
        return -float(yes @ np.log(p) + (n - yes) @ np.log1p(-p) + prior)

    def least(of: Any, *starts: tuple[float, float]) -> float:
        how: Any = {"method": "L-BFGS-B", "bounds": [(-9, 9), (1e-9, 0.24)], "tol": 1e-13}
        return min(float(minimize(of, start, **how).fun) for start in starts)

    starts = [(weight, lapse) for weight in (1.0, 5.0) for lapse in (0.001, 0.1)]
    fine = {"xatol": 1e-9}
    best = minimize_scalar(lambda m: least(lambda v: loss(m, *v), *starts), bounds=(-1, 1), options=fine)
    assert table.estimate["threshold"] == pytest.approx(best.x, abs=1e-4)

    def excess(lost: float) -> float:
        return math.sqrt(2 * max(lost - best.fun, 0)) - 1.959964

    for k, far in (("low", -4), ("high", 4)):
        end = brentq(lambda m: excess(least(lambda v: loss(m, *v), *starts)), best.x, far, xtol=1e-6)
        assert table[k]["threshold"] == pytest.approx(end, abs=1e-4)
        other = [(threshold, lapse) for threshold in (0.0, 1.0) for lapse in (0.001, 0.1)]
        lost = least(lambda v, k=k: loss(v[0], 2 * math.log(19) / table[k]["width"], v[1]), *other)
        assert excess(lost) == pytest.approx(0, abs=1e-3)


def test_without_rates_the_interval_is_fiellers() -> None:
    rng = np.random.default_rng(3)
    x = rng.permutation(np.repeat(np.linspace(-2, 2, 5), 80))[:, None]
    y = rng.random(400) < expit(1.5 * x[:, 0] - 0.5)
    model = LogisticRegression().fit(x, y)
    (w,), b = model.coef_[0], model.intercept_[0]
    covariance = model.inference_[0].covariance
    row = model.threshold(x, y).set_index("quantity").loc["threshold"]
    assert row.estimate == pytest.approx(-b / w)
    for end in (row.low, row.high):
        at = np.array([end, 1.0])
        assert abs(at @ [w, b]) / math.sqrt(at @ covariance[:2, :2] @ at) == pytest.approx(1.959964, abs=1e-5)


def test_units_change_nothing_else() -> None:
    x, y = trials(np.linspace(-2, 2, 5), [3, 8, 21, 33, 38], 40)
    table = fitted(x, y, at=[0.8], asymptotes="estimate")
    other = fitted(1e-3 * (50 - x), y, at=[0.8], asymptotes="estimate")
    for quantity, row in table.iterrows():
        ends = np.array([row.estimate, row.low, row.high])
        if "threshold" in quantity:
            ends = 1e-3 * (50 - ends)[[0, 2, 1]]
        elif quantity == "slope":
            ends = -1e3 * ends[[0, 2, 1]]
        elif "rate" not in quantity:
            ends *= 1e-3
        found = other.loc[quantity, ["estimate", "low", "high"]].tolist()
        assert found == pytest.approx(ends, rel=1e-4, abs=1e-6)


@pytest.mark.filterwarnings("error")  # nothing is missing from the model
def test_a_flat_function_has_no_threshold() -> None:
    x, y = trials(np.linspace(-2, 2, 5), [20, 22, 18, 21, 20], 40)
    table = fitted(x, y)
    assert table.loc["threshold", ["low", "high"]].tolist() == [-math.inf, math.inf]
    assert table.high["width"] == math.inf
    assert "slope of 0" in table.note["threshold"]
    assert table.low["slope"] < 0 < table.high["slope"]
    said = in_words(table.reset_index().assign(**{"class": "yes"}), 0.95, {"yes": True})
    assert said[0].startswith("along x0: no threshold (a slope of 0 is not rejected), slope −0.00")
    steep = table.assign(high=math.inf, note="").reset_index().assign(**{"class": "yes"})
    assert ", ∞]" in in_words(steep[steep.quantity == "slope"], 0.95, {"yes": True})[0]


def test_conditions_are_those_of_the_other_factors() -> None:
    rng = np.random.default_rng(5)
    x, cue = rng.choice([0.1, 0.2, 0.4, 0.6], 3000), rng.integers(0, 2, 3000)
    y = rng.random(3000) < expit(9 * (x - np.where(cue, 0.25, 0.4)))
    together = pd.DataFrame({"x": x, "cue": cue, "x:cue": x * cue})
    table = LogisticRegression().fit(together, y).threshold(together, y).set_index(["condition", "quantity"])
    for value in (0, 1):
        alone = fitted(x[cue == value][:, None], y[cue == value])
        for quantity in ("threshold", "slope", "width"):
            row = table.loc[(f"cue = {value}", quantity), ["estimate", "low", "high"]]
            expected = alone.loc[quantity, ["estimate", "low", "high"]].tolist()
            assert row.tolist() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("columns", "names", "found"),
    [
        ("x", ["x"], {"x": [""]}),
        ("x c", ["x", "c"], {"x": ["c = 0", "c = 1"]}),
        ("c x c*x", ["c", "x", "c:x"], {"x": ["c = 0", "c = 1"]}),
        ("x c d", ["x", "c[T.b]", "d"], {"x": [f"d = {d}, c is {c}" for d in (0, 1) for c in ("not b", "b")]}),
        ("c", ["c"], {"c": [""]}),
        ("c d", ["c", "d"], {"c": ["d = 0", "d = 1"], "d": ["c = 0", "c = 1"]}),
        ("x x*x", ["x", "square"], {}),
        ("x z", ["x", "z"], {}),
        ("x c z d", ["x", "c", "lag(x, 1)", "lag(choice, 1)[T.b]"], {"x": ["c = 0", "c = 1"]}),
        ("x d x*d", ["x", "lag(d, 1)", "x:lag(d, 1)"], {}),
    ],
)
def test_what_is_a_stimulus(columns: str, names: list[str], found: dict[str, list[str]]) -> None:
    rng = np.random.default_rng(1)
    at = {"x": rng.choice([1.0, 2.0, 4.0], 400), "z": rng.choice([1.0, 2.0, 3.0, 4.0], 400)}
    at |= {"c": rng.integers(0, 2, 400), "d": rng.integers(0, 2, 400)}
    parts = [[at[name] for name in column.split("*")] for column in columns.split()]
    factors = np.column_stack([np.prod(part, axis=0) for part in parts]).astype(float)
    assert {s.name: [c.name for c in s.conditions] for s in stimuli(factors, names)} == found


def test_with_previous_responses_the_threshold_is_where_these_are_at_their_mean() -> None:
    rng = np.random.default_rng(2)
    x, before = rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], 600), rng.random(600) < 0.3
    factors = pd.DataFrame({"tilt": x, "lag(choice, 1)[T.b]": before.astype(float)})
    y = rng.random(600) < expit(1.5 * x - 1 + 2 * before)
    model = LogisticRegression().fit(factors, y)
    w, of_before = model.coef_.ravel()
    threshold = model.threshold(factors, y).set_index("quantity").loc["threshold"]
    assert threshold.estimate == pytest.approx(-(model.intercept_.item() + of_before * before.mean()) / w, rel=1e-4)
    assert threshold.low < (1 - 2 * before.mean()) / 1.5 < threshold.high


def test_d_prime_and_criterion() -> None:
    found = detection(84_134, 100_000, 15_866, 100_000)  # z = 1 and −1
    assert [found.d_prime, found.criterion] == pytest.approx([2, 0], abs=1e-4)
    variance = 2 * 0.84134 * 0.15866 / (100_000 * norm.pdf(1) ** 2)
    assert found.d_prime_interval == pytest.approx(
        (2 - 1.959964 * variance**0.5, 2 + 1.959964 * variance**0.5), abs=1e-4
    )
    assert found.criterion_interval[1] == pytest.approx(1.959964 * variance**0.5 / 2, abs=1e-4)
    assert not found.log_linear
    extreme = detection(20, 20, 3, 20)
    assert extreme.d_prime == pytest.approx(norm.ppf(20.5 / 21) - norm.ppf(3.5 / 21))
    assert extreme.log_linear


def test_intervals_of_d_prime_cover() -> None:
    rng = np.random.default_rng(7)
    for d, c, n in ((1.0, 0.0, 50), (2.0, 0.3, 100), (0.0, 0.5, 200)):
        hits, false_alarms = (rng.binomial(n, norm.cdf(sign * d / 2 - c), 2000) for sign in (1, -1))
        found = [detection(h, n, f, n) for h, f in zip(hits, false_alarms, strict=True)]
        for truth, key in ((d, "d_prime_interval"), (c, "criterion_interval")):
            low, high = np.array([getattr(one, key) for one in found]).T
            assert 0.93 < np.mean((low < truth) & (truth < high)) < 0.975


def test_a_study_along_one_stimulus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threshold of the factor and of what its logarithm is taken of, in tables, answer, figure and page."""
    rng = np.random.default_rng(2)
    contrast, cue = rng.choice([0.05, 0.1, 0.2, 0.4, 0.8], 600), rng.choice(["a", "b"], 600)
    logits = 8 * (np.log10(contrast) - np.where(cue == "a", -0.8, -0.4))
    yes = rng.random(600) < expit(logits)
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"contrast": contrast, "cue": cue, "yes": yes.astype(int)}).to_csv("t.csv", index=False)
    others = yaml.safe_load((ROOT / "params.yaml").read_text())
    prepare = DEFAULTS | {"response": "yes", "formula": "~ log10(contrast) + cue", "standardise": True}
    params = {"prepare": prepare, **{key: others[key] for key in ("train", "evaluate", "plot")}}
    params["evaluate"]["threshold_at"] = [0.75]
    params["train"] |= {"solver": "exact"}
    params["plot"] |= SMALL["plot"]
    Path("params.yaml").write_text(yaml.safe_dump(params))
    run_here("prepare", "train", "evaluate", "plot")
    table = read_table("inference/psychometric.csv").set_index(["stimulus", "condition", "quantity"])
    for where, truth in (("cue is not b", -0.8), ("cue is b", -0.4)):
        row = table.loc[("log10(contrast)", where, "threshold")]
        assert row.low < truth < row.high
        assert row.low + 0.2 > row.high
        own = table.loc[("contrast", where, "threshold")]
        assert [own.estimate, own.low, own.high] == pytest.approx(
            [10**row.estimate, 10**row.low, 10**row.high], rel=1e-4
        )
        assert table.estimate["contrast", where, "threshold at 0.75"] > own.estimate
    points, page = read_table("inference/psychometric_points.csv"), Path("data/report.html").read_text()
    assert points.trials.sum() == 600
    assert points.x.unique() == pytest.approx(np.log10([0.05, 0.1, 0.2, 0.4, 0.8]), abs=1e-5)
    answer = Path("data/inference/answer.txt").read_text()
    assert "along log10(contrast): where cue is not b: threshold −0." in answer
    assert page.count("<b>Psychometric function: fraction of yes along the stimulus, by condition.</b>") == 1
    assert "over the fitted index" not in page
    assert "The psychometric function</h2>" in page


def test_the_signal_is_what_responses_differ_most_by() -> None:
    x = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], 50, axis=0).astype(float)
    yes = np.concatenate([np.arange(50) < k for k in (5, 15, 30, 50)])[:, None]
    fit = SimpleNamespace(train=Trials(x, yes), classes=["yes"])
    found: Any = SimpleNamespace(
        fit=fit, classes=[None], p=SimpleNamespace(interval_level=0.95, known_rates=(None, None))
    )
    table = psychometric_table(found, stimuli(x, ["signal", "cue"]))
    assert {*table.stimulus} == {"signal"}
    first, _, second, _ = table.itertuples()
    assert (first.condition, first.estimate) == ("cue = 0", pytest.approx(norm.ppf(0.6) - norm.ppf(0.1)))
    assert (second.note != "", first.note) == (True, "")
    assert "along signal: where cue = 0: d′ (yes/no) 1.53 [" in in_words(table, 0.95, {"yes": True})[0]
    found.p.known_rates = (0.5, None)  # right or wrong
    assert psychometric_table(found, stimuli(x, ["signal", "cue"])).empty
