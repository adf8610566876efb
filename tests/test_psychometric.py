"""The model's formulas against arithmetic with 60 digits, far into both tails."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdlogit.psychometric.function import cross_entropy, divergence, log_odds, logits, probability, surprisal

logit = st.floats(-700, 700)
rate = st.sampled_from([0.0, 1e-300, 1e-9, 0.02, 0.5]) | st.floats(0, 0.49)


def exact_probability(z: float, guess_rate: float = 0.0, lapse_rate: float = 0.0) -> mpmath.mpf:
    g, lapse = mpmath.mpf(guess_rate), mpmath.mpf(lapse_rate)
    return g + (1 - g - lapse) / (1 + mpmath.exp(-mpmath.mpf(z)))


def exact_divergence(p: mpmath.mpf, q: mpmath.mpf) -> mpmath.mpf:
    return p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q))


@given(logit, rate, st.floats(0, 0.49))
def test_probability_has_all_its_digits(z: float, g: float, lapse: float) -> None:
    with mpmath.workdps(700):
        p = exact_probability(z, g, lapse)
        assert probability(np.array(z), g, lapse) == pytest.approx(float(p), rel=1e-13, abs=0)
        assert probability(np.array(-z), lapse, g) == pytest.approx(float(1 - p), rel=1e-13, abs=0)


@given(logit)
def test_without_rates_every_bit_is_that_of_the_logistic_function(z: float) -> None:
    z_ = np.array([z, z])
    assert np.array_equal(probability(z_), 1 / (1 + np.exp(-z_)))
    assert np.array_equal(cross_entropy(z_, np.array([True, False])), surprisal(np.array([z, -z])))


@given(logit, st.booleans(), rate, rate)
def test_surprisal_has_all_its_digits(z: float, response: bool, g: float, lapse: float) -> None:
    lapse = min(lapse, 0.49)
    with mpmath.workdps(700):
        p = exact_probability(z, g, lapse)
        expected = float(-mpmath.log(p if response else 1 - p))
    found = surprisal(np.array(z), g, lapse) if response else surprisal(np.array(-z), lapse, g)
    assert found == pytest.approx(expected, rel=1e-13, abs=2e-13 if g + lapse > 0 else 0)


def test_rates_may_differ_from_class_to_class() -> None:
    z, g, lapse = np.array([[-3.0, 40.0]]), np.array([0.1, 0.0]), np.array([0.0, 0.2])
    assert surprisal(z, g, lapse)[0].tolist() == [surprisal(z[0, k], g[k], lapse[k]) for k in range(2)]
    assert probability(z, g, lapse)[0, 1] == pytest.approx(0.8, abs=1e-15)
    assert surprisal(np.array([800.0]))[0] == 0


@pytest.mark.parametrize("z", [-700.0, -40.0, -20.0, -1e-9, 0.0, 1e-300, 19.99, 20.0, 20.01, 37.0, 700.0])
def test_surprisal_where_others_switch_formulas(z: float) -> None:
    with mpmath.workdps(700):
        expected = float(mpmath.log(1 + mpmath.exp(mpmath.mpf(z))))
    assert surprisal(np.array(-z)) == pytest.approx(expected, rel=1e-15, abs=0)


@given(logit, logit, st.sampled_from([(0.0, 0.0), (0.02, 0.1), (0.5, 0.03)]))
def test_divergence_is_that_of_two_bernoulli_distributions(z: float, fitted: float, rates: tuple[float, float]) -> None:
    with mpmath.workdps(700):
        p, q = exact_probability(z, *rates), exact_probability(fitted)
        expected = float(exact_divergence(p, q))
    assert divergence(log_odds(np.array(z), *rates), np.array(fitted)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_logits_are_a_product_and_the_last_row_is_the_bias() -> None:
    coefficients = np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    assert logits(np.array([[1.0, 0.5]]), coefficients).tolist() == [[1 + 1.5 + 10, 2 + 2 + 20]]


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        cross_entropy(np.zeros((3, 2)), np.zeros((3, 1), bool))
    with pytest.raises(ValueError, match="one shape"):
        divergence(np.zeros((3, 2)), np.zeros(2))
