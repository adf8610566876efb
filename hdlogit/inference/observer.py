"""An observer who guesses at a rate g and lapses at a rate l: the likelihood of responses, and its maxima.

    P(yes) = g + (1 − g − l) E σ(z)     z = t·w + b     E: over regressors t that are known with noise

θ = (w, b, g, l) is sought that maximises

    Σ log P(y_i) + 9 log(1 − g) + 9 log(1 − l) − (w, b) Λ (w, b)ᵀ/2

The terms of rates are psignifit's priors Beta(1, 10) (Schütt, Harmeling, Macke & Wichmann, Vision Research
2016); a rate that is given has none. In lapses of a rate λ that do not depend on the stimulus, half of the
responses are a yes: then the rates are tied, g = l = λ/2, and the prior is that of λ.

It may have several maxima, a shallow curve without lapses and a steep one with lapses. Where the psychometric
function is not logistic it is not concave, so Newton's method is damped (Levenberg 1944) until its matrix is
positive definite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit

from hdlogit.inference.sums import Array, Rates, inverse_root

Asymptotes = Literal["none", "estimate", "tied"]

PRIOR = 9.0  # Beta(1, 10): density in proportion to (1 − rate)⁹
HIGHEST = 0.49  # bound of a rate, of what the given one leaves
STARTS = (1.0, 0.02), (4.0, 0.1), (2.0, 0.3)  # how much steeper than the maximum before; rates, of their room
MAX_STEPS = 100
ENOUGH = 1e-10  # nats that the last step gains


class Block(NamedTuple):
    """Trials: of n in a cell, `yes` are a yes. Without `average`, cells and rows of t are the same."""

    t: Array  # (rows, d + 1) regressors, the last of which is 1
    yes: Array  # (cells,)
    n: Array  # (cells,)
    average: Array | None = None  # (cells, rows) probabilities of the rows of t


class Evaluation(NamedTuple):
    """At one φ; (q,) and (q, q)."""

    value: float  # nats
    gradient: Array
    hessian: Array  # of −value
    squares: Array  # sum of squared scores, and the curvature of the priors: never indefinite


class Posterior:
    """Of θ = given + moves φ, given responses; φ (q,) is w, b and the estimated rates, tied ones as one."""

    def __init__(
        self,
        blocks: Callable[[], Iterable[Block]],
        precision: Array,
        known: Rates,
        lowest: Array | float = -np.inf,
        highest: Array | float = np.inf,
        prior: float = PRIOR,
    ) -> None:
        """precision: Λ, (d + 1, d + 1); lowest, highest: of (w, b); prior: of each rate that is estimated."""
        self.blocks, self.precision, self.prior, size = blocks, precision, prior, len(precision)
        rates = [rate if isinstance(rate, float | int) else 0.0 for rate in known]
        self.given = np.append(np.zeros(size), rates)  # (d + 3,)
        estimated = [True] * size + [rate is None for rate in known]
        self.moves = np.eye(size + 2)[:, estimated]  # (d + 3, q) ∂θ/∂φ
        if known[0] == "tied":
            self.moves[-2, -1] = 1.0  # the guess rate moves as the lapse rate does
        self.each = self.moves.sum(axis=0)[size:]  # (r,) how many rates each of the estimated ones is
        self.room = (1 - sum(rates)) / self.each  # (r,) what the given rates leave to it
        low, high = np.append(np.full(size, lowest), 0 * self.room), np.full(size, highest)
        self.bounds = low, np.append(high, HIGHEST * self.room)  # of φ

    def theta(self, phi: Array) -> Array:
        return self.given + self.moves @ phi

    def evaluate(self, phi: Array) -> Evaluation:
        """The log-posterior and its derivatives."""
        *_, guess, lapse = theta = self.theta(phi)
        between, size = 1 - guess - lapse, len(theta)
        value, gradient, bend, squares = 0.0, np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
        for t, yes, n, average in self.blocks():
            z = t @ theta[:-2]
            s, c = expit(z), expit(-z)
            of_rows = np.column_stack([s, c, (s * c)[:, None] * t])
            of_cells = of_rows if average is None else average @ of_rows
            # The squares of floored values must not underflow.
            p = np.maximum(guess + between * of_cells[:, 0], 1e-150)
            q = np.maximum(lapse + between * of_cells[:, 1], 1e-150)
            no = n - yes
            value += float(yes @ np.log(p) + no @ np.log(q))
            by = np.column_stack([between * of_cells[:, 2:], of_cells[:, 1], -of_cells[:, 0]])  # ∂p/∂θ
            score = yes / p - no / q
            gradient += by.T @ score
            squares += (by.T * (yes / p**2 + no / q**2)) @ by
            score = score if average is None else score @ average  # per row: ∂²p/∂θ² is a sum over rows, too
            bend[:-2, :-2] += (t.T * (score * between * s * c * (c - s))) @ t
            bend[:-2, -2:] -= (t.T @ (score * s * c))[:, None]
        bend[-2:, :-2] = bend[:-2, -2:].T
        d, moves = len(self.precision), self.moves
        gradient, bend, squares = gradient @ moves, moves.T @ bend @ moves, moves.T @ squares @ moves
        pull, slope = self.precision @ phi[:d], self.each / (1 - self.each * phi[d:])
        value += float(self.prior * np.log1p(-self.each * phi[d:]).sum() - 0.5 * phi[:d] @ pull)
        gradient -= np.append(pull, self.prior * slope)
        squares[:d, :d] += self.precision
        squares[d:, d:] += np.diag(self.prior * slope**2)
        return Evaluation(value, gradient, squares - bend, squares)


def maximise(
    posterior: Posterior, phi: Array, fixed: Array | None = None, enough: float = ENOUGH
) -> tuple[Array, Evaluation]:
    """A maximum near φ. A parameter at its bound stays there while the gradient points outward.

    fixed: (q,), fixed·φ keeps its value; enough: ends where a step would gain less, nats.
    """
    lowest, highest = posterior.bounds
    now, damping = posterior.evaluate(phi), 1e-4
    for _ in range(MAX_STEPS):
        outward = ((phi <= lowest) & (now.gradient < 0)) | ((phi >= highest) & (now.gradient > 0))
        moving = np.flatnonzero(~outward)
        matrix = now.hessian + damping * np.diag(np.diag(now.squares))
        if fixed is not None:  # need not be concave across
            matrix += np.trace(now.squares) * np.outer(fixed, fixed) / (fixed @ fixed)
        root = inverse_root(matrix[np.ix_(moving, moving)])
        if root is None:  # not concave here: damping makes it so
            damping *= 10
            continue
        step = np.zeros_like(phi)
        step[moving] = root @ (root.T @ now.gradient[moving])
        if fixed is not None:
            pull = root @ (root.T @ fixed[moving])
            step[moving] -= pull * (fixed @ step) / (fixed[moving] @ pull)
        gain, tried = now.gradient @ step, np.clip(phi + step, lowest, highest)
        new = posterior.evaluate(tried)
        if new.value > now.value or gain < enough:  # the last gain is less than rounding of the value shows
            phi, now, damping = tried, new, damping / 10
        else:
            damping *= 10
        if gain < enough:
            break
    return phi, now


def flat(posterior: Posterior, base_rate: float) -> Array:
    """(d + 1,) w = 0, and the b that goes with this fraction of yes."""
    guess, lapse = posterior.given[-2:]
    rate = np.clip((base_rate - guess) / (1 - guess - lapse), 0.02, 0.98)
    return np.append(np.zeros(len(posterior.precision) - 1), logit(rate))


def highest(posterior: Posterior, start: Array, enough: float = ENOUGH) -> tuple[Array, Evaluation]:
    """The highest of the maxima that are reached from STARTS. start: (d + 1,) w and b."""
    maxima = list[tuple[Array, Evaluation]]()
    for steeper, rate in STARTS if len(posterior.room) else STARTS[:1]:
        phi = np.clip(np.append(steeper * start, rate * posterior.room), *posterior.bounds)
        maxima.append(maximise(posterior, phi, enough=enough))
        start = maxima[-1][0][: len(start)]
    return max(maxima, key=lambda each: each[1].value)
