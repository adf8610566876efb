"""Smooth kernels: families of ordered factors (frames, lags, positions) whose neighbours are alike.

The fit, and how much it smooths: `hdlogit.smooth.penalised`. With its P⁻¹, S = Σ λ_F K_F and H = P − S,

    effective parameters of a family     Σ_{j in F} [P⁻¹H]_jj             from m_F (no penalty) to 2 (a line)
    f = mean ψ² / mean D(1 − h)          h_i = D_i w_i                     1 in the textbook
    V_i = z_i − w_i ψ_i / (1 − h_i)      leave-one-out logits
    s_i² = f (x̃_iᵀP⁻¹HP⁻¹x̃_i − D_i w_i²) / (1 − h_i)²                      their sampling noise
    band                                 ŵ_j/α̂ ± 1.96 √[f P⁻¹ + J C Jᵀ + (Var log α̂ − v)₊ ŵŵᵀ]_jj / α̂

f P⁻¹ is the covariance of the weights *given* the data, with the penalty as their prior: it contains what
smoothing takes away, so that 95 % of the points of a smooth function lie in the band (across the function,
not at its sharpest point: Nychka, JASA 1988; Marra & Wood, Scand. J. Stat. 2012), and the noise along ŵ, of
variance v. J = ∂ŵ/∂log λ, and C is the covariance of log λ̂ by REML (Wood, Pya & Säfken, JASA 2016).

α̂ is the size of ŵ: too large with many factors per trial, too small by what is smoothed away. A logistic
function of the leave-one-out index tells it (`hdlogit.inference.link`): log α̂_1 = log a − log Γ, with the
variance e² = Var log Γ + (mean s²/a²)²/(2 p_e), the latter that of log a by the noise of Var V. Where there
is little signal that says little, so it is weighed against the α̂_0 of the equations
(`hdlogit.asymptotics.inverse`) for a fit of as many parameters as are effective, p_e, which is taken to be
within a factor of e^±0.3, as it knows of no penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.inverse import NoSignal, observer_from_fit, without_signal
from hdlogit.compute.threads import single_threaded_blas
from hdlogit.inference.link import fit_link
from hdlogit.inference.sums import NUMBERS, Array, Factors, Names, Refused, Responses, measure
from hdlogit.smooth.penalised import Minimum, choose, spectrum

APART = 0.3  # sd of log α of a smooth fit about that of an unpenalised one with as many parameters


@dataclass(frozen=True)
class Smooth:
    """A smooth fit of one class; coefficients are (p + 1,), in the units of the factors, last the bias."""

    families: list[NDArray[np.intp]]  # the factors of each, in order
    estimate: Array  # β̂ of the penalised fit
    corrected: Array  # ŵ/α̂, and the bias
    covariance: Array  # (p + 1, p + 1) of it
    alpha: float  # α̂
    strengths: Array  # (F,) μ of the penalties (μ/2) wᵀKw on the mean loss, λ = n μ
    effective: Array  # (F,) effective parameters
    leave_one_out: Array  # (n,) V_i

    def interval(self, level: float = 0.95) -> Array:
        """(p + 1, 2): bands across each family, intervals of the other coefficients."""
        reach = ndtri((1 + level) / 2) * np.sqrt(np.diag(self.covariance))
        return np.column_stack([self.corrected - reach, self.corrected + reach])

    def sentence(self, k: int) -> str:
        """What smoothing did to family k."""
        return (
            f"{len(self.families[k])} weights, of which neighbours are taken to be alike, count as "
            f"{self.effective[k]:.1f} parameters; a step from one to the next appears blurred, outside its band"
        )


def fit_smooth(
    factors: Factors, responses: Responses, families: Sequence[Sequence[int]], names: Names = NUMBERS
) -> Smooth:
    """A logistic fit with smooth kernels, whose strengths of smoothing are chosen by restricted likelihood.

    factors: (n, p), p up to some hundred, of the same unit within a family; responses: (n,) bool; families:
    indices of factors in their order and evenly spaced, at least three in each; other factors are not
    penalised. Raises Refused (a ValueError) where there is no fit, ValueError for impossible arguments.
    """
    groups = [np.asarray(family, np.intp) for family in families]
    (n, p), y = factors.shape, np.asarray(responses, np.float64)
    _check(n, p, y, groups)
    if y.min() == y.max():
        raise Refused("its responses are all alike, so no estimate exists")
    units = measure(factors, names)
    scale, basis, eigenvalues = units.scale.copy(), np.eye(p + 1), []
    for group in groups:
        scale[group] = np.sqrt(np.mean(units.scale[group] ** 2))  # one unit, so that neighbours stay alike
        values, basis[np.ix_(group, group)] = spectrum(len(group))
        eigenvalues.append(values)
    with single_threaded_blas():
        x = np.column_stack([(factors - units.centre) / scale, np.ones(n)]) @ basis
        chosen = choose(x, y, groups, eigenvalues)
        minimum, penalty = chosen.minimum, np.zeros(p + 1)
        for group, values, strength in zip(groups, eigenvalues, np.exp(chosen.log_strengths), strict=True):
            penalty[group] = strength * values
        index, sd, dispersion = _leave_one_out(x, minimum, penalty)
        alpha, alpha_error = _size(index, sd, y, minimum)
    back = basis / np.append(scale, 1.0)[:, None]
    back[-1] -= units.centre @ back[:-1]  # to coefficients of the factors in their own units
    inverse = minimum.root @ minimum.root.T
    noise = dispersion * inverse + chosen.change @ chosen.covariance @ chosen.change.T
    spread = np.append((x.T @ (x @ minimum.coefficients) / n)[:-1], 0.0)  # Σ̂ŵ
    along = dispersion * (spread @ inverse @ spread) / (minimum.coefficients @ spread) ** 2  # v
    corrected = minimum.coefficients / alpha
    covariance = noise / alpha**2 + max(alpha_error**2 - along, 0.0) * np.outer(corrected, corrected)
    of_each = 1 - np.diag(inverse) * penalty  # effective parameters
    return Smooth(
        families=groups,
        estimate=back @ minimum.coefficients,
        corrected=back @ corrected,
        covariance=back @ covariance @ back.T,
        alpha=alpha,
        strengths=np.exp(chosen.log_strengths) * [scale[group[0]] ** 2 / n for group in groups],
        effective=np.array([of_each[group].sum() for group in groups]),
        leave_one_out=index,
    )


def _leave_one_out(x: Array, fit: Minimum, penalty: Array) -> tuple[Array, Array, float]:
    """V_i (n,), the standard deviation of its sampling noise (n,), and f."""
    left = 1 - fit.curvature * fit.leverage
    f = float(np.mean(fit.residual**2) / np.mean(fit.curvature * left))
    towards = (x @ fit.root) @ fit.root.T  # P⁻¹x̃_i
    variance = fit.leverage - towards**2 @ penalty - fit.curvature * fit.leverage**2
    sd = np.sqrt(f * np.maximum(variance, 0.0)) / left
    return fit.logit - fit.leverage * fit.residual / left, sd, f


def _size(index: Array, sd: Array, y: Array, fit: Minimum) -> tuple[float, float]:
    """α̂, how much too large the fitted weights are, and the standard error of log α̂."""
    effective = float(np.sum(fit.curvature * fit.leverage)) - 1  # the bias is no parameter of the equations
    b = float(fit.coefficients[-1])
    try:
        try:
            prior = observer_from_fit(effective / len(y), float(index.var()), b).theory.alpha
        except NoSignal:
            prior = without_signal(effective / len(y), b).alpha
    except OutsideTheory as reason:
        raise Refused(f"with {effective:.3g} effective parameters: {reason}") from reason
    noise = float(np.mean(sd**2))
    a_squared = float(index.var()) - noise
    if a_squared > 0:
        link = fit_link(index - index.mean(), sd, y > 0, (0.0, 0.0))
        variance = link.covariance[0, 0] + (noise / a_squared) ** 2 / (2 * effective)
        if not link.reason and np.isfinite(variance):
            trust = APART**2 / (APART**2 + variance)
            log_alpha = np.log(prior) + trust * np.log(link.length / link.gain / prior)
            return float(np.exp(log_alpha)), float(np.sqrt(trust * variance))
    return float(prior), APART


def _check(n: int, p: int, y: Array, groups: list[NDArray[np.intp]]) -> None:
    if y.shape != (n,) or not np.isin(y, (0, 1)).all():
        raise ValueError(f"responses {y.shape}: they must be {n} of yes or no, one a trial")
    if any(len(group) < 3 for group in groups) or not groups:
        raise ValueError("a family needs three factors or more, and there must be one")
    members = np.concatenate(groups)
    if len(np.unique(members)) < len(members) or members.min() < 0 or members.max() >= p:
        raise ValueError(f"families must be of different factors from 0 to {p - 1}, each in one family")
