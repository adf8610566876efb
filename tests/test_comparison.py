"""Models compared by what they predict of trials that they have not seen, and as the textbook compares them."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import kstest

from hdlogit import LogisticRegression
from hdlogit.exact import fit
from hdlogit.inference import infer
from hdlogit.inference.comparison import Model, compare, constant_losses, usefulness

Array = NDArray[np.float64]


def model(name: str, x: Array, y: NDArray[np.bool_]) -> Model:
    [result] = infer(x, y[:, None], fit(x, y[:, None]).coefficients)
    return Model(name, result, x, y)


def test_leave_one_out_is_what_fits_without_the_trial_say() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 4))
    y = rng.random(120) < expit(x @ [1.0, -1.0, 0.5, 0.0] + 0.3)
    left_out = np.zeros((2, 120))
    for i in range(120):
        others = np.arange(120) != i
        w = fit(x[others], y[others][:, None]).coefficients[:, 0]
        p = np.array([expit(x[i] @ w[:-1] + w[-1]), (y[others].sum() + 0.5) / 120])
        left_out[:, i] = -np.log(p if y[i] else 1 - p)
    found = usefulness(model("", x, y).result, x, y)
    assert found.classical == pytest.approx(left_out[0].mean(), abs=2e-3)
    assert found.constant == pytest.approx(left_out[1].mean(), abs=1e-12)
    np.testing.assert_allclose(constant_losses(y), left_out[1], rtol=1e-12)
    assert found.r_squared == pytest.approx(1 - found.best / found.constant)
    assert found.gain == pytest.approx(found.constant - found.best)


def test_a_fit_to_noise_predicts_worse_than_a_constant_and_its_test_is_uniform() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 40))
    responses = rng.random((300, 40)) < 0.6
    results = infer(x, responses, fit(x, responses).coefficients)
    found = [usefulness(result, x, y) for result, y in zip(results, responses.T, strict=True)]
    assert np.mean([one.classical > one.constant for one in found]) > 0.9
    assert kstest([one.p_value for one in found], "uniform").pvalue > 0.01


def test_aic_and_bic_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 3))
    y = rng.random(400) < expit(x[:, 0])
    for found, columns in zip(compare([model("a", x, y), model("b", x[:, :1], y)]), (3, 1), strict=True):
        theirs = sm.Logit(y.astype(float), sm.add_constant(x[:, :columns])).fit(disp=False)
        assert found.aic == pytest.approx(theirs.aic)
        assert found.bic == pytest.approx(theirs.bic)


def test_a_penalised_fit_has_no_aic() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 3))
    y = rng.random(400) < expit(x[:, 0])
    [result] = LogisticRegression(ridge=0.1).fit(x, y).inference_
    [found] = compare([Model("", result, x, y)])
    assert np.isnan(found.aic)
    assert np.isfinite(found.leave_one_out)


def test_nested_models_are_told_and_tested_and_others_are_not() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 60))
    others, responses = x @ np.triu(np.ones((60, 60))), rng.random((400, 40)) < expit(x[:, :20] @ np.full((20, 1), 0.3))
    of_small = infer(x[:, :20], responses, fit(x[:, :20], responses).coefficients)
    of_large = infer(others, responses, fit(others, responses).coefficients)
    p_values = []
    for y, one, other in zip(responses.T, of_small, of_large, strict=True):
        small, large = Model("small", one, x[:, :20], y), Model("large", other, others, y)
        first, second = compare([small, large])
        assert (first.df, second.df) == (0, 40)
        assert second.gain_error > 0
        p_values.append(second.p_value)
    _, reverse = compare([large, small])
    assert reverse.df == 40
    assert reverse.gain == pytest.approx(-second.gain)
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert compare([small, model("other", x[:, 15:40], y)])[1].df == 0


def test_models_of_other_trials_are_refused() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 2))
    first, second = (model(name, x, rng.random(200) < 0.5) for name in "ab")
    with pytest.raises(ValueError, match="b and a are not of the same trials"):
        compare([first, second])
