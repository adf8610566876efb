"""What is behind the fitted coefficients of one class: by the equations, or by the link of fit and responses.

The formulas are in `hdlogit.inference.infer`.
"""

from typing import NamedTuple

import numpy as np

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.asymptotics.inverse import NONE, Dominant, NoSignal, Observer, observer_from_fit, without_signal
from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.inference.link import Link, fit_link
from hdlogit.inference.observed import Observed
from hdlogit.inference.sums import Array, RatesNotDetermined, Refused, Setting

GROUPS = {1: 16, 2: 5, 3: 3}  # of trials along each axis, for the distribution of dominant factors
NOISELESS = 1e-4  # noise, in units of the signal, of logits that are taken as they are
POINTS = 500  # nodes of the integral for the information
ROUGH_SLOPE = 1.2  # a first guess of α
INVISIBLE = 1e-9  # sd of an index that is nothing but rounding
NO_SIGNAL = "its fitted logits vary no more than if no factor mattered, so they determine no rates"


class Correction(NamedTuple):
    """What is behind the fitted coefficients, of standardised factors."""

    theory: Asymptotics
    link: Link
    corrected: Array  # (p + 1,)
    covariance: Array  # (p + 1, p + 1) of it
    stretch: float = 0.0  # variance of log α, which all weights that are not dominant share
    with_stretch: Array | float = 0.0  # (p + 1,) covariance of ŵ/α, as if α were known, with log α
    dominant: Array = NONE.fitted  # (d,) β_D with what the other factors add along x_D

    @property
    def with_rates(self) -> Array:
        """Covariance (p + 3, p + 3) of (corrected, g, l): a link's errors of g or l go with those of length
        and b."""
        of_link = self.link.covariance
        shared = np.outer(self.corrected, of_link[0, 2:])  # (p + 1, 2)
        shared[-1] = of_link[1, 2:]
        return np.block([[self.covariance, shared], [shared.T, of_link[2:, 2:]]])


def correct(observed: Observed, setting: Setting) -> Correction:
    """By the equations, which are more precise; by the link with rates, or with shrinkage and a signal."""
    has_rates, reason = setting.rates != (0, 0), NO_SIGNAL
    if (has_rates or setting.shrinkage) and observed.eta_squared > observed.s_squared:
        noise = np.sqrt(observed.variance)
        link = fit_link(observed.index, noise, observed.responses, setting.rates)
        if not link.reason:
            return by_link(link, observed, setting)
        reason = link.reason
    if has_rates:
        raise RatesNotDetermined(reason) if None in setting.rates else Refused(reason)
    return _by_equations(observed, setting)


def _by_equations(observed: Observed, setting: Setting) -> Correction:
    """By the equations (SLOE), with the errors of their inputs."""
    kappa, fitted, onto, chosen = setting.kappa, observed.fitted, observed.onto, observed.dominant
    size = {"ridge": setting.ridge, "shrinkage": setting.shrinkage}
    n, noise = setting.units.n_trials, observed.noise
    b, eta_squared = float(fitted[-1]), observed.eta_squared
    if not eta_squared > 0:
        raise Refused("its fitted logits do not vary, so there is nothing to infer from them")
    rough = ROUGH_SLOPE * (1 - setting.shrinkage)
    signal = float(np.sqrt(max(eta_squared - observed.s_squared, 1e-3))) / rough
    near = _measured(observed, setting, alpha=rough, signal=signal, intercept=b / rough)
    law = _law(observed.carried, onto @ fitted)
    try:
        observer = observer_from_fit(kappa, eta_squared, b, law, **size, near=near)
    except NoSignal:
        a = without_signal(kappa, b, **size)
        corrected = np.append(fitted[:-1] / a.alpha, a.intercept)
        link = _known_link(a, np.nan, 0.0)
        return Correction(a, link, corrected, noise / a.alpha**2, dominant=onto @ fitted / a.alpha)
    a, change = observer.theory, observer.change
    # How the data that the equations take, (log η², b, ω), move with the fitted coefficients …
    data = np.stack([observed.eta_gradient / eta_squared, np.eye(len(fitted))[-1], *onto])
    sampled = float(np.sqrt((observed.rest**2).var() / n)) / eta_squared  # … and log η² with the trials
    corrected, moves = fitted / a.alpha, np.eye(len(fitted)) / a.alpha
    log_alpha = change[1] @ data
    moves -= np.outer(corrected, log_alpha)
    with_data = -corrected * change[1, 0]
    corrected[-1], moves[-1], with_data[-1] = a.intercept, change[2] @ data, change[2, 0]
    # Along x_D weights have a scale of their own: β_D less what the others' corrected weights add there.
    others, axes = onto.copy(), observed.axes[chosen]
    others[:, chosen] = 0.0
    corrected[chosen] = axes @ (observer.dominant - others @ corrected)
    moves[chosen] = axes @ (change[3:] @ data - others @ moves)
    with_data[chosen] = axes @ (change[3:, 0] - others @ with_data)
    log_gamma, stretch = (float(c @ data @ noise @ data.T @ c) + (sampled * c[0]) ** 2 for c in change[:2])
    information = _least_covariance(observer, law, observed.rest, n)
    at_least = np.zeros(len(fitted))
    at_least[chosen] = np.diag(axes @ information[1:, 1:] @ axes.T)
    at_least[-1] = max(float(information[0, 0]), float(noise[-1, -1]) / a.alpha**2)
    covariance = _propagated(noise, moves, sampled * with_data, at_least)
    link = _known_link(a, log_gamma, at_least[-1])
    return Correction(a, link, corrected, covariance, stretch, noise @ log_alpha / a.alpha, observer.dominant)


def _law(t: Array, omega: Array) -> Dominant:
    """The distribution of the dominant factors t (m, d), uncorrelated and of variance 1, by groups of
    trials."""
    if not len(omega):
        return NONE
    part = np.arange(1, GROUPS[len(omega)]) / GROUPS[len(omega)]
    places = np.stack([np.searchsorted(np.quantile(column, part), column) for column in t.T])
    _, number, count = np.unique(places, axis=1, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(number.ravel(), column) for column in (t - t.mean(axis=0)).T], axis=1)
    values, mass = sums / count[:, None], count / len(t)
    lost = np.linalg.cholesky((values.T * mass) @ values)  # groups vary less than trials
    return Dominant(np.asarray(values @ np.linalg.inv(lost).T), np.asarray(mass), omega)


def _least_covariance(observer: Observer, law: Dominant, rest: Array, n_trials: int) -> Array:
    """Covariance (1 + d, 1 + d) of (β̂0, β̂_D), from what n_trials responses tell of (log γ, β0, β_D) by a
    logistic curve over leave-one-out logits.

    By Fisher's information at the solution, over POINTS quantiles of what the other factors add.
    """
    a, places = observer.theory, (np.arange(POINTS) + 0.5) / POINTS
    mean = a.slope_of_truth * np.quantile(rest, places)  # (POINTS,)
    at = (a.intercept + law.values @ observer.dominant)[:, None]  # (k, 1)

    def yes(stretch: float, sign: float = 1.0) -> tuple[Array, Array]:
        return probability_and_slope(sign * (at + stretch * mean), stretch * a.sd_of_truth)

    (p, slope), (no, _) = yes(1.0), yes(1.0, -1.0)
    step = (yes(1.001)[0] - yes(0.999)[0]) / 0.002
    of_dominant = slope * law.values.T[:, :, None]
    derivatives = np.concatenate([[step, slope], of_dominant])  # (2 + d, k, POINTS)
    weight = n_trials / POINTS * law.mass[:, None] / (p * no)
    information = np.einsum("akq,bkq->ab", derivatives * weight, derivatives)
    return np.asarray(np.linalg.pinv(information, hermitian=True)[1:, 1:])


def by_link(link: Link, observed: Observed, setting: Setting) -> Correction:
    """An error of ŵ along itself changes nothing, as the link takes it out again; the link's own error
    stretches all weights together.
    """
    fitted, noise = observed.fitted, observed.noise
    alpha = link.length / link.gain if min(link.length, link.gain) > INVISIBLE else 1.0
    rates = {"guess_rate": link.guess_rate, "lapse_rate": link.lapse_rate}
    a = _measured(observed, setting, alpha=alpha, signal=link.gain, intercept=link.intercept, **rates)
    corrected, moves = fitted / alpha, (np.eye(len(fitted)) - np.outer(fitted, observed.log_length)) / alpha
    stretched = corrected * link.errors[0]
    corrected[-1], stretched[-1] = link.intercept, 0.0
    at_least = np.zeros(len(fitted))
    at_least[-1] = max(float(link.covariance[1, 1]), float(noise[-1, -1]) / alpha**2)
    # The noise of ŵ along itself is in the error of log Γ, too: log α = log a − log Γ has the rest of it.
    along, of_gain = observed.along, float(link.covariance[0, 0])
    unshared = max(of_gain - along, 0.0)
    with_stretch = noise @ observed.log_length / alpha - corrected * (along + of_gain - unshared) / 2
    covariance = _propagated(noise, moves, stretched, at_least)
    return Correction(a, link, corrected, covariance, unshared, with_stretch)


def as_fitted(observed: Observed, setting: Setting) -> Correction:
    """Where nothing tells how large the true weights are: the fitted ones."""
    signal = float(np.sqrt(max(observed.eta_squared, INVISIBLE**2)))
    b = float(observed.fitted[-1])
    a = _measured(observed, setting, alpha=1.0, signal=signal, intercept=b, s=NOISELESS * signal)
    return Correction(a, _known_link(a, 0.0, 0.0), observed.fitted, observed.noise)


def _propagated(noise: Array, moves: Array, sampled: Array, at_least: Array) -> Array:
    """Covariance of corrected coefficients.

    moves: (p + 1, p + 1) their derivatives in the fitted ones; sampled: (p + 1,) sd of what else moves them,
    all together; at_least: (p + 1,) variances.
    """
    covariance = moves @ noise @ moves.T + np.outer(sampled, sampled)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), at_least))
    return np.asarray(covariance)


def _known_link(a: Asymptotics, log_gain: float, intercept: float) -> Link:
    """The logistic function, without rates; with the variances of log γ and β0."""
    return Link(a.signal, a.intercept, 0.0, 0.0, np.diag([log_gain, intercept, 0.0, 0.0]), 0.0)


def _measured(observed: Observed, setting: Setting, **known: float) -> Asymptotics:
    """What the data tell without equations; known: α, signal, intercept, and what else is."""
    kappa, size = setting.kappa, {"ridge": setting.ridge, "shrinkage": setting.shrinkage}
    lambda_ = kappa / (observed.curvature + setting.ridge)
    data = {"s": float(np.sqrt(observed.s_squared)), "lambda_": lambda_, "b": float(observed.fitted[-1])}
    return Asymptotics(**{"kappa": kappa, **size, **data, **known})
