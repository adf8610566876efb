"""Weights, bias, guess and lapse rates fitted together, for few factors per trial.

A wrong link biases the *direction* of a logistic fit unless its factors are elliptical or many act together; then
`hdlogit.inference.link`, which changes only its length, does not help at any number of trials. So, with few factors,

    maximise  Σ log P(y_i | x_i) + 9 log(1 − g) + 9 log(1 − l) − (p wᵀΣw + b̄²)/(2·10²)
    P(y = 1 | x) = g + (1 − g − l) σ(x·w + b),     b̄ = b + x̄·w

over all of (w, b, g, l): maximum likelihood except for psignifit's priors of the rates and a wide normal prior of the
others, by which the signal, the sd of x·w, is about 10. It depends neither on units nor on the coding of factors, and
matters only where the likelihood is all but flat: where a steeper curve, or one farther away, would change no response.
Such a coefficient is named as undetermined. (With the same prior for each weight, however many, the steep maximum below
would win with 60 factors, and weights come out three times too large.)

The likelihood may have two maxima, a shallow curve without lapses and a steep one with lapses. The higher one is taken:
it is no nearer to the truth than the other, but its errors cover it, and the other's do not (docs/theory.md). Errors
come from the squared scores, as those of the link.

Like any maximum-likelihood estimate it is too long where factors are many (κ = n_factors/n_trials; in simulations its
slope was .98 to 1.03 up to κ = 1/50, 1.03 to 1.10 at 1/40), while the link's is not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.special import chdtrc, expit, ndtri

from hdlogit.inference.link import Link
from hdlogit.inference.posterior import FAR, Posterior, Rates, highest, is_quadratic, profile
from hdlogit.inference.sums import Array, Factors, Names, Responses, Units, measure

LARGEST_KAPPA = 1 / 50
MOST_FACTORS = 100  # with more, the direction needs no help, and Newton's steps become slow
WIDE = 10.0  # sd of the prior of the logits
UNDETERMINED = 0.5  # error of a coefficient, in sd of its prior, above which the prior decides as much as the responses
SMALL = 1_000_000  # trials times coefficients² up to which there is time to look whether the posterior is quadratic
NAMED = 5  # coefficients before "and … more"


@dataclass(frozen=True)
class JointFit:
    """coefficients: (p + 1,), the bias last; covariance: (p + 3, p + 3) of them, g and l; zero for what is fixed."""

    coefficients: Array
    guess_rate: float
    lapse_rate: float
    covariance: Array
    known: Rates  # the rates that were fixed
    precision: Array  # (p + 1, p + 1) of the prior of weights of standardised factors, and the logit at their means
    log_posterior: float  # nats
    undetermined: NDArray[np.bool_]  # (p + 1,) weights, and the logit at the factors' means
    profiles: list[tuple[Array, Array]]  # (p + 1,) values of a coefficient, rising, and their signed roots

    @property
    def errors(self) -> Array:
        """Standard errors of (weights, bias, g, l); 0 for what is fixed."""
        return np.sqrt(np.diag(self.covariance))

    def interval(self, level: float) -> tuple[Array, Array]:
        """(low, high): the values whose signed roots are ∓z."""
        z = ndtri(0.5 + level / 2)
        ends = np.array([make_interp_spline(roots, values, k=1)([-z, z]) for values, roots in self.profiles])
        return ends[:, 0], ends[:, 1]

    def z_values(self) -> Array:
        """Minus the signed root at 0 of each coefficient: of the likelihood ratio that it is 0."""
        return np.array([-float(make_interp_spline(values, roots, k=1)(0.0)) for values, roots in self.profiles])

    def note(self, names: Names) -> str | None:
        """A line on coefficients that are undetermined."""
        weights = [f"the weight of factor {names[j]}" for j, vague in enumerate(self.undetermined[:-1]) if vague]
        what = weights + ["the bias"] * bool(self.undetermined[-1])
        more = f" and {len(what) - NAMED} more" if len(what) > NAMED else ""
        line = f"not determined by these responses: {', '.join(what[:NAMED])}{more}; "
        return line + "estimate and interval rest on a weak prior" if what else None

    def link(self, units: Units, correlation: Array) -> Link:
        """The link along its own index; units and correlation (p, p) of the factors."""
        p, weights = len(correlation), self.coefficients[:-1] * units.scale
        spread = correlation @ weights
        gain = float(np.sqrt(weights @ spread))
        derivatives = np.zeros((4, p + 3))  # of (log Γ, b, g, l)
        derivatives[0, :p] = units.scale * spread / max(gain, 1e-150) ** 2
        derivatives[1, : p + 1] = np.append(units.centre, 1.0)
        derivatives[2:, p + 1 :] = np.eye(2)
        intercept = float(derivatives[1, : p + 1] @ self.coefficients)
        covariance = derivatives @ self.covariance @ derivatives.T
        return Link(gain, intercept, self.guess_rate, self.lapse_rate, covariance)

    def likelihood_ratio(self, factors: Factors, responses: Responses, term: NDArray[np.intp]) -> tuple[float, float]:
        """(statistic, p) of the test that these factors have no effect: χ² of twice what the log-posterior loses."""
        others, precision = np.delete(factors, term, axis=1), np.delete(np.delete(self.precision, term, 0), term, 1)
        without = highest(Posterior(others, responses, measure(others), precision, self.known))[1]
        statistic = 2 * max(self.log_posterior - without.value, 0.0)
        return statistic, float(chdtrc(len(term), statistic))

    def log_odds(self, factors: Factors) -> Array:
        """log p / (1 − p) of new trials."""
        guess, lapse = self.guess_rate, self.lapse_rate
        z, between = factors @ self.coefficients[:-1] + self.coefficients[-1], 1 - guess - lapse
        with np.errstate(divide="ignore"):  # a probability below 1e-300: the logit is infinite
            return np.asarray(np.log(guess + between * expit(z)) - np.log(lapse + between * expit(-z)))


def is_for_joint_fit(n_trials: int, n_factors: int) -> bool:
    """Whether a joint fit is more trustworthy than the link."""
    return n_factors <= min(LARGEST_KAPPA * n_trials, MOST_FACTORS)


def fit_joint(factors: Factors, responses: Responses, units: Units, correlation: Array, known: Rates) -> JointFit:
    """factors: (n, p), read in blocks; responses: (n,); units, correlation (p, p): of factors; known: rates given."""
    p = factors.shape[1]
    precision = np.diag(np.full(p + 1, 1 / WIDE**2))
    precision[:p, :p] = p * correlation / WIDE**2
    posterior = Posterior(factors, responses, units, precision, known)
    theta, end = highest(posterior)
    free = np.ix_(posterior.free, posterior.free)
    covariance = np.zeros((p + 3, p + 3))
    covariance[free] = np.linalg.inv(end.squares[free])
    back = np.eye(p + 3)  # to the units of the factors
    back[:p, :p] = np.diag(1 / units.scale)
    back[p, :p] = -units.centre / units.scale
    answer = back @ theta
    undetermined = np.diag(covariance)[:-2] > UNDETERMINED**2 * np.diag(np.linalg.inv(precision))
    many = len(factors) * (p + 1) ** 2 > SMALL

    def curve(of: Array, vague: bool) -> tuple[Array, Array]:
        error = float(np.sqrt(of @ covariance @ of))
        along = covariance @ of / error
        if not vague and (many or is_quadratic(posterior, theta, end.value, along)):
            return float(of @ theta) + error * np.array([-FAR, FAR]), np.array([-FAR, FAR])
        return profile(posterior, theta, end.value, of, along)

    return JointFit(
        coefficients=answer[:-2],
        guess_rate=float(answer[-2]),
        lapse_rate=float(answer[-1]),
        covariance=back @ covariance @ back.T,
        known=known,
        precision=precision,
        log_posterior=end.value,
        undetermined=undetermined,
        profiles=[curve(of, bool(vague)) for of, vague in zip(back[:-2], undetermined, strict=True)],
    )
