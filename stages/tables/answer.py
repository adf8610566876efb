"""Can the coefficients be trusted? The answer in a few sentences.

In this order: do the factors tell anything, does the model hold, how large are the weights, what do intervals cover,
do groups of trials replicate one another, what has no answer. The verdict follows from the numbers as they are printed
(`Percent.matters`), and there is one on weights only where the model holds, factors predict better than a constant, and
groups do not differ (`Situation.verdict`). Of several classes all verdicts are named, and the sentences are on the one
that needs most care.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import stdtr

from hdlogit.inference.comparison import Usefulness
from hdlogit.inference.questions import (
    LINK,
    RISING,
    STEEPER,
    UNLIKELY,
    Question,
    missing,
    p_in_words,
    sentence,
)
from hdlogit.inference.result import ClassInference
from stages.files.account import counted, first_of, measured, named, separate
from stages.tables.remedies import remedy

if TYPE_CHECKING:
    from hdlogit.inference.replication import Replication  # brings torch

GOOD_SIZE = 5  # weights that are off by no more than this,
GOOD_COVERAGE = 1  # and intervals whose coverage is too small by no more: nothing to correct. Both in percent
VAGUE_SIZE, VAGUE_COVERAGE = 10, 5  # standard errors, in percent, beyond which nothing can be called good enough
DIFFERENT = 0.01  # p-value that groups have the same weights, over all classes
LOOSE = 0.25  # error of the slope of groups from which on it tells nothing
APART = 0.1  # of the slope of groups from 1: less is what corrections leave in short groups
NOTHING = 0.05  # p-value of all factors together, from which on no effect of them is shown

LACKING, SEPARATED = "model lacks", "separated by"  # how such verdicts begin
NO_EFFECT, USELESS = "no effect shown", "factors predict no better than a constant"
DIFFER, CORRECTED = "groups of trials differ", "use corrected"
DOUBTED, GOOD = "good enough, unless it lapses", "good enough"
ENDINGS = {  # of the sentence on weights, by verdict; what needs most care comes first
    NO_EFFECT: "",  # nothing is said of the size of what may not exist
    USELESS: "; of what use they are is said above",
    DIFFER: "; but they are means over groups that differ",
    CORRECTED: "; use the corrected column",
    DOUBTED: ": a plain logistic regression is good enough",
    GOOD: ": a plain logistic regression is good enough",
}


class Percent(NamedTuple):
    """A number and its standard error as they are printed, in percent."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:g} ± {self.error:g} %" if self.error else f"{self.value:g} %"

    def matters(self, good: float) -> bool:
        """The rule of the verdict: more than `good`, and more than its own error."""
        return self.value > max(good, self.error)


class Situation(NamedTuple):
    """One class that has an inference."""

    name: str
    signal: float
    alpha: float  # the factor by which the weights come out too large,
    alpha_error: float  # with its standard error
    coverage: float  # to expect of the classical intervals,
    coverage_error: float
    use: Usefulness
    asked: Sequence[Question] = ()  # what the model may lack, the largest gain first
    rates: tuple[float, float] = (0.0, 0.0)  # of guesses and lapses
    exists: bool = True  # whether there is an estimate without shrinkage
    n_separated: int = 0  # trials that a direction separates,
    unbounded: Mapping[str, tuple[float, float]] = {}  # intervals of the coefficients that these leave without bounds
    groups: Replication | None = None  # where two or more have a slope
    terms: Mapping[str, bool] = {}  # of the model: whether it has more than two values
    level: float = 0.95  # of intervals
    n_classes: int = 1

    @property
    def off(self) -> Percent:
        """By how much the weights are too large or too small."""
        difference = abs(self.alpha - 1)
        digits = 1 if max(difference, self.alpha_error) < 0.1 else None
        return Percent(round(100 * difference, digits), round(100 * self.alpha_error, digits))

    @property
    def short(self) -> Percent:
        """By how much the classical intervals cover too little."""
        covered = round(100 * self.coverage)
        return Percent(round(100 * self.level - covered, 2), round(100 * self.coverage_error))

    @property
    def lacks(self) -> list[Question]:
        """What is missing from its model, beyond chance, and notably."""
        return missing(self.asked, self.use.gain, self.n_classes)

    @property
    def differ(self) -> bool:
        """Whether its groups have different weights, beyond chance: slopes that differ, or one that is far from 1."""
        if self.groups is None:
            return False
        slopes, chance = self.groups.corrected, DIFFERENT / self.n_classes
        apart = abs(slopes.common - 1)
        error = max(slopes.common_error, 1e-12)  # 0 of groups that are copies of one another
        beyond = 2 * stdtr(slopes.df, -apart / error) < chance
        return self.groups.p_value < chance or bool(error < LOOSE and apart > APART and beyond)

    @property
    def lapses(self) -> Question | None:
        """Guesses or lapses that are likely by their own test, but not beyond chance over all that was asked."""
        likely = (one for one in self.asked if one.family == LINK and one.steeper > STEEPER)
        return next((one for one in likely if one.p_value < UNLIKELY / self.n_classes), None)

    @property
    def verdict(self) -> str:
        """The answer in a few words."""
        if lacks := self.lacks:
            return f"{LACKING} {'a rising function' if lacks[0].family == RISING else lacks[0].family}"
        if self.unbounded:
            return f"{SEPARATED} {first_of([name for name in self.unbounded if name != 'bias'])}"
        if self.use.p_value >= NOTHING:  # NaN: not tested
            return NO_EFFECT
        if self.use.gain <= 0:
            return USELESS
        if self.differ:
            return DIFFER
        if self.off.matters(GOOD_SIZE) or self.short.matters(GOOD_COVERAGE) or not self.exists:
            return CORRECTED
        if self.off.error > VAGUE_SIZE or self.short.error > VAGUE_COVERAGE:
            return CORRECTED
        return DOUBTED if self.lapses else GOOD

    @property
    def concern(self) -> int:
        """The larger, the more care it needs."""
        return -next((k for k, verdict in enumerate(ENDINGS) if verdict == self.verdict), -1)


def trustworthy(n_trials: int, n_factors: int, classes: Sequence[Situation]) -> list[str]:
    """The answer for the classes that have an inference."""
    if not classes:
        return []
    worst = max(classes, key=lambda one: (one.concern, one.off))
    size = f"{_spaced(n_trials)} trials, {counted(n_factors, 'factor')}"
    head, *lines = _sentences(n_trials, n_factors, worst)
    if len(classes) == 1:
        return [f"{size}{head}", *lines]
    verdicts = defaultdict[str, list[str]](list)
    for one in sorted(classes, key=lambda one: -one.concern):
        verdicts[one.verdict].append(named(one.name, "class"))
    of_all = "; ".join(f"{verdict}: {first_of(names)}" for verdict, names in verdicts.items())
    return [
        f"{size}, {len(classes)} classes (yes/no responses): {of_all}",
        f"{named(worst.name, 'class')}{head}",
        *lines,
    ]


def _sentences(n_trials: int, n_factors: int, c: Situation) -> list[str]:
    """On one class. Nothing follows from sizes and intervals if its model lacks something."""
    observer = ""
    if not c.lacks and not c.unbounded and c.verdict != NO_EFFECT:  # else nobody knows it
        observer = f", signal {c.signal:.2g} (sd of the true logit)"
        kinds = zip(("guess", "lapse"), c.rates, strict=True)
        observer += "".join(f", {kind} rate {rate:.2f}" for kind, rate in kinds if rate)
    lines = [_use(c.use)]
    if c.unbounded and not c.lacks:
        lines.insert(0, "without shrinkage there is no estimate; use the corrected column")
    if c.lacks:
        adding = remedy(c.lacks[0].family, c.name, c.terms, guess_rate=c.rates[0])
        lines.append(f"{sentence(c.lacks, c.use.gain)}. {adding}")
    if c.unbounded:
        lines.append(_separated(n_trials, n_factors, c))
    elif not c.use.p_value >= NOTHING:  # NaN: not tested
        lines.append(_size(c))
    lines += [_groups(c, c.groups)] if c.groups else []
    return [f"{observer}: {lines[0]}", *lines[1:]]


def together(terms: Mapping[str, Sequence[Any]], n_factors: int) -> list[str]:
    """A line on the families of factors, from `term_table`; of one class, where some but not all are a family."""
    rows = zip(*(terms[name] for name in ("class", "term", "factors", "p")), strict=True) if terms else ()
    some = [(term, n, p) for _, term, n, p in rows if 1 < n < n_factors and math.isfinite(p)]
    if len({*terms.get("class", ())}) > 1 or not some:
        return []
    return [f"factors tested together: {first_of([f'{term} ({n}) {p_in_words(p)}' for term, n, p in some])}"]


def unanswered(
    missing: Mapping[str, str], results: Mapping[str, ClassInference], separating: Mapping[str, Sequence[str]]
) -> list[str]:
    """What helps classes whose responses factors separate, and why others have no estimate or no inference.

    missing: classes without an estimate, and why; separating: by class, the factors.
    """
    lines, without = list[str](), defaultdict[tuple[str, str], list[str]](list)
    for name, factors in separating.items():
        line = f"{separate(factors)} the responses of {named(name, 'class')}"
        if name in missing:
            lines.append(f"{line}: train.shrinkage: auto gives an estimate")
        elif not results[name].separated:
            lines.append(f"{line}; they were shrunk for the fit")
    for name, reason in missing.items():
        if name not in separating:
            without["estimate", reason].append(named(name, "class"))
    for name, c in results.items():
        if c.reason:
            without["corrections and intervals", c.reason].append(named(name, "class"))
    return lines + [f"no {what} of {first_of(names)}: {reason}" for (what, reason), names in without.items()]


def _use(use: Usefulness) -> str:
    """Do the factors predict better than a constant?"""
    all_factors = f"all factors together: p = {use.p_value:.2g}"
    losses = f"{use.best:.4f} nats per trial against {use.constant:.4f}, leave-one-out"
    if use.p_value >= NOTHING:
        return f"no effect of the factors on the responses is shown ({all_factors}; cross-entropy {losses})"
    if use.gain <= 0:
        matter = f"the factors matter ({all_factors}), but " if use.p_value < NOTHING else ""  # NaN: not tested
        return f"{matter}so many weights predict no better than a constant: cross-entropy {losses}"
    gain = measured(use.gain, use.gain_error)
    return f"predictions are {gain} nats per trial better than a constant, leave-one-out (R² {use.r_squared:.2g})"


def _size(c: Situation) -> str:
    """Size of the weights, coverage, and what follows. Nothing does if the model does not hold."""
    size = f"{c.off} too {'large' if c.alpha >= 1 else 'small'}" if c.off.value else "of the right size"
    coverage = Percent(round(100 * c.coverage), c.short.error)
    covered = f"classical {100 * c.level:g} % intervals cover {coverage if coverage.value else 'less than 1 %'}"
    if c.lacks:
        return f"if the model held, weights would come out {size}, and {covered}"
    doubt = ""
    if c.verdict == DOUBTED and (lapses := c.lapses):
        doubt = (
            f", unless the observer guesses or lapses (p = {lapses.p_value:.1g} that not, of this test alone): with "
            f"such rates (--rates) weights would be {1 + lapses.steeper:.2g} times as large"
        )
    return f"weights come out {size} and {covered}{ENDINGS[c.verdict]}{doubt}"


def _groups(c: Situation, groups: Replication) -> str:
    """Do groups of trials replicate one another?"""
    slopes = groups.corrected
    error = f" ± {slopes.common_error:.1g}" if slopes.df > 1 else ""  # of two groups the jackknife tells little
    slope = f"{slopes.common:.2f}{error}"
    if not c.differ:
        alike = "replicate one another" if slopes.common_error < LOOSE else "are too short to be compared"
        return f"groups {alike}: corrected weights of one are {slope} times those of the others"
    lowest, highest = (f"{end(slopes.value):.2f}".replace("-", "−") for end in (np.nanmin, np.nanmax))
    return (
        f"groups do not replicate one another: corrected weights of one are {lowest} to {highest} times those of the "
        f"others, {slope} in all (p = {groups.p_value:.1g} that these are alike): fit each group alone, or add what "
        "changes between them"
    )


def _separated(n_trials: int, n_factors: int, c: Situation) -> str:
    """What the separated trials leave without bounds, and what tells the rest."""
    ends = {name: f"[{low:.2g}, {high:.2g}]" for name, (low, high) in c.unbounded.items()}
    intervals = [f"{named(name, 'factor')} {both.replace('-', '−')}".replace("inf", "∞") for name, both in ends.items()]
    rest = "; the other coefficients are what the trials that are left tell" if len(ends) <= n_factors else ""
    return (
        f"{separate([name for name in ends if name != 'bias'])} {_spaced(c.n_separated)} of {_spaced(n_trials)} trials "
        f"of {named(c.name, 'class')}; without bounds ({100 * c.level:g} % intervals): {first_of(intervals)}{rest}"
    )


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
