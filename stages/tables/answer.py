"""Can the coefficients be trusted? The answer in a few sentences.

The verdict follows from the numbers as they are printed: see `matters`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from stages.files.account import counted, named

GOOD_SIZE = 5  # weights that are off by no more than this,
GOOD_COVERAGE = 1  # and intervals whose coverage is too small by no more: nothing to correct. Both in percent
UNLIKELY = 0.01  # p-value of the logistic function, over all classes
NO_SIGNAL = 1e-6
NAMED = 5  # names before "and … more"


class Unbounded(NamedTuple):
    """Of one class: how many trials a direction separates, and the coefficients that these leave without bounds."""

    n_separated: int
    intervals: Mapping[str, tuple[float, float]]  # by the coefficient's name; with an infinite end, or two


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
    exists: bool = True  # whether there is an estimate without shrinkage
    unbounded: Unbounded | None = None  # where some of its coefficients have none with it, either


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
    told = sound or odd
    sized, unbounded = [c for c in told if not c.unbounded], [c for c in told if c.unbounded]
    first_told = sized or told
    of = f"{len(first_told)} of " if sound and len(first_told) < len(classes) else ""
    several = f", {of}{len(classes)} classes" if len(classes) > 1 else ""
    head = f"{_spaced(n_trials)} trials, {counted(n_factors, 'factor')}{several}{_signal(first_told)}: "
    lines = [_size(level, sized, logistic=bool(sound))] if sized else []
    if unbounded and sound:
        which = f" of {_some([named(c.name, 'class') for c in unbounded])}" if len(classes) > 1 else ""
        lines.append(f"without shrinkage there is no estimate{which}; use the corrected column")
    shape = _shape(odd, len(classes), estimated)
    first, *others = [*lines, *shape] if sound else [*shape, *lines]
    return [head + first, *others, *(_unbounded(n_trials, n_factors, level, c) for c in classes if c.unbounded)]


def without_estimate(reasons: Mapping[str, str], separating: Mapping[str, Sequence[str]]) -> list[str]:
    """reasons: for the classes without an estimate; separating: for classes that factors separate, these factors."""
    lines = [
        f"{_separate(factors)} the responses of {named(name, 'class')}: train.shrinkage: auto gives an estimate"
        for name, factors in separating.items()
        if name in reasons
    ]
    return lines + _lacking("estimate", reasons, separating)


def without_inference(reasons: Mapping[str, str], shrunk: Mapping[str, Sequence[str]]) -> list[str]:
    """reasons: for the classes that have an estimate, but no corrections and intervals; shrunk: for those that have
    none without shrinkage, the factors that separate them.
    """
    lines = [
        f"{_separate(factors)} the responses of {named(name, 'class')}; they were shrunk for the fit"
        + (f", without corrections and intervals: {reasons[name]}" if name in reasons else "")
        for name, factors in shrunk.items()
    ]
    return lines + _lacking("corrections and intervals", reasons, shrunk)


def _lacking(what: str, reasons: Mapping[str, str], told: Collection[str]) -> list[str]:
    untold = [(name, reason) for name, reason in reasons.items() if name not in told]
    if not untold:
        return []
    (name, reason), *others = untold
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
    good = good and all(c.exists for c in classes)
    verdict = ": a plain logistic regression is good enough" if good else "; use the corrected column"
    return f"weights come out {size} and {covered}{verdict}"


def _signal(classes: Sequence[Situation]) -> str:
    if not (signals := [c.signal for c in classes if not c.unbounded]):
        return ""
    low, high = (f"{end(signals):.2g}" for end in (min, max))
    return f", signal {low}" if low == high else f", signals {low} to {high}"


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


def _unbounded(n_trials: int, n_factors: int, level: float, c: Situation) -> str:
    """A line on what the separated trials of a class leave without bounds, and what tells the rest."""
    assert c.unbounded is not None
    n_separated, intervals = c.unbounded
    bounds, open_ended = [], []
    for name, ends in intervals.items():
        low, high = (f"{end:.2g}".replace("-", "−") for end in ends)
        what = "its weight" if len(intervals) == 1 else "the bias" if name == "bias" else named(name, "factor")
        if all(map(math.isinf, ends)):
            open_ended.append(what)
        else:
            side, end = ("upper", f"from {low}") if math.isinf(ends[1]) else ("lower", f"up to {high}")
            bounds.append(f"{what} has no {side} bound ({100 * level:g} % interval: {end})")
    parts = [_some(bounds)] if bounds else []
    parts += [f"{_some(open_ended)} {'is' if len(open_ended) == 1 else 'are'} not determined"] if open_ended else []
    parts += [] if len(intervals) > n_factors else ["the other coefficients are what the trials that are left tell"]
    return (
        f"{_separate([name for name in intervals if name != 'bias'])} {_spaced(n_separated)} of {_spaced(n_trials)} "
        f"trials of {named(c.name, 'class')}: {'; '.join(parts)}"
    )


def _separate(names: Sequence[str]) -> str:
    return f"factor {names[0]} separates" if len(names) == 1 else f"factors {_some(names)} separate"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
