"""One class, from sums over trials to answers. The formulas are in `hdlogit.inference.infer`."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.asymptotics.inverse import NONE, Dominant, NoSignal, Observer, observer_from_fit, without_signal
from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.asymptotics.predictions import best_logits, debiased_logits
from hdlogit.inference.joint import JointFit
from hdlogit.inference.link import Link, fit_link
from hdlogit.inference.observer import Rates
from hdlogit.inference.result import Array, ClassInference, Index, LeaveOneOut
from hdlogit.inference.sums import Factors, LeftOut, Minimum, Names, Refused, Units

MOST_DOMINANT = 3  # factors
DOMINANT = 0.2  # of the index's variance, from which on a factor that is not normal has an equation of its own
SKEWED, HEAVY = 0.5, 1.0  # skewness and excess kurtosis, beyond chance, of a factor that is not normal
GROUPS = {1: 16, 2: 5, 3: 3}  # of trials along each axis, for the distribution of dominant factors
NOISELESS = 1e-4  # noise, in units of the signal, of logits that are taken as they are
ALONE = 1 - 1e-9  # leverage of a trial that alone decides a weight
POINTS = 500  # nodes of the integral for the information
ROUGH_SLOPE = 1.2  # a first guess of α
NOTABLE = 2.5  # root mean square difference of noises, in units of chance; Gaussian factors reach 2 (docs/theory.md)
INVISIBLE = 1e-9  # sd of an index that is nothing but rounding


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


class Scale(NamedTuple):
    """The corrected coefficients, and how they move with the fitted ones; of standardised factors."""

    theory: Asymptotics
    link: Link
    corrected: Array  # (p + 1,)
    moves: Array  # (p + 1, p + 1) ∂corrected/∂fitted
    spread: Array  # (p + 1,) sd of what else moves them, all together
    at_least: Array  # (p + 1,) variances, of the bias and of dominant factors, from the link's information; else 0
    stretch: float  # variance of log α, which all weights that are not dominant share
    shared: Array  # (p + 1,) covariance of ŵ/α, as if α were known, with log α
    dominant: Array  # (d,) β_D with what the other factors add along x_D


def infer_class(
    minimum: Minimum, left_out: LeftOut, setting: Setting, joint: JointFit | None = None, correct: bool = True
) -> ClassInference:
    """Raises OutsideTheory or Refused where there is no answer. joint: has the last word on coefficients and rates;
    correct: whether the fitted coefficients are corrected.
    """
    units, fitted, root = setting.units, minimum.coefficients, minimum.root
    inverse = root @ root.T  # (p + 1, p + 1) H⁻¹
    after_ridge = inverse - (inverse * setting.penalty) @ inverse if setting.ridge else inverse
    noise_fraction = float(np.vdot(after_ridge[:-1, :-1], setting.correlation))
    noise_fraction /= float(np.vdot(inverse[:-1, :-1], setting.correlation))
    observed = _observe(minimum, left_out, setting, noise_fraction)
    noise = observed.dispersion * after_ridge  # of the fitted coefficients
    if correct:
        scale = _scale(minimum, noise, left_out, observed, setting, joint)
    else:
        scale = _as_fitted(minimum, observed, setting)
    a, omega, axes = scale.theory, setting.onto(minimum) @ fitted, minimum.axes[minimum.dominant]
    covariance = scale.moves @ noise @ scale.moves.T + np.outer(scale.spread, scale.spread)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), scale.at_least))
    # What to add to fitted logits per unit of x_D, so that one slope is right for all factors: 1/α, or the best one.
    shift = np.stack([a.alpha * scale.dominant - omega, scale.dominant / max(a.slope_of_truth, 1e-300) - omega])
    logits = [observed.rest + left_out.dominant @ (omega + s) + fitted[-1] for s in shift]
    factor, to_bias = np.append(units.scale, 1.0), np.append(-units.centre / units.scale, 1.0)
    back = np.diag(1 / factor)  # to the units of the factors
    back[-1] = to_bias
    return ClassInference(
        theory=a,
        estimate=units.original(fitted),
        classical_error=np.sqrt(np.append(np.diag(inverse)[:-1], to_bias @ inverse @ to_bias)) / factor,
        corrected=joint.coefficients if joint else units.original(scale.corrected),
        covariance=joint.covariance[:-2, :-2] if joint else back @ covariance @ back.T,
        centre=units.centre,
        scale=units.scale,
        inflation=float(setting.precision.mean()),
        noise=noise / np.outer(factor, factor),
        certificate=_certificate(minimum, left_out, setting),
        note=joint.note if joint else _note(a, observed, noise, minimum, left_out, setting),
        leave_one_out=LeaveOneOut(
            observed.index + fitted[-1], debiased_logits(a, logits[0]), best_logits(a, logits[1])
        ),
        index=Index(logits[0] - fitted[-1], np.sqrt(observed.noise)),
        link=scale.link,
        along=_variance_along(noise, fitted[:-1], setting),
        stretch=scale.stretch,
        shared=scale.shared / factor,
        dominant=minimum.dominant,
        shift=shift @ axes.T / units.scale[minimum.dominant],
        joint=joint,
    )


def beside(minimum: Minimum, correlation: Array, factors: Factors, units: Units) -> Minimum:
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


def _variance_along(noise: Array, weights: Array, setting: Setting) -> float:
    """v_u: variance of log length of the fitted weights, by their noise."""
    spread = setting.correlation @ weights
    return float(spread @ noise[:-1, :-1] @ spread) / max(float(weights @ spread) ** 2, 1e-300)


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
    eta_squared = _rest_variance(minimum, setting)[0] + float(rest.var() - plain.var())
    noise = dispersion * noise_fraction * left_out.leverage / (1 - h)
    return Observed(index, rest, noise, dispersion, curvature, eta_squared)


def _rest_variance(minimum: Minimum, setting: Setting) -> tuple[float, Array]:
    """Variance of the fitted logits without what dominant factors add, and half its derivative (p + 1,)."""
    rest = minimum.coefficients[:-1] - minimum.axes @ (setting.onto(minimum) @ minimum.coefficients)
    gradient = setting.correlation @ rest
    return float(rest @ gradient), np.append(gradient, 0.0)


def _scale(
    minimum: Minimum, noise: Array, left_out: LeftOut, observed: Observed, setting: Setting, joint: JointFit | None
) -> Scale:
    """By the equations, which are more precise; with shrinkage by the link, more robust, if there is a signal."""
    if joint:
        link = replace(joint.link, length=float(np.sqrt(max(observed.eta_squared, 0.0))))
        return _by_link(link, minimum, noise, observed, setting)
    if setting.rates != (0, 0):
        return _link_scale(minimum, noise, left_out, observed, setting)
    if setting.shrinkage:
        try:
            return _link_scale(minimum, noise, left_out, observed, setting)
        except Refused:
            pass
    return _logistic_scale(minimum, noise, left_out, observed, setting)


def _logistic_scale(minimum: Minimum, noise: Array, left_out: LeftOut, observed: Observed, setting: Setting) -> Scale:
    """By the equations (SLOE), with the errors of their inputs."""
    kappa, fitted, onto, chosen = setting.kappa, minimum.coefficients, setting.onto(minimum), minimum.dominant
    b, n, size = float(fitted[-1]), setting.units.n_trials, {"ridge": setting.ridge, "shrinkage": setting.shrinkage}
    if not observed.eta_squared > 0:
        raise Refused("its fitted logits do not vary, so there is nothing to infer from them")
    rough = ROUGH_SLOPE * (1 - setting.shrinkage)
    near = Asymptotics(
        kappa,
        signal=float(np.sqrt(max(observed.eta_squared - observed.s_squared, 1e-3))) / rough,
        intercept=b / rough,
        **size,
        alpha=rough,
        s=float(np.sqrt(observed.s_squared)),
        lambda_=kappa / (observed.curvature + setting.ridge),
        b=b,
    )
    law = _law(left_out.dominant, onto @ fitted)
    try:
        found = observer_from_fit(kappa, observed.eta_squared, b, law, **size, near=near)
    except NoSignal:
        a = without_signal(kappa, b, **size)
        link = Link(a.signal, a.intercept, 0.0, 0.0, np.diag([np.nan, 0.0, 0.0, 0.0]), 0.0)
        moves = np.eye(len(fitted)) / a.alpha
        corrected, nothing = np.append(fitted[:-1] / a.alpha, a.intercept), np.zeros(len(fitted))
        return Scale(a, link, corrected, moves, nothing, nothing, 0.0, nothing, onto @ fitted / a.alpha)
    a, change = found.theory, found.change
    # How the data that the equations take, (log η², b, ω), move with the fitted coefficients …
    data = np.stack([2 / observed.eta_squared * _rest_variance(minimum, setting)[1], np.eye(len(fitted))[-1], *onto])
    sampled = float(np.sqrt((observed.rest**2).var() / n)) / observed.eta_squared  # … and η² with the trials
    corrected, moves = fitted / a.alpha, np.eye(len(fitted)) / a.alpha
    log_alpha = change[1] @ data
    moves -= np.outer(corrected, log_alpha)
    spread = -corrected * change[1, 0]
    corrected[-1], moves[-1], spread[-1] = a.intercept, change[2] @ data, change[2, 0]
    # Along x_D weights have a scale of their own: β_D less what the other factors' corrected weights add there.
    others, axes = onto.copy(), minimum.axes[chosen]
    others[:, chosen] = 0.0
    corrected[chosen] = axes @ (found.dominant - others @ corrected)
    moves[chosen], spread[chosen] = (
        axes @ (change[3:] @ data - others @ moves),
        axes @ (change[3:, 0] - others @ spread),
    )
    log_gamma, log_alpha_variance = (float(c @ data @ noise @ data.T @ c) + (sampled * c[0]) ** 2 for c in change[:2])
    least = _least_covariance(found, law, observed.rest, n)
    at_least = np.zeros(len(fitted))
    at_least[chosen] = np.diag(axes @ least[1:, 1:] @ axes.T)
    at_least[-1] = max(float(least[0, 0]), float(noise[-1, -1]) / a.alpha**2)
    link = Link(a.signal, a.intercept, 0.0, 0.0, np.diag([log_gamma, at_least[-1], 0.0, 0.0]), 0.0)
    shared = noise @ log_alpha / a.alpha
    return Scale(a, link, corrected, moves, sampled * spread, at_least, log_alpha_variance, shared, found.dominant)


def _law(t: Array, omega: Array) -> Dominant:
    """The distribution of the dominant factors t (m, d), uncorrelated and of variance 1, by groups of trials."""
    if not len(omega):
        return NONE
    part = np.arange(1, GROUPS[len(omega)]) / GROUPS[len(omega)]
    places = np.stack([np.searchsorted(np.quantile(column, part), column) for column in t.T])
    _, number, count = np.unique(places, axis=1, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(number.ravel(), column) for column in (t - t.mean(axis=0)).T], axis=1)
    values, mass = sums / count[:, None], count / len(t)
    lost = np.linalg.cholesky((values.T * mass) @ values)  # groups vary less than trials
    return Dominant(np.asarray(values @ np.linalg.inv(lost).T), np.asarray(mass), omega)


def _least_covariance(found: Observer, law: Dominant, rest: Array, n_trials: int) -> Array:
    """Covariance (1 + d, 1 + d) of (β̂0, β̂_D), from what n_trials responses tell of (log γ, β0, β_D) by a logistic curve
    over leave-one-out logits.

    By Fisher's information at the solution, over POINTS quantiles of what the other factors add.
    """
    a, places = found.theory, (np.arange(POINTS) + 0.5) / POINTS
    mean = a.slope_of_truth * np.quantile(rest, places)  # (POINTS,)
    at = (a.intercept + law.values @ found.dominant)[:, None]  # (k, 1)

    def yes(stretch: float, sign: float = 1.0) -> tuple[Array, Array]:
        return probability_and_slope(sign * (at + stretch * mean), stretch * a.sd_of_truth)

    (p, slope), (no, _) = yes(1.0), yes(1.0, -1.0)
    step = (yes(1.001)[0] - yes(0.999)[0]) / 0.002
    derivatives = np.stack([step, slope, *(slope * value[:, None] for value in law.values.T)])  # (2 + d, k, POINTS)
    weight = n_trials / POINTS * law.mass[:, None] / (p * no)
    information = np.einsum("akq,bkq->ab", derivatives * weight, derivatives)
    return np.asarray(np.linalg.pinv(information, hermitian=True)[1:, 1:])


def _link_scale(minimum: Minimum, noise: Array, left_out: LeftOut, observed: Observed, setting: Setting) -> Scale:
    """By the link between the leave-one-out logits and the responses: an error of ŵ along itself changes nothing, as
    the link takes it out again; the link's own error stretches all weights together.
    """
    if not observed.eta_squared > observed.s_squared:
        raise Refused("its fitted logits vary no more than if no factor mattered, so they determine no rates")
    guess_rate, lapse_rate = setting.rates
    link = fit_link(
        observed.index, np.sqrt(observed.noise), left_out.response, guess_rate=guess_rate, lapse_rate=lapse_rate
    )
    if link.reason:
        raise Refused(link.reason)
    return _by_link(link, minimum, noise, observed, setting)


def _by_link(link: Link, minimum: Minimum, noise: Array, observed: Observed, setting: Setting) -> Scale:
    fitted, spread = minimum.coefficients, np.append(setting.correlation @ minimum.coefficients[:-1], 0.0)
    a = Asymptotics(
        kappa=setting.kappa,
        signal=link.gain,
        intercept=link.intercept,
        ridge=setting.ridge,
        shrinkage=setting.shrinkage,
        alpha=link.length / link.gain if min(link.length, link.gain) > INVISIBLE else 1.0,
        s=float(np.sqrt(observed.s_squared)),
        lambda_=setting.kappa / (observed.curvature + setting.ridge),
        b=float(fitted[-1]),
        guess_rate=link.guess_rate,
        lapse_rate=link.lapse_rate,
    )
    corrected = fitted / a.alpha
    moves = (np.eye(len(fitted)) - np.outer(fitted, spread) / max(float(fitted @ spread), 1e-300)) / a.alpha
    stretch = corrected * link.errors[0]
    corrected[-1], stretch[-1] = link.intercept, 0.0
    at_least = np.zeros(len(fitted))
    at_least[-1] = max(float(link.covariance[1, 1]), float(noise[-1, -1]) / a.alpha**2)
    # The noise of ŵ along itself is in the error of log Γ, too, so that log α = log a − log Γ has only the rest of it.
    along, of_gain = _variance_along(noise, fitted[:-1], setting), float(link.covariance[0, 0])
    unshared = max(of_gain - along, 0.0)
    shared = (
        noise @ spread / max(float(fitted @ spread), 1e-300) / a.alpha - corrected * (along + of_gain - unshared) / 2
    )
    return Scale(a, link, corrected, moves, stretch, at_least, unshared, shared, np.zeros(0))


def _as_fitted(minimum: Minimum, observed: Observed, setting: Setting) -> Scale:
    """Where nothing tells how large the true weights are: the fitted ones."""
    fitted, nothing = minimum.coefficients, np.zeros(len(minimum.coefficients))
    signal, b = float(np.sqrt(max(observed.eta_squared, INVISIBLE**2))), float(fitted[-1])
    size = {"kappa": setting.kappa, "ridge": setting.ridge, "shrinkage": setting.shrinkage}
    lambda_ = setting.kappa / (observed.curvature + setting.ridge)
    a = Asymptotics(**size, signal=signal, intercept=b, alpha=1.0, s=NOISELESS * signal, lambda_=lambda_, b=b)
    link = Link(signal, b, 0.0, 0.0, np.zeros((4, 4)), 0.0)
    return Scale(a, link, fitted.copy(), np.eye(len(fitted)), nothing, nothing, 0.0, nothing, np.zeros(0))


def _note(
    a: Asymptotics, observed: Observed, noise: Array, minimum: Minimum, left_out: LeftOut, setting: Setting
) -> str | None:
    """A line if the noise of the weights is not s²/p [Σ⁻¹]_jj, that of Gaussian factors; s² = f κ/v or solved.

    H⁻¹ is larger than that along β, for Gaussian factors too; this is taken out on both sides. The rest differs by
    chance, because the D_i do: [H⁻¹]_jj by a relative sd of √(2/(n' − p)), n' = (Σ D)²/Σ D² the effective trials.
    """
    weights, d = minimum.coefficients[:-1], left_out.curvature
    p, size = len(weights), float(weights @ setting.correlation @ weights)
    if setting.ridge or size < INVISIBLE**2:  # with ridge, factors that are not isotropic were refused
        return None
    solved = setting.rates == (0, 0) and not setting.shrinkage
    expected = (a.s**2 if solved else observed.dispersion * setting.kappa / observed.curvature) / p
    along = _variance_along(noise, weights, setting) - expected / size
    share = weights * (setting.correlation @ weights)
    # What a factor that carries most of the index adds across it is a difference of two estimates of the same.
    usual = np.setdiff1d(np.flatnonzero(share < 0.5 * share.sum()), minimum.dominant)
    if not len(usual):
        return None
    ratio = (np.diag(noise)[usual] - along * weights[usual] ** 2) / (expected * setting.precision[usual])
    counting = setting.units.n_trials * d.mean() ** 2 / (d**2).mean()
    by_chance = np.sqrt(2 / max(counting - p, 1.0))
    if np.sqrt(((ratio - 1) ** 2).mean()) < NOTABLE * by_chance:
        return None
    worst = int(np.abs(np.log(np.maximum(ratio, 0.01))).argmax())
    return (
        "the factors are not of the theory's kind (Gaussian): the noise variance of factor "
        f"{setting.names[int(usual[worst])]}'s weight is {max(ratio[worst], 0.01):.2g} times what it says. Intervals "
        "and tests use the noise measured on these factors, but other predictions of the theory are approximate"
    )
