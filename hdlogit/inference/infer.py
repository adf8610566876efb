"""Can these coefficients be trusted? Bias, intervals and tests of an exact fit, corrected from the data.

With many factors per trial the textbook's answer, ŵ ± z √[H⁻¹]_jj, is wrong: weights come out too large by a
factor α, and vary more than by H⁻¹. Per class, H = Σ D_i x̃_i x̃_iᵀ (+ n·ridge on the weights) the Hessian,
x̃ = (x − x̄, 1):

    z_i fitted logit     ψ_i = y_i − σ(z_i)     D_i = σ'(z_i)     w_i = x̃_iᵀH⁻¹x̃_i     h_i = D_i w_i
    q_i = w_i / (1 − h_i)        V_i = z_i − q_i ψ_i        leave-one-out logit: from the fit without trial i
    f = mean ψ² / mean D(1 − h)                             1 in the textbook
    s_i² = f q_i                 noise of V_i           a² = Var(V) − mean s_i²,   c² = a² / (a² + mean s_i²)

- Noise of a fitted weight: f [H⁻¹]_jj. For Gaussian factors this is the published law (s²/λ = f: Sur &
  Candès, PNAS 2019; Zhao, Sur & Candès, Bernoulli 2022; observables: Bellec 2022), for others it is our
  finding: `docs/theory.md`.
- Test of β_j = 0: ŵ_j / √(f [H⁻¹]_jj), for which no scale is needed; of several at once:
  `hdlogit.inference.terms`.
- Scale: Var(V) and the mean logit give γ̂, β̂0 and α̂ (SLOE, NeurIPS 2021; `hdlogit.asymptotics.inverse`).
  Factors that carry much of the index and are not normal have an equation of their own there, and a scale of
  their own. Where the psychometric function has asymptotes, `fit_link` estimates the length of the true index
  from the V_i instead; with shrinkage, too; and with few factors per trial, where a wrong link can bias the
  direction too, `fit_joint` fits all coefficients and rates together.
- Covariance of the corrected coefficients ŵ/α̂, β̂0 by the delta method: α̂ and β̂0 are functions of ŵ
  (through Var(V)) and of the fitted bias, so an error of ŵ moves its own coefficient and, through α̂, all. By
  the link, an error of ŵ along itself moves nothing, as the link takes it out again, and the link's own error
  stretches all weights.
- Interval of β_j: all values that a test at their own standard error does not reject
  (`ClassInference.interval`), so that it holds 0 just where the test of β_j = 0 does not reject.
- Bias: its variance is the largest of that, f [H⁻¹]_bb/α̂², and what a logistic curve through the V_i tells.
- Where a direction separates some of the trials: `hdlogit.inference.separation`.

With ridge, H⁻¹ in the noise becomes H⁻¹ − n·ridge·H⁻¹H⁻¹ (over the weights), and factors must be isotropic.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.predictions import best_logits, corrected_logits
from hdlogit.compute.threads import single_threaded_blas
from hdlogit.inference.corrections import Correction, as_fitted, by_link, correct
from hdlogit.inference.joint import fit_joint, is_for_joint_fit
from hdlogit.inference.observed import Observed
from hdlogit.inference.observer import Asymptotes
from hdlogit.inference.result import ClassInference, LeaveOneOut
from hdlogit.inference.separation import is_by_chance, separated_trials, separation_of, with_separation
from hdlogit.inference.sums import (
    NUMBERS,
    Factors,
    Names,
    Rates,
    RatesNotDetermined,
    Refused,
    Responses,
    Setting,
)

__all__ = ["ClassInference", "infer"]


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

    factors: (n, p), may be a memory map: read in blocks, so memory does not grow with n; responses: (n, k)
    bool; coefficients: (p + 1, k), last row the bias, NaN in a class without an estimate; they may be
    rounded, as a Newton step comes first; ridge: μ of the penalty n (μ/2)‖w‖² on the summed loss; shrinkage:
    1 − δ of the soft responses y* = δ y + (1 − δ)/2 that were fitted, 0 = none; asymptotes: whether guess and
    lapse rates are estimated, tied: as one, g = l, half of the rate of lapses that do not depend on the
    stimulus; a number fixes a rate, which is 0 where it is neither given nor estimated. Rates that these
    responses do not determine are not estimated, and a `note` says so. names: of the factors, for the lines.
    Raises ValueError where shapes or rates are impossible.
    """
    (n, p), n_classes = factors.shape, responses.shape[-1]
    if responses.shape != (n, n_classes) or coefficients.shape != (p + 1, n_classes):
        raise ValueError(
            f"factors {factors.shape}, responses {responses.shape}, coefficients {coefficients.shape}: "
            "they must be (n, p), (n, k), (p + 1, k)"
        )
    rates = _rates(asymptotes, guess_rate, lapse_rate)
    exists = np.isfinite(coefficients).all(axis=0)
    results = list[ClassInference]()
    with single_threaded_blas():
        try:
            fitted = np.where(exists, coefficients, 0.0)
            setting = Setting(factors, responses, fitted, ridge, shrinkage, rates, names)
        except Refused as reason:
            return [ClassInference.refused(str(reason), p)] * n_classes
        for c in range(n_classes):
            try:
                if not exists[c]:
                    raise Refused("it has no estimate")
                y = np.asarray(responses[:, c])
                observed = Observed(factors, y, c, setting)
                results.append(_infer_class(factors, y, observed, setting))
            except RatesNotDetermined as reason:
                guess, lapse = (rate if isinstance(rate, float) else 0.0 for rate in rates)
                fitted = coefficients[:, [c]]
                [without] = infer(factors, y[:, None], fitted, ridge, shrinkage, "none", guess, lapse, names)
                note = f"{reason}: all of this is without estimated rates"
                results.append(without if without.reason else replace(without, note=note))
            except (OutsideTheory, Refused) as reason:
                results.append(ClassInference.refused(str(reason), p))
    return results


def _infer_class(x: Factors, y: Responses, observed: Observed, setting: Setting) -> ClassInference:
    """Few factors and rates are fitted together, which has the last word on both. With shrinkage the
    coefficients are those from the trials that no direction separates, if one separates others, and only
    predictions are of all trials.

    Raises OutsideTheory or Refused where there is no answer.
    """
    if setting.rates != (0, 0) and is_for_joint_fit(*x.shape):
        link, *_ = joint = fit_joint(x, y, setting.units, setting.rates, setting.names)
        link = replace(link, length=float(np.sqrt(max(observed.eta_squared, 0.0))))
        by_fit = _result(by_link(link, observed, setting), observed, setting)
        fields = joint._asdict() | {"link": by_fit.link}
        return replace(by_fit, **fields, predictor=joint.corrected, predictor_sd=0.0)
    separated = separated_trials(x, y) if setting.shrinkage else None
    if separated is None or is_by_chance(separated, x.shape[1]):
        correction = correct(observed, setting)
        if separated is not None and not correction.link.length:
            raise Refused("the factors separate its responses, and nothing tells how large its weights are")
        return _result(correction, observed, setting)
    separation = separation_of(x, y, separated)
    shrunken = _result(as_fitted(observed, setting), observed, setting)
    left, y_left = x[separation.left][:, separation.kept], y[separation.left, None]
    if not left.size:
        return with_separation(shrunken, None, separation, x, y, setting.names)
    from hdlogit.exact import fit  # only here: it brings torch

    limit = fit(left, y_left)
    [others] = infer(left, y_left, limit.coefficients, names=[str(setting.names[j]) for j in separation.kept])
    if reason := limit.reasons[0] or others.reason:
        raise Refused(f"without the {len(y) - len(left)} trials that the factors separate: {reason}")
    return with_separation(shrunken, others, separation, x, y, setting.names)


def _result(correction: Correction, observed: Observed, setting: Setting) -> ClassInference:
    """From standardised factors to those that were given."""
    units, a, fitted, chosen = setting.units, correction.theory, observed.fitted, observed.dominant
    slope, factor = a.slope_of_truth, np.append(units.scale, 1.0)
    estimate, corrected = units.original(fitted), units.original(correction.corrected)
    covariance = units.original(units.original(correction.with_rates).T)
    null_error = np.sqrt(np.diag(observed.noise)[:-1]) / units.scale
    to_bias = np.append(-units.centre / units.scale, 1.0)
    variances = np.append(np.diag(observed.inverse)[:-1], to_bias @ observed.inverse @ to_bias)
    predictor = np.append(slope * fitted[:-1], a.intercept)
    if slope:  # dominant factors have a slope of their own
        predictor[chosen] += observed.axes[chosen] @ (correction.dominant - slope * observed.onto @ fitted)
    index = observed.rest + observed.carried @ (a.alpha * correction.dominant)
    best = observed.rest + observed.carried @ (correction.dominant / max(slope, 1e-300))
    b, signal = fitted[-1], float(np.hypot(a.signal, np.linalg.norm(correction.dominant)))
    leave_one_out = LeaveOneOut(observed.index + b, corrected_logits(a, index + b), best_logits(a, best + b))
    return ClassInference(
        theory=a,
        link=replace(correction.link, gain=signal),  # along the whole index, dominant factors included
        estimate=estimate,
        noise=observed.noise / np.outer(factor, factor),
        classical_error=np.sqrt(variances) / factor,
        corrected=corrected,
        covariance=covariance,
        z=np.append(estimate[:-1] / null_error, corrected[-1] / np.sqrt(covariance[-3, -3])),
        stretch=correction.stretch,
        with_stretch=correction.with_stretch / factor,
        along=observed.along,
        predictor=units.original(predictor),
        predictor_sd=a.sd_of_truth,
        centre=units.centre,
        scale=units.scale,
        inflation=float(setting.precision.mean()),
        leave_one_out=leave_one_out,
        index=(index, np.sqrt(observed.variance)),
        dominant=chosen,
    )


def _rates(asymptotes: Asymptotes, guess_rate: float | None, lapse_rate: float | None) -> Rates:
    guess, lapse = guess_rate or 0.0, lapse_rate or 0.0
    if not (min(guess, lapse) >= 0 and max(guess, lapse) <= 0.5 and guess + lapse < 1):
        raise ValueError(f"rates must be from 0 to 0.5, together below 1, got {guess:g} and {lapse:g}")
    if asymptotes == "none":
        return guess, lapse
    if asymptotes == "estimate":
        return guess_rate, lapse_rate
    if (guess_rate, lapse_rate) != (None, None):
        raise ValueError("asymptotes tied: guess and lapse rate are one, and estimated; none can be given")
    return "tied", None
