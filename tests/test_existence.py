"""Where an estimate exists, by the theory: known thresholds, and one line beyond them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from hdlogit.asymptotics.existence import OutsideTheory, existence_threshold
from hdlogit.asymptotics.planning import smallest_n_trials
from hdlogit.asymptotics.theory import solve

Array = NDArray[np.float64]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(0, 60), st.floats(1.01, 1.5), st.floats(-1, 1))
def test_a_stronger_signal_or_a_tilt_leaves_less_room_for_an_estimate(signal: float, more: float, tilt: float) -> None:
    intercept = tilt * float(np.hypot(1.7, signal))
    h = existence_threshold(signal, intercept)
    assert h == pytest.approx(existence_threshold(signal, -intercept), rel=1e-9)
    assert existence_threshold((signal + 0.05) * more) < existence_threshold(signal)
    assert existence_threshold(signal, intercept * more + 0.05 * np.sign(tilt)) <= h <= 0.5 + 1e-12


def test_the_threshold_has_its_known_values() -> None:
    assert existence_threshold(0.0) == pytest.approx(0.5, abs=1e-12)
    assert existence_threshold(16.0) == pytest.approx(0.0628, abs=5e-5)
    assert smallest_n_trials(256, 16.0) == 4076
    # By the definition, with plain sums: E[(t0 Y + t1 XY − Z)₊²] at the best t.
    x, dx = np.linspace(-8, 8, 801, retstep=True)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * dx

    def objective(t: Array) -> float:
        total = 0.0
        for y in (-1, 1):
            excess = np.maximum(y * (t[0] + t[1] * x)[:, None] - x[None, :], 0) ** 2 @ density  # over Z
            total += float((density * expit(y * (0.5 + 2 * x))) @ excess)
        return total

    best = minimize(objective, [0.0, 0.0], method="Nelder-Mead").fun
    assert existence_threshold(2.0, 0.5) == pytest.approx(best, rel=1e-4)


def test_alpha_diverges_at_the_threshold_and_nothing_is_returned_beyond() -> None:
    h = existence_threshold(3.0, 1.0)
    assert solve(0.9999 * h, 3.0, 1.0).alpha > 100
    for beyond in (h, 1.01 * h, 0.9):
        with pytest.raises(OutsideTheory, match="no maximum-likelihood estimate exists"):
            solve(beyond, 3.0, 1.0)
    assert solve(2.0, 3.0, 1.0, ridge=0.01).residual < 1e-9


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.0, 1.0), {}, "kappa is 0"),
        ((-0.1, 1.0), {}, "kappa is -0.1"),
        ((float("nan"), 1.0), {}, "kappa is nan"),
        ((11.0, 1.0), {"ridge": 1.0}, "at most 10"),
        ((1.0, 1.0), {"shrinkage": 0.5}, "below 1"),
        ((0.1, -1.0), {}, "signal is -1"),
        ((0.1, 101.0), {}, "from 0 to 100"),
        ((0.1, float("inf")), {}, "signal is inf"),
        ((0.1, 1.0, float("nan")), {}, "intercept is nan"),
        ((0.1, 1.0, 30.0), {}, "rarer response"),
        ((0.1, 1.0), {"ridge": -1.0}, "ridge is -1"),
        ((0.1, 1.0), {"shrinkage": 1.0}, "shrinkage is 1"),
    ],
)
def test_outside_the_domain_one_line_says_why(
    arguments: tuple[float, ...], options: dict[str, float], message: str
) -> None:
    with pytest.raises(OutsideTheory, match=message) as caught:
        solve(*arguments, **options)
    assert "\n" not in str(caught.value)
