"""One class, from sums over trials to answers. The formulas are in `hdlogit.inference.infer`."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.asymptotics.inverse import NoSignal, sensitivity, signal_from_fit, without_signal
from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.asymptotics.predictions import best_logits, debiased_logits
from hdlogit.inference.joint import JointFit
from hdlogit.inference.link import Link, fit_link
from hdlogit.inference.posterior import Rates
from hdlogit.inference.result import Array, ClassInference, Index, LeaveOneOut, Score
from hdlogit.inference.sums import LeftOut, Minimum, Names, Refused, Responses, Units

POINTS = 500  # nodes of the integral for the information
ROUGH_SLOPE = 1.2  # a first guess of α
INVISIBLE = 1e-9  # sd of an index that is nothing but rounding
NOTABLE = 2.5  # root mean square difference of noises, in units of chance; Gaussian factors reach 2 (docs/theory.md)


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

    @property
    def kappa(self) -> float:
        return len(self.correlation) / self.units.n_trials


@dataclass(frozen=True)
class Observed:
    """Moments of the leave-one-out logits."""

    index: Array  # (m,) V_i, centred
    noise: Array  # (m,) s_i²
    dispersion: float  # f
    curvature: float  # v = mean D(1 − h)
    eta_squared: float  # Var(V)
    explained: float  # a²

    @property
    def s_squared(self) -> float:
        return float(self.noise.mean())

    @property
    def fraction(self) -> float:
        """c², the fraction of the variance of V that is signal."""
        return self.explained / (self.explained + self.s_squared)


Scale = tuple[Asymptotics, Link]  # the length of the true weights; the link's covariance says how well it is known


def infer_class(minimum: Minimum, left_out: LeftOut, setting: Setting, joint: JointFit | None = None) -> ClassInference:
    """Raises OutsideTheory or Refused where there is no answer. joint: has the last word on coefficients and rates."""
    units, weights, root = setting.units, minimum.coefficients[:-1], minimum.root
    inverse = root @ root.T  # (p + 1, p + 1) H⁻¹
    after_ridge = inverse - (inverse * setting.penalty) @ inverse if setting.ridge else inverse
    noise_fraction = float(np.vdot(after_ridge[:-1, :-1], setting.correlation))
    noise_fraction /= float(np.vdot(inverse[:-1, :-1], setting.correlation))
    observed = _observe(minimum, left_out, setting, noise_fraction)
    noise = observed.dispersion * after_ridge  # of the fitted coefficients
    a, link = _scale(minimum, left_out, observed, setting, joint)
    if joint:
        corrected, covariance = joint.coefficients, joint.covariance[:-2, :-2]
    else:
        corrected = units.original(np.append(weights / a.alpha, a.intercept))
        variance = float(link.covariance[0, 0])
        of_weights = _known_length(noise[:-1, :-1], weights, observed.fraction, variance, setting) / a.alpha**2
        covariance = _with_bias(of_weights, max(link.covariance[1, 1], noise[-1, -1] / a.alpha**2), units)
    offset = units.centre / units.scale
    to_bias = np.append(-offset, 1.0)
    factor = np.append(units.scale, 1.0)
    return ClassInference(
        theory=a,
        estimate=units.original(minimum.coefficients),
        classical_error=np.sqrt(np.append(np.diag(inverse)[:-1], to_bias @ inverse @ to_bias)) / factor,
        corrected=corrected,
        covariance=covariance,
        centre=units.centre,
        scale=units.scale,
        noise=noise / np.outer(factor, factor),
        certificate=_certificate(minimum, left_out, setting),
        note=joint.note(setting.names) if joint else _note(a, observed, noise, weights, left_out, setting),
        leave_one_out=_scores(a, observed.index + minimum.coefficients[-1], left_out.response),
        index=_index(observed),
        link=link,
        overlap=np.diag([_variance_along(noise, weights, setting), noise[-1, -1] / a.alpha**2]),
        joint=joint,
    )


def _with_bias(covariance: Array, bias_variance: float, units: Units) -> Array:
    """Covariance in the factors' units, from those of standardised weights (p, p) and of the logit at the means."""
    offset, p = units.centre / units.scale, len(covariance)
    shift = covariance @ offset
    whole = np.empty((p + 1, p + 1))
    whole[:-1, :-1] = covariance / np.outer(units.scale, units.scale)
    whole[-1, :-1] = whole[:-1, -1] = -shift / units.scale
    whole[-1, -1] = offset @ shift + bias_variance
    return whole


def _variance_along(noise: Array, weights: Array, setting: Setting) -> float:
    """v_u: variance of log length of the fitted weights, by their noise."""
    spread = setting.correlation @ weights
    return float(spread @ noise[:-1, :-1] @ spread) / max(float(weights @ spread) ** 2, 1e-300)


def _known_length(noise: Array, weights: Array, fraction: float, variance: float, setting: Setting) -> Array:
    """Noise (p, p) of weights whose length is known from elsewhere, its logarithm with this variance.

    (I − P) N (I − P)ᵀ + variance · c⁴ ŵŵᵀ with P = c² ŵuᵀ/(ŵ·u), u = Σŵ: errors of ŵ along itself are taken out. c² ŵ
    is, up to scale, the mean of β given ŵ: without signal there is no length to know.
    """
    if np.isnan(variance):
        return noise
    spread = setting.correlation @ weights  # u
    pull = fraction / float(weights @ spread)
    moved = noise @ spread
    cross = pull * np.outer(weights, moved)
    along = pull**2 * float(spread @ moved) + fraction**2 * variance
    return noise - cross - cross.T + along * np.outer(weights, weights)


def _certificate(minimum: Minimum, left_out: LeftOut, setting: Setting) -> float:
    """(Newton decrement) · max √w_i; if only some trials were left out, a bound on it.

    Below 1 it proves that these data have a finite estimate, as |σ''| ≤ σ'. Where the responses are separable it tends
    to exactly 1, so 1/2 is required. A theorem about the data at hand, not about their distribution.
    """
    if setting.ridge or setting.shrinkage:
        return 0.0
    everyone = len(left_out.leverage) == setting.units.n_trials
    largest = left_out.leverage.max() if everyone else minimum.reach * np.square(minimum.root).sum()
    return minimum.decrement * float(np.sqrt(largest))


def _observe(minimum: Minimum, left_out: LeftOut, setting: Setting, noise_fraction: float) -> Observed:
    """noise_fraction: what ridge leaves of the noise variance of a new logit, tr(NΣ)/tr(f H⁻¹Σ)."""
    weights, h = minimum.coefficients[:-1], left_out.curvature * left_out.leverage
    if not (h < 1).all():
        how = "" if setting.shrinkage else " (use shrinkage)"
        raise Refused(f"its responses are separable but for a trial, which alone decides the fit{how}")
    q = left_out.leverage / (1 - h)
    index = left_out.logit - q * left_out.residual - minimum.coefficients[-1]
    # Of many trials only some were left out: by how much these change D and Var(z), whose means over all are known.
    curvature = float(minimum.means[1] * (left_out.curvature * (1 - h)).sum() / left_out.curvature.sum())
    dispersion = float(minimum.means[0]) / curvature
    eta_squared = float(weights @ setting.correlation @ weights + index.var() - left_out.logit.var())
    noise = dispersion * noise_fraction * q
    explained = max(eta_squared - float(noise.mean()), 0.0)
    return Observed(index, noise, dispersion, curvature, eta_squared, explained)


def _scale(minimum: Minimum, left_out: LeftOut, observed: Observed, setting: Setting, joint: JointFit | None) -> Scale:
    """By the equations, which are more precise; with shrinkage by the link, more robust, if there is a signal."""
    if joint:
        link, length = joint.link(setting.units, setting.correlation), float(np.sqrt(max(observed.eta_squared, 0.0)))
        return _by_link(link, length, minimum, observed, setting)
    if setting.rates != (0, 0):
        return _link_scale(minimum, left_out, observed, setting)
    if setting.shrinkage:
        try:
            return _link_scale(minimum, left_out, observed, setting)
        except Refused:
            pass
    return _logistic_scale(minimum, left_out, observed, setting)


def _logistic_scale(minimum: Minimum, left_out: LeftOut, observed: Observed, setting: Setting) -> Scale:
    """By the equations (SLOE), with the error of their inputs by the infinitesimal jackknife."""
    kappa, b = setting.kappa, float(minimum.coefficients[-1])
    size = {"ridge": setting.ridge, "shrinkage": setting.shrinkage}
    if not observed.eta_squared > 0:
        raise Refused("its fitted logits do not vary, so there is nothing to infer from them")
    slope = ROUGH_SLOPE * (1 - setting.shrinkage)
    guess = Asymptotics(
        kappa,
        signal=float(np.sqrt(max(observed.explained, 1e-3))) / slope,
        intercept=b / slope,
        **size,
        alpha=slope,
        s=float(np.sqrt(observed.s_squared)),
        lambda_=kappa / (observed.curvature + setting.ridge),
        b=b,
    )
    try:
        a = signal_from_fit(kappa, observed.eta_squared, b, **size, near=guess)
        change = sensitivity(a)[0]  # of log γ with (log η², b)
    except NoSignal:
        return _without_rates(without_signal(kappa, b, **size), np.nan, 0.0)
    # Leaving out trial i moves ŵ by −H⁻¹x̃_i e_i, so ŵᵀΣŵ by −2 (H⁻¹Σŵ)ᵀx̃_i e_i, and the bias likewise.
    n = setting.units.n_trials
    moved = left_out.influence * (left_out.residual / (1 - left_out.curvature * left_out.leverage))[:, None]
    influence = (observed.index**2 / n + 2 * moved[:, 0]) / observed.eta_squared * change[0] + moved[:, 1] * change[1]
    return _without_rates(a, float(n * influence.var()), _intercept_variance(a, observed.index, n))


def _without_rates(a: Asymptotics, variance: float, intercept_variance: float) -> Scale:
    covariance = np.diag([variance, intercept_variance, 0.0, 0.0])
    return a, Link(a.signal, a.intercept, 0.0, 0.0, covariance, np.nan)


def _intercept_variance(a: Asymptotics, index: Array, n_trials: int) -> float:
    """Variance of β̂0, from what n_trials responses tell of (log γ, β0) by a logistic curve over leave-one-out logits.

    By Fisher's information at the solution, over POINTS quantiles of the index.
    """
    mean = a.slope_of_truth * np.quantile(index, (np.arange(POINTS) + 0.5) / POINTS)

    def yes(stretch: float, sign: float = 1.0) -> tuple[Array, Array]:
        return probability_and_slope(sign * (a.intercept + stretch * mean), stretch * a.sd_of_truth)

    (p, slope), (no, _) = yes(1.0), yes(1.0, -1.0)
    derivatives = np.stack([(yes(1.001)[0] - yes(0.999)[0]) / 0.002, slope])
    return float(np.linalg.inv(n_trials * (derivatives / (p * no)) @ derivatives.T / POINTS)[1, 1])


def _link_scale(minimum: Minimum, left_out: LeftOut, observed: Observed, setting: Setting) -> Scale:
    """By the link between the leave-one-out logits and the responses."""
    if not observed.explained > 0:
        raise Refused("its fitted logits vary no more than if no factor mattered, so they determine no rates")
    guess_rate, lapse_rate = setting.rates
    link = fit_link(*_index(observed), left_out.response, guess_rate=guess_rate, lapse_rate=lapse_rate)
    if link.reason:
        raise Refused(link.reason)
    return _by_link(link, float(np.sqrt(observed.explained)), minimum, observed, setting)


def _by_link(link: Link, length: float, minimum: Minimum, observed: Observed, setting: Setting) -> Scale:
    """length: sd of the fitted logits, of which the link's gain is that of the true ones."""
    a = Asymptotics(
        kappa=setting.kappa,
        signal=link.gain,
        intercept=link.intercept,
        ridge=setting.ridge,
        shrinkage=setting.shrinkage,
        alpha=length / link.gain if min(length, link.gain) > INVISIBLE else 1.0,
        s=float(np.sqrt(observed.s_squared)),
        lambda_=setting.kappa / (observed.curvature + setting.ridge),
        b=float(minimum.coefficients[-1]),
        guess_rate=link.guess_rate,
        lapse_rate=link.lapse_rate,
    )
    return a, link


def _index(observed: Observed) -> Index:
    total = observed.explained + observed.s_squared
    return Index(observed.index, float(np.sqrt(observed.explained)) / total, np.sqrt(observed.noise / total))


def _note(
    a: Asymptotics, observed: Observed, noise: Array, weights: Array, left_out: LeftOut, setting: Setting
) -> str | None:
    """A line if the noise of the weights is not s²/p [Σ⁻¹]_jj, that of Gaussian factors; s² = f κ/v or solved.

    H⁻¹ is larger than that along β, for Gaussian factors too; this is taken out on both sides. The rest differs by
    chance, because the D_i do: [H⁻¹]_jj by a relative sd of √(2/(n' − p)), n' = (Σ D)²/Σ D² the effective trials.
    """
    if setting.ridge:  # factors that are not isotropic were refused
        return None
    p, d = len(weights), left_out.curvature
    solved = setting.rates == (0, 0) and not setting.shrinkage
    expected = (a.s**2 if solved else observed.dispersion * setting.kappa / observed.curvature) / p
    along = _variance_along(noise, weights, setting) - expected / float(weights @ setting.correlation @ weights)
    across = np.diag(noise)[:p] - along * weights**2
    ratio = across / (expected * setting.precision)
    counting = setting.units.n_trials * d.mean() ** 2 / (d**2).mean()
    by_chance = np.sqrt(2 / max(counting - p, 1.0))
    if np.sqrt(((ratio - 1) ** 2).mean()) < NOTABLE * by_chance:
        return None
    worst = int(np.abs(np.log(np.maximum(ratio, 1e-9))).argmax())
    return (
        "the factors are not of the theory's kind (Gaussian): the noise variance of factor "
        f"{setting.names[worst]}'s weight is {ratio[worst]:.2g} times what it says. Intervals and tests use the noise "
        "measured on these factors, but other predictions of the theory are approximate"
    )


def _scores(a: Asymptotics, logits: Array, responses: Responses) -> LeaveOneOut:
    def score(predicted: Array) -> Score:
        wrong = np.where(responses, -predicted, predicted)
        return Score(float(np.logaddexp(0, wrong).mean()), float((expit(wrong) ** 2).mean()))

    return LeaveOneOut(score(logits), score(debiased_logits(a, logits)), score(best_logits(a, logits)))
