"""Textbook inference, for a class that has no better one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.inference.predict import Prediction
from hdlogit.inference.result import two_sided, wald_interval

Array = NDArray[np.float64]

SINGULAR = 1e-10  # smallest eigenvalue of the Hessian, in units that make its diagonal 1


@dataclass(frozen=True)
class ClassicalInference:
    """One class, with the attributes of `hdlogit.inference.ClassInference`: nothing is corrected, and rates are 0.

    Arrays are (n_factors + 1,), the bias last. An error is infinite where the data do not determine the coefficient.
    """

    estimate: Array
    centre: Array  # (n_factors,) x̄
    noise: Array  # (n_factors + 1, n_factors + 1) H⁻¹ (or H⁺), of the weights and of the logit at x̄
    unknown: Array  # (n_factors + 1, m) directions of these that the data do not determine
    unit: Array  # their units
    note: str  # why nothing is corrected
    guess_rate: float = 0.0
    lapse_rate: float = 0.0

    @classmethod
    def of(cls, factors: NDArray[np.floating], coefficients: Array, ridge: float, note: str) -> ClassicalInference:
        """Inference of a fit with the penalty n (ridge/2)‖w‖². H = Σ σ'(z_i) x̃_i x̃_iᵀ + penalty, x̃ = (x − x̄, 1)."""
        n, p = factors.shape
        centre = factors.mean(axis=0, dtype=np.float64)
        x = np.column_stack([factors - centre, np.ones(n)])
        z = factors @ coefficients[:-1] + coefficients[-1]
        hessian = (x.T * (expit(z) * expit(-z))) @ x + np.diag(np.append(np.full(p, n * ridge), 0.0))
        root = np.sqrt(np.diag(hessian))
        unit = 1 / np.where(root > 0, root, 1.0)  # a constant factor has none
        values, vectors = np.linalg.eigh(hessian * np.outer(unit, unit))
        vectors *= unit[:, None]
        known = values > SINGULAR
        noise = (vectors[:, known] / values[known]) @ vectors[:, known].T
        return cls(coefficients, centre, noise, vectors[:, ~known], unit, note)

    def _error(self, rows: Array) -> Array:
        """Standard errors of linear combinations (m, n_factors + 1) of the weights and the logit at x̄."""
        undetermined = np.abs(rows @ self.unknown) > 1e-6 * (np.abs(rows) @ self.unit)[:, None]
        return np.sqrt(np.where(undetermined.any(axis=1), np.inf, np.vecdot(rows @ self.noise, rows)))

    @property
    def classical_error(self) -> Array:
        """√[H⁻¹]_jj, and the error of the bias."""
        p = len(self.centre)
        return self._error(np.vstack([np.eye(p, p + 1), np.append(-self.centre, 1.0)]))

    @property
    def corrected(self) -> Array:
        """The uncorrected estimate."""
        return self.estimate

    @property
    def corrected_error(self) -> Array:
        """The classical error."""
        return self.classical_error

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """The Wald interval (low, high)."""
        return wald_interval(self.estimate, self.classical_error, level)

    @property
    def z(self) -> Array:
        """Statistics of the Wald test."""
        return self.estimate / self.classical_error

    def p_values(self) -> Array:
        """Two-sided p-values of the Wald test."""
        return two_sided(self.z)

    def log_odds(self, factors: NDArray[np.floating]) -> Array:
        """The fitted logits of new trials."""
        return np.asarray(factors @ self.estimate[:-1] + self.estimate[-1])

    def predict(self, factors: NDArray[np.floating], level: float = 0.95) -> Prediction:
        """σ of the logits of new trials, and of their Wald interval."""
        x = np.column_stack([factors - self.centre, np.ones(len(factors))])
        z = self.log_odds(factors)
        low, high = wald_interval(z, self._error(x), level)
        return Prediction(expit(z), expit(low), expit(high))
