"""The table of a coefficient's values by signed root, where the root is a known function."""

import numpy as np
import pytest

from hdlogit.inference.profiles import profile, values_at


def two_maxima(value: float) -> float:
    """Signed root of a log-likelihood, max(−v²/2, −1 − (v − 5)²/18): 2 is farther down than 5."""
    loss = min(value**2 / 2, 1 + (value - 5) ** 2 / 18)
    return float(np.copysign(np.sqrt(2 * loss), value))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_interval_reaches_to_the_farthest_value_that_is_not_rejected(sign: float) -> None:
    table = profile(lambda value: sign * two_maxima(sign * value), 0.0, 1.0)[None]
    near, far = sorted(float(values_at(table, side * 1.96)[0]) * sign for side in (-1.0, 1.0))
    assert near == pytest.approx(-1.96, abs=0.01)
    assert far == pytest.approx(5 + 3 * np.sqrt(1.96**2 - 2), abs=0.05)


def test_a_maximum_that_is_as_high_elsewhere_ends_no_interval() -> None:
    flat = profile(lambda value: float(np.copysign(max(abs(value) - 3, 0.0), value)), 0.0, 1.0)[None]
    assert [float(values_at(flat, side)[0]) for side in (-2.0, 2.0)] == pytest.approx([-5, 5], abs=0.1)
