"""How many trials do I need? The theory, asked before any data exist."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from hdlogit.asymptotics.existence import MAX_SIGNAL, check_observer, check_rates
from hdlogit.asymptotics.logistic_normal import probability_and_slope
from hdlogit.asymptotics.predictions import bayes_cross_entropy, predict
from hdlogit.asymptotics.theory import CLOSEST, OutsideTheory, existence_threshold, solve

MOST = 1e7  # trials per factor; no plan goes beyond


@dataclass(frozen=True)
class Plan:
    """One line of the table. Properties of the maximum-likelihood fit are None where no such fit exists.

    Weight errors are root-mean-square errors in units of the root-mean-square true weight (1 = as large as
    the weights themselves); cross-entropies are in nats per response.
    """

    n_trials: int
    kappa: float  # n_factors / n_trials
    exists: bool
    bayes: float  # cross-entropy of the true probabilities on new trials
    alpha: float | None = None  # slope of the fitted weights on the true ones, 1 is the right size
    weight_error: float | None = None  # of the classical fit
    corrected_weight_error: float | None = None
    classical_coverage: float | None = None  # of nominal 95 % intervals
    held_out: float | None = None  # cross-entropy on new trials
    best: float | None = None  # the same, for the best prediction from the fitted logit


def intercept_for(base_rate: float, signal: float, guess_rate: float = 0.0, lapse_rate: float = 0.0) -> float:
    """β0 such that P(y = 1) = g + (1 − g − l) E σ(β0 + γZ) = base_rate, to 1e-10; else OutsideTheory."""
    check_rates(guess_rate, lapse_rate)
    logistic = (base_rate - guess_rate) / (1 - guess_rate - lapse_rate)  # E σ
    if not 0 < logistic < 1:
        raise OutsideTheory(
            f"base_rate is {base_rate:g}: the probability of a yes must lie between {guess_rate:g} and "
            f"{1 - lapse_rate:g}"
        )
    span = 40 + 10 * signal

    def excess(intercept: float) -> float:  # of the log odds; odd, so that a half gives exactly 0
        yes, no = np.log(probability_and_slope([intercept, -intercept], signal)[0])
        return float(yes - no - (np.log(logistic) - np.log1p(-logistic)))

    return float(brentq(excess, -span, span, xtol=1e-12))


def base_rate_for(intercept: float, signal: float, guess_rate: float = 0.0, lapse_rate: float = 0.0) -> float:
    """P(y = 1) = g + (1 − g − l) E σ(β0 + γZ)."""
    check_observer(signal, intercept)
    check_rates(guess_rate, lapse_rate)
    return guess_rate + (1 - guess_rate - lapse_rate) * float(probability_and_slope(intercept, signal)[0])


def signal_for(accuracy: float, guess_rate: float = 0.0, lapse_rate: float = 0.0) -> float:
    """γ at which the best possible prediction is right in this fraction of trials, E max(p, 1 − p); β0 = 0.

    Raises OutsideTheory if there is no γ <= 100, or where one response is always the likelier one.
    """
    check_rates(guess_rate, lapse_rate)
    if max(guess_rate, lapse_rate) >= 0.5:
        raise OutsideTheory(
            "with a rate of 1/2 or more the best prediction is always the same: give the signal instead"
        )
    least, best = (_accuracy(signal, guess_rate, lapse_rate) for signal in (0.0, MAX_SIGNAL))
    if not least <= accuracy <= best:
        possible = f"the best prediction is right in {least:.4g} to {best:.4g} of the trials"
        raise OutsideTheory(f"accuracy is {accuracy:g}: {possible}")
    if accuracy == least:
        return 0.0
    return float(brentq(lambda signal: _accuracy(signal, guess_rate, lapse_rate) - accuracy, 0.0, MAX_SIGNAL))


def _accuracy(signal: float, guess_rate: float, lapse_rate: float) -> float:
    z = np.arange(-9.0, 9.0, 0.002) + 0.001  # midpoints: smooth but for a kink
    density = np.exp(-0.5 * z * z)
    p = guess_rate + (1 - guess_rate - lapse_rate) * expit(signal * z)
    return float(np.maximum(p, 1 - p) @ density / density.sum())


def inflation_for(correlation: float, n_factors: int) -> float:
    """1/(1 − R²), R the correlation of a factor with all others, if every pair is correlated like this.

    Raises OutsideTheory where that is impossible.
    """
    p, r = n_factors, correlation
    if p <= 1:
        return 1.0
    if not -1 / (p - 1) < r < 1:
        raise OutsideTheory(
            f"correlation is {r:g}: that of all pairs of {p} factors lies between {-1 / (p - 1):.3g} and 1"
        )
    return (1 + (p - 2) * r) / ((1 - r) * (1 + (p - 1) * r))


def smallest_n_trials(
    n_factors: int, signal: float, intercept: float = 0.0, guess_rate: float = 0.0, lapse_rate: float = 0.0
) -> int:
    """The smallest n_trials at which a maximum-likelihood estimate exists with probability → 1: n > p/h."""
    return int(np.floor(n_factors / existence_threshold(signal, intercept, guess_rate, lapse_rate))) + 1


def plan(
    n_factors: int,
    signal: float,
    base_rate: float,
    n_trials: Iterable[int],
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
    inflation: float = 1.0,
) -> list[Plan]:
    """The table over n_trials for an observer with sd γ = signal of its logits and P(y = 1) = base_rate.

    The fit is the classical one, maximum likelihood with intercept, even if the observer guesses and lapses:
    then its weights are too small when there are many trials. Factors are taken to be Gaussian, and true
    weights to have nothing to do with their correlations, which inflate the variance of a weight: inflation
    is the mean of 1/(1 − R²), R the correlation of a factor with all others. Raises OutsideTheory for an
    impossible observer, or n_trials or n_factors below 1.
    """
    rates = guess_rate, lapse_rate
    intercept = intercept_for(base_rate, signal, *rates)
    threshold = existence_threshold(signal, intercept, *rates)
    bayes = bayes_cross_entropy(signal, intercept, *rates)

    def line(n: int) -> Plan:
        if n_factors < 1 or n < 1:
            raise OutsideTheory(f"n_factors is {n_factors}, n_trials is {n}: both must be at least 1")
        kappa = n_factors / n
        if kappa >= CLOSEST * threshold:
            return Plan(n, kappa, False, bayes)
        a = solve(kappa, signal, intercept, guess_rate=guess_rate, lapse_rate=lapse_rate)
        p = predict(a, inflation)
        errors = p.weight_error, p.corrected_weight_error
        return Plan(n, kappa, True, bayes, a.alpha, *errors, p.classical_coverage, p.held_out, p.best)

    return [line(n) for n in n_trials]


def n_trials_until(
    n_factors: int,
    signal: float,
    base_rate: float,
    good: Callable[[Plan], bool],
    guess_rate: float = 0.0,
    lapse_rate: float = 0.0,
    inflation: float = 1.0,
) -> int:
    """The smallest n_trials, to 1 %, from which on a maximum-likelihood fit exists and its `Plan` is `good`.

    Raises OutsideTheory as `plan` does, and where MOST trials per factor are not enough.
    """
    rates = guess_rate, lapse_rate

    def is_good(n: float) -> bool:
        [line] = plan(n_factors, signal, base_rate, [round(n)], *rates, inflation)
        return line.exists and good(line)

    if any(rates) and not is_good(MOST * n_factors):  # from there on weights only become smaller
        raise OutsideTheory("with guesses and lapses it does not stay good, however many trials there are")
    low = high = float(smallest_n_trials(n_factors, signal, intercept_for(base_rate, signal, *rates), *rates))
    while not is_good(high):
        low, high = high, 2 * high
        if high > MOST * n_factors:
            raise OutsideTheory(f"even {MOST:g} trials per factor are not enough")
    while high > 1.01 * low:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if is_good(middle) else (middle, high)
    return round(high)
