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
from hdlogit.inference.result import Array, ClassInference, Index, LeaveOneOut, Trials
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


class Correction(NamedTuple):
    """What is behind the fitted coefficients, of standardised factors."""

    theory: Asymptotics
    link: Link
    corrected: Array  # (p + 1,)
    covariance: Array  # (p + 1, p + 1) of it
    stretch: float  # variance of log α, which all weights that are not dominant share
    with_stretch: Array  # (p + 1,) covariance of ŵ/α, as if α were known, with log α
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
        found = _correct(minimum, noise, left_out, observed, setting, joint)
    else:
        found = _as_fitted(minimum, noise, observed, setting)
    a, link, slope = found.theory, found.link, found.theory.slope_of_truth
    estimate, null_error = units.original(fitted), np.sqrt(np.diag(noise)[:-1]) / units.scale
    if joint:
        corrected, covariance, z = joint.coefficients, joint.covariance, joint.z
        predictor = corrected
    else:
        corrected, covariance = units.original(found.corrected), _with_rates(found, units)
        z = np.append(estimate[:-1] / null_error, corrected[-1] / np.sqrt(covariance[-3, -3]))
        predictor = np.append(slope * fitted[:-1], a.intercept)
    # Dominant factors have a slope of their own.
    omega, axes = setting.onto(minimum) @ fitted, minimum.axes[minimum.dominant]
    if slope and not joint:
        predictor[minimum.dominant] += axes @ (found.dominant - slope * omega)
    index = observed.rest + left_out.dominant @ (a.alpha * found.dominant)
    best = observed.rest + left_out.dominant @ (found.dominant / max(slope, 1e-300))
    b, factor, to_bias = fitted[-1], np.append(units.scale, 1.0), np.append(-units.centre / units.scale, 1.0)
    return ClassInference(
        theory=a,
        link=link,
        estimate=estimate,
        noise=noise / np.outer(factor, factor),
        dispersion=observed.dispersion * float(after_ridge[0, 0] / inverse[0, 0]),
        classical_error=np.sqrt(np.append(np.diag(inverse)[:-1], to_bias @ inverse @ to_bias)) / factor,
        corrected=corrected,
        covariance=covariance,
        z=z,
        stretch=found.stretch,
        with_stretch=found.with_stretch / factor,
        along=_variance_along(noise, fitted[:-1], setting),
        predictor=predictor if joint else units.original(predictor),
        predictor_sd=0.0 if joint else a.sd_of_truth,
        centre=units.centre,
        scale=units.scale,
        inflation=float(setting.precision.mean()),
        certificate=_certificate(minimum, left_out, setting),
        leave_one_out=LeaveOneOut(observed.index + b, debiased_logits(a, index + b), best_logits(a, best + b)),
        index=Index(index, np.sqrt(observed.noise)),
        trials=Trials(left_out.residual, left_out.curvature, left_out.leverage),
        dominant=minimum.dominant,
        profiles=joint.profiles if joint else None,
        note=joint.note if joint else _note(a, observed, noise, minimum, left_out, setting),
    )


def _with_rates(found: Correction, units: Units) -> Array:
    """Covariance (p + 3, p + 3) of (corrected, g, l) in the units of the factors.

    A link's error of g or l goes with those of its length and intercept.
    """
    of_link, size = found.link.covariance, len(found.corrected)
    whole = np.zeros((size + 2, size + 2))
    whole[:-2, :-2] = units.original(units.original(found.covariance).T)
    whole[-2:, -2:] = of_link[2:, 2:]
    shared = np.outer(found.corrected, of_link[0, 2:])  # (p + 1, 2)
    shared[-1] = of_link[1, 2:]
    whole[:-2, -2:] = units.original(shared)
    whole[-2:, :-2] = whole[:-2, -2:].T
    return whole


def _propagated(noise: Array, moves: Array, sampled: Array | float, at_least: Array | float) -> Array:
    """Covariance of corrected coefficients.

    moves: (p + 1, p + 1) their derivatives in the fitted ones; sampled: (p + 1,) sd of what else moves them, all
    together; at_least: (p + 1,) variances.
    """
    covariance = moves @ noise @ moves.T + np.multiply.outer(sampled, sampled)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), at_least))
    return np.asarray(covariance)


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


def _correct(
    minimum: Minimum, noise: Array, left_out: LeftOut, observed: Observed, setting: Setting, joint: JointFit | None
) -> Correction:
    """By the equations, which are more precise; with shrinkage by the link, more robust, if there is a signal."""
    if joint:
        link = replace(joint.link, length=float(np.sqrt(max(observed.eta_squared, 0.0))))
        return _by_link(link, minimum, noise, observed, setting)
    if setting.rates != (0, 0) or setting.shrinkage:
        try:
            return _by_link(_fit_link(left_out, observed, setting), minimum, noise, observed, setting)
        except Refused:
            if setting.rates != (0, 0):
                raise
    return _by_equations(minimum, noise, left_out, observed, setting)


def _by_equations(
    minimum: Minimum, noise: Array, left_out: LeftOut, observed: Observed, setting: Setting
) -> Correction:
    """By the equations (SLOE), with the errors of their inputs."""
    kappa, fitted, onto, chosen = setting.kappa, minimum.coefficients, setting.onto(minimum), minimum.dominant
    b, n, size = float(fitted[-1]), setting.units.n_trials, {"ridge": setting.ridge, "shrinkage": setting.shrinkage}
    if not observed.eta_squared > 0:
        raise Refused("its fitted logits do not vary, so there is nothing to infer from them")
    rough = ROUGH_SLOPE * (1 - setting.shrinkage)
    near = replace(
        _measured(setting, observed, minimum, rough),
        signal=float(np.sqrt(max(observed.eta_squared - observed.s_squared, 1e-3))) / rough,
        intercept=b / rough,
    )
    law = _law(left_out.dominant, onto @ fitted)
    try:
        found = observer_from_fit(kappa, observed.eta_squared, b, law, **size, near=near)
    except NoSignal:
        a = without_signal(kappa, b, **size)
        link = Link(a.signal, a.intercept, 0.0, 0.0, np.diag([np.nan, 0.0, 0.0, 0.0]), 0.0)
        corrected = np.append(fitted[:-1] / a.alpha, a.intercept)
        return Correction(a, link, corrected, noise / a.alpha**2, 0.0, np.zeros(len(fitted)), onto @ fitted / a.alpha)
    a, change = found.theory, found.change
    # How the data that the equations take, (log η², b, ω), move with the fitted coefficients …
    data = np.stack([2 / observed.eta_squared * _rest_variance(minimum, setting)[1], np.eye(len(fitted))[-1], *onto])
    sampled = float(np.sqrt((observed.rest**2).var() / n)) / observed.eta_squared  # … and η² with the trials
    corrected, moves = fitted / a.alpha, np.eye(len(fitted)) / a.alpha
    log_alpha = change[1] @ data
    moves -= np.outer(corrected, log_alpha)
    with_data = -corrected * change[1, 0]
    corrected[-1], moves[-1], with_data[-1] = a.intercept, change[2] @ data, change[2, 0]
    # Along x_D weights have a scale of their own: β_D less what the other factors' corrected weights add there.
    others, axes = onto.copy(), minimum.axes[chosen]
    others[:, chosen] = 0.0
    corrected[chosen] = axes @ (found.dominant - others @ corrected)
    moves[chosen] = axes @ (change[3:] @ data - others @ moves)
    with_data[chosen] = axes @ (change[3:, 0] - others @ with_data)
    log_gamma, stretch = (float(c @ data @ noise @ data.T @ c) + (sampled * c[0]) ** 2 for c in change[:2])
    information = _least_covariance(found, law, observed.rest, n)
    at_least = np.zeros(len(fitted))
    at_least[chosen] = np.diag(axes @ information[1:, 1:] @ axes.T)
    at_least[-1] = max(float(information[0, 0]), float(noise[-1, -1]) / a.alpha**2)
    covariance = _propagated(noise, moves, sampled * with_data, at_least)
    link = Link(a.signal, a.intercept, 0.0, 0.0, np.diag([log_gamma, at_least[-1], 0.0, 0.0]), 0.0)
    return Correction(a, link, corrected, covariance, stretch, noise @ log_alpha / a.alpha, found.dominant)


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


def _fit_link(left_out: LeftOut, observed: Observed, setting: Setting) -> Link:
    """The link between the leave-one-out logits and the responses."""
    if not observed.eta_squared > observed.s_squared:
        raise Refused("its fitted logits vary no more than if no factor mattered, so they determine no rates")
    guess_rate, lapse_rate = setting.rates
    noise = np.sqrt(observed.noise)
    link = fit_link(observed.index, noise, left_out.response, guess_rate=guess_rate, lapse_rate=lapse_rate)
    if link.reason:
        raise Refused(link.reason)
    return link


def _by_link(link: Link, minimum: Minimum, noise: Array, observed: Observed, setting: Setting) -> Correction:
    """An error of ŵ along itself changes nothing, as the link takes it out again; the link's own error stretches all
    weights together.
    """
    fitted, spread = minimum.coefficients, np.append(setting.correlation @ minimum.coefficients[:-1], 0.0)
    spread /= max(float(fitted @ spread), 1e-300)
    alpha = link.length / link.gain if min(link.length, link.gain) > INVISIBLE else 1.0
    a = replace(
        _measured(setting, observed, minimum, alpha),
        signal=link.gain,
        intercept=link.intercept,
        guess_rate=link.guess_rate,
        lapse_rate=link.lapse_rate,
    )
    corrected = fitted / a.alpha
    moves = (np.eye(len(fitted)) - np.outer(fitted, spread)) / a.alpha
    stretched = corrected * link.errors[0]
    corrected[-1], stretched[-1] = link.intercept, 0.0
    at_least = np.zeros(len(fitted))
    at_least[-1] = max(float(link.covariance[1, 1]), float(noise[-1, -1]) / a.alpha**2)
    # The noise of ŵ along itself is in the error of log Γ, too, so that log α = log a − log Γ has only the rest of it.
    along, of_gain = _variance_along(noise, fitted[:-1], setting), float(link.covariance[0, 0])
    unshared = max(of_gain - along, 0.0)
    with_stretch = noise @ spread / a.alpha - corrected * (along + of_gain - unshared) / 2
    covariance = _propagated(noise, moves, stretched, at_least)
    return Correction(a, link, corrected, covariance, unshared, with_stretch, np.zeros(0))


def _as_fitted(minimum: Minimum, noise: Array, observed: Observed, setting: Setting) -> Correction:
    """Where nothing tells how large the true weights are: the fitted ones."""
    fitted, signal = minimum.coefficients, float(np.sqrt(max(observed.eta_squared, INVISIBLE**2)))
    a = replace(_measured(setting, observed, minimum, 1.0), signal=signal, s=NOISELESS * signal)
    link = Link(signal, a.intercept, 0.0, 0.0, np.zeros((4, 4)), 0.0)
    return Correction(a, link, fitted, noise, 0.0, np.zeros(len(fitted)), np.zeros(0))


def _measured(setting: Setting, observed: Observed, minimum: Minimum, alpha: float) -> Asymptotics:
    """What the data tell without equations, with this α; signal and intercept are those of the fit."""
    b = float(minimum.coefficients[-1])
    return Asymptotics(
        kappa=setting.kappa,
        signal=float(np.sqrt(max(observed.eta_squared, 0.0))),
        intercept=b,
        ridge=setting.ridge,
        shrinkage=setting.shrinkage,
        alpha=alpha,
        s=float(np.sqrt(observed.s_squared)),
        lambda_=setting.kappa / (observed.curvature + setting.ridge),
        b=b,
    )


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
