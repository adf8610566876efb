"""What inference says of the classical fit, how much too large and how often covered, beside what repetitions show."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.exact import fit
from hdlogit.inference import ClassInference
from tests.inferred import covered, inferred

Array = NDArray[np.float64]


def repeated(x: Array, truth: Array, repetitions: int, rates: tuple[float, float] = (0, 0)) -> list[ClassInference]:
    """The inferences of as many sets of responses to the same trials; truth: (p + 1,)."""
    yes = rates[0] + (1 - sum(rates)) * expit(x @ truth[:-1] + truth[-1])
    y = np.random.default_rng(7).random((len(x), repetitions)) < yes[:, None]
    how = {"guess_rate": rates[0], "lapse_rate": rates[1]} if any(rates) else {}
    return inferred(x, y, fit(x, y).coefficients, **how)


def few(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """Few factors, of which some are told badly apart, or have no effect."""
    if kind == "jitter in ms":
        x = np.column_stack([rng.choice([0, 0.05, 0.1, 0.4], 800), rng.integers(0, 2, 800), rng.uniform(0, 500, 800)])
        return x, np.array([3, 1, 0, -1.0])
    x = rng.standard_normal((800, 3))
    if kind == "a rounded copy":
        return np.column_stack([x, x[:, 0].round(2)]), np.array([1, 0.5, 0, 0, 0.0])
    close = 0.995 * x[:, 0] + np.sqrt(1 - 0.995**2) * x[:, 1]
    return np.column_stack([x[:, 0], close]), np.array([0.5, 0.5, 0.0])


@pytest.mark.parametrize("kind", ["jitter in ms", "a rounded copy", "two that nearly agree"])
def test_few_factors_are_covered_as_promised_whatever_their_units(kind: str) -> None:
    for c in repeated(*few(np.random.default_rng(0), kind), 40):
        expected, error = c.expected_classical_coverage()
        assert expected == pytest.approx(0.95, abs=0.003)  # κ < 0.01: the classical theory holds
        assert error < 0.001
        assert c.alpha_error < 0.001


@pytest.mark.parametrize("signals", [60, 3])
def test_many_factors_are_covered_as_expected_also_if_few_of_them_matter(signals: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 60)) * 10 ** rng.uniform(-3, 3, 60)
    truth = np.where(np.arange(61) < signals, 2 / np.sqrt(signals), 0) / np.append(x.std(axis=0), 1)
    truth[-1] = 0
    classes = repeated(x, truth, 120)
    true = covered(classes, truth[:, None], classical=True)[:-1].mean()
    assert true < 0.935
    expected = [c.expected_classical_coverage()[0] for c in classes]
    assert np.mean(expected) == pytest.approx(true, abs=0.012)
    assert np.std(expected) < 0.012


@pytest.mark.parametrize(
    ("shape", "rates", "within"), [((224, 32), (0, 0), 1.5), ((1000, 100), (0, 0), 1.3), ((600, 30), (0.1, 0.05), 1.8)]
)
def test_the_error_of_alpha_is_what_repetitions_show(
    shape: tuple[int, int], rates: tuple[float, float], within: float
) -> None:
    x = np.random.default_rng(2).standard_normal(shape)
    classes = repeated(x, np.append(np.full(shape[1], 2 / np.sqrt(shape[1])), 0), 100, rates)
    low, high = np.quantile([c.theory.alpha for c in classes], [0.16, 0.84])
    ratio = np.median([c.alpha_error for c in classes]) / ((high - low) / 2)
    assert 1 / within < ratio < within


def test_where_fits_end_the_error_of_alpha_does_not_hide_how_large_it_is() -> None:
    rng = np.random.default_rng(11)
    classes = repeated(rng.standard_normal((200, 60)), np.append(np.full(60, 1 / np.sqrt(60)), 0), 60)
    assert all(c.theory.alpha > 1.2 for c in classes)
    assert all(c.alpha_error < c.theory.alpha - 1 for c in classes)
