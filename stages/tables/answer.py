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

    @property
    def off(self) -> Percent:
        """By how much the weights are too large or too small."""
        difference = abs(self.alpha - 1)
        digits = 1 if max(difference, self.alpha_error) < 0.1 else None
        return Percent(round(100 * difference, digits), round(100 * self.alpha_error, digits))

    def short(self, level: float) -> Percent:
        """By how much the classical intervals cover too little."""
        return Percent(round(100 * level - round(100 * self.coverage), 2), round(100 * self.coverage_error))


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
    not_logistic = [c for c in classes if c.logistic_p < UNLIKELY / len(classes)]
    valid = [c for c in classes if estimated or c not in not_logistic]
    shown = valid or not_logistic
    sized, unbounded = [c for c in shown if not c.unbounded], [c for c in shown if c.unbounded]
    lines = [_size(level, sized, logistic=bool(valid))] if sized else []
    if unbounded and valid:
        lines.append(f"without shrinkage there is no estimate{_of(unbounded, len(classes))}; use the corrected column")
    shape = _shape(not_logistic, len(classes), estimated)
    first, *others = [*lines, *shape] if valid else [*shape, *lines]
    head = f"{_spaced(n_trials)} trials, {counted(n_factors, 'factor')}"
    if len(classes) > 1:
        part = f"{len(sized or shown)} of " if valid and len(sized or shown) < len(classes) else ""
        head += f", {part}{len(classes)} classes (yes/no responses)"
    unbounded_lines = [_unbounded(n_trials, n_factors, level, c.name, c.unbounded) for c in classes if c.unbounded]
    return [f"{head}{_signal(sized)}: {first}", *others, *unbounded_lines]


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


def _lacking(what: str, reasons: Mapping[str, str], mentioned: Collection[str]) -> list[str]:
    """One line on the classes that no other line mentions."""
    rest = [name for name in reasons if name not in mentioned]
    more = f" (and {len(rest) - 1} more)" if rest[1:] else ""
    return [f"no {what} of {named(rest[0], 'class')}{more}: {reasons[rest[0]]}"] if rest else []


def _size(level: float, classes: Sequence[Situation], *, logistic: bool) -> str:
    """One sentence: size of the weights, coverage, verdict. No verdict if the function is not logistic."""
    if max(c.signal for c in classes) < NO_SIGNAL:
        return "no factor predicts the responses better than chance would"
    largest = max(classes, key=lambda c: (matters(c.off, GOOD_SIZE), c.off))
    shortest = max(classes, key=lambda c: (matters(c.short(level), GOOD_COVERAGE), c.short(level)))
    off, short = largest.off, shortest.short(level)
    at_worst = f" at worst ({named(largest.name, 'class')})" if len(classes) > 1 else ""
    size = f"{off} too {'large' if largest.alpha >= 1 else 'small'}{at_worst}" if off.value else "of the right size"
    coverage = Percent(round(100 * shortest.coverage), short.error)
    covered = f"classical {100 * level:g} % intervals cover {coverage if coverage.value else 'less than 1 %'}"
    if not logistic:
        return f"if they did, weights would come out {size}, and {covered}"
    wrong = matters(off, GOOD_SIZE) or matters(short, GOOD_COVERAGE) or not all(c.exists for c in classes)
    verdict = "; use the corrected column" if wrong else ": a plain logistic regression is good enough"
    return f"weights come out {size} and {covered}{verdict}"


def _signal(classes: Sequence[Situation]) -> str:
    if not classes:
        return ""
    low, high = (f"{end(c.signal for c in classes):.2g}" for end in (min, max))
    return f", signal {low} (sd of the true logit)" if low == high else f", signals {low} to {high} (sd of true logits)"


def _shape(not_logistic: Sequence[Situation], n_classes: int, estimated: bool) -> list[str]:
    """A line on classes whose psychometric function is not logistic, given the known rates."""
    if not not_logistic:
        return []
    text = f"the responses{_of(not_logistic, n_classes)} do not follow a logistic function"
    if estimated:
        rates = _range([c.guess_rate for c in not_logistic]), _range([c.lapse_rate for c in not_logistic])
        return [f"{text}: guess {rates[0]}, lapse {rates[1]}"]
    known = any(c.guess_rate or c.lapse_rate for c in not_logistic)
    return [
        f"{text}{' with these rates' if known else ''}, so that weights and intervals, corrected ones too, may be far "
        "off: evaluate.asymptotes: estimate allows for guesses and lapses; another shape may explain it, too"
    ]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _unbounded(n_trials: int, n_factors: int, level: float, name: str, found: Unbounded) -> str:
    """A line on what the separated trials of a class leave without bounds, and what tells the rest."""
    parts, undetermined = [], []
    for coefficient, ends in found.intervals.items():
        low, high = (f"{end:.2g}".replace("-", "−") for end in ends)
        what = "the bias" if coefficient == "bias" else named(coefficient, "factor")
        what = "its weight" if len(found.intervals) == 1 else what
        if all(map(math.isinf, ends)):
            undetermined.append(what)
        else:
            side, end = ("upper", f"from {low}") if math.isinf(ends[1]) else ("lower", f"up to {high}")
            parts.append(f"{what} has no {side} bound ({100 * level:g} % interval: {end})")
    parts = [_some(parts)] if parts else []
    if undetermined:
        parts.append(f"{_some(undetermined)} {'is' if len(undetermined) == 1 else 'are'} not determined")
    if len(found.intervals) <= n_factors:
        parts.append("the other coefficients are what the trials that are left tell")
    return (
        f"{_separate([name for name in found.intervals if name != 'bias'])} {_spaced(found.n_separated)} of "
        f"{_spaced(n_trials)} trials of {named(name, 'class')}: {'; '.join(parts)}"
    )


def _of(classes: Sequence[Situation], n_classes: int) -> str:
    """` of a, b`, where there are several classes."""
    return f" of {_some([named(c.name, 'class') for c in classes])}" if n_classes > 1 else ""


def _separate(names: Sequence[str]) -> str:
    return f"factor {names[0]} separates" if len(names) == 1 else f"factors {_some(names)} separate"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
