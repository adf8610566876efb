"""`python -m stages.predict`: new trials are coded as the study's, and predicted as the fit predicts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import yaml
from scipy.special import expit

from stages import predict
from tests.coding import DEFAULTS
from tests.conftest import run_here
from tests.test_prepare import OTHERS

Refuses = Callable[..., str]
Predict = Callable[..., pd.DataFrame]


def trials(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    contrast, rule = rng.normal(3, 2, n), rng.choice(["a", "b", "c"], n)
    logit = 0.8 * (contrast - 3) + 1.0 * (rule == "c") - 0.5
    yes, again = (rng.random(n) < expit(logit) for _ in range(2))
    return pd.DataFrame(
        {
            "contrast": contrast,
            "rule": rule,
            "choice": np.where(yes, "right", "left"),
            "sure": np.where(again, "1", "0"),
        }
    )


def run_study(folder: Path, solver: str = "exact", table: pd.DataFrame | None = None, **keys: Any) -> None:
    """Prepare, train and evaluate in a folder that the current one holds."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        (trials(3000, 0) if table is None else table).to_csv("t.csv", index=False)
        study = DEFAULTS | {"trials": "t.csv", "response": "choice=right", "formula": "~ contrast + rule"} | keys
        parameters = {"prepare": study, **OTHERS, "train": OTHERS["train"] | {"solver": solver, "num_epochs": 1}}
        Path("params.yaml").write_text(yaml.safe_dump(parameters))
        run_here("prepare", "train", "evaluate")


@pytest.fixture
def predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Run the command on a table of new trials, in the folder that holds the study."""
    monkeypatch.chdir(tmp_path)

    def call(table: pd.DataFrame, out: str = "p.csv") -> pd.DataFrame:
        table.to_csv("new.csv", index=False)
        monkeypatch.setattr(sys, "argv", ["predict", "study", "new.csv", "--out", out])
        predict.main()
        return pd.read_csv(out)

    return call


def test_probabilities_and_intervals_are_the_textbooks_where_trials_are_many(
    predicted: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_study(tmp_path / "study", standardise=True)
    new = trials(2500, 1)  # more than a batch
    new.loc[[0, 2100], "contrast"] = np.nan
    new.loc[7, "rule"] = None
    found = predicted(new.drop(columns=["choice", "sure"]))
    assert len(found) == 2500
    assert list(found) == ["probability", "low", "high"]
    assert np.flatnonzero(found.isna().any(axis=1)).tolist() == [0, 7, 2100]
    printed = capsys.readouterr().out
    assert "2500 trials\nlines left empty because a value is missing: 3" in printed
    numbers = found.probability.mean(), (found.high - found.low).mean()
    assert "choice=right {:.3f} {:.3f}".format(*numbers) in " ".join(printed.split())

    def design(table: pd.DataFrame) -> pd.DataFrame:
        dummies = pd.get_dummies(table.rule, dtype=float)[["b", "c"]]
        return sm.add_constant(pd.concat([table.contrast, dummies], axis=1))

    old, whole = trials(3000, 0), new.dropna()
    fit = sm.Logit((old.choice == "right").astype(float), design(old)).fit(disp=0)
    x = design(whole).to_numpy()
    logit = x @ fit.params.to_numpy()
    error = np.sqrt(np.einsum("ij,jk,ik->i", x, fit.cov_params().to_numpy(), x))
    ours = found.loc[whole.index]
    np.testing.assert_allclose(ours.probability, expit(logit), atol=0.004)
    np.testing.assert_allclose(ours.low, expit(logit - 1.96 * error), atol=0.006)
    np.testing.assert_allclose(ours.high, expit(logit + 1.96 * error), atol=0.006)


def test_several_classes_are_several_columns(predicted: Predict, tmp_path: Path) -> None:
    run_study(tmp_path / "study", response=["choice=right", "sure"])
    found = predicted(trials(5, 1))
    names = ["choice=right", "sure"]
    assert list(found) == [f"{key}[{name}]" for name in names for key in ("probability", "low", "high")]
    for name in names:
        assert (found[f"low[{name}]"] < found[f"probability[{name}]"]).all()
        assert (found[f"probability[{name}]"] < found[f"high[{name}]"]).all()
    assert np.abs(found["probability[sure]"] - found["probability[choice=right]"]).max() < 0.1  # drawn alike


@pytest.mark.parametrize("formula", [None, "~ bs(contrast, df=4) + C(rule)"])
def test_a_row_that_cannot_be_predicted_is_empty_and_the_others_are_as_alone(
    formula: str | None, predicted: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_study(tmp_path / "study", formula=formula, response=["choice=right", "sure"])
    new = trials(9, 1).astype(object)
    alone = predicted(new, "alone.csv")
    new.loc[3, "rule"], new.loc[4, "contrast"], new.loc[5, "contrast"] = "d", 1e308, "much"
    new.loc[6, "contrast"], new.loc[7, "rule"] = np.inf, None
    found = predicted(new)
    assert np.flatnonzero(found.isna().all(axis=1)).tolist() == [3, 4, 5, 6, 7]
    pd.testing.assert_frame_equal(found.drop([3, 4, 5, 6, 7]), alone.drop([3, 4, 5, 6, 7]))
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "9 trials lines left empty because a value is missing: 1 lines left empty because a value cannot be coded: "
        "4, the first: new.csv, line 5: rule is 'd', which it is in no trial of the study; it must be one of"
    ) in printed


def test_what_predictions_rest_on_is_said(predicted: Predict, tmp_path: Path, capsys: Any) -> None:
    run_study(
        tmp_path / "study", table=trials(3000, 0).assign(percent=lambda t: 100 * t.contrast), formula="~ . - sure"
    )
    assert predicted(trials(9, 1).assign(percent=7)).notna().all(axis=None)
    assert "taken to be as in the study: percent (it follows from contrast)" in capsys.readouterr().out


def as_long(n: int, seed: int) -> pd.DataFrame:
    """A row per value, of two intervals at two positions."""
    table = trials(n, seed).assign(t=range(n))
    values = np.random.default_rng(seed).normal(size=(2, 2, n))
    values[1, 0] = values[0, 0] + table.contrast
    rows = [table.assign(i=f"i{i + 1}", p=p, v=values[i, j]) for i in range(2) for j, p in enumerate("xy")]
    return pd.concat(rows)


LONG = {"trial": "t", "position": "p", "value": "v", "intervals": "i", "formula": "~ `v[x]` + `v[y]` + rule"}


def test_trials_of_a_long_file_are_predicted_by_their_number(predicted: Predict, tmp_path: Path) -> None:
    run_study(tmp_path / "study", table=as_long(3000, 0), **LONG)
    new = as_long(6, 1)
    whole = predicted(new, "whole.csv")
    assert list(whole) == ["t", "probability", "low", "high"]
    assert whole.t.tolist() == [0, 1, 2, 3, 4, 5]
    mixed = predicted(new.sample(frac=1, random_state=2), "mixed.csv")
    assert mixed.t.tolist() != whole.t.tolist()
    pd.testing.assert_frame_equal(mixed.sort_values("t", ignore_index=True), whole)
    found = predicted(new[(new.t != 2) | (new.p != "y")], "hole.csv")
    assert np.flatnonzero(found.probability.isna()).tolist() == [2]
    pd.testing.assert_frame_equal(found.drop(2), whole.drop(2))
    more = pd.concat([new, new[new.p == "y"].assign(p="z")]).assign(**{"v[x]": 7})
    pd.testing.assert_frame_equal(predicted(more, "more.csv"), whole)


def test_a_long_file_has_the_study_s_intervals_and_positions(predicted: Predict, tmp_path: Path) -> None:
    run_study(tmp_path / "study", table=as_long(3000, 0), **LONG)
    new = as_long(6, 1)
    of_others = new.assign(i=new.i.map({"i1": "i2", "i2": "i3"})), new.assign(p=new.p + "x")
    for k, part in enumerate((new[new.p == "x"], new[new.i == "i1"], new[new.i == "i2"], *of_others)):
        found = predicted(part, f"{k}.csv")
        assert found.t.tolist() == [0, 1, 2, 3, 4, 5]
        assert found.probability.isna().all()
    with_few = as_long(30, 2)
    assert predicted(with_few[(with_few.p == "x") | (with_few.t < 2)], "few.csv").probability.notna().sum() == 2
    other = pd.concat([new, new[new.t == 5].assign(t=6, p="z")])
    assert predicted(other, "other.csv").t.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_predictions_of_grouped_trials_name_trial_and_group_as_the_file_does(
    predicted: Predict, tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered = as_long(3000, 0).assign(who=lambda table: np.where(table.t % 2, "07", "b"))
    run_study(tmp_path / "study", table=numbered.assign(t=numbered.t // 2), group="who", **LONG)
    new = as_long(6, 1)
    whole = predicted(new.assign(t="0" + new.t.astype(str)), "whole.csv")
    assert list(whole) == ["t", "probability", "low", "high"]
    assert Path("whole.csv").read_text().splitlines()[2].startswith("01,0.")
    twice = pd.concat([new, new])
    twice.to_csv("new.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["predict", "study", "new.csv", "--out", "q.csv"])
    assert "columns in which trial numbers restart must be there, and named as group" in refuses(predict.main)
    both = pd.concat([new.assign(who="07"), new.assign(who=None)])
    found = predicted(both.assign(t="0" + both.t.astype(str)), "both.csv")
    assert list(found) == ["t", "who", "probability", "low", "high"]
    assert Path("both.csv").read_text().splitlines()[2].startswith("01,07,0.")
    for rows in (found[:6], found[6:]):
        pd.testing.assert_frame_equal(rows.drop(columns="who").reset_index(drop=True), whole)
    assert found.who[6:].isna().all()


def test_whatever_is_wrong_is_one_line_and_leaves_no_file(
    predicted: Predict, tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(tmp_path / "study", formula=None, response="choice=right")
    new = trials(5, 1)
    assert len(predicted(new)) == 5

    def wrong(table: pd.DataFrame, *arguments: str) -> str:
        table.to_csv("new.csv", index=False)
        monkeypatch.setattr(sys, "argv", ["predict", *(arguments or ("study", "new.csv", "--out", "q.csv"))])
        return refuses(predict.main)

    before = Path("p.csv").read_bytes()
    assert "--out p.csv: it must name a new file, in a folder that exists" in wrong(
        new, "study", "new.csv", "--out", "p.csv"
    )
    assert Path("p.csv").read_bytes() == before
    assert "no column 'contrast'; the nearest is contrasts" in wrong(new.rename(columns={"contrast": "contrasts"}))
    assert "line 2: rule is 'd', which it is in no trial of the study" in wrong(new.assign(rule="d"))
    assert "contrast is '1e+308'; it must be a number within ±1e+100" in wrong(new.assign(contrast=1e308))
    assert "contrast is 'inf'; it must be a number" in wrong(new.assign(contrast=np.inf))
    assert "it must be a number" in wrong(new.assign(contrast="much"))
    assert "params.yaml is missing; it must be in the folder of a study" in wrong(new, ".", "new.csv", "--out", "q.csv")
    assert "it must name a new file, in a folder that exists" in wrong(new, "study", "new.csv", "--out", "none/q.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "p.csv", "study"]


def test_without_an_exact_fit_there_are_no_predictions(predicted: Predict, tmp_path: Path, refuses: Refuses) -> None:
    run_study(tmp_path / "study", solver="adam")
    assert "train.solver: exact" in refuses(lambda: list(predicted(trials(3, 1))) and None)


def test_trials_with_responses_are_scored(
    predicted: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_study(tmp_path / "study")
    new = trials(200, 1)
    new.loc[3, "choice"] = None
    p, yes = predicted(new).probability.drop(3), (new.choice == "right").drop(3)
    right = np.where(yes, p, 1 - p)
    assert f"{-np.log(right).mean():.3f} {(right > 0.5).mean():.3f}" in " ".join(capsys.readouterr().out.split())
