"""Can the coefficients be trusted? The answer in a few sentences.

The verdict follows from the numbers as they are printed: see `matters`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.files.account import counted, named

GOOD_SIZE = 5  # weights that are off by no more than this,
GOOD_COVERAGE = 1  # and intervals whose coverage is too small by no more: nothing to correct. Both in percent
UNLIKELY = 0.01  # p-value of the logistic function, over all classes
NO_SIGNAL = 1e-6
NAMED = 5  # names before "and … more"


class Situation(NamedTuple):
    """One class that has an inference."""

    name: str
    signal: float
    alpha: float  # the factor by which the weights come out too large,
    alpha_error: float  # with its standard error
    coverage: float  # to expect of the classical intervals,
    coverage_error: float
    guess_rate: float
    lapse_rate: float
    logistic_p: float  # of the test that the psychometric function is logistic


class Percent(NamedTuple):
    """A number and its standard error as they are printed, in percent."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:g} ± {self.error:g} %" if self.error else f"{self.value:g} %"


def matters(difference: Percent, good: float) -> bool:
    """The rule of the verdict: a difference that is more than `good`, and more than its own error."""
    return difference.value > max(good, difference.error)


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
    """One sentence: size of the weights, coverage, verdict. No verdict if the function is not logistic."""
    if max(c.signal for c in classes) < NO_SIGNAL:
        return "no factor predicts the responses better than chance would"

    def off(c: Situation) -> Percent:
        difference = abs(c.alpha - 1)
        digits = 1 if max(difference, c.alpha_error) < 0.1 else None
        return Percent(round(100 * difference, digits), round(100 * c.alpha_error, digits))

    def short(c: Situation) -> Percent:
        return Percent(round(100 * level - round(100 * c.coverage), 2), round(100 * c.coverage_error))

    largest = max(classes, key=lambda c: (matters(off(c), GOOD_SIZE), off(c)))
    shortest = max(classes, key=lambda c: (matters(short(c), GOOD_COVERAGE), short(c)))
    at_worst = f" at worst ({named(largest.name, 'class')})" if len(classes) > 1 else ""
    size = f"{off(largest)} too {'large' if largest.alpha >= 1 else 'small'}{at_worst}"
    size = size if off(largest).value else "of the right size"
    coverage = short(shortest)._replace(value=round(100 * shortest.coverage))
    covered = f"classical {100 * level:g} % intervals cover {coverage if coverage.value else 'less than 1 %'}"
    if not logistic:
        return f"if they did, weights would come out {size}, and {covered}"
    good = not matters(off(largest), GOOD_SIZE) and not matters(short(shortest), GOOD_COVERAGE)
    verdict = ": a plain logistic regression is good enough" if good else "; use the corrected column"
    return f"weights come out {size} and {covered}{verdict}"


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
        "off: evaluate.asymptotes: estimate allows for guesses and lapses; another shape may explain it, too"
    ]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _separate(names: Sequence[str]) -> str:
    return f"factor {names[0]} separates" if len(names) == 1 else f"factors {_some(names)} separate"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
