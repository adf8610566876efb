"""What a fit shows before anything is corrected: its noise, leave-one-out logits, dominant factors.

The formulas are in `hdlogit.inference.infer`.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas
from scipy.special import expit

from hdlogit.compute.threads import cut, each
from hdlogit.inference.sums import Array, Factors, Refused, Responses, Setting, inverse_root

SAMPLE = 100_000  # trials whose leave-one-out logits are computed
NOT_OPTIMAL = 0.1  # Newton decrement: a fit this many standard errors from its optimum is not an exact one
MOST_DOMINANT = 3  # factors
DOMINANT = 0.2  # of the index's variance: a factor that has more and is not normal has an equation of its own
SKEWED, HEAVY = 0.5, 1.0  # skewness and excess kurtosis, beyond chance, of a factor that is not normal
ALONE = 1 - 1e-9  # leverage of a trial that alone decides a weight
DECIDES = "its responses are separable but for a trial, which alone decides the fit (use shrinkage)"


class Observed:
    """The fit of one class, of p standardised factors, d of them dominant, and its leave-one-out logits.

    (m,): of all trials, or of SAMPLE evenly spaced ones.
    """

    def __init__(self, factors: Factors, responses: Responses, c: int, setting: Setting) -> None:
        """Of class c; factors (n, p), responses (n,).

        Raises Refused where its coefficients are not near a minimum, or a trial alone decides the fit.
        """
        sample = slice(None, None, -(-len(factors) // SAMPLE))
        fitted, root = _newton(c, setting)
        self.fitted = fitted  # (p + 1,) ŵ
        self.inverse = root @ root.T  # (p + 1, p + 1) H⁻¹
        self.dominant, self.axes = _dominant(fitted, factors, setting)  # (d,) which; (p, d) x_D = t · axes
        # (d, p + 1): ω = onto · ŵ are the weights of x_D with what the other factors add along it.
        self.onto = np.column_stack([self.axes.T @ setting.correlation, np.zeros(len(self.dominant))])
        x, self.responses = factors[sample], responses[sample]  # (m,)
        towards = self.inverse @ self.onto.T
        left_out = _leave_out(x, self.responses, fitted, root, self.axes, towards, setting)
        z, residual, d, w, carried, influence = left_out
        self.carried = carried  # (m, d) x_D
        kept = 1 - d * w
        moved = residual / kept
        omega = self.onto @ fitted  # of the fit to all trials; each trial's own is that without it
        self.index = z - w * moved - fitted[-1]  # (m,) V_i − b
        # (m,) V_i − b − x_D·ω: the same where no factor is dominant
        self.rest = self.index - (carried * (omega - influence * moved[:, None])).sum(axis=1)
        # Of many trials only some were left out: how much these change D and Var(z), known over all trials.
        mean_square, mean_curvature = setting.means[c].tolist()
        self.curvature = float(mean_curvature * (d @ kept) / d.sum())  # v = mean D(1 − h)
        self.dispersion = mean_square / self.curvature  # f
        others, correlation = fitted[:-1] - self.axes @ omega, setting.correlation
        gradient, spread = (np.append(correlation @ w, 0.0) for w in (others, fitted[:-1]))
        # Var(rest)
        self.eta_squared = float(others @ gradient[:-1] + self.rest.var() - (z - carried @ omega).var())
        self.eta_gradient = 2 * gradient  # (p + 1,) its derivative in ŵ
        # (p + 1,) derivative of the log length of ŵ, the sd of the fitted logits
        self.log_length = spread / max(float(fitted @ spread), 1e-300)
        after_ridge, of_logits = self.inverse, 1.0
        if setting.ridge:
            after_ridge = self.inverse - (self.inverse * setting.penalty) @ self.inverse
            left, whole = (float(np.vdot(c[:-1, :-1], correlation)) for c in (after_ridge, self.inverse))
            of_logits = left / whole  # of their noise variance
        self.noise = self.dispersion * after_ridge  # (p + 1, p + 1) of ŵ
        self.along = float(self.log_length @ self.noise @ self.log_length)  # v_u: variance of that log length
        self.variance = self.dispersion * of_logits * w / kept  # (m,) s_i², the noise of V_i
        self.s_squared = float(self.variance.mean())


def _leave_out(
    x: Factors, y: Responses, fitted: Array, root: Array, axes: Array, towards: Array, setting: Setting
) -> list[Array]:
    """z_i, ψ_i, D_i, w_i (m,) each, x_D and where the trial moves ω (m, d). towards: (p + 1, d) H⁻¹ onto."""

    def one(rows: slice) -> tuple[Array, ...]:
        t = setting.units.standardise(x[rows])
        z = t @ fitted
        p = expit(z)
        residual = (1 - setting.shrinkage) * y[rows] + setting.shrinkage / 2 - p
        return z, residual, p * expit(-z), _leverage(t, root), t[:, :-1] @ axes, t @ towards

    blocks = zip(*each(one, cut(len(x), len(fitted))), strict=True)
    z, residual, d, w, *others = (np.concatenate(block) for block in blocks)
    alone = ~(d * w < ALONE)
    if alone.any() and not setting.shrinkage:
        raise Refused(DECIDES)
    if alone.any():  # the fit without it says nothing of it: its logit is as good as any
        z[alone], residual[alone], w[alone] = fitted[-1], 0.0, np.median(w)
    return [z, residual, d, w, *others]


def _newton(c: int, setting: Setting) -> tuple[Array, Array]:
    """Coefficients after one Newton step, and root with H⁻¹ = root · rootᵀ."""
    near, penalty = setting.near[:, c], setting.penalty
    root = inverse_root(setting.hessians[c] + np.diag(penalty))
    if root is None:
        raise Refused("its Hessian is singular: these data do not determine its coefficients (use ridge)")
    downhill = root.T @ (setting.gradients[c] + penalty * near)
    decrement = float(np.linalg.norm(downhill))
    if not decrement < NOT_OPTIMAL:
        raise Refused(
            f"the coefficients are {decrement:.2g} standard errors from the minimum of the loss, "
            f"inference needs an exact fit (below {NOT_OPTIMAL:g})"
        )
    return near - root @ downhill, root


def _dominant(fitted: Array, factors: Factors, setting: Setting) -> tuple[NDArray[np.intp], Array]:
    """The factors that carry much of the index and whose distribution is not a normal one, and their axes."""
    correlation, units, weights = setting.correlation, setting.units, fitted[:-1]
    chosen = np.zeros(0, np.intp)
    # With rates, ridge or shrinkage nothing is known of how they matter.
    if setting.rates == (0, 0) and not (setting.ridge or setting.shrinkage):
        share = weights * (correlation @ weights)
        chosen = np.sort(np.argsort(share)[-MOST_DOMINANT:])
        chosen = chosen[share[chosen] > DOMINANT * share.sum()]
        t = (factors[:, chosen] - units.centre[chosen]) / units.scale[chosen]
        chance = np.sqrt(6 / len(t))  # sd of a normal factor's skewness, half that of its excess kurtosis
        skewed = np.abs((t**3).mean(axis=0)) > SKEWED + 3 * chance
        excess = (t**4).mean(axis=0) - 3
        chosen = chosen[skewed | (excess > HEAVY + 6 * chance) | (excess < -HEAVY)]
    if len(chosen) == len(weights):
        chosen = chosen[:0]
    axes = np.zeros((len(weights), len(chosen)))
    axes[chosen] = np.linalg.inv(np.linalg.cholesky(correlation[np.ix_(chosen, chosen)])).T
    return chosen, axes


def _leverage(t: Array, root: Array) -> Array:
    """t̃ᵀH⁻¹t̃ of each row (m,); root: upper triangular."""
    return np.asarray(np.square(blas.dtrmm(1.0, root.T, t.T, lower=1)).sum(axis=0))
