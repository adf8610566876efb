"""What inference says of one class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr, ndtri

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.inference.link import Link

Array = NDArray[np.float64]


class Score(NamedTuple):
    """Mean over trials."""

    cross_entropy: float  # nats
    brier: float


@dataclass(frozen=True)
class LeaveOneOut:
    """Scores of predictions of each trial from the fit to all others, so that no trial need be held out.

    Of at most `hdlogit.inference.sums.SAMPLE` trials at equal distances.
    """

    plain: Score  # of the fitted logits
    debiased: Score  # of the debiased weights
    best: Score  # of π(V) = P(y = 1 | V)


@dataclass(frozen=True)
class ClassInference:
    """One class. Arrays are (n_factors + 1,), the bias last, in the units of the coefficients, unless said."""

    theory: Asymptotics  # γ̂, β̂0 (at the mean of the factors), α̂, s, λ, b̂
    estimate: Array
    classical_error: Array  # √[H⁻¹]_jj
    corrected: Array  # debiased
    corrected_error: Array
    centre: Array  # (n_factors,) x̄
    noise: Array  # (n_factors + 1, n_factors + 1) covariance of the fitted weights and of the logit at x̄: f H⁻¹
    signal_error: float  # sd of log γ̂; nan where no signal was found
    certificate: float  # below 1/2 it proves that the estimate exists; 0 with ridge or shrinkage, where it always does
    note: str | None  # a line where the factors are not of the theory's kind
    leave_one_out: LeaveOneOut
    guess_rate: float = 0.0
    lapse_rate: float = 0.0
    link: Link | None = None  # with the errors of the rates, where they are not both 0

    @property
    def exists(self) -> bool:
        """Whether the certificate proves that these data have a finite estimate.

        (Newton decrement) · max_i √(x̃_iᵀH⁻¹x̃_i) < 1 suffices, as |σ''| ≤ σ'; the product tends to exactly 1
        where the responses are separable, hence 1/2. A theorem about the data at hand, not about their
        distribution.
        """
        return self.certificate < 0.5

    @property
    def null_error(self) -> Array:
        """(n_factors,) sd of the fitted weight of a factor that has no effect."""
        return np.sqrt(np.diag(self.noise)[:-1])

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Corrected interval (low, high), see the module's docstring."""
        half = ndtri(0.5 + level / 2) * self.corrected_error
        return self.corrected - half, self.corrected + half

    def classical_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """The textbook's Wald interval (low, high)."""
        half = ndtri(0.5 + level / 2) * self.classical_error
        return self.estimate - half, self.estimate + half

    def p_values(self) -> Array:
        """Two-sided, for each coefficient being zero; for the bias, debiased bias over its corrected error."""
        z = np.append(self.estimate[:-1] / self.null_error, self.corrected[-1] / self.corrected_error[-1])
        return np.asarray(2 * ndtr(-np.abs(z)))

    def classical_p_values(self) -> Array:
        """The textbook's two-sided Wald test."""
        return np.asarray(2 * ndtr(-np.abs(self.estimate / self.classical_error)))

    def joint_test(self, factors: Sequence[int]) -> tuple[float, float]:
        """(statistic, p) for the weights of all these factors being zero: ŵ_Jᵀ [f H⁻¹]_JJ⁻¹ ŵ_J against χ² of |J|."""
        chosen = np.asarray(factors, np.intp)
        weights = self.estimate[:-1][chosen]
        noise: Array = self.noise[:-1, :-1][chosen][:, chosen]
        statistic = float(weights @ np.linalg.solve(noise, weights))
        return statistic, float(chdtrc(len(weights), statistic))
