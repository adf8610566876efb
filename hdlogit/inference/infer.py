"""Can these coefficients be trusted? Bias, intervals and tests of an exact fit, corrected from the data.

With many factors per trial the textbook's answer, ŵ ± z √[H⁻¹]_jj, is wrong: weights come out too large by α,
and vary more than H⁻¹ says. Per class, from the Hessian H = Σ σ'(z_i) x̃_i x̃_iᵀ (+ n·ridge on the weights;
x̃ ends in 1):

    w_i = x̃_iᵀ H⁻¹ x̃_i                          leverage
    e_i = (y_i − σ(z_i)) / (1 − w_i σ'(z_i))     leave-one-out residual
    V_i = z_i − w_i e_i                          leave-one-out logit: what the fit without trial i says of it
    η̂² = Var(V_i), b̂ = mean z_i                  → γ̂, β̂0, α̂, s, λ by `hdlogit.asymptotics.inverse` (SLOE, NeurIPS 2021)

The mean of the z_i is the intercept of the problem with centred factors, which is what the theory speaks of.
The debiased weights are ŵ/α̂, the debiased bias β̂0 − x̄·ŵ/α̂.

Intervals. The published law (Sur & Candès 2019, Zhao et al. 2022), √n τ_j (ŵ_j − α β_j) → N(0, σ*²) with τ_j²
the variance of factor j given the others, takes the scale α as known. It is not: an error of γ̂ stretches all
weights together, and the large ones then miss their intervals. Our heuristic, not a theorem, adds that error,

    ŵ_j/α̂ ± z √( σ*²/(n τ_j² α̂²)  +  (c² ŵ_j/α̂)² (Var(log γ̂) − v) ),     c² = α²γ²/η²,  v = s²/(p α²γ²)

(v is that noise along β, which is replaced), with Var(log γ̂) from the infinitesimal jackknife: without trial
i the fit would be ŵ − H⁻¹x̃_i e_i, and η̂², b̂ and γ̂ would follow. c² ŵ_j/α̂ is the mean of β_j given ŵ_j,
so that a fit without signal is not stretched.

With ridge the same holds with τ_j = 1, for isotropic factors only; others are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import chdtrc, expit, ndtr, ndtri

from hdlogit.asymptotics.equations import Asymptotics
from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.inverse import NoSignal, sensitivity, signal_from_fit, without_signal
from hdlogit.compute.threads import cut, each, quietly

Array = NDArray[np.float64]

BLOCK = 1024  # trials in memory at a time: small enough for the cache, large enough for BLAS
TRIANGLE = 128  # columns of a triangular matrix that are multiplied at once
NOT_OPTIMAL = 0.1  # Newton decrement: a fit this many standard errors from its optimum is not an exact one
ANISOTROPIC = 0.1  # relative spread of the factors' covariance spectrum beyond chance, refused with ridge


class UntrustedFit(ValueError):  # noqa: N818 - as OutsideTheory
    """The coefficients are not the exact fit of these data, or the data determine none; one line says why."""


@dataclass(frozen=True)
class ClassInference:
    """One class. Arrays are (n_factors + 1,), the bias last, in the units of the coefficients."""

    theory: Asymptotics  # γ̂, β̂0 (at the mean of the factors), α̂, s, λ, b̂
    estimate: Array
    classical_error: Array  # √[H⁻¹]_jj
    corrected: Array  # debiased
    corrected_error: Array
    null_error: Array  # (n_factors,) sd of the fitted weight of a factor that has no effect
    signal_error: float  # sd of log γ̂; nan where no signal was found
    certificate: float  # below 1/2 it proves that the estimate exists; 0 with ridge, where it always does

    @property
    def exists(self) -> bool:
        """Whether the certificate proves that these data have a finite estimate.

        (Newton decrement) · max_i √(x̃_iᵀH⁻¹x̃_i) < 1 suffices, as |σ''| ≤ σ'; the product tends to exactly 1
        where the responses are separable, hence 1/2. A theorem about the data at hand, not about their
        distribution.
        """
        return self.certificate < 0.5

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Corrected interval (low, high), see the module's docstring."""
        half = ndtri(0.5 + level / 2) * self.corrected_error
        return self.corrected - half, self.corrected + half

    def classical_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """The textbook's Wald interval (low, high)."""
        half = ndtri(0.5 + level / 2) * self.classical_error
        return self.estimate - half, self.estimate + half

    def p_values(self) -> Array:
        """Two-sided, for each coefficient being zero; rescaled Wald: √n τ_j ŵ_j/σ* → N(0, 1) if β_j = 0.

        A theorem for maximum likelihood without intercept (Sur & Candès 2019, theorem 3; Zhao et al. 2022)
        that needs no α̂. For the bias, where nothing is published, debiased bias over its corrected error.
        """
        z = np.append(self.estimate[:-1] / self.null_error, self.corrected[-1] / self.corrected_error[-1])
        return np.asarray(2 * ndtr(-np.abs(z)))

    def classical_p_values(self) -> Array:
        """The textbook's two-sided Wald test."""
        return np.asarray(2 * ndtr(-np.abs(self.estimate / self.classical_error)))


def likelihood_ratio_p_values(a: Asymptotics, log_ratio: float, n_weights: int) -> tuple[float, float]:
    """(classical, corrected) p of a log-likelihood ratio (nats, summed over trials) for n_weights weights
    being zero.

    2 · log_ratio → (s²/λ) χ²: Sur, Chen & Candès, PTRF 2019; Sur & Candès 2019, theorem 4. Maximum likelihood
    only.
    """
    statistic = 2 * log_ratio
    return float(chdtrc(n_weights, statistic)), float(chdtrc(n_weights, statistic / a.likelihood_ratio_factor))


def infer(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], fitted: NDArray[np.floating], ridge: float = 0.0
) -> list[ClassInference]:
    """Inference for every class of an exact fit.

    factors: (n, p), may be a memory map: read twice, in blocks, so memory does not grow with n; responses:
    (n, k) bool; fitted: (p + 1, k), last row the bias; ridge: μ of the penalty n (μ/2)‖w‖² on the
    summed loss.

    Raises UntrustedFit if the coefficients are not the minimum of the loss or the data do not determine it,
    OutsideTheory if the theory has no answer for a class. A class without any signal is no error: its γ̂ is
    0.
    """
    coefficients: Array = np.asarray(fitted, np.float64)
    _check_shapes(factors, responses, coefficients)
    with quietly():
        return _infer(factors, responses, coefficients, ridge)


def _infer(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], coefficients: Array, ridge: float
) -> list[ClassInference]:
    n, p = factors.shape
    moments, hessians, gradient = _first_pass(factors, responses, coefficients)
    design = _describe(moments, n, ridge)
    penalty = np.append(np.full(p, n * ridge), 0.0)  # (p + 1,)
    gradient += penalty[:, None] * coefficients
    roots = [_inverse_root(hessian + np.diag(penalty), c) for c, hessian in enumerate(hessians)]
    for c, root in enumerate(roots):
        _check_optimal(root, gradient[:, c], c)
    left_out = _second_pass(factors, responses, coefficients, design, roots)
    return [
        _infer_class(c, coefficients[:, c], roots[c], gradient[:, c], left_out[c], design, ridge)
        for c in range(coefficients.shape[1])
    ]


def mean_variance(factors: NDArray[np.floating]) -> float:
    """Variance of a factor about its own mean, averaged over the factors (n, p), in blocks: the unit of ridge."""
    starts = range(0, len(factors), BLOCK)
    centre = sum(factors[i : i + BLOCK].sum(axis=0, dtype=np.float64) for i in starts) / len(factors)
    return float(sum(((factors[i : i + BLOCK] - centre) ** 2).sum() for i in starts) / factors.size)


# --- two passes over the trials


class Design(NamedTuple):
    """What inference needs to know of the factors."""

    n_trials: int
    mean: Array  # (p,)
    covariance: Array  # (p, p)
    noise: Array  # (p, p) covariance of the fitted weights in units of σ*²; its diagonal is 1/(n τ²)
    variance: float  # of a factor, where it matters: with ridge


class LeftOut(NamedTuple):
    """One class, from its leave-one-out logits and residuals."""

    eta_squared: float
    b: float
    jackknife: Array  # (2, 2) covariance of (log η̂², b̂), by the infinitesimal jackknife
    largest_leverage: float


def _blocks(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], coefficients: Array
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Per block of m trials: x̃ (m, p + 1), logits z, residuals y − σ(z) and σ'(z), all (m, k)."""
    for start in range(0, len(factors), BLOCK):
        block = factors[start : start + BLOCK]
        x = np.ones((len(block), block.shape[1] + 1))
        x[:, :-1] = block
        z = x @ coefficients
        probability = expit(z)
        yield x, z, responses[start : start + BLOCK] - probability, probability * expit(-z)


def _first_pass(
    factors: NDArray[np.floating], responses: NDArray[np.bool_], coefficients: Array
) -> tuple[Array, Array, Array]:
    """Σ x̃x̃ᵀ (p + 1, p + 1), the Hessians (k, p + 1, p + 1) and the gradients (p + 1, k) of the summed
    loss.
    """
    size, k = coefficients.shape
    moments, hessians, gradient = np.zeros((size, size)), np.zeros((k, size, size)), np.zeros((size, k))
    for x, _, residual, curvature in _blocks(factors, responses, coefficients):
        moments += x.T @ x
        gradient -= x.T @ residual
        list(each(_add_square, [(h, x, root) for h, root in zip(hessians, np.sqrt(curvature).T, strict=True)]))
    return moments, hessians, gradient


def _second_pass(
    factors: NDArray[np.floating],
    responses: NDArray[np.bool_],
    coefficients: Array,
    design: Design,
    roots: list[Array],
) -> list[LeftOut]:
    """Leave-one-out logits, their variance, and how each trial moves that variance and the mean logit."""
    n, k = design.n_trials, len(roots)
    centre = np.append(design.mean, 1.0)  # (p + 1,)
    b = centre @ coefficients  # (k,)
    # Leaving out trial i moves ŵ by −H⁻¹x̃_i e_i, so ŵᵀΣŵ by −2 (H⁻¹Σŵ)ᵀx̃_i e_i and the logit at the centre
    # likewise.
    spread = np.zeros_like(coefficients)
    spread[:-1] = design.covariance @ coefficients[:-1]
    to_spread = np.stack([r @ (r.T @ spread[:, c]) for c, r in enumerate(roots)], axis=1)  # (p + 1, k)
    to_centre = np.stack([r @ (r.T @ centre) for r in roots], axis=1)  # (p + 1, k)
    total, square = np.zeros((3, k)), np.zeros((k, 3, 3))
    sum_of_squares, largest = np.zeros(k), np.zeros(k)
    for x, z, residual, curvature in _blocks(factors, responses, coefficients):
        leverage = np.stack([*each(_leverage, [(x, root) for root in roots])], axis=1)  # (m, k)
        left_out = residual / (1 - leverage * curvature)
        v = z - leverage * left_out - b  # (m, k), V_i − b̂
        influence = np.stack([v, v * v / n + 2 * (x @ to_spread) * left_out, (x @ to_centre) * left_out])
        total += influence.sum(axis=1)
        square += np.einsum("amk,bmk->kab", influence, influence)
        sum_of_squares += (v * v).sum(axis=0)
        largest = np.maximum(largest, leverage.max(axis=0))
    answers = []
    for c in range(k):
        eta_squared = float(sum_of_squares[c] / n - (total[0, c] / n) ** 2)
        if not eta_squared > 0:
            raise UntrustedFit(f"class {c}: its fitted logits do not vary, so there is nothing to infer from them")
        covariance = (square[c] - np.outer(total[:, c], total[:, c]) / n)[1:, 1:]
        scale = np.array([1 / eta_squared, 1.0])
        answers.append(LeftOut(eta_squared, float(b[c]), covariance * np.outer(scale, scale), float(largest[c])))
    return answers


def _add_square(task: tuple[Array, Array, Array]) -> None:
    """hessian += Σ_i root_i² x̃_i x̃_iᵀ, of one class; task: hessian (p + 1, p + 1), x̃ (m, p + 1), root (m,)."""
    hessian, x, root = task
    weighted = x * root[:, None]
    hessian += weighted.T @ weighted  # one matrix twice: BLAS computes one half only


def _leverage(task: tuple[Array, Array]) -> Array:
    """x̃ᵀH⁻¹x̃ of each row, H⁻¹ = root · rootᵀ: (m,); task: x̃ (m, p + 1), root (p + 1, p + 1) upper triangular.

    By blocks of columns, above the diagonal only. BLAS's own product with a triangle would hold Python's lock.
    """
    x, root = task
    leverage = np.zeros(len(x))
    for columns in cut(len(root), 1, TRIANGLE):
        half = x[:, : columns.stop] @ root[: columns.stop, columns]
        leverage += np.vecdot(half, half)
    return leverage


# --- from sums to answers


def _infer_class(
    c: int, estimate: Array, root: Array, gradient: Array, left_out: LeftOut, design: Design, ridge: float
) -> ClassInference:
    n, p = design.n_trials, len(design.mean)
    inverse = root @ root.T  # (p + 1, p + 1) H⁻¹
    try:
        a, jackknife = _observer(left_out, p / n, ridge / design.variance, _overdispersion(inverse, design), n)
    except OutsideTheory as error:
        raise OutsideTheory(f"class {c}: {error}") from error
    weights = estimate[:-1] / a.alpha
    noise = a.sigma**2 / a.alpha**2 * design.noise  # (p, p)
    expected = (a.alpha * a.signal / a.eta) ** 2 * weights  # E[β | ŵ]
    # Along β, what the jackknife says of log γ̂ takes the place of the noise of a single weight.
    along = (a.s / (a.alpha * a.signal)) ** 2 / p if a.signal > 0 else 0.0
    # The bias is β̂0 − x̄·ŵ/α̂: an error of log γ̂ reaches it through the weights, one of β̂0 directly.
    to_bias = np.array([-design.mean @ expected, 1.0])
    corrected_variance = np.append(
        np.diag(noise) + expected**2 * (jackknife[0, 0] - along),
        design.mean @ noise @ design.mean - along * to_bias[0] ** 2 + to_bias @ jackknife @ to_bias,
    )
    return ClassInference(
        theory=a,
        estimate=estimate,
        classical_error=np.sqrt(np.diag(inverse)),
        corrected=np.append(weights, a.intercept - design.mean @ weights),
        corrected_error=np.sqrt(corrected_variance),
        null_error=a.sigma * np.sqrt(np.diag(design.noise)),
        signal_error=float(np.sqrt(jackknife[0, 0])) if a.signal > 0 else np.nan,
        certificate=0.0 if ridge else float(np.linalg.norm(root.T @ gradient) * np.sqrt(left_out.largest_leverage)),
    )


def _observer(
    left_out: LeftOut, kappa: float, ridge: float, overdispersion: float, n_trials: int
) -> tuple[Asymptotics, Array]:
    """The solution at η̂², b̂, and the covariance (2, 2) of (log γ̂, β̂0)."""
    jackknife = left_out.jackknife.copy()
    try:
        a = signal_from_fit(kappa, left_out.eta_squared, left_out.b, ridge=ridge)
        change = sensitivity(a)
    except NoSignal:
        a = without_signal(kappa, left_out.b, ridge=ridge)
        change = np.diag([0.0, a.intercept / a.b if a.b else 1 / a.alpha])
    # The jackknife overstates the noise of a coefficient, and the mean logit has that noise, σ*²/n, as well.
    noise = a.sigma**2 / n_trials
    shrink = np.sqrt(max(1 - (overdispersion - 1) * noise / jackknife[1, 1], noise / jackknife[1, 1]))
    jackknife *= np.outer([1.0, shrink], [1.0, shrink])  # keeps the correlation
    return a, change @ jackknife @ change.T


def _describe(moments: Array, n: int, ridge: float) -> Design:
    """Centres the factors, algebraically, and says how much noise their covariance puts on each weight."""
    mean = moments[-1, :-1] / n
    covariance = moments[:-1, :-1] / n - np.outer(mean, mean)
    p = len(mean)
    if ridge == 0:
        # (n − p)/n makes the inverse of the sample covariance unbiased: 1/τ_j².
        if n <= p + 1:
            raise UntrustedFit(f"{n} trials for {p} factors: without ridge there must be more trials than coefficients")
        noise = _inverse_root(n * covariance, None)
        return Design(n, mean, covariance, noise @ noise.T * (n - p) / n, 1.0)
    variance = float(np.trace(covariance)) / p
    spread = p * float((covariance**2).sum()) / np.trace(covariance) ** 2 - 1  # (p + 1)/n by chance alone
    if spread - (p + 1) / n > ANISOTROPIC:
        raise OutsideTheory(
            f"the factors are correlated or of unequal variance (spread of their covariance's "
            f"spectrum {spread:.3g}, by chance {(p + 1) / n:.3g}): "
            "with ridge the theory is for isotropic factors only"
        )
    return Design(n, mean, covariance, np.eye(p) / (n * variance), variance)


def _overdispersion(inverse: Array, design: Design) -> float:
    """p tr(M²)/tr(M)², M = ΣH⁻¹: the factor by which the jackknife overstates the variance of a coefficient.

    The jackknife sums (H⁻¹x̃_i)_j² e_i² → p (s²/λ²) [H⁻²]_jj by equation (1), while the truth is s²/p and
    [H⁻¹]_jj → λ/p. Our derivation, checked by simulation.
    """
    m = design.covariance @ inverse[:-1, :-1]
    return float(len(m) * (m * m.T).sum() / np.trace(m) ** 2)


def _inverse_root(matrix: Array, c: int | None) -> Array:
    """R⁻¹ of the Cholesky factor, upper triangular: matrix⁻¹ = R⁻¹ R⁻ᵀ."""
    what = "the factors are linearly dependent" if c is None else f"class {c}: the Hessian is singular"
    try:
        upper = cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise UntrustedFit(f"{what}: these data do not determine the coefficients (use ridge)") from error
    return np.asarray(solve_triangular(upper, np.eye(len(matrix))))


def _check_optimal(root: Array, gradient: Array, c: int) -> None:
    decrement = float(np.linalg.norm(root.T @ gradient))
    if not decrement < NOT_OPTIMAL:
        raise UntrustedFit(
            f"class {c}: the coefficients are {decrement:.2g} standard errors from the minimum of the loss, "
            f"inference needs an exact fit (below {NOT_OPTIMAL:g})"
        )


def _check_shapes(factors: NDArray[np.floating], responses: NDArray[np.bool_], coefficients: Array) -> None:
    n, p = factors.shape
    if responses.shape != (n, coefficients.shape[1]) or coefficients.shape[0] != p + 1:
        raise ValueError(
            f"factors {factors.shape}, responses {responses.shape}, coefficients {coefficients.shape}: "
            "they must be (n, p), (n, k), (p + 1, k)"
        )
