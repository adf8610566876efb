"""What the fit of one class shows before anything is corrected: moments of its leave-one-out logits, dominant factors.

The formulas are in `hdlogit.inference.infer`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hdlogit.inference.observer import Rates
from hdlogit.inference.sums import Array, Factors, LeftOut, Minimum, Names, Refused, Units

MOST_DOMINANT = 3  # factors
DOMINANT = 0.2  # of the index's variance, from which on a factor that is not normal has an equation of its own
SKEWED, HEAVY = 0.5, 1.0  # skewness and excess kurtosis, beyond chance, of a factor that is not normal
ALONE = 1 - 1e-9  # leverage of a trial that alone decides a weight


class Setting(NamedTuple):
    """What is common to all classes; in standardised factors."""

    units: Units
    correlation: Array  # (p, p) of the factors
    precision: Array  # (p,) [Σ⁻¹]_jj, unbiased
    penalty: Array  # (p + 1,) of the summed loss
    ridge: float  # for factors of variance 1
    shrinkage: float
    rates: Rates
    names: Names

    def onto(self, minimum: Minimum) -> Array:
        """(d, p + 1): ω = onto · coefficients, the weights of x_D with what the other factors add along it."""
        return np.column_stack([minimum.axes.T @ self.correlation, np.zeros(minimum.axes.shape[1])])

    @property
    def kappa(self) -> float:
        return len(self.correlation) / self.units.n_trials


@dataclass(frozen=True)
class Observed:
    """Moments of the leave-one-out logits, without what dominant factors add to them."""

    index: Array  # (m,) V_i − b
    rest: Array  # (m,) V_i − b − x_D·ω: the same where no factor is dominant
    noise: Array  # (m,) s_i²
    dispersion: float  # f
    curvature: float  # v = mean D(1 − h)
    eta_squared: float  # Var(rest)

    @property
    def s_squared(self) -> float:
        return float(self.noise.mean())


def with_dominant(minimum: Minimum, correlation: Array, factors: Factors, units: Units) -> Minimum:
    """With the factors that carry much of the index and whose distribution is not a normal one, if there are any."""
    weights = minimum.coefficients[:-1]
    share = weights * (correlation @ weights)
    chosen = np.sort(np.argsort(share)[-MOST_DOMINANT:])
    chosen = chosen[share[chosen] > DOMINANT * share.sum()]
    t = (factors[:, chosen] - units.centre[chosen]) / units.scale[chosen]
    chance = np.sqrt(6 / len(t))  # sd of the skewness of a normal factor; twice that of its excess kurtosis
    skewed = np.abs((t**3).mean(axis=0)) > SKEWED + 3 * chance
    excess = (t**4).mean(axis=0) - 3
    chosen = chosen[skewed | (excess > HEAVY + 6 * chance) | (excess < -HEAVY)]
    if not 0 < len(chosen) < len(correlation):
        return minimum
    axes = np.zeros((len(correlation), len(chosen)))
    axes[chosen] = np.linalg.inv(np.linalg.cholesky(correlation[np.ix_(chosen, chosen)])).T
    return minimum._replace(dominant=chosen, axes=axes)


def observe(minimum: Minimum, left_out: LeftOut, setting: Setting, noise_fraction: float) -> Observed:
    """noise_fraction: what ridge leaves of the noise variance of a new logit, tr(NΣ)/tr(f H⁻¹Σ)."""
    fitted, h = minimum.coefficients, left_out.curvature * left_out.leverage
    alone = ~(h < ALONE)
    if alone.any() and not setting.shrinkage:
        raise Refused("its responses are separable but for a trial, which alone decides the fit (use shrinkage)")
    if alone.any():  # the fit without it says nothing of it: its logit is as good as any
        left_out = left_out._replace(
            logit=np.where(alone, fitted[-1], left_out.logit),
            residual=np.where(alone, 0.0, left_out.residual),
            leverage=np.where(alone, np.median(left_out.leverage), left_out.leverage),
        )
        h = left_out.curvature * left_out.leverage
    moved = left_out.residual / (1 - h)
    index = left_out.logit - left_out.leverage * moved - fitted[-1]
    omega = setting.onto(minimum) @ fitted  # of the fit to all trials; each trial's own is that without it
    along = (left_out.dominant * (omega - left_out.influence * moved[:, None])).sum(axis=1)
    rest, plain = index - along, left_out.logit - left_out.dominant @ omega
    # Of many trials only some were left out: by how much these change D and Var(z), whose means over all are known.
    curvature = float(minimum.means[1] * (left_out.curvature * (1 - h)).sum() / left_out.curvature.sum())
    dispersion = float(minimum.means[0]) / curvature
    eta_squared = rest_variance(minimum, setting)[0] + float(rest.var() - plain.var())
    noise = dispersion * noise_fraction * left_out.leverage / (1 - h)
    return Observed(index, rest, noise, dispersion, curvature, eta_squared)


def rest_variance(minimum: Minimum, setting: Setting) -> tuple[float, Array]:
    """Variance of the fitted logits without what dominant factors add, and half its derivative (p + 1,)."""
    rest = minimum.coefficients[:-1] - minimum.axes @ (setting.onto(minimum) @ minimum.coefficients)
    gradient = setting.correlation @ rest
    return float(rest @ gradient), np.append(gradient, 0.0)


def variance_along(noise: Array, weights: Array, setting: Setting) -> float:
    """v_u: variance of log length of the fitted weights, by their noise."""
    spread = setting.correlation @ weights
    return float(spread @ noise[:-1, :-1] @ spread) / max(float(weights @ spread) ** 2, 1e-300)
