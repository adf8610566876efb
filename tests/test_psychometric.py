"""The model's formulas against arithmetic with 60 digits, far into both tails."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdlogit.psychometric.function import cross_entropy, divergence, logits, probability, softplus

logit = st.floats(-700, 700)


def exact_probability(z: float) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-mpmath.mpf(z)))


def exact_divergence(z: float, fitted: float) -> mpmath.mpf:
    p, q = exact_probability(z), exact_probability(fitted)
    return p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q))


@given(logit)
def test_probability_has_all_its_digits(z: float) -> None:
    with mpmath.workdps(700):
        assert probability(np.array(z)) == pytest.approx(float(exact_probability(z)), rel=1e-13, abs=0)


@given(logit, st.booleans())
def test_cross_entropy_has_all_its_digits(z: float, response: bool) -> None:
    with mpmath.workdps(700):
        p = exact_probability(z)
        expected = float(-mpmath.log(p if response else 1 - p))
    assert cross_entropy(np.array([z]), np.array([response]))[0] == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize("z", [-700.0, -40.0, -20.0, -1e-9, 0.0, 1e-300, 19.99, 20.0, 20.01, 37.0, 700.0])
def test_softplus_where_others_switch_formulas(z: float) -> None:
    with mpmath.workdps(700):
        expected = float(mpmath.log(1 + mpmath.exp(mpmath.mpf(z))))
    assert softplus(np.array(z)) == pytest.approx(expected, rel=1e-15, abs=0)


@given(logit, logit)
def test_divergence_is_that_of_two_bernoulli_distributions(z: float, fitted: float) -> None:
    with mpmath.workdps(700):
        expected = float(exact_divergence(z, fitted))
    assert divergence(np.array([z]), np.array([fitted]))[0] == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_logits_are_a_product_and_the_last_row_is_the_bias() -> None:
    coefficients = np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    assert logits(np.array([[1.0, 0.5]]), coefficients).tolist() == [[1 + 1.5 + 10, 2 + 2 + 20]]


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        cross_entropy(np.zeros((3, 2)), np.zeros((3, 1), bool))
    with pytest.raises(ValueError, match="one shape"):
        divergence(np.zeros((3, 2)), np.zeros(2))
