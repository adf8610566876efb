"""Formulas: the factors of R and statsmodels, and lags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.trials import coding
from stages.trials.design import Study, learn
from stages.trials.values import Table
from tests.coding import asked, coded, one_line, refused


def factors_of(study: Study, path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Of another file: (n_rows, n_factors), NaN where a row lacks a value; and what its factors are made from."""
    frame = study.coding.frame(study.open(path), study.p.groups)
    complete = frame.notna().all(axis=1)
    factors = np.full((len(frame), len(study.names)), np.nan)
    factors[complete] = study.coding.encode(frame[complete])
    assert np.isfinite(factors[complete]).all()
    return factors, frame


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    """60 trials of three days, written day by day in turn, so that the days are interleaved."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "contrast": rng.random(60).round(4) + 0.1,
            "side": rng.choice(["left", "right"], 60),
            "rule": rng.integers(1, 4, 60),
            "day": np.arange(60) % 3,
            "choice": rng.integers(0, 2, 60),
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.mark.parametrize(
    "text",
    [
        "choice ~ contrast * side + C(rule)",
        "~ contrast + I(contrast**2) + log(contrast):side",
        "poly(contrast, 3) + bs(contrast, df=5)",
        "center(contrast) + scale(rule) + sqrt(contrast) + abs(rule - 2)",
        "C(side, Treatment('right')) * C(rule, Sum)",
        "(contrast + side + rule) ** 2 - contrast:rule",
        "choice ~ contrast / side",
    ],
)
def test_factors_are_those_of_formulaic(text: str, trials: Path) -> None:
    table = pd.read_csv(trials)
    expected = formulaic.Formula(text.rpartition("~")[2]).get_model_matrix(
        table, context={"sqrt": np.sqrt, "abs": np.abs}
    )
    names, factors, _ = coded(trials, response="choice", formula=text)
    assert names == list(expected.columns[1:])
    np.testing.assert_allclose(factors, expected.to_numpy(float)[:, 1:], rtol=1e-12)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("~ side * frame*", "side * (frame1 + `frame.2` + frame3)"),
        ("~ side:frame* + frame*", "side:(frame1 + `frame.2` + frame3) + (frame1 + `frame.2` + frame3)"),
        ("frame* + I(frame* ** 2)", "frame1 + `frame.2` + frame3 + I(frame1**2) + I(`frame.2`**2) + I(frame3**2)"),
        ("lag(frame*, 1) + side", "lag(frame1, 1) + lag(`frame.2`, 1) + lag(frame3, 1) + side"),
        ("side*frame1", "side + frame1 + side:frame1"),
    ],
)
def test_a_pattern_stands_for_all_columns_like_it(short: str, long: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(40, 3)).round(3), columns=["frame1", "frame.2", "frame3"])
    table["side"], table["choice"] = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    table.to_csv(tmp_path / "t.csv", index=False)
    one, other = (coded(tmp_path / "t.csv", response="choice", formula=text) for text in (short, long))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])
    assert "no column is like fram_*; the nearest is frame" in refused(
        tmp_path / "t.csv", response="choice", formula="fram_* + side"
    )


def test_a_lag_is_the_row_before_in_the_same_group(trials: Path) -> None:
    table = pd.read_csv(trials)
    past = table.groupby("day")
    names, factors, responses = coded(
        trials,
        response="choice",
        group="day",
        formula="choice ~ contrast + lag(choice) + lags(side, 2) + C(lag(rule, 3))",
    )
    assert names == [
        *("contrast", "lag(choice, 1)", "lag(side, 1)[T.right]", "lag(side, 2)[T.right]"),
        *("C(lag(rule, 3))[T.2]", "C(lag(rule, 3))[T.3]"),
    ]  # fmt: skip
    complete = past.cumcount() >= 3
    expected = pd.DataFrame(
        {
            "contrast": table.contrast,
            "choice": past.choice.shift(1),
            "side1": past.side.shift(1) == "right",
            "side2": past.side.shift(2) == "right",
            "rule2": past.rule.shift(3) == 2,
            "rule3": past.rule.shift(3) == 3,
        }
    )[complete]
    np.testing.assert_array_equal(factors, expected.to_numpy(float))
    np.testing.assert_array_equal(responses[:, 0], table.choice[complete] == 1)


def test_several_columns_make_a_group(trials: Path) -> None:
    table = pd.read_csv(trials)
    past = table.groupby(["day", "side"])
    keys = {"response": "choice", "group": ["day", "side"], "formula": "lag(contrast, 1)"}
    _, factors, _ = coded(trials, **keys)
    np.testing.assert_array_equal(factors[:, 0], past.contrast.shift(1)[past.cumcount() >= 1])


def test_a_lag_reaches_back_over_rows_that_are_not_taken(trials: Path) -> None:
    table = pd.read_csv(trials)
    _, factors, _ = coded(trials, response="choice", formula="lag(contrast, 1)", where="side == 'left'")
    expected = table.contrast.shift(1)[(table.side == "left") & (table.index > 0)]
    np.testing.assert_array_equal(factors[:, 0], expected)


@pytest.mark.parametrize(
    "text", ["poly(contrast, 2) + bs(contrast, df=4) + scale(rule) + C(rule)*side", "contrast:side + lag(choice, 1)"]
)
def test_other_trials_are_coded_alike_and_rows_that_lack_a_value_stay_empty(text: str, trials: Path) -> None:
    study = learn(asked(response="choice", formula=text, group="day"), trials)
    whole, _ = factors_of(study, trials)
    table = pd.read_csv(trials).iloc[10:35].drop(columns="choice" if "choice" not in text else [])
    table.loc[12, "contrast"] = np.nan
    table.to_csv(trials.with_name("new.csv"), index=False)
    factors, frame = factors_of(study, trials.with_name("new.csv"))
    assert len(factors) == 25
    is_missing = np.isnan(factors[:, 0])
    np.testing.assert_array_equal(is_missing, frame.isna().any(axis=1))
    assert is_missing[2]
    np.testing.assert_allclose(factors[~is_missing], whole[10:35][~is_missing], rtol=1e-12)


def test_what_the_study_has_not_seen_is_not_coded_and_its_neighbours_are(trials: Path) -> None:
    study = learn(asked(response="choice", formula="C(rule) + side + bs(contrast, df=4)"), trials)
    for column, value, why in (
        ("rule", 7, "rule is '7', which it is in no trial of the study"),
        ("side", "up", "side is 'up', which it is in no trial of the study"),
        ("contrast", 100.0, "bs(contrast, df=4)[1] is outside the range of the study's trials"),
        ("contrast", "much", "contrast is 'much'; it must be a number"),
        ("contrast", np.inf, "contrast is 'inf'; it must be a number"),
    ):
        table = pd.read_csv(trials).astype({column: object})
        table.loc[3, column] = value
        table.to_csv(trials.with_name("new.csv"), index=False)
        frame = study.coding.frame(study.open(trials.with_name("new.csv")), study.p.groups)
        assert np.flatnonzero(np.isnan(study.coding.encode(frame)).any(axis=1)).tolist() == [3]
        assert study.coding.why_not(frame.iloc[[3]]).startswith(why)


@pytest.mark.parametrize(
    "text",
    [
        "log(contrast).mean()",
        "open(contrast)",
        "poly(*contrast)",
        "I(9**9**9)",
        "contrast | side",
        "[contrast ~ side]",
        "'side'",
        "(contrast + side) ** 1000000000",
        "lag(contrast, 0)",
        "lag(contrast, 100000)",
        "log(lags(contrast, 2))",
        "lag(log(contrast), 1)",
        "lag(contrast, side)",
        "lag(nothing, 1)",
        "contrast + choice",
        "I(choice)",
        "side ~ contrast",
        "choice ~ contrast ~ side",
        "contrast - 1",
        "0 + contrast",
        "1",
        "contrast +",
        "log(side)",
        "log(contrast - 5)",
        "contrst",
        "I(" + "-" * 5000 + "contrast)",
        "(" * 3000,
    ],
)
def test_whatever_is_no_formula_is_refused_in_one_line(text: str, trials: Path) -> None:
    assert len(refused(trials, response="choice", formula=text)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~ contrast + 0", "it removes the intercept"),
        ("~ 0 + contrast", "it removes the intercept"),
        ("~ contrast - 1", "it removes the intercept"),
        ("~ 1", "it names no factor; it must name columns"),
        ("~", "it names no factor; it must name columns"),
        ("~ C(abs(rule - 2))", "C(…) must be of a column, as in C(rule)"),
        ("~ I(contrast side)", "it must be a sum of columns"),
    ],
)
def test_what_would_be_right_is_told(text: str, message: str, trials: Path) -> None:
    assert message in refused(trials, response="choice", formula=text)


def test_the_point_stands_for_every_column(trials: Path) -> None:
    names, _, _ = coded(trials, response="choice", group="day", formula="choice ~ . + contrast:side")
    assert names[:3] == ["contrast", "side[T.right]", "rule"]


@given(st.text("abxy~+-*:/^()[]{}`'\"., 0123456789lagIC\\\n", max_size=25))
def test_any_text_is_a_formula_or_refused_in_one_line(text: str) -> None:
    table = Table("t.csv", pd.DataFrame({name: [1.0] for name in ("x", "y", "a b")}))

    def parse() -> None:
        columns = coding.of_formula(text, table, ["x", "a b"], ["y"])
        assert {columns.origin(name) for name in columns.columns.values()} <= {"x", "a b", "y"}

    assert one_line(parse)


def test_names_with_blanks_and_of_functions_are_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a b": rng.random(20), "lag": rng.random(20), "y": np.arange(20) % 2})
    table.to_csv(tmp_path / "t.csv", index=False)
    keys: dict[str, Any] = {"response": "y", "formula": "log(`a b`) + `a b`:lag + lag(`a b`, 1)"}
    _, factors, _ = coded(tmp_path / "t.csv", **keys)
    expected = np.column_stack([np.log(table["a b"]), table["a b"].shift(1), table["a b"] * table.lag])[1:]
    np.testing.assert_allclose(factors, expected)
