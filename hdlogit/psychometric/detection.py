"""How well a signal is told from noise: d′ and criterion of signal detection theory, from counts.

    H = P(yes | signal), F = P(yes | noise)        z: the normal distribution's quantile
    d′ = z(H) − z(F)            variance V(H) + V(F), where V(p) = p (1 − p)/(n φ(z(p))²)
    c = −(z(H) + z(F))/2        variance (V(H) + V(F))/4

(Gourevitch & Galanter, Psychometrika 1967). Where a fraction is 0 or 1, all have half a trial more of either
response (log-linear: Hautus, Behavior Research Methods 1995).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import ndtri


class Detection(NamedTuple):
    """d′ and criterion, each with (low, high)."""

    d_prime: float
    d_prime_interval: tuple[float, float]
    criterion: float  # above 0: more often no than yes
    criterion_interval: tuple[float, float]
    log_linear: bool  # whether half a trial more of either response was added


def detection(hits: int, signals: int, false_alarms: int, noise: int, level: float = 0.95) -> Detection:
    """hits: of `signals` trials with a signal; false_alarms: of `noise` trials without."""
    log_linear = hits in (0, signals) or false_alarms in (0, noise)
    hit, of_hit = _z(hits, signals, log_linear)
    false_alarm, of_false_alarm = _z(false_alarms, noise, log_linear)
    d, c = hit - false_alarm, -(hit + false_alarm) / 2
    half = float(ndtri(0.5 + level / 2)) * math.sqrt(of_hit + of_false_alarm)
    return Detection(d, (d - half, d + half), c, (c - half / 2, c + half / 2), log_linear)


def _z(k: int, n: int, log_linear: bool) -> tuple[float, float]:
    """z of the fraction k/n, and its variance."""
    p = (k + 0.5) / (n + 1) if log_linear else k / n
    z = float(ndtri(p))
    return z, p * (1 - p) * 2 * math.pi * math.exp(z * z) / n
