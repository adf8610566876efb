"""The estimator: by scikit-learn's own checks, against statsmodels, `infer` and the truth."""

from __future__ import annotations

import doctest
import importlib
import pickle
import re
import sys
import tomllib
import warnings
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn import linear_model
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from hdlogit import LogisticRegression, fit, infer
from hdlogit.estimator import ModelWarning
from tests.conftest import ROOT
from tests.problems import Experiment, gaussian

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def many() -> tuple[Experiment, LogisticRegression]:
    """12 responses to 90 factors in 600 trials."""
    problem = gaussian(5, 600, 90, 12, 3.0, 0.5)
    return problem, LogisticRegression().fit(problem.factors, problem.responses)


@pytest.fixture(scope="module")
def named() -> tuple[pd.DataFrame, NDArray[np.str_]]:
    problem = gaussian(6, 400, 3, 1, 1.5)
    X = pd.DataFrame(problem.factors, columns=["contrast", "speed", "age"])
    return X, np.where(problem.responses[:, 0], "right", "left")


@parametrize_with_checks([LogisticRegression()])  # type: ignore[untyped-decorator]  # scikit-learn ships no types
def test_passes_the_checks_of_scikit_learn(
    estimator: BaseEstimator, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdlogit.estimator.logistic_regression.questions", lambda *_, **__: [])  # half of the time
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # most of its data are separated, of which fit warns
        check(estimator)


# --- the numbers


def test_corrected_numbers_are_those_of_infer(many: tuple[Experiment, LogisticRegression]) -> None:
    (_, factors, responses), model = many
    inferred = infer(factors, responses, fit(factors, responses, polish=True).coefficients)
    new = gaussian(7, 50, 90, 1, 1.0).factors
    low, high = model.conf_int(0.9)[..., 0], model.conf_int(0.9)[..., 1]
    for k, found in enumerate(inferred):
        assert not found.reason
        np.testing.assert_allclose([*model.coef_[k], model.intercept_[k]], found.corrected)
        np.testing.assert_allclose([*model.classical_coef_[k], model.classical_intercept_[k]], found.estimate)
        np.testing.assert_allclose([*model.coef_error_[k], model.intercept_error_[k]], found.corrected_error)
        np.testing.assert_allclose(model.p_values_[k], found.p_values()[:-1])
        np.testing.assert_allclose([low[k], high[k]], np.array(found.interval(0.9))[:, :-1])
        predicted = found.predict(new, 0.9)
        np.testing.assert_allclose(model.predict_proba(new)[:, k], predicted.probability)
        np.testing.assert_allclose(model.predict_interval(new, 0.9)[:, k].T, [predicted.low, predicted.high])


def test_intervals_cover_where_the_textbooks_do_not(many: tuple[Experiment, LogisticRegression]) -> None:
    (observer, *_), model = many
    truth = observer[:-1].T

    def coverage(intervals: Array, truth: Array) -> float:
        return float(((intervals[..., 0] < truth) & (truth < intervals[..., 1])).mean())

    assert coverage(model.conf_int(), truth) == pytest.approx(0.95, abs=0.016)  # 1080 intervals: ± 0.0066
    classical = [f.classical_interval() for f in model.inference_ if not f.reason]
    assert coverage(np.stack(classical).transpose(0, 2, 1)[:, :-1], truth) < 0.9
    new = gaussian(8, 500, 90, 1, 1.0).factors
    probability = expit(new @ observer[:-1] + observer[-1])
    assert coverage(model.predict_interval(new), probability) == pytest.approx(0.95, abs=0.02)


def test_what_cannot_be_corrected_is_as_fitted_without_errors(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    line = "not corrected: factors age, again are linearly dependent: these data cannot tell them apart, omit one"
    with pytest.warns(UserWarning, match=f"^{line}; coefficients are as fitted, without errors and tests$"):
        model = LogisticRegression(tol=1e-9).fit(X.assign(again=X["age"]), y)
    textbook = sm.Logit(y == "right", sm.add_constant(X)).fit(disp=0)
    table = model.summary()
    np.testing.assert_allclose(table["coef"].iloc[:3], textbook.params[:3], rtol=1e-5)
    assert table[["std err", "z", "P>|z|", "[0.025", "0.975]"]].isna().all(axis=None)
    predicted = textbook.get_prediction(sm.add_constant(X[:20]), which="linear").predicted
    np.testing.assert_allclose(model.decision_function(X[:20].assign(again=X["age"])), predicted, rtol=1e-4)
    assert np.isnan(model.predict_interval(X[:1].assign(again=5.0))).all()


@pytest.mark.parametrize(
    ("how", "guess_rate"),
    [
        ({}, 0),
        ({"ridge": 0.01}, 0),
        ({"shrinkage": "always"}, 0),
        ({"guess_rate": 0.2}, 0.2),
        ({"asymptotes": "estimate"}, pytest.approx(0.2, abs=0.06)),
    ],
)
def test_decisions_are_the_log_odds_of_the_predicted_probabilities(how: dict[str, Any], guess_rate: Any) -> None:
    problem = gaussian(9, 3000, 5, 1, 2.0)
    yes = problem.responses[:, 0] | (np.random.default_rng(0).random(3000) < 0.2)
    model = LogisticRegression(**how).fit(problem.factors, yes)
    [found], x = model.inference_, problem.factors[:100]
    assert not found.reason
    np.testing.assert_allclose(model.decision_function(x), logit(found.predict(x).probability), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)
    assert model.guess_rate_[0] == guess_rate


def test_separated_responses_are_fitted_with_shrinkage(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    separated = np.column_stack([y == "right", X["speed"] > 0])
    lines = "^1: no maximum-likelihood estimate exists \\(separated by speed\\); fitted with shrinkage 0.00744"
    with pytest.warns(UserWarning, match=lines):
        model = LogisticRegression().fit(X, separated)
    np.testing.assert_allclose(model.shrinkage_, [0, 3 / 403])
    alone = LogisticRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_[0], alone.coef_[0], rtol=1e-5)
    assert model.score(X, separated) > 0.6
    with pytest.raises(ValueError, match=r"^1: the factors separate its responses"):
        LogisticRegression(shrinkage=0).fit(X, separated)


# --- the manners


def test_a_summary_has_the_columns_of_regression_tables(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    model = LogisticRegression(level=0.9).fit(X, y)
    table = model.summary()
    assert list(table.columns) == ["coef", "std err", "z", "P>|z|", "[0.05", "0.95]", "classical coef"]
    assert list(table.index) == ["Intercept", "contrast", "speed", "age"]
    np.testing.assert_array_equal(table["coef"], [model.intercept_[0], *model.coef_[0]])
    np.testing.assert_array_equal(table.iloc[1:, 4:6], model.conf_int()[0])


def test_several_responses_keep_their_names(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    Y = pd.DataFrame({"first": y, "second": y[::-1]})
    model = LogisticRegression().fit(X, Y)
    assert list(model.summary().index.levels[0]) == ["first", "second"]
    assert model.predict(X).shape == model.predict_proba(X).shape == (400, 2)
    assert set(model.predict(X).ravel()) == {"left", "right"} == set(model.classes_)
    np.testing.assert_allclose(model.summary().loc["first"], LogisticRegression().fit(X, y).summary(), rtol=1e-4)


def test_works_where_scikit_learns_own_estimators_do(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=3, scoring="roc_auc").min() > 0.75
    search = GridSearchCV(pipeline, {"logisticregression__ridge": [0.0, 0.01]}, scoring="neg_log_loss", cv=2)
    assert search.fit(X, y).best_score_ > np.log(0.5)
    assert clone(LogisticRegression(ridge=0.5)).get_params()["ridge"] == 0.5
    model = LogisticRegression().fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))
    pd.testing.assert_frame_equal(again.summary(), model.summary())


@pytest.mark.parametrize(
    ("how", "labels", "line"),
    [
        ({"shrinkage": 0.1}, "ab", "shrinkage must be one of 0, 'auto', 'always', got 0.1"),
        ({"asymptotes": "both"}, "ab", "asymptotes must be one of 'none', 'estimate', 'tied', got 'both'"),
        ({"level": 95}, "ab", "level must be between 0 and 1, got 95"),
        ({"guess_rate": 1.5}, "ab", "rates must be from 0 to 0.5, together below 1, got 1.5 and 0"),
        ({"max_iter": 1, "shrinkage": 0}, "ab", "not converged, max |gradient|"),
        ({}, "abc", "Only binary classification is supported. The type of the target is multiclass."),
        ({}, "a", "y has one class; two are needed"),
        ({}, ["ab", "a"], "column 1 of y has one class; two are needed"),
        ({}, ["ab", "cd"], "y has 4 classes; two are needed, the same in all columns"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(how: dict[str, Any], labels: Any, line: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = rng.choice([*labels], 60) if isinstance(labels, str) else np.stack([rng.choice([*x], 60) for x in labels], 1)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        LogisticRegression(**how).fit(X, y)
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("form", [list, np.array, pd.Series, lambda y: pd.DataFrame({"whole": y[::-1], "y": y})])
def test_missing_labels_are_refused(missing: Any, form: Any) -> None:
    y = np.array([*"aab" * 20], object)
    y[7] = missing
    with pytest.raises(ValueError, match=r"^y holds missing labels; leave trials without a label out of X and y$"):
        LogisticRegression().fit(np.random.default_rng(0).normal(size=(60, 2)), form(y))


def test_a_ridge_is_1_over_n_trials_times_c_of_scikit_learn(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    ours = LogisticRegression(ridge=1 / (len(X) * 0.3), tol=1e-9).fit(X, y)
    theirs = linear_model.LogisticRegression(C=0.3, tol=1e-9).fit(X, y)
    np.testing.assert_allclose(ours.classical_coef_, theirs.coef_, rtol=1e-5)


# --- trials that occurred several times


def test_weights_of_trials_are_frequencies(named: tuple[pd.DataFrame, NDArray[np.str_]]) -> None:
    X, y = named
    times = np.random.default_rng(0).integers(0, 4, len(X))
    model = LogisticRegression(tol=1e-9).fit(X, y, sample_weight=times)
    repeated = LogisticRegression(tol=1e-9).fit(X.loc[X.index.repeat(times)], np.repeat(y, times))
    pd.testing.assert_frame_equal(model.summary(), repeated.summary())
    with pytest.raises(ValueError, match=rf"^X must be the {times.sum()} trials of the fit.*, got {len(X)}$"):
        model.joint_tests(X, y, "*")
    family = sm.families.Binomial()
    textbook = sm.GLM(y == "right", sm.add_constant(X), family=family, freq_weights=times).fit(tol=1e-12)
    np.testing.assert_allclose(model.classical_coef_[0], textbook.params[1:], rtol=1e-6)
    np.testing.assert_allclose(model.inference_[0].classical_error[:-1], textbook.bse[1:], rtol=1e-6)
    weights = {"logisticregression__sample_weight": times}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y, **weights)
    np.testing.assert_allclose(pipeline[-1].p_values_, model.p_values_, rtol=1e-3)


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        (np.full(60, 0.5), "sample_weight must be 60 whole numbers, how often each trial occurred; for other weights"),
        (np.full(60, np.nan), "sample_weight must be 60 whole numbers"),
        (-np.ones(60), "sample_weight must be 60 whole numbers"),
        (np.ones(59), "sample_weight must be 60 whole numbers"),
        (np.zeros(60), "sample_weight is zero for every trial"),
        (np.arange(60) % 2, "y has one class; two are needed"),
    ],
)
def test_other_weights_of_trials_are_refused(weights: Array, line: str) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match=rf"^{line}[^\n]*$"):
        LogisticRegression().fit(X, np.arange(60) % 2, sample_weight=weights)


def test_log_probabilities_are_exact_where_probabilities_round_to_0_or_1(
    named: tuple[pd.DataFrame, NDArray[np.str_]],
) -> None:
    X, y = named
    model = LogisticRegression().fit(X, y)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), rtol=1e-10)
    with mpmath.workdps(30):
        for row, z in zip(model.predict_log_proba(100 * X[:20]), model.decision_function(100 * X[:20]), strict=True):
            np.testing.assert_allclose(
                row, [float(-mpmath.log1p(mpmath.exp(sign * z))) for sign in (1, -1)], rtol=1e-12
            )
    both = LogisticRegression().fit(X, np.column_stack([y, y[::-1]]))
    np.testing.assert_allclose(both.predict_log_proba(X), np.log(both.predict_proba(X)), rtol=1e-10)


def test_without_scikit_learn_the_estimator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    for module in ("hdlogit.estimator", "hdlogit.estimator.logistic_regression"):
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(
        ImportError, match=r"needs scikit-learn and pandas: pip install scikit-learn pandas; hdlogit.fit"
    ):
        importlib.import_module("hdlogit.estimator")


def test_the_readme_s_pip_line_installs_what_the_estimator_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [extras] = re.findall(r"`pip install '\.\[(.*)\]'` installs `hdlogit`", (ROOT / "README.md").read_text())
    listed = [*project["dependencies"], *project["optional-dependencies"][extras]]
    installed = {re.split(r"[><=]", package)[0].replace("scikit-learn", "sklearn") for package in listed}
    code = "".join(path.read_text() for path in (ROOT / "hdlogit" / "estimator").glob("*.py"))
    imported = set(re.findall(r"^ *(?:from|import) (\w+)", code, re.MULTILINE))
    assert {"sklearn", "pandas"} < imported - {"hdlogit", *sys.stdlib_module_names} <= installed


def test_the_page_on_the_library_is_true() -> None:
    assert doctest.testfile(str(ROOT / "docs/library.md"), module_relative=False, encoding="utf-8").failed == 0


def test_fit_warns_where_the_model_lacks_something_and_a_table_says_what() -> None:
    rng = np.random.default_rng(21)
    x = rng.normal(size=(800, 4))
    clean = rng.random(800) < expit(x[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegression().fit(x, clean)
        LogisticRegression().fit(x[np.argsort(clean)], np.sort(clean))  # sorted by response: nothing is asked of order
    squared = rng.random(800) < expit(x[:, 0] + x[:, 1] ** 2 - 1)
    with pytest.warns(ModelWarning, match="the model lacks squares of the factors"):
        model = LogisticRegression().fit(pd.DataFrame(x, columns=[*"abcd"]), squared)
    table = model.questions(pd.DataFrame(x, columns=[*"abcd"]), squared, groups=np.repeat([0, 1], 400))
    assert table.family[0] == "squares of the factors"
    assert {"previous responses", "differences between groups"} <= {*table.family}


def test_families_of_factors_are_tested_together() -> None:
    rng = np.random.default_rng(22)
    x = pd.DataFrame(rng.normal(size=(600, 5)), columns=["tone1", "tone2", "lag1", "lag2", "side"])
    y = rng.random(600) < expit(0.5 * x["tone1"])
    model = LogisticRegression().fit(x, y)
    table = model.joint_tests(x, y, "tone*", "lag*")
    assert table.factors.to_dict() == {"tone*": 2, "lag*": 2}
    assert table.p["tone*"] < 1e-6
    assert table.p["lag*"] > 0.01
    with pytest.raises(ValueError, match="no factor is named frame"):
        model.joint_tests(x, y, "frame*")
