"""Can the coefficients be trusted? The answer in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.files.account import named

GOOD_SLOPE = 0.05  # weights that are off by less than this
GOOD_COVERAGE = 0.01  # and intervals that cover by no more than this less than they should: nothing to correct
UNLIKELY = 0.01  # p of the logistic function, over all classes


class Situation(NamedTuple):
    """One class that has an inference."""

    name: str
    classical_coverage: float  # to expect of the classical intervals
    signal: float
    alpha: float  # by which factor the weights come out too large
    guess_rate: float
    lapse_rate: float
    logistic_p: float  # of the test that the psychometric function is logistic


def trustworthy(n_trials: int, n_factors: int, level: float, classes: Sequence[Situation]) -> list[str]:
    """Of the classes that have an inference, with intervals of this level: the range, and the worst."""
    return [_size(n_trials, n_factors, level, classes), *_shape(classes)] if classes else []


def without_estimate(reasons: Mapping[str, str], separating: Mapping[str, Sequence[str]]) -> list[str]:
    """reasons: of the classes that have no estimate; separating: of classes that factors separate, these factors."""
    lines = [
        f"{_separate(factors)} the responses of {named(name, 'class')}"
        + (": train.shrinkage: auto gives an estimate" if name in reasons else "; they were shrunk for the fit")
        for name, factors in separating.items()
    ]
    others = [name for name in reasons if name not in separating]
    if others:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        lines.append(f"{named(others[0], 'class')}{more} has no estimate: {reasons[others[0]]}")
    return lines


def _size(n_trials: int, n_factors: int, level: float, classes: Sequence[Situation]) -> str:
    """How much too large, how often covered, and what follows."""
    worst = max(classes, key=lambda c: abs(c.alpha - 1))
    coverage = min(c.classical_coverage for c in classes)
    several = f", {len(classes)} classes" if len(classes) > 1 else ""
    head = f"{_spaced(n_trials)} trials, {_spaced(n_factors)} factors{several}, {_signal(classes)}: "
    if max(c.signal for c in classes) < 1e-6:
        return head + "no factor predicts the responses better than chance would"
    at_worst = f" at worst ({named(worst.name, 'class')})" if len(classes) > 1 else ""
    text = f"weights come out {_percent(abs(worst.alpha - 1))} too {'large' if worst.alpha >= 1 else 'small'}{at_worst}"
    text += f" and classical {_percent(level)} intervals cover {_percent(coverage)}"
    good = abs(worst.alpha - 1) <= GOOD_SLOPE and coverage >= level - GOOD_COVERAGE
    return head + text + (": a plain logistic regression is good enough" if good else "; use the corrected column")


def _signal(classes: Sequence[Situation]) -> str:
    low, high = (f"{end(c.signal for c in classes):.2g}" for end in (min, max))
    return f"signal {low}" if low == high else f"signals {low} to {high}"


def _shape(classes: Sequence[Situation]) -> list[str]:
    """Of classes whose psychometric function is not a logistic one."""
    found = [c for c in classes if c.logistic_p < UNLIKELY / len(classes)]
    if not found:
        return []
    which = "" if len(classes) == 1 else f" of {len(found)} of {len(classes)} classes"
    text = f"the responses{which} do not follow a logistic function"
    if all(c.guess_rate == c.lapse_rate == 0 for c in found):
        return [f"{text}: guesses and lapses (evaluate.asymptotes: estimate), drift or another shape may explain it"]
    return [f"{text}: guess {_range([c.guess_rate for c in found])}, lapse {_range([c.lapse_rate for c in found])}"]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _separate(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"factor {names[0]} separates"
    return f"factors {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''} separate"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
