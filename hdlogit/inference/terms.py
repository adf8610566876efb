"""Would more columns explain the responses? Score tests, which need no fit with these columns.

Of a fit to n trials let ψ_i = y_i − σ(z_i), D_i = σ'(z_i), h_i the leverage of trial i, T its factors with a column of
ones, and Z the columns (n, J) that it lacks. What the factors do not explain of Z, in the metric of D, is

    Z̃ = Z − T (TᵀDT)⁻¹ TᵀDZ      u = Z̃ᵀψ      f = Σ ψ² / Σ D (1 − h)      m = Σ (1 − h)      S = uᵀ (Z̃ᵀDZ̃)⁻¹ u / f

If Z has no effect, S is the part of m squares that lies in J of m directions, so (S/J) / ((m − S)/(m − J)) is
distributed nearly as F of J and m − J, with many factors per trial, too: with many trials, S as χ²_J. Wald's
ŵ_Jᵀ [f H⁻¹]_JJ⁻¹ ŵ_J is not where J is a notable part of n, because the same trials make ŵ_J and H. Size and power:
docs/theory.md.
"""

from __future__ import annotations

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

Trials = slice | NDArray[np.intp]  # which of them
Columns = Callable[[Trials], Array]  # (trials, J) of these trials, of about unit size


class Test(NamedTuple):
    """S, its degrees of freedom (the columns that the factors do not explain), p; NaN where nothing is left to test."""

    statistic: float
    df: int
    p_value: float


UNDETERMINED = Test(np.nan, 0, np.nan)


@dataclass(frozen=True)
class Residuals:
    """What a fit leaves of the responses. A trial without curvature has no part in the tests."""

    design: Columns  # (rows, q) T, standardised
    residual: Array  # (n,) ψ
    curvature: Array  # (n,) D

    @classmethod
    def of_fit(cls, factors: Factors, responses: Array, units: Units, fitted: Array) -> Residuals:
        """Of a logistic fit: fitted (p + 1,) coefficients of the factors (n, p); responses (n,), soft ones, too."""
        coefficients = units.coefficients(fitted[:, None])[:, 0]

        def design(rows: Trials) -> Array:
            return units.standardise(factors[rows])

        p = np.concatenate([*each(lambda rows: expit(design(rows) @ coefficients), cut(len(factors), len(fitted)))])
        return cls(design, responses - p, p * (1 - p))

    def test(self, added: Columns, known: NDArray[np.bool_] | None = None, lags: int = 0) -> Test:
        """Of columns that are known in some trials (n,), or in all: the others are left out.

        lags: J, if the columns hold the responses 1, 2, … J trials before.
        """
        n = len(self.residual)
        known = np.ones(n, bool) if known is None else known
        try:
            root, f, m = self._information
            expected = self._memory(lags, known) if lags else 0.0
        except np.linalg.LinAlgError:
            return UNDETERMINED
        curvature, residual = self.curvature * known, self.residual * known

        def one(rows: slice) -> tuple[Array, Array]:
            columns = np.hstack([self.design(rows), added(rows)])
            return (columns * curvature[rows, None]).T @ columns, columns.T @ residual[rows]

        q = len(root)
        squares, u = total(one, cut(n, q + added(slice(0, 1)).shape[1]))
        if not known.all():  # the fit is no maximum over some of its trials
            inner = inverse_root(squares[:q, :q])
            if inner is None:
                return UNDETERMINED
            root, m = inner, m * float(np.mean(known))
        half = root.T @ squares[:q, q:]
        left = squares[q:, q:] - half.T @ half
        u = u[q:] - half.T @ (root.T @ u[:q]) - expected
        new = np.diag(left) > DEPENDENT * np.diag(squares)[q:]
        size = np.sqrt(np.diag(left)[new])
        values, axes = np.linalg.eigh(left[np.ix_(new, new)] / np.outer(size, size))
        kept = values > DEPENDENT
        s, df = float(np.square(axes[:, kept].T @ (u[new] / size) / np.sqrt(values[kept])).sum() / f), int(kept.sum())
        if not 0 < df < m:
            return UNDETERMINED
        return Test(s, df, float(fdtrc(df, m - df, s / df * (m - df) / max(m - s, 1e-9))))

    def _memory(self, lags: int, known: NDArray[np.bool_]) -> Array:
        """(lags,) mean of u where Z holds the responses 1, 2, … trials before, which have had a part in the fit.

        −Σ D_i D_{i−k} t̃_iᵀH⁻¹t̃_{i−k}, as ψ_i moves with y_{i−k}: much where the factors of successive trials are alike.
        """
        root = self._information[0]

        def of_rows(rows: slice) -> Array:
            wide = slice(max(rows.start - lags, 0), rows.stop)
            t = self.curvature[wide, None] * (self.design(wide) @ root)
            t = np.pad(t, ((lags - rows.start + wide.start, 0), (0, 0)))
            here = t[lags:] * known[rows, None]
            return np.array([np.vdot(here, t[lags - k : len(t) - k]) for k in range(1, lags + 1)])

        return -np.asarray(total(of_rows, cut(len(known), len(root))))

    @cached_property
    def _information(self) -> tuple[Array, float, float]:
        """Root of H⁻¹, f and m. Raises LinAlgError where these trials do not determine the coefficients."""
        n, q = len(self.residual), self.design(slice(0, 1)).shape[1]
        parts, taken = cut(n, q), self.curvature > 0

        def square(rows: slice) -> Array:
            t = self.design(rows)
            return (t * self.curvature[rows, None]).T @ t

        root = inverse_root(total(square, parts))
        if root is None:
            raise np.linalg.LinAlgError

        def left(rows: slice) -> Array:
            rest = taken[rows] - self.curvature[rows] * np.square(self.design(rows) @ root).sum(axis=1)
            return np.array([self.curvature[rows] @ rest, rest.sum()])

        curvature, m = total(left, parts)
        return root, float(self.residual @ self.residual / curvature), float(m)


def joint_test(c: ClassInference, term: Sequence[int], factors: Factors, responses: Responses) -> tuple[float, float]:
    """(statistic, p) of the test that these weights are all zero; factors (n, p), responses (n,): as inferred from.

    Of one weight its own z² and p; else by the fit without them: `score_test`, or the likelihood ratio of a joint fit.
    NaN with ridge.
    """
    if len(term) == 1:
        return float(c.z[term[0]] ** 2), float(c.p_values()[term[0]])
    if c.theory.ridge:
        return np.nan, np.nan
    chosen = np.asarray(term, np.intp)
    if c.profiles is not None:
        return likelihood_ratio(factors, responses, c.link.known, chosen)
    s, _, p = score_test(factors, responses, chosen, c.theory.shrinkage)
    return s, p


def score_test(factors: Factors, responses: Responses, term: NDArray[np.intp], shrinkage: float = 0.0) -> Test:
    """That the factors `term` (indices) have no effect: by the fit without them.

    factors: (n, p); responses: (n,) bool; shrinkage: as `hdlogit.inference.infer` has it.
    """
    others = np.setdiff1d(np.arange(factors.shape[1]), term)
    soft = (1 - shrinkage) * np.asarray(responses, np.float64) + shrinkage / 2
    x = factors[:, others]
    fitted = np.array([logit(soft.mean())])
    if len(others):
        from hdlogit.exact import fit  # only here: it brings torch

        fitted = fit(x, soft[:, None]).coefficients[:, 0]
    with single_threaded_blas():
        units, of_term = measure(factors), measure(factors[:, term])
        mine = Units(len(factors), units.centre[others], units.scale[others])
        left = Residuals.of_fit(x, soft, mine, fitted)
        return left.test(lambda rows: of_term.standardise(factors[rows][:, term])[:, :-1])
