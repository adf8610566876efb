"""Would more columns explain the responses? Score tests, which need no fit with these columns.

Of a fit to n trials let ψ_i = y_i − σ(z_i), D_i = σ'(z_i), h_i the leverage of trial i, T its factors with a column of
ones, and Z the columns (n, J) that it lacks. What the factors do not explain of Z, in the metric of D, is

    Z̃ = Z − T (TᵀDT)⁻¹ TᵀDZ      u = Z̃ᵀψ      f = Σ ψ² / Σ D (1 − h)      m = Σ (1 − h)      S = uᵀ (Z̃ᵀDZ̃)⁻¹ u / f

If Z has no effect, S is the part of m squares that lies in J of m directions, so (S/J) / ((m − S)/(m − J)) is
distributed nearly as F of J and m − J, with many factors per trial, too: with many trials, S as χ²_J. Wald's
ŵ_Jᵀ [f H⁻¹]_JJ⁻¹ ŵ_J is not where J is a notable part of n, because the same trials make ŵ_J and H. Size and power:
docs/theory.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, fdtrc, logit

from hdlogit.compute.threads import cut, each, single_threaded_blas, total
from hdlogit.inference.joint import likelihood_ratio
from hdlogit.inference.result import ClassInference
from hdlogit.inference.sums import Array, Factors, Responses, Units, inverse_root, measure

DEPENDENT = 1e-6  # of a column's variance; where the factors leave less of it unexplained it adds nothing

Columns = Callable[[slice], Array]  # (rows, J) of these trials, of about unit size


class Test(NamedTuple):
    """S, its degrees of freedom (the columns that the factors do not explain), p; NaN where nothing is left to test."""

    statistic: float
    df: int
    p_value: float


@dataclass(frozen=True)
class Residuals:
    """What a fit leaves of the responses."""

    design: Columns  # (rows, q) T, standardised
    residual: Array  # (n,) ψ
    curvature: Array  # (n,) D
    penalty: Array | float = 0.0  # (q,) on the summed loss: penalty/2 · coefficients²
    pull: Array | float = 0.0  # (q,) penalty · coefficients

    @classmethod
    def of_fit(
        cls, factors: Factors, responses: Array, units: Units, fitted: Array, penalty: Array | float = 0.0
    ) -> "Residuals":
        """Of a logistic fit: fitted (p + 1,) coefficients of the factors (n, p); responses (n,), soft ones, too."""
        coefficients = units.coefficients(fitted[:, None])[:, 0]

        def design(rows: slice) -> Array:
            return units.standardise(factors[rows])

        parts = cut(len(factors), len(fitted))
        p = np.concatenate([*each(lambda rows: expit(design(rows) @ coefficients), parts)])
        return cls(design, responses - p, p * (1 - p), penalty, penalty * coefficients)

    def memory(self, lags: int, known: NDArray[np.bool_]) -> Array:
        """(lags,) mean of u where Z holds the responses 1, 2, … trials before, which have had a part in the fit.

        −Σ D_i D_{i−k} t̃_iᵀH⁻¹t̃_{i−k}, as ψ_i moves with y_{i−k}: much where the factors of successive trials are alike.
        """
        root, weight = self._information[0], self.curvature * known

        def one(rows: slice) -> Array:
            here = self.design(rows) @ root
            sums = np.zeros(lags)
            for k in range(1, lags + 1):
                skip = max(k - rows.start, 0)
                before = slice(rows.start + skip - k, max(rows.stop - k, 0))
                alike = np.vecdot(here[skip:], self.design(before) @ root)
                sums[k - 1] = (weight[rows][skip:] * self.curvature[before]) @ alike
            return sums

        return -np.asarray(total(one, cut(len(weight), len(root))))

    def test(self, added: Columns, known: NDArray[np.bool_] | None = None, expected: Array | float = 0.0) -> Test:
        """Of columns that are known in some trials (n,), or in all: the others are left out. expected: (J,) of u."""
        n, (root, f, m) = len(self.residual), self._information
        curvature = self.curvature if known is None else self.curvature * known
        residual = self.residual if known is None else self.residual * known
        width = len(root) + added(slice(0, 1)).shape[1]

        def one(rows: slice) -> tuple[Array, Array]:
            columns = np.hstack([self.design(rows), added(rows)])
            return (columns * curvature[rows, None]).T @ columns, columns.T @ residual[rows]

        squares, u = total(one, cut(n, width))
        q = len(root)
        if known is not None and not known.all():  # the fit is no maximum over some of its trials
            inner = inverse_root(squares[:q, :q])
            if inner is None:
                return Test(np.nan, 0, np.nan)
            root, m = inner, m * float(np.mean(known))
        half = root.T @ squares[:q, q:]
        left = squares[q:, q:] - half.T @ half
        u = u[q:] - half.T @ (root.T @ (u[:q] - self.pull)) - expected
        new = np.diag(left) > DEPENDENT * np.diag(squares)[q:]
        size = np.sqrt(np.diag(left)[new])
        values, axes = np.linalg.eigh(left[np.ix_(new, new)] / np.outer(size, size))
        kept = values > DEPENDENT
        s, df = float(np.square(axes[:, kept].T @ (u[new] / size) / np.sqrt(values[kept])).sum() / f), int(kept.sum())
        if not 0 < df < m:
            return Test(np.nan, 0, np.nan)
        return Test(s, df, float(fdtrc(df, m - df, s / df * (m - df) / max(m - s, 1e-9))))

    @cached_property
    def _information(self) -> tuple[Array, float, float]:
        """Root of H⁻¹, f and m. Raises LinAlgError where H is not positive definite."""
        n, q = len(self.residual), self.design(slice(0, 1)).shape[1]
        parts = cut(n, q)

        def square(rows: slice) -> Array:
            t = self.design(rows)
            return (t * self.curvature[rows, None]).T @ t

        root = inverse_root(total(square, parts) + np.diag(np.broadcast_to(self.penalty, q)))
        if root is None:
            raise np.linalg.LinAlgError("these data do not determine the coefficients")

        def left(rows: slice) -> Array:
            rest = 1 - self.curvature[rows] * np.square(self.design(rows) @ root).sum(axis=1)
            return np.array([self.curvature[rows] @ rest, rest.sum()])

        curvature, m = total(left, parts)
        return root, float(self.residual @ self.residual / curvature), float(m)


def joint_test(c: ClassInference, term: Sequence[int], factors: Factors, responses: Responses) -> tuple[float, float]:
    """(statistic, p) of the test that these weights are all zero; factors (n, p), responses (n,): as inferred from.

    Of one weight its own z² and p; else by the fit without them: `score_test`, or the likelihood ratio of a joint fit.
    """
    if len(term) == 1:
        return float(c.z[term[0]] ** 2), float(c.p_values()[term[0]])
    chosen = np.asarray(term, np.intp)
    if c.profiles is not None:
        return likelihood_ratio(factors, responses, c.link.known, chosen)
    ridge = c.theory.ridge * float(np.mean(c.scale**2))  # in the theory factors have variance 1
    s, _, p = score_test(factors, responses, chosen, ridge, c.theory.shrinkage)
    return s, p


def score_test(
    factors: Factors, responses: Responses, term: NDArray[np.intp], ridge: float = 0.0, shrinkage: float = 0.0
) -> Test:
    """That the factors `term` (indices) have no effect: by the fit without them.

    factors: (n, p); responses: (n,) bool; ridge, shrinkage: as `hdlogit.inference.infer` has them.
    """
    n, others = len(factors), np.setdiff1d(np.arange(factors.shape[1]), term)
    soft = (1 - shrinkage) * np.asarray(responses, np.float64) + shrinkage / 2
    x = factors[:, others]
    fitted = np.array([logit(soft.mean())])
    if len(others):
        from hdlogit.exact import fit  # only here: it brings torch

        fitted = fit(x, soft[:, None], ridge).coefficients[:, 0]
    with single_threaded_blas():
        units, of_term = measure(factors), measure(factors[:, term])
        mine = Units(n, units.centre[others], units.scale[others])
        penalty = np.append(n * ridge / mine.scale**2, 0.0)
        left = Residuals.of_fit(x, soft, mine, fitted, penalty)
        try:
            return left.test(lambda rows: of_term.standardise(factors[rows][:, term])[:, :-1])
        except np.linalg.LinAlgError:
            return Test(np.nan, 0, np.nan)
