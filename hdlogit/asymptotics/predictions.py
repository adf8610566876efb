"""What the theory predicts of a fit before it is measured, and the best use of its logits.

All cross-entropies are means over trials in nats; all integrals are one-dimensional, over the nodes of
`hdlogit.asymptotics.equations.trials`. They follow from the joint law of (y, u, V) and hold as far as the
equations do.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, ndtr, ndtri, xlogy

from hdlogit.asymptotics.equations import Asymptotics, Trials, trials
from hdlogit.asymptotics.logistic_normal import logit_of_probability
from hdlogit.asymptotics.theory import solve
from hdlogit.psychometric.function import log_odds

Array = NDArray[np.float64]


# --- what to do with a fitted logit ----------------------------------------------------------------


def corrected_logits(a: Asymptotics, logits: ArrayLike) -> Array:
    """β0 + (V − b) / α: the logits of the corrected weights. Right on average over fits, not the best
    prediction.
    """
    corrected = a.intercept + (np.asarray(logits, dtype=np.float64) - a.b) / a.alpha
    return log_odds(corrected, a.guess_rate, a.lapse_rate).astype(np.float64)


def best_logits(a: Asymptotics, logits: ArrayLike) -> Array:
    """logit π(V), π(V) = E[σ(S) | V] = P(y = 1 | V): no other function of the fitted logit predicts better.

    Given V the true logit S is normal with mean β0 + (αγ²/η²)(V − b) and sd γs/η, so π is a logistic-normal
    integral. logits: V of new trials, any shape. The result is a logit (error below 1e-7), for the loss to be
    computed from.
    """
    mean = a.intercept + a.slope_of_truth * (np.asarray(logits, dtype=np.float64) - a.b)
    return log_odds(logit_of_probability(mean, a.sd_of_truth), a.guess_rate, a.lapse_rate).astype(np.float64)


# --- what to expect --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """Cross-entropies in nats per response, weight errors in units of the rms true weight."""

    training: float  # cross-entropy of the fit on its own trials
    held_out: float  # … on new ones
    corrected: float  # … of its corrected logits
    best: float  # … of π(V)
    bayes: float  # … of the true probabilities
    weight_error: float  # rmse of the fitted weights; infinite where γ = 0
    corrected_weight_error: float
    classical_coverage: float  # of 95 % Wald intervals


def predict(a: Asymptotics, inflation: float = 1.0) -> Predictions:
    """All predictions of one solution, about 1 ms. inflation: of the variance of weights, as in `plan`."""
    q = trials(replace(a, lambda_=0.0))  # at λ = 0, u is V: new trials
    sign = np.array([[1.0], [-1.0]])
    floor = np.array([[a.guess_rate], [a.lapse_rate]])
    ceiling = floor[::-1]  # mirrored
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = a.s * np.sqrt(inflation)
        weight_errors = np.array([np.hypot((a.alpha - 1) * a.signal, noise), noise / a.alpha]) / a.signal
    corrected = log_odds(sign * a.intercept + (q.v - q.mean) / a.alpha, floor, ceiling).astype(np.float64)
    trained = trials(a)
    return Predictions(
        training=_mean(trained, _loss(trained.u)),  # without the penalty
        held_out=_mean(q, _loss(q.v)),
        corrected=_mean(q, _loss(corrected)),
        best=_entropy(q),
        bayes=bayes_cross_entropy(a.signal, a.intercept, a.guess_rate, a.lapse_rate),
        weight_error=float(weight_errors[0]),
        corrected_weight_error=float(weight_errors[1]),
        classical_coverage=classical_coverage(a, inflation=inflation),
    )


def held_out_cross_entropy(a: Asymptotics) -> float:
    """E of the loss at V, the fitted logit of a new trial."""
    q = trials(replace(a, lambda_=0.0))
    return _mean(q, _loss(q.v))


def bayes_cross_entropy(
    signal: float, intercept: float = 0.0, guess_rate: float = 0.0, lapse_rate: float = 0.0
) -> float:
    """E of the entropy of a response given its true probability: no prediction can have less."""
    if signal == 0:
        p = guess_rate + (1 - guess_rate - lapse_rate) * float(expit(intercept))
        return -float(xlogy(p, p) + xlogy(1 - p, 1 - p))
    rates = {"guess_rate": guess_rate, "lapse_rate": lapse_rate}
    return _entropy(trials(Asymptotics(0.0, signal, intercept, 0.0, 0.0, 1.0, 0.0, 0.0, intercept, **rates)))


def classical_coverage(a: Asymptotics, level: float = 0.95, inflation: float = 1.0) -> float:
    """Coverage of the textbook interval ŵ ± z √[H⁻¹]_jj, averaged over weights that are themselves normal.

    For isotropic factors ŵ − β = (α − 1) β + (s/√p) Z and [H⁻¹]_jj → λ/p (H summed over trials), hence
    P(|N(0, (α − 1)²γ² + s²)| < z √λ); for correlated ones s² and λ are inflated. It leaves out that [H⁻¹]_jj
    is a little larger for large weights.
    """
    z = ndtri(0.5 + level / 2)
    off = np.hypot((a.alpha - 1) * a.signal, a.s * np.sqrt(inflation))
    return float(2 * ndtr(z * np.sqrt(a.lambda_ * inflation) / off) - 1)


def _loss(logits: Array) -> Array:
    """−log σ(−logit): the mirrored rows of `trials` make a large logit a wrong answer."""
    return np.logaddexp(0.0, logits)


def _mean(q: Trials, values: Array) -> float:
    return float((values * q.response * q.dv).sum())


def _entropy(q: Trials) -> float:
    """Cross-entropy of the best prediction, P(y | V)."""
    return -float((xlogy(q.response, q.response) * q.dv).sum())


# --- ridge without cross-validation ----------------------------------------------------------------

WEAKEST_SIGNAL = 0.01  # below it the best ridge, about κ/γ², grows without limit, and hardly matters


def best_ridge(kappa: float, signal: float, intercept: float = 0.0) -> float:
    """The ridge strength μ (of (μ/2)‖w‖², mean loss) with the smallest predicted held-out cross-entropy.

    It exists at any κ up to 10, even where the maximum-likelihood estimate does not. A normal prior of the
    weights alone would give κ/γ², and the minimum lies near it: the search covers a factor of e⁷ to either
    side, on log μ, to 1 part in 1000. For γ → 0 any large μ is as good; below γ = 0.01 the answer is that of
    0.01. Raises OutsideTheory as `solve` does.
    """
    signal = max(signal, WEAKEST_SIGNAL)
    centre = np.log(kappa / signal**2)

    def cost(log_ridge: float) -> float:
        return held_out_cross_entropy(solve(kappa, signal, intercept, ridge=float(np.exp(log_ridge))))

    found = minimize_scalar(cost, bounds=(centre - 7, centre + 7), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
