"""An observer who guesses at a rate g and lapses at a rate l: the likelihood of responses, and its maxima.

    P(yes) = g + (1 − g − l) E σ(z)        z = t·w + b        E: over the regressors t, where they are not known exactly

θ = (w, b, g, l) is sought that maximises

    Σ log P(y_i) + 9 log(1 − g) + 9 log(1 − l) − (w, b) Λ (w, b)ᵀ/2

The terms of rates are psignifit's priors Beta(1, 10) (Schütt, Harmeling, Macke & Wichmann, Vision Research 2016); a
rate that is given has none. In lapses of a rate λ that do not depend on the stimulus, half of the responses are a yes:
then the rates are tied, g = l = λ/2, and the prior is that of λ.

It may have several maxima, a shallow curve without lapses and a steep one with lapses. Where the psychometric function
is not logistic it is not concave, so Newton's method is damped (Levenberg 1944) until its matrix is positive definite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hdlogit.inference.sums import Array, inverse_root

Rate = float | Literal["tied"] | None  # None: to be estimated; tied: as the other one
Rates = tuple[Rate, float | None]  # guess and lapse rate
Asymptotes = Literal["none", "estimate", "tied"]

PRIOR = 9.0  # Beta(1, 10): density in proportion to (1 − rate)⁹
HIGHEST = 0.49  # bound of a rate, of what the given one leaves
STARTS = (1.0, 0.02), (4.0, 0.1), (2.0, 0.3)  # how much steeper than the maximum before; rates, of what is left
MAX_STEPS = 100
ENOUGH = 1e-10  # nats that the last step gains


class Block(NamedTuple):
    """Trials: of n of them in a cell, `yes` are a yes. Without `average`, cells and rows of t are the same."""

    t: Array  # (rows, d + 1) regressors, the last of which is 1
    yes: Array  # (cells,)
    n: Array  # (cells,)
    average: Array | None = None  # (cells, rows) probabilities of the rows of t


class Evaluation(NamedTuple):
    """At one θ; (d + 3,) and (d + 3, d + 3)."""

    value: float  # nats
    gradient: Array
    hessian: Array  # of −value
    squares: Array  # sum of squared scores, and the curvature of the priors: never indefinite


@dataclass(frozen=True)
class Posterior:
    """Of θ given responses."""

    blocks: Callable[[], Iterable[Block]]
    precision: Array  # Λ, (d + 1, d + 1)
    known: Rates
    lowest: Array | float = -np.inf  # of (w, b)
    highest: Array | float = np.inf
    prior: float = PRIOR

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """(d + 3,) which of θ are estimated; of tied rates the second."""
        return np.append(np.ones(len(self.precision), bool), [rate is None for rate in self.known])

    @cached_property
    def tied(self) -> bool:
        return self.known[0] == "tied"

    @cached_property
    def given(self) -> list[float]:
        """The rates that are, else 0."""
        return [rate if isinstance(rate, float | int) else 0.0 for rate in self.known]

    @cached_property
    def room(self) -> float:
        """What the given rates leave to each of the others."""
        return 0.5 if self.tied else 1 - sum(self.given)

    def allowed(self, theta: Array) -> Array:
        """θ within its bounds, tied rates alike."""
        theta = np.clip(theta, *self.bounds)
        if self.tied:
            theta[-2] = theta[-1]
        return theta

    @cached_property
    def moves(self) -> Array:
        """(d + 3, d + 3) what θ changes when one of them does: of tied rates both do when the second does."""
        moves = np.eye(len(self.free))
        if self.tied:
            moves[-2, -2:] = 0.0, 1.0
        return moves

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Of θ; infinite for a rate that is given, which does not move."""
        low, high = np.full(len(self.free), -np.inf), np.full(len(self.free), np.inf)
        low[:-2], high[:-2] = self.lowest, self.highest
        low[-2:][self.free[-2:]], high[-2:][self.free[-2:]] = 0.0, HIGHEST * self.room
        return low, high

    def evaluate(self, theta: Array) -> Evaluation:
        """The log-posterior and its derivatives."""
        (guess, lapse), weight, both = theta[-2:], self.prior * self.free[-2:], 1.0 + self.tied
        between, pull = 1 - guess - lapse, self.precision @ theta[:-2]
        value = float((weight * np.log1p(-both * theta[-2:])).sum() - 0.5 * theta[:-2] @ pull)
        gradient = -np.append(pull, both * weight / (1 - both * theta[-2:]))
        hessian = np.diag(np.append(np.zeros(len(pull)), weight * (both / (1 - both * theta[-2:])) ** 2))
        hessian[:-2, :-2] = self.precision
        squares = hessian.copy()
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
            scores = (by.T * (yes / p**2 + no / q**2)) @ by
            squares += scores
            score = score if average is None else score @ average  # per row: ∂²p/∂θ² is a sum over rows, too
            bend = -(t.T @ (score * s * c))
            hessian += scores
            hessian[:-2, :-2] -= (t.T * (score * between * s * c * (c - s))) @ t
            hessian[:-2, -2:] -= bend[:, None]
            hessian[-2:, :-2] -= bend
        if self.tied:
            moves = self.moves
            return Evaluation(value, gradient @ moves, moves.T @ hessian @ moves, moves.T @ squares @ moves)
        return Evaluation(value, gradient, hessian, squares)


def maximise(
    posterior: Posterior, theta: Array, fixed: Array | None = None, enough: float = ENOUGH
) -> tuple[Array, Evaluation]:
    """A maximum near θ. A parameter at its bound stays there while the gradient points outward.

    fixed: (d + 3,), fixed·θ keeps its value; enough: ends where a step would gain less, nats.
    """
    lowest, highest = posterior.bounds
    now, damping = posterior.evaluate(theta), 1e-4
    for _ in range(MAX_STEPS):
        outward = ((theta <= lowest) & (now.gradient < 0)) | ((theta >= highest) & (now.gradient > 0))
        moving = np.flatnonzero(posterior.free & ~outward)
        matrix = now.hessian + damping * np.diag(np.diag(now.squares))
        if fixed is not None:  # need not be concave across
            matrix += np.trace(now.squares) * np.outer(fixed, fixed) / (fixed @ fixed)
        root = inverse_root(matrix[np.ix_(moving, moving)])
        if root is None:  # not concave here: damping makes it so
            damping *= 10
            continue
        step = np.zeros_like(theta)
        step[moving] = root @ (root.T @ now.gradient[moving])
        if fixed is not None:
            pull = root @ (root.T @ fixed[moving])
            step[moving] -= pull * (fixed @ step) / (fixed[moving] @ pull)
        gain, tried = now.gradient @ step, posterior.allowed(theta + step)
        new = posterior.evaluate(tried)
        if new.value > now.value or gain < enough:  # the last gain is less than rounding of the value shows
            theta, now, damping = tried, new, damping / 10
        else:
            damping *= 10
        if gain < enough:
            break
    return theta, now


def flat(posterior: Posterior, base_rate: float) -> Array:
    """(d + 1,) w = 0, and the b that goes with this fraction of yes."""
    guess, lapse = posterior.given
    rate = np.clip((base_rate - guess) / (1 - guess - lapse), 0.02, 0.98)
    return np.append(np.zeros(len(posterior.precision) - 1), logit(rate))


def highest(posterior: Posterior, start: Array, enough: float = ENOUGH) -> tuple[Array, Evaluation]:
    """The highest of the maxima that are reached from STARTS. start: (d + 1,) w and b."""
    found = list[tuple[Array, Evaluation]]()
    for steeper, rate in STARTS[: None if posterior.free[-2:].any() else 1]:
        rates = np.where(posterior.free[-2:], rate * posterior.room, posterior.given)
        theta = posterior.allowed(np.append(steeper * start, rates))
        found.append(maximise(posterior, theta, enough=enough))
        start = found[-1][0][:-2]
    return max(found, key=lambda each: each[1].value)
