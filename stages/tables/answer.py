"""Can the coefficients be trusted? The answer in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.files.account import counted, named

GOOD_SLOPE = 0.05  # weights that are off by less than this
GOOD_COVERAGE = 0.01  # and intervals whose coverage is too small by no more than this: nothing to correct
UNLIKELY = 0.01  # p-value of the logistic function, over all classes
NO_SIGNAL = 1e-6
NAMED = 5  # names before "and … more"


class Situation(NamedTuple):
    """One class that has an inference."""

    name: str
    classical_coverage: float  # to expect of the classical intervals
    signal: float
    alpha: float  # the factor by which the weights come out too large
    guess_rate: float
    lapse_rate: float
    logistic_p: float  # of the test that the psychometric function is logistic


def trustworthy(
    n_trials: int, n_factors: int, level: float, classes: Sequence[Situation], *, estimated: bool = False
) -> list[str]:
    """The answer for the classes that have an inference, with intervals of this level: the range, and the worst.

    estimated: whether guess or lapse rates are. Where they are not, sizes and intervals assume a logistic
    psychometric function: for classes with another one, nothing follows from them.
    """
    if not classes:
        return []
    odd = [c for c in classes if c.logistic_p < UNLIKELY / len(classes)]
    sound = [c for c in classes if estimated or c not in odd]
    told, of = sound or odd, f"{len(sound)} of " if 0 < len(sound) < len(classes) else ""
    several = f", {of}{len(classes)} classes" if len(classes) > 1 else ""
    head = f"{_spaced(n_trials)} trials, {counted(n_factors, 'factor')}{several}, {_signal(told)}: "
    lines = [_size(level, told, logistic=bool(sound)), *_shape(odd, len(classes), estimated)]
    first, *others = lines if sound else reversed(lines)
    return [head + first, *others]


def without_estimate(reasons: Mapping[str, str], separating: Mapping[str, Sequence[str]]) -> list[str]:
    """reasons: for the classes without an estimate; separating: for classes that factors separate, these factors."""
    lines = [
        f"{_separate(factors)} the responses of {named(name, 'class')}"
        + (": train.shrinkage: auto gives an estimate" if name in reasons else "; they were shrunk for the fit")
        for name, factors in separating.items()
    ]
    others = {name: reason for name, reason in reasons.items() if name not in separating}
    return lines + _lacking("estimate", others)


def without_inference(reasons: Mapping[str, str]) -> list[str]:
    """reasons: for the classes that have an estimate, but no corrections and intervals."""
    return _lacking("corrections and intervals", reasons)


def _lacking(what: str, reasons: Mapping[str, str]) -> list[str]:
    if not reasons:
        return []
    (name, reason), *others = reasons.items()
    more = f" (and {len(others)} more)" if others else ""
    return [f"no {what} of {named(name, 'class')}{more}: {reason}"]


def _size(level: float, classes: Sequence[Situation], *, logistic: bool) -> str:
    """How much too large, how often covered, and what follows: nothing, if the function is not logistic."""
    worst = max(classes, key=lambda c: abs(c.alpha - 1))
    coverage = min(c.classical_coverage for c in classes)
    if max(c.signal for c in classes) < NO_SIGNAL:
        return "no factor predicts the responses better than chance would"
    at_worst = f" at worst ({named(worst.name, 'class')})" if len(classes) > 1 else ""
    off = f"{_percent(abs(worst.alpha - 1))} too {'large' if worst.alpha >= 1 else 'small'}{at_worst}"
    covered = (
        f"classical {_percent(level)} intervals cover {_percent(coverage) if coverage >= 0.01 else 'less than 1 %'}"
    )
    if not logistic:
        return f"if they did, weights would come out {off}, and {covered}"
    good = abs(worst.alpha - 1) <= GOOD_SLOPE and coverage >= level - GOOD_COVERAGE
    verdict = ": a plain logistic regression is good enough" if good else "; use the corrected column"
    return f"weights come out {off} and {covered}{verdict}"


def _signal(classes: Sequence[Situation]) -> str:
    low, high = (f"{end(c.signal for c in classes):.2g}" for end in (min, max))
    return f"signal {low}" if low == high else f"signals {low} to {high}"


def _shape(odd: Sequence[Situation], n_classes: int, estimated: bool) -> list[str]:
    """A line on classes whose psychometric function is not logistic, given the known rates."""
    if not odd:
        return []
    which = f" of {_some([named(c.name, 'class') for c in odd])}" if n_classes > 1 else ""
    text = f"the responses{which} do not follow a logistic function"
    if estimated:
        return [f"{text}: guess {_range([c.guess_rate for c in odd])}, lapse {_range([c.lapse_rate for c in odd])}"]
    known = any(c.guess_rate or c.lapse_rate for c in odd)
    return [
        f"{text}{' with these rates' if known else ''}, so that weights and intervals, corrected ones too, may be far "
        "off: evaluate.asymptotes: estimate allows for guesses and lapses; drift or another shape may explain it, too"
    ]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _separate(names: Sequence[str]) -> str:
    return f"factor {names[0]} separates" if len(names) == 1 else f"factors {_some(names)} separate"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
