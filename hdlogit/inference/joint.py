"""Weights, bias, guess and lapse rates fitted together, for few factors per trial.

A wrong link biases the *direction* of a logistic fit unless its factors are elliptical or many act together;
then `hdlogit.inference.link`, which changes only its length, does not help at any number of trials. With few
factors,

    P(y = 1 | x) = g + (1 − g − l) σ(x·w + b)

is fitted over all of (w, b, g, l) as `hdlogit.inference.observer` does it, with the prior −(p wᵀΣw +
b̄²)/(2·10²), b̄ = b + x̄·w: psignifit's priors of the rates and a wide normal prior of the others, by which
the signal, the sd of x·w, is about 10. It depends neither on units nor on the coding of factors, and matters
only where the likelihood is all but flat: where a steeper curve, or one farther away, would change no
response. Such a coefficient is named as undetermined.

Of two maxima, a shallow curve without lapses and a steep one with lapses, the higher one is taken: its errors
cover the truth, the other's do not. Errors come from the squared scores, as those of the link. Where factors
are many the fit is too long, as any maximum-likelihood estimate, while the link's is not (docs/theory.md).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from hdlogit.compute.threads import cut, total
from hdlogit.inference.link import Link
from hdlogit.inference.observer import Block, Evaluation, Posterior, flat, highest, maximise
from hdlogit.inference.profiles import ROOTS, profile
from hdlogit.inference.sums import Array, Factors, Names, Rates, Responses, Units, listed, measure

LARGEST_KAPPA = 1 / 50
MOST_FACTORS = 100  # with more, the direction needs no help, and Newton's steps become slow
WIDE = 10.0  # sd of the prior of the logits
UNDETERMINED = 0.5  # error, in sd of its prior, of a coefficient of which the prior tells as much as the data
SMALL = 1_000_000  # trials times coefficients²: fewer are looked at for whether the posterior is quadratic
SKEWED = 0.2  # signed root two standard errors from the maximum that is so far from 2: a profile is needed


class JointFit(NamedTuple):
    """Of p factors; coefficients end with the bias. Fields as those of a `ClassInference`."""

    link: Link  # along its own index
    corrected: Array  # (p + 1,)
    covariance: Array  # (p + 3, p + 3) of them, g and l; zero for what is fixed
    z: Array  # (p + 1,) minus the signed root of each coefficient's profile at 0
    profiles: Array  # (p + 1, 161) the values of each coefficient: `hdlogit.inference.profiles`
    note: str | None  # a line on coefficients that are not determined


def is_for_joint_fit(n_trials: int, n_factors: int) -> bool:
    """Whether a joint fit is more trustworthy than the link."""
    return n_factors <= min(LARGEST_KAPPA * n_trials, MOST_FACTORS)


def fit_joint(factors: Factors, responses: Responses, units: Units, known: Rates, names: Names) -> JointFit:
    """factors: (n, p), read in blocks; responses: (n,); units, names: of factors; known: rates given."""
    precision = prior(factors, units)
    posterior, phi, end = _best(factors, responses, units, precision, known)
    inverse, back = np.linalg.inv(end.squares), units.original(posterior.moves)  # ∂(coefficients, g, l)/∂φ
    whole = posterior.moves @ inverse @ posterior.moves.T
    vague = np.diag(whole)[:-2] > UNDETERMINED**2 * np.diag(np.linalg.inv(precision))
    many = len(factors) * len(precision) ** 2 > SMALL
    z, profiles = np.empty(len(precision)), np.empty((len(precision), len(ROOTS)))
    for j, of in enumerate(back[:-2]):
        estimate, error = float(of @ phi), float(np.sqrt(of @ inverse @ of))
        along = inverse @ of / error
        ends = (np.clip(phi + side * along, *posterior.bounds) for side in (-2, 2))
        lost = () if many else [end.value - posterior.evaluate(point).value for point in ends]
        z[j], profiles[j] = estimate / error, estimate + error * ROOTS
        if vague[j] or any(abs(np.sqrt(2 * max(nats, 0.0)) - 2) > SKEWED for nats in lost):
            root = _root(posterior, phi, end.value, of, along)
            profiles[j], z[j] = profile(root, estimate, error), -root(0.0)
    link = _link(posterior.theta(phi), whole, precision, known)
    return JointFit(link, (back @ phi)[:-2], back @ inverse @ back.T, z, profiles, _note(vague, names))


def likelihood_ratio(
    factors: Factors, responses: Responses, known: Rates, term: NDArray[np.intp]
) -> tuple[float, float]:
    """(statistic, p) of the test that these of the factors (n, p) have no effect.

    χ² of twice what the log-posterior loses without them. known: rates given.
    """
    units, others = measure(factors), np.delete(factors, term, axis=1)
    precision = prior(factors, units)
    *_, whole = _best(factors, responses, units, precision, known)
    precision = np.delete(np.delete(precision, term, 0), term, 1)
    *_, without = _best(others, responses, measure(others), precision, known)
    statistic = 2 * max(whole.value - without.value, 0.0)
    return statistic, float(chdtrc(len(term), statistic))


def prior(factors: Factors, units: Units) -> Array:
    """Precision (p + 1, p + 1) of the weights of standardised factors and of the logit at their means."""
    n, p = factors.shape

    def squares(rows: slice) -> Array:
        t = units.standardise(factors[rows])
        return t.T @ t

    moments = total(squares, cut(n, p + 1)) / n
    return np.asarray(moments * np.append(np.full(p, p), 1.0) / WIDE**2)


def _best(
    x: Factors, responses: Responses, units: Units, precision: Array, known: Rates
) -> tuple[Posterior, Array, Evaluation]:
    """The highest maximum, in standardised factors: θ = (weights, logit at the factors' means, g, l)."""

    def blocks() -> Iterator[Block]:
        for rows in cut(len(x), len(precision) + 2):
            y = responses[rows].astype(np.float64)
            yield Block(units.standardise(x[rows]), y, np.ones(len(y)))

    posterior = Posterior(blocks, precision, known)
    return posterior, *highest(posterior, flat(posterior, float(np.mean(responses))))


def _link(theta: Array, covariance: Array, precision: Array, known: Rates) -> Link:
    """The link along the fit's own index, from the parameters of standardised factors."""
    p, weights = len(theta) - 3, theta[:-3]
    spread = precision[:p, :p] @ weights * WIDE**2 / p
    gain = float(np.sqrt(weights @ spread))
    derivatives = np.eye(p + 3)[p - 1 :]  # of (log Γ, b, g, l)
    derivatives[0] = np.append(spread, [0, 0, 0]) / max(gain, 1e-150) ** 2
    b, guess, lapse = theta[p:].tolist()
    return Link(gain, b, guess, lapse, derivatives @ covariance @ derivatives.T, gain, known)


def _note(vague: NDArray[np.bool_], names: Names) -> str | None:
    what = [f"the weight of factor {names[j]}" for j in np.flatnonzero(vague[:-1]).tolist()]
    what += ["the bias"] if vague[-1] else []
    line = f"not determined by these responses: {listed(what)}; estimate and interval rest on a weak prior"
    return line if what else None


def _root(posterior: Posterior, phi: Array, best: float, of: Array, along: Array) -> Callable[[float], float]:
    """The signed root of a value of a coefficient, of·φ: ±√(2(best − maximum given of·φ)).

    along: what φ changes when the coefficient does by one standard error.
    """
    estimate, tangent = float(of @ phi), along / (of @ along)
    tangent[len(posterior.precision) :] = 0.0
    points = {estimate: phi}

    def root(value: float) -> float:
        near = min(points, key=lambda other: abs(other - value))
        points[value], end = maximise(posterior, points[near] + (value - near) * tangent, of)
        return float(np.copysign(np.sqrt(2 * max(best - end.value, 0.0)), value - estimate))

    return root
