"""Do several factors together have an effect? A test from the fit without them.

ŵ_Jᵀ [f H⁻¹]_JJ⁻¹ ŵ_J tends to χ²_J as n grows with J fixed. Where J is a notable part of n it does not, because the
same trials make ŵ_J and H, and near separation weights and their errors grow together. The score needs neither. With
D_i, ψ_i and h_i (`hdlogit.inference.infer`) of the fit without the factors J, and H the Hessian there, of all factors,

    u = Σ ψ_i x_iJ      S = uᵀ [H⁻¹]_JJ u / f      f = Σ ψ² / Σ D (1 − h)      m = Σ (1 − h)

If J has no effect, S is the part of m squares that lies in J of m directions, so (S/J) / ((m − S)/(m − J)) is
distributed nearly as F of J and m − J: with many trials, S as χ²_J. Size and power: docs/theory.md.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, fdtrc, logit

from hdlogit.compute.threads import cut, each, single_threaded_blas
from hdlogit.exact import fit
from hdlogit.inference.joint import likelihood_ratio
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import BLOCK, Array, Factors, Responses, add_up, inverse_root, measure


def joint_test(c: ClassInference, term: Sequence[int], factors: Factors, responses: Responses) -> tuple[float, float]:
    """(statistic, p) of the test that these weights are all zero; factors (n, p), responses (n,): as inferred from.

    Of one weight its own z² and p; else by the fit without them: `score_test`, or the likelihood ratio of a joint fit.
    """
    if len(term) == 1:
        return float(c.z[term[0]] ** 2), float(c.p_values()[term[0]])
    chosen = np.asarray(term, np.intp)
    if c.profiles is not None:
        return likelihood_ratio(c.corrected, c.link, factors, responses, chosen)
    ridge = c.theory.ridge * float(np.mean(c.scale**2))  # in the theory factors have variance 1
    return score_test(factors, responses, chosen, ridge, c.theory.shrinkage)


def score_test(
    factors: Factors, responses: Responses, term: NDArray[np.intp], ridge: float = 0.0, shrinkage: float = 0.0
) -> tuple[float, float]:
    """(S, p) of the test that the factors `term` (indices) have no effect; NaN where the data do not determine it.

    factors: (n, p); responses: (n,) bool; ridge, shrinkage: as `hdlogit.inference.infer` has them.
    """
    (n, p), others = factors.shape, np.setdiff1d(np.arange(factors.shape[1]), term)
    y, kept = responses[:, None], np.append(others, p)  # the last is the bias
    soft = (1 - shrinkage) * y + shrinkage / 2
    fitted = np.zeros((p + 1, 1))
    fitted[kept] = fit(factors[:, others], soft, ridge).coefficients if len(others) else logit(soft.mean())
    with single_threaded_blas():
        units = measure(factors)
        coefficients = units.coefficients(fitted)
        sums = add_up(factors, y, units, coefficients, shrinkage)
        order = np.append(kept, term)
        penalty = np.zeros(p + 1)
        penalty[: len(others)] = n * ridge / units.scale[others] ** 2
        root = inverse_root(sums.hessians[0][np.ix_(order, order)] + np.diag(penalty))
        if root is None:
            return np.nan, np.nan
        within = root[: len(kept), : len(kept)]  # of the inverse Hessian of the factors kept

        def left(rows: slice) -> Array:
            """Σ D(1 − h) and Σ (1 − h)."""
            t = units.standardise(factors[rows])
            z = (t @ coefficients)[:, 0]
            curvature, half = expit(z) * expit(-z), t[:, kept] @ within
            rest = 1 - curvature * np.vecdot(half, half)
            return np.array([curvature @ rest, rest.sum()])

        curvature, m = np.sum([*each(left, cut(n, p + 1, BLOCK))], axis=0)
    gain = np.square(root[len(kept) :, len(kept) :].T @ sums.gradients[0][term]).sum()
    s, j = float(gain * curvature / (n * sums.means[0, 0])), len(term)
    return s, float(fdtrc(j, m - j, s / j * (m - j) / max(m - s, 1e-9)))
