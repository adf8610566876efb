"""What all classes need from the trials, in two passes over blocks, so memory does not grow with their
number.

Everything is in standardised factors t = (x − x̄)/sd, t̃ = (t, 1), so that neither units nor offsets cost
digits; the intercept is then the logit at the factors' means, as in the theory. σ is the sigmoid, and per
class z_i = t̃_i·w, ψ_i = y*_i − σ(z_i), D_i = σ'(z_i), with the soft responses y* = (1 − shrinkage) y +
shrinkage/2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.special import expit

from hdlogit.compute.threads import cut, total

Array = NDArray[np.float64]
Factors = NDArray[np.floating]
Responses = NDArray[np.bool_]
Names = Sequence[str] | range  # of factors
Rate = float | Literal["tied"] | None  # None: to be estimated; tied: as the other one
Rates = tuple[Rate, float | None]  # guess and lapse rate

CONSTANT = 1e-12  # sd in units of the mean: what rounding leaves for a constant
NUMBERS = range(2**31)  # for factors that have no names
ANISOTROPIC = 0.1  # relative spread of the factors' covariance spectrum beyond chance, refused with ridge
DEPENDENT = 1e-10  # 1 − R² of a factor given others: what rounding leaves


class Refused(ValueError):  # noqa: N818  # a finding about the data rather than an error
    """These data, or this class, allow no inference; the message is one line with the reason."""


class RatesNotDetermined(Refused):
    """Guess or lapse rates were to be estimated, and these responses do not tell them."""


@dataclass(frozen=True)
class Units:
    """Centre and scale of the factors: x = centre + scale · t."""

    n_trials: int
    centre: Array  # (p,) means
    scale: Array  # (p,) standard deviations

    def standardise(self, block: Factors) -> Array:
        """t̃ of a block of factors (m, p): (m, p + 1)."""
        t = np.ones((len(block), len(self.centre) + 1))
        np.subtract(block, self.centre, out=t[:, :-1])
        t[:, :-1] *= 1 / self.scale
        return t

    def coefficients(self, fitted: Array) -> Array:
        """Coefficients (p + 1, k) of standardised factors."""
        return np.vstack([fitted[:-1] * self.scale[:, None], fitted[-1] + self.centre @ fitted[:-1]])

    def original(self, coefficients: Array) -> Array:
        """The way back, (p + 1,) or (p + 1, k); further rows, of rates, stay."""
        p = len(self.scale)
        weights = (coefficients[:p].T / self.scale).T
        bias = coefficients[p] - self.centre @ weights
        return np.concatenate([weights, bias[None], coefficients[p + 1 :]])


def measure(factors: Factors, names: Names = NUMBERS) -> Units:
    """Means and standard deviations; raises Refused where a factor is not finite or does not vary."""
    parts = cut(*factors.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        centre = total(lambda rows: factors[rows].sum(axis=0, dtype=np.float64), parts) / len(factors)
        squares = total(lambda rows: np.square(factors[rows] - centre).sum(axis=0), parts)
    scale = np.sqrt(squares / len(factors))
    if not np.isfinite(scale).all():
        raise Refused("the factors, and their squares, must be finite numbers")
    constant = np.flatnonzero(scale <= CONSTANT * np.abs(centre))
    if len(constant):
        raise Refused(f"factor {names[constant[0]]} is constant: leave it out, the bias stands for it")
    return Units(len(factors), centre, scale)


class Setting:
    """What is common to all classes; in standardised factors."""

    def __init__(
        self,
        factors: Factors,
        responses: Responses,
        fitted: Array,
        ridge: float,
        shrinkage: float,
        rates: Rates,
        names: Names,
    ) -> None:
        """As of `infer`; fitted: (p + 1, k). Raises Refused where the factors allow no inference."""
        n, p = factors.shape
        if ridge == 0 and n <= p + 1:
            raise Refused(f"{n} trials for {p} factors: without ridge trials must outnumber coefficients")
        self.shrinkage, self.rates, self.names, self.kappa = shrinkage, rates, names, p / n
        self.units = measure(factors, names)
        self.near = self.units.coefficients(fitted)  # (p + 1, k)
        # Σ D_i t̃_i t̃_iᵀ (k, p + 1, p + 1), −Σ ψ_i t̃_i (k, p + 1), means of ψ², D (k, 2), of t tᵀ (p, p)
        self.hessians, self.gradients, self.means, self.correlation = self._add_up(factors, responses)
        self.precision = np.ones(p)  # (p,) [Σ⁻¹]_jj, unbiased
        if ridge == 0:
            self.precision = _precision(self.correlation, n, names)
        self.penalty = np.append(n * ridge / self.units.scale**2, 0.0)  # (p + 1,) of the summed loss
        self.ridge = _theory_ridge(self.correlation, self.units, ridge)  # for factors of variance 1

    def _add_up(self, factors: Factors, responses: Responses) -> tuple[Array, Array, Array, Array]:
        (n, p), k = factors.shape, self.near.shape[1]

        def of_block(rows: slice) -> tuple[Array, Array, Array]:
            t = self.units.standardise(factors[rows])
            probability = expit(t @ self.near)
            residual = (1 - self.shrinkage) * responses[rows] + self.shrinkage / 2 - probability
            curvature = probability * (1 - probability)
            squares = np.empty((k + 1, p + 1, p + 1))
            for square, weight in zip(squares, np.sqrt([*curvature.T, np.ones(len(t))]), strict=True):
                weighted = t * weight[:, None]
                square[:] = weighted.T @ weighted  # the same matrix twice: BLAS computes only one half
            means = np.stack([np.square(residual).sum(axis=0), curvature.sum(axis=0)], axis=1)
            return squares, residual.T @ t, means

        squares, gradients, means = total(of_block, cut(n, p + 1), waiting=2)
        return squares[:k], -gradients, means / n, squares[k, :-1, :-1] / n


def _precision(correlation: Array, n_trials: int, names: Names) -> Array:
    """(p,) [Σ⁻¹]_jj = 1/(1 − R²); (n − p)/n makes the inverse of a sample covariance unbiased.

    Raises Refused where a factor is a linear combination of others (and the constant).
    """
    values, vectors = np.linalg.eigh(correlation)
    inverse = (vectors**2 / np.maximum(values, 1e-14)).sum(axis=1)
    if len(dependent := np.flatnonzero(inverse > 1 / DEPENDENT)):
        which = listed([names[j] for j in dependent.tolist()])
        raise Refused(f"factors {which} are linearly dependent: these data cannot tell them apart, omit one")
    return np.asarray(inverse * (n_trials - len(inverse)) / n_trials)


def _theory_ridge(correlation: Array, units: Units, ridge: float) -> float:
    """Ridge for factors of variance 1. Raises Refused where they are not isotropic, as the theory demands."""
    if ridge == 0:
        return 0.0
    covariance, p = correlation * np.outer(units.scale, units.scale), len(correlation)
    spread = p * float((covariance**2).sum() / np.trace(covariance) ** 2) - 1
    if spread - (p + 1) / units.n_trials > ANISOTROPIC:
        raise Refused(
            "with ridge the theory is for isotropic factors, these are correlated or of unequal variance: "
            "standardise them (in a study, standardise: true), or use shrinkage if they are correlated"
        )
    return ridge / float(np.mean(units.scale**2))


def inverse_root(matrix: Array) -> Array | None:
    """R⁻¹ of the Cholesky factor, upper triangular: matrix⁻¹ = R⁻¹R⁻ᵀ. None where it is not positive
    definite."""
    factor, failed = lapack.dpotrf(matrix, lower=0, clean=1)
    return None if failed else np.asarray(lapack.dtrtri(factor, lower=0)[0])


def listed(names: Sequence[object]) -> str:
    """The first five, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(map(str, names[:5]))}{more}"
