"""Problems that carry their own truth, and a plain exact fit that shares no code with the solvers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from tests.notebook import get_data

Array = NDArray[np.float64]


class Experiment(NamedTuple):
    observer: Array  # (p + 1, k) true weights, last row the bias
    factors: Array  # (n, p)
    responses: NDArray[np.bool_]  # (n, k)


def notebook() -> Experiment:
    """The notebook's own trials, which re-seed with one seed: 10 000 × 256 factors, 10 classes."""
    observer, factors, _, responses = get_data(10_000)
    return Experiment(observer, factors, responses)


def gaussian(seed: int, n: int, p: int, k: int, signal: float, intercept: float = 0.0) -> Experiment:
    """Independent standard normal factors and weights; every class has exactly the γ asked for."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(p, k))
    weights *= signal / np.linalg.norm(weights, axis=0)
    observer = np.vstack([weights, np.full(k, intercept)])
    factors = rng.normal(size=(n, p))
    return Experiment(observer, factors, rng.random((n, k)) < expit(factors @ weights + intercept))


def fit(factors: Array, responses: NDArray[np.bool_] | Array, ridge: float = 0.0) -> Array:
    """The minimum of mean cross-entropy + (ridge/2)‖w‖² by Newton's method with backtracking: (p + 1, k).

    responses: (n, k), soft ones too.
    """
    n, p = factors.shape
    x = np.column_stack([factors, np.ones(n)])
    penalty = np.append(np.full(p, n * ridge), 0.0)
    return np.column_stack([_fit_class(x, y.astype(float), penalty) for y in responses.T])


def _fit_class(x: Array, y: Array, penalty: Array) -> Array:
    def loss(z: Array, w: Array) -> float:
        return float(np.logaddexp(0, z).sum() - y @ z + 0.5 * penalty @ (w * w))

    w, z = np.zeros(x.shape[1]), np.zeros(len(x))
    for _ in range(100):
        probability = expit(z)
        gradient = x.T @ (probability - y) + penalty * w
        weighted = x * np.sqrt(probability * expit(-z))[:, None]
        move = -cho_solve(cho_factor(weighted.T @ weighted + np.diag(penalty)), gradient)
        decrease = -float(gradient @ move)
        if decrease < 1e-12:
            return np.asarray(w + move)  # converges quadratically: this is the last digit
        along, length, now = x @ move, 1.0, loss(z, w)
        while loss(z + length * along, w + length * move) > now - 1e-4 * length * decrease and length > 1e-8:
            length /= 2
        w, z = w + length * move, z + length * along
    raise RuntimeError("the reference fit did not converge: are the data separable?")


def random_observer(rng: np.random.Generator) -> tuple[float, float]:
    """(γ, β0): γ from 0.01 to 100; a third balanced, the others with base rates down to 2e-5."""
    signal = float(10 ** rng.uniform(-2, 2))
    if rng.random() < 1 / 3:
        return signal, 0.0
    # A normal quantile in place of the base rate: σ(t) ≈ Φ(t / 1.7).
    return signal, float(rng.uniform(-4.0, 4.0) * np.hypot(1.7, signal))
