"""Scores, calibration and recovery against naive versions, 30-digit arithmetic, and data that carry their own truth."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hdlogit.compute.threads import BLOCK
from hdlogit.psychometric.function import probability
from hdlogit.scores import calibration, predictions, recovery

seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int = 60, k: int = 2, spread: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits (n, k) and responses that follow them."""
    stream = np.random.default_rng(seed)
    logits = spread * stream.standard_normal((n, k))
    return logits, probability(logits) > stream.random((n, k))


@given(seeds)
def test_scores_are_plain_means(seed: int) -> None:
    z, y = drawn(seed)
    p = [[1 / (1 + math.exp(-v)) for v in row] for row in z]
    pairs = [(q, bool(a)) for ps, ys in zip(p, y, strict=True) for q, a in zip(ps, ys, strict=True)]
    scores = predictions.scores(z, y)
    assert scores["cross_entropy"] == pytest.approx(-np.mean([math.log(q if a else 1 - q) for q, a in pairs]))
    assert scores["brier"] == pytest.approx(np.mean([(q - a) ** 2 for q, a in pairs]))
    assert scores["accuracy"] == pytest.approx(np.mean([(q > 0.5) == a for q, a in pairs]))


def test_sums_over_several_blocks_are_the_sums_over_all() -> None:
    z, y = drawn(3, n=BLOCK + 17, k=2)
    p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-z - 0.3))
    scores = predictions.scores(z, y)
    assert scores["cross_entropy"] == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), rel=1e-11)
    assert scores["brier"] == pytest.approx(((p - y) ** 2).mean(), rel=1e-11)
    excess = (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean()
    assert predictions.excess(z + 0.3, z) == pytest.approx(excess, rel=1e-8)
    by_logit = np.histogram(z.clip(-7, 7), 7)[0]
    assert calibration.calibration_curve(z, y, 7).responses.tolist() == by_logit.tolist()


def test_logits_and_cross_entropies_are_written_and_summed_over_all_blocks() -> None:
    stream = np.random.default_rng(1)
    factors, models = stream.standard_normal((BLOCK // 128 + 17, 256)), stream.standard_normal((3, 257, 2))
    y = stream.random((len(factors), 2)) < 0.5
    z = np.empty((len(factors), 2))
    expected = []
    for w in models:
        predictions.write_logits(factors, w, out=z)
        assert np.allclose(z, factors @ w[:-1] + w[-1], rtol=1e-11, atol=1e-11)
        expected.append(np.mean(np.logaddexp(0, z) - y * z))
    assert predictions.cross_entropies(factors, y, models) == pytest.approx(expected, rel=1e-11)


@given(seeds, st.floats(0.01, 30))
def test_recalibration_solves_the_score_equations(seed: int, spread: float) -> None:
    """At the estimate the residuals are orthogonal to 1 and to the logit, checked with 30 digits."""
    z, y = drawn(seed, spread=spread)
    line = calibration.recalibration(z, y)
    assume(line is not None)
    assert line is not None
    with mpmath.workdps(30):
        a, b = (mpmath.mpf(v) for v in line)
        residuals = [
            (1 / (1 + mpmath.exp(-(a + b * mpmath.mpf(v)))) - int(answer), mpmath.mpf(v) / spread)
            for v, answer in zip(z.ravel(), y.ravel(), strict=True)
        ]
        assert abs(float(sum(r for r, _ in residuals))) < 1e-6
        assert abs(float(sum(r * v for r, v in residuals))) < 1e-6


def test_recalibration_recovers_a_known_distortion() -> None:
    z, y = drawn(0, n=200_000, k=1)
    intercept, slope = calibration.recalibration(2 * z + 1, y) or (math.nan, math.nan)
    assert slope == pytest.approx(0.5, abs=0.01)  # twice too confident
    assert intercept == pytest.approx(-0.5, abs=0.03)


@pytest.mark.parametrize(
    ("logits", "responses"),
    [
        ([1.0, 2.0, 3.0], [True, True, True]),
        ([1.0, 2.0, 3.0], [False, False, True]),
        ([1.0, 2.0, 3.0], [True, False, False]),
        ([1.0, 2.0, 2.0], [False, False, True]),  # quasi-separation: a tie at the threshold
        ([5.0], [True]),
    ],
)
def test_recalibration_is_undefined_where_a_threshold_separates(logits: list[float], responses: list[bool]) -> None:
    assert calibration.recalibration(np.array([logits]).T, np.array([responses]).T) is None


@given(seeds, st.integers(1, 12))
def test_calibration_curve_is_a_table_of_bins(seed: int, n_bins: int) -> None:
    z, y = drawn(seed)
    curve = calibration.calibration_curve(z, y, n_bins)
    p, logit = probability(z).ravel(), z.ravel().clip(-7, 7)
    ends = np.linspace(logit.min(), logit.max(), n_bins + 1)
    expected = []
    for index in range(n_bins):
        inside = (logit >= ends[index]) & ((logit < ends[index + 1]) | (index == n_bins - 1))
        if inside.any():
            expected.append((p[inside].mean(), y.ravel()[inside].mean(), inside.sum()))
    ours = list(zip(curve.predicted, curve.observed, curve.responses, strict=True))
    assert np.allclose(ours, expected)
    assert (curve.low <= curve.observed + 1e-12).all()
    assert (curve.observed <= curve.high + 1e-12).all()
    error = sum(n * abs(o - q) for q, o, n in expected) / p.size
    assert curve.error == pytest.approx(error)


def test_wilsons_interval_is_the_published_one() -> None:
    """Brown, Cai & DasGupta (2001): the ends are where |fraction - p| = z sqrt(p (1 - p) / n)."""
    for level, z in ((0.95, 1.959963984540054), (0.9, 1.6448536269514722)):
        for end in calibration.wilson(np.array([0.3]), np.array([10.0]), level):
            assert abs(0.3 - end[0]) == pytest.approx(z * math.sqrt(end[0] * (1 - end[0]) / 10), rel=1e-12)


@given(seeds, st.floats(0.1, 10))
def test_recovery_of_scaled_coefficients(seed: int, scale: float) -> None:
    true = np.random.default_rng(seed).standard_normal((6, 3))
    found = recovery.recovery(scale * true, true)
    assert found["weight_slope"] == pytest.approx(scale)
    assert found["weight_correlation"] == pytest.approx(1)
    assert found["weight_rmse"] == pytest.approx(abs(scale - 1) * math.sqrt((true[:-1] ** 2).mean()), abs=1e-12)
    assert found["bias_rmse"] == pytest.approx(abs(scale - 1) * math.sqrt((true[-1] ** 2).mean()), abs=1e-12)


def test_the_correlation_of_a_single_weight_is_undefined() -> None:
    assert recovery.recovery(np.ones((2, 1)), np.ones((2, 1)))["weight_correlation"] is None


@given(seeds)
def test_cross_entropies_of_several_models_are_those_of_each(seed: int) -> None:
    stream = np.random.default_rng(seed)
    factors, models = stream.standard_normal((40, 3)), stream.standard_normal((4, 4, 2))
    y = stream.random((40, 2)) < 0.5
    each = []
    for model in models:
        z = np.empty((40, 2))
        predictions.write_logits(factors, model, out=z)
        each.append(predictions.scores(z, y)["cross_entropy"])
    assert predictions.cross_entropies(factors, y, models) == pytest.approx(each)
