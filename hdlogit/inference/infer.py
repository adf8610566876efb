"""Can these coefficients be trusted? Bias, intervals and tests of an exact fit, corrected from the data.

With many factors per trial the textbook's answer, ŵ ± z √[H⁻¹]_jj, is wrong: weights come out too large by a factor α,
and vary more than by H⁻¹. Per class, H = Σ D_i x̃_i x̃_iᵀ (+ n·ridge on the weights) the Hessian, x̃ = (x − x̄, 1):

    z_i fitted logit     ψ_i = y_i − σ(z_i)     D_i = σ'(z_i)     w_i = x̃_iᵀH⁻¹x̃_i     h_i = D_i w_i
    q_i = w_i / (1 − h_i)        V_i = z_i − q_i ψ_i        leave-one-out logit: from the fit without trial i
    f = mean ψ² / mean D(1 − h)                             1 in the textbook
    s_i² = f q_i                 noise of V_i               a² = Var(V) − mean s_i²,     c² = a² / (a² + mean s_i²)

- Noise of a fitted weight: f [H⁻¹]_jj. For Gaussian factors this is the published law (s²/λ = f: Sur & Candès, PNAS
  2019; Zhao, Sur & Candès, Bernoulli 2022; observables: Bellec 2022), for others it is our finding: `docs/theory.md`.
- Test of β_j = 0: ŵ_j / √(f [H⁻¹]_jj), for which no scale is needed; of several at once: `hdlogit.inference.terms`.
- Scale: Var(V) and the mean logit give γ̂, β̂0 and α̂ (SLOE, NeurIPS 2021; `hdlogit.asymptotics.inverse`). Factors that
  carry much of the index and are not normal have an equation of their own there, and a scale of their own. Where the
  psychometric function has asymptotes, `fit_link` estimates the length of the true index from the V_i instead; with
  shrinkage, too; and with few factors per trial, where a wrong link can bias the direction too, `fit_joint` fits all
  coefficients and rates together.
- Covariance of the corrected coefficients ŵ/α̂, β̂0 by the delta method: α̂ and β̂0 are functions of ŵ (through
  Var(V)) and of the fitted bias, so an error of ŵ moves its own coefficient and, through α̂, all. By the link, an error
  of ŵ along itself moves nothing, as the link takes it out again, and the link's own error stretches all weights.
- Interval of β_j: all values that a test at their own standard error does not reject (`ClassInference.interval`), so
  that it holds 0 just where the test of β_j = 0 does not reject.
- Bias: its variance is the largest of that, f [H⁻¹]_bb/α̂², and what a logistic curve through the V_i tells.
- Where a direction separates some of the trials: `hdlogit.inference.separation`.

With ridge, H⁻¹ in the noise becomes H⁻¹ − n·ridge·H⁻¹H⁻¹ (over the weights), and factors must be isotropic.
"""

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.predictions import best_logits, debiased_logits
from hdlogit.compute.threads import single_threaded_blas
from hdlogit.inference.corrections import Correction, as_fitted, correct
from hdlogit.inference.joint import JointFit, fit_joint, is_for_joint_fit
from hdlogit.inference.observed import Observed, Setting, observe, variance_along, with_dominant
from hdlogit.inference.observer import Asymptotes, Rates
from hdlogit.inference.result import ClassInference, Index, LeaveOneOut, Trials, constant
from hdlogit.inference.separation import MANY, separation_of, which, with_separation
from hdlogit.inference.sums import (
    NUMBERS,
    Array,
    Factors,
    LeftOut,
    Minimum,
    Names,
    Refused,
    Responses,
    Sums,
    Units,
    add_up,
    check_independence,
    inverse_root,
    leave_out,
    measure,
)

__all__ = ["ClassInference", "infer"]

NOT_OPTIMAL = 0.1  # Newton decrement: a fit this many standard errors from its optimum is not an exact one
NOTABLE = 2.5  # root mean square difference of noises, in units of chance; Gaussian factors reach 2 (docs/theory.md)
INVISIBLE = 1e-9  # sd of an index that is nothing but rounding
ANISOTROPIC = 0.1  # relative spread of the factors' covariance spectrum beyond chance, refused with ridge


def infer(
    factors: Factors,
    responses: Responses,
    coefficients: NDArray[np.floating],
    ridge: float = 0.0,
    shrinkage: float = 0.0,
    asymptotes: Asymptotes = "none",
    guess_rate: float | None = None,
    lapse_rate: float | None = None,
    names: Names = NUMBERS,
) -> list[ClassInference]:
    """The inference of every class of an exact fit; `reason` is one line on why a class has none.

    factors: (n, p), may be a memory map: read in blocks, so memory does not grow with n; responses: (n, k) bool;
    coefficients: (p + 1, k), last row the bias, NaN in a class without an estimate; they may be rounded, as a Newton
    step comes first; ridge: μ of the penalty n (μ/2)‖w‖² on the summed loss; shrinkage: 1 − δ of the soft responses
    y* = δ y + (1 − δ)/2 that were fitted, 0 = none; asymptotes: whether guess and lapse rates
    are estimated, tied: as one, g = l, half of the rate of lapses that do not depend on the stimulus; a number fixes a
    rate, which is 0 where it is neither given nor estimated; names: of the factors, for the lines. Raises ValueError
    where shapes or rates are impossible.
    """
    _check(factors, responses, coefficients, guess_rate, lapse_rate)
    if asymptotes == "tied" and (guess_rate, lapse_rate) != (None, None):
        raise ValueError("asymptotes tied: guess and lapse rate are one, which is estimated; neither can be given")
    rates: Rates = (guess_rate or 0.0, lapse_rate or 0.0)
    if asymptotes != "none":
        rates = ("tied", None) if asymptotes == "tied" else (guess_rate, lapse_rate)
    with single_threaded_blas():
        try:
            return _infer(factors, responses, np.asarray(coefficients, np.float64), ridge, shrinkage, rates, names)
        except Refused as reason:
            return [ClassInference.refused(str(reason), factors.shape[1])] * responses.shape[1]


def _infer(
    factors: Factors, responses: Responses, fitted: Array, ridge: float, shrinkage: float, rates: Rates, names: Names
) -> list[ClassInference]:
    n, p = factors.shape
    if ridge == 0 and n <= p + 1:
        raise Refused(f"{n} trials for {p} factors: without ridge there must be more trials than coefficients")
    units = measure(factors, names)
    exists = np.asarray(np.isfinite(fitted).all(axis=0))
    coefficients = units.coefficients(np.where(exists, fitted, 0.0))  # (p + 1, k)
    sums = add_up(factors, responses, units, coefficients, shrinkage)
    precision = np.ones(p) if ridge else _precision(sums.correlation, n, names)
    penalty = np.append(n * ridge / units.scale**2, 0.0)
    for_theory = _theory_ridge(sums.correlation, units, ridge)
    setting = Setting(units, sums.correlation, precision, penalty, for_theory, shrinkage, rates, names)
    results: dict[int, ClassInference] = {}
    minima: dict[int, Minimum] = {}
    for c in range(responses.shape[1]):
        try:
            if not exists[c]:
                raise Refused("it has no estimate")
            minima[c] = _newton(coefficients[:, c], sums, c, penalty)
            if rates == (0, 0) and not (ridge or shrinkage):  # else nothing is known of how they matter
                minima[c] = with_dominant(minima[c], sums.correlation, factors, units)
        except Refused as reason:
            results[c] = ClassInference.refused(str(reason), p)
    few = rates != (0, 0) and is_for_joint_fit(n, p)
    onto = [setting.onto(minimum) for minimum in minima.values()]
    left_out = leave_out(factors, responses[:, [*minima]], units, [*minima.values()], onto, shrinkage) if minima else []
    for (c, minimum), left in zip(minima.items(), left_out, strict=True):
        try:
            y = np.asarray(responses[:, c])
            if shrinkage and not few:
                results[c] = _shrunken(minimum, left, setting, factors, y)
            else:
                joint = fit_joint(factors, y, units, rates, names) if few else None
                results[c] = _infer_class(minimum, left, setting, joint)
        except (OutsideTheory, Refused) as reason:
            results[c] = ClassInference.refused(str(reason), p)
    return [results[c] for c in sorted(results)]


def _shrunken(
    minimum: Minimum, left_out: LeftOut, setting: Setting, factors: Factors, responses: NDArray[np.bool_]
) -> ClassInference:
    """With coefficients from the trials that no direction separates, if one separates others; predictions stay.

    Raises Refused where these trials have no inference.
    """
    from hdlogit.exact import fit  # only here: it brings torch

    separation, names, (n, p) = separation_of(factors, responses), setting.names, factors.shape
    by_chance = separation is not None and not separation.left.any() and p + 1 > MANY * n
    if separation is None or by_chance:
        found = _infer_class(minimum, left_out, setting)
        if by_chance and not found.link.length:
            raise Refused("the factors separate its responses so well that nothing tells how large its weights are")
        return found
    shrunken = _infer_class(minimum, left_out, setting, correctable=False)
    x, y = factors[separation.left][:, separation.kept], responses[separation.left]
    if not x.size:
        return with_separation(shrunken, constant(y), separation, factors, responses, names)
    limit = fit(x, y[:, None])
    [others] = infer(x, y[:, None], limit.coefficients, names=[str(names[j]) for j in separation.kept.tolist()])
    if reason := limit.reasons[0] or others.reason:
        raise Refused(f"without the {n - len(y)} trials that are separated by {which(separation, names)}: {reason}")
    return with_separation(shrunken, others, separation, factors, responses, names)


def _infer_class(
    minimum: Minimum, left_out: LeftOut, setting: Setting, joint: JointFit | None = None, correctable: bool = True
) -> ClassInference:
    """Raises OutsideTheory or Refused where there is no answer. joint: has the last word on coefficients and rates;
    correctable: whether anything tells how large the true weights are.
    """
    units, fitted, root = setting.units, minimum.coefficients, minimum.root
    inverse = root @ root.T  # (p + 1, p + 1) H⁻¹
    after_ridge = inverse - (inverse * setting.penalty) @ inverse if setting.ridge else inverse
    noise_fraction = float(np.vdot(after_ridge[:-1, :-1], setting.correlation))
    noise_fraction /= float(np.vdot(inverse[:-1, :-1], setting.correlation))
    observed = observe(minimum, left_out, setting, noise_fraction)
    noise = observed.dispersion * after_ridge  # of the fitted coefficients
    if correctable:
        found = correct(minimum, noise, left_out, observed, setting, joint)
    else:
        found = as_fitted(minimum, noise, observed, setting)
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
        signal=float(np.hypot(a.signal, np.linalg.norm(found.dominant))),
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
        along=variance_along(noise, fitted[:-1], setting),
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
    along = variance_along(noise, weights, setting) - expected / size
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


def _newton(coefficients: Array, sums: Sums, c: int, penalty: Array) -> Minimum:
    """One Newton step from the given coefficients of a class; raises Refused where they are not near the minimum."""
    root = inverse_root(sums.hessians[c] + np.diag(penalty))
    if root is None:
        raise Refused("its Hessian is singular: these data do not determine its coefficients (use ridge)")
    downhill = root.T @ (sums.gradients[c] + penalty * coefficients)
    decrement = float(np.linalg.norm(downhill))
    if not decrement < NOT_OPTIMAL:
        raise Refused(
            f"the coefficients are {decrement:.2g} standard errors from the minimum of the loss, "
            f"inference needs an exact fit (below {NOT_OPTIMAL:g})"
        )
    minimum = coefficients - root @ downhill
    nothing = np.zeros(0, np.intp)
    return Minimum(minimum, root, nothing, np.zeros((len(minimum) - 1, 0)), decrement, sums.means[c], sums.reach)


def _precision(correlation: Array, n_trials: int, names: Names) -> Array:
    """[Σ⁻¹]_jj; (n − p)/n makes the inverse of the sample covariance unbiased. Raises Refused where factors depend."""
    check_independence(correlation, n_trials, names)
    root = inverse_root(correlation)
    assert root is not None
    return np.asarray(np.vecdot(root, root)) * (n_trials - len(correlation)) / n_trials


def _theory_ridge(correlation: Array, units: Units, ridge: float) -> float:
    """Ridge for factors of variance 1. Raises Refused where they are not isotropic: then the theory has no answer."""
    if ridge == 0:
        return 0.0
    covariance = correlation * np.outer(units.scale, units.scale)
    p, trace, by_chance = len(covariance), float(np.trace(covariance)), (len(covariance) + 1) / units.n_trials
    spread, of_correlation = (len(c) * float((c**2).sum() / np.trace(c) ** 2) - 1 for c in (covariance, correlation))
    if spread - by_chance > ANISOTROPIC:
        only_units = of_correlation - by_chance <= ANISOTROPIC
        what = "of unequal variance" if only_units else "correlated, or of unequal variance"
        instead = "standardise them (in a study, standardise: true)" if only_units else "use shrinkage"
        raise Refused(
            f"the factors are {what} (spread of their covariance's spectrum {spread:.3g}, by chance {by_chance:.3g}): "
            f"with ridge the theory is for isotropic factors only; {instead}"
        )
    return ridge * p / trace


def _check(
    factors: Factors,
    responses: Responses,
    coefficients: NDArray[np.floating],
    guess_rate: float | None,
    lapse_rate: float | None,
) -> None:
    (n, p), k = factors.shape, responses.shape[-1]
    if responses.shape != (n, k) or coefficients.shape != (p + 1, k):
        raise ValueError(
            f"factors {factors.shape}, responses {responses.shape}, coefficients {coefficients.shape}: "
            "they must be (n, p), (n, k), (p + 1, k)"
        )
    rates = guess_rate or 0.0, lapse_rate or 0.0
    if not (min(rates) >= 0 and max(rates) <= 0.5 and sum(rates) <= 0.99):
        raise ValueError(f"guess_rate {rates[0]:g}, lapse_rate {rates[1]:g}: from 0 to 0.5, and together at most 0.99")
