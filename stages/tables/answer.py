"""Can the coefficients be trusted? The answer in a few sentences.

In this order: is there an estimate, do the factors tell anything, does the model hold, how large are the weights, what
do intervals cover, do groups of trials replicate one another. The verdict follows from the numbers as they are printed
(`matters`), and there is one only of classes whose factors predict better than a constant (`Situation.useless`), whose
model holds (`Situation.lacks`), and whose groups do not differ (`Situation.differ`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scipy.special import stdtr

from hdlogit.inference.comparison import Usefulness
from hdlogit.inference.questions import (
    ASYMMETRY,
    LINK,
    OTHER_RATE,
    RISING,
    STEEPER,
    UNLIKELY,
    Question,
    missing,
    sentence,
)
from stages.files.account import counted, first_of, measured, named, separate

if TYPE_CHECKING:
    from hdlogit.inference.replication import Replication  # brings torch

GOOD_SIZE = 5  # weights that are off by no more than this,
GOOD_COVERAGE = 1  # and intervals whose coverage is too small by no more: nothing to correct. Both in percent
VAGUE_SIZE, VAGUE_COVERAGE = 10, 5  # standard errors, in percent, beyond which nothing can be called good enough
DIFFERENT = 0.01  # p-value that groups have the same weights, over all classes
LOOSE = 0.25  # error of the slope of groups from which on it tells nothing
APART = 0.1  # of the slope of groups from 1: less is what corrections leave in short groups
NOTHING = 0.05  # p-value of all factors together, from which on no effect of them is shown
NO_SIGNAL = 1e-6
LACKING = "model lacks"  # how such a verdict begins

REMEDIES = {  # how a study adds what is missing
    LINK: "--rates estimate (evaluate.asymptotes) allows for guesses and lapses; another shape may explain it, too",
    OTHER_RATE: "--rates estimate (evaluate.asymptotes) estimates both",
    ASYMMETRY: "It is steeper on one side than a logistic one: try a transform of the factors, as in log(x)",
    RISING: "No guess or lapse rate explains that: look at the figure of the psychometric function",
    "squares of the factors": "To add them: --formula (prepare.formula) with I(x**2) for each factor x",
    "a trend over trials": "To add it: --formula (prepare.formula) with a column that counts the trials",
    "differences between groups": "To add them: --formula (prepare.formula) with C(group), or fit each group alone",
    "trends within groups": "To add them: --formula (prepare.formula) with C(group) * t, if t counts the trials",
    "previous responses": "To add them: --formula (prepare.formula) with lags({response}, 3)",
    "factors of the previous trial": "To add them: --formula (prepare.formula) with lag(x, 1) for each factor x",
}
PRODUCTS = "To add them: --formula (prepare.formula) with a * in the place of the + between this factor and the others"


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
    use: Usefulness | None = None  # None where it is not known
    asked: tuple[Question, ...] = ()  # what the model may lack, the largest gain first
    exists: bool = True  # whether there is an estimate without shrinkage
    unbounded: Unbounded | None = None  # where some of its coefficients have none with it, either
    groups: Replication | None = None

    @property
    def off(self) -> Percent:
        """By how much the weights are too large or too small."""
        difference = abs(self.alpha - 1)
        digits = 1 if max(difference, self.alpha_error) < 0.1 else None
        return Percent(round(100 * difference, digits), round(100 * self.alpha_error, digits))

    @property
    def useless(self) -> bool:
        """Whether no effect of its factors is shown, or too little for so many weights."""
        return self.no_effect or (self.use is not None and self.use.gain <= 0)

    @property
    def no_effect(self) -> bool:
        """Whether chance explains all that its factors seem to do."""
        return self.use is not None and self.use.p_value >= NOTHING  # NaN: not tested

    def lacks(self, n_classes: int) -> list[Question]:
        """What is missing from its model, beyond chance, and notably."""
        return missing(self.asked, self.use.gain if self.use else 0.0, n_classes)

    def differ(self, n_classes: int) -> bool:
        """Whether its groups have different weights, beyond chance: slopes that differ, or one that is far from 1."""
        if self.groups is None or self.groups.corrected is None:
            return False
        slope, chance = self.groups.corrected, DIFFERENT / n_classes
        apart, error = abs(slope.value - 1), max(slope.error, 1e-12)  # 0 of groups that are copies of one another
        beyond = 2 * stdtr(slope.df, -apart / error) < chance
        return self.groups.p_value < chance or bool(slope.error < LOOSE and apart > APART and beyond)

    def short(self, level: float) -> Percent:
        """By how much the classical intervals cover too little."""
        return Percent(round(100 * level - round(100 * self.coverage), 2), round(100 * self.coverage_error))

    def wrong(self, level: float) -> bool:
        """Whether a plain logistic regression is not good enough."""
        return matters(self.off, GOOD_SIZE) or matters(self.short(level), GOOD_COVERAGE) or not self.exists

    @property
    def vague(self) -> bool:
        """Whether these trials hardly tell how far its weights and intervals are off."""
        return self.off.error > VAGUE_SIZE or 100 * self.coverage_error > VAGUE_COVERAGE

    def verdict(self, level: float, n_classes: int) -> str:
        """The answer in a few words."""
        if lacking := self.lacks(n_classes):
            family = lacking[0].family
            return f"{LACKING} {'a rising function' if family == RISING else family}"
        if self.unbounded:
            return f"separated by {first_of([name for name in self.unbounded.intervals if name != 'bias'])}"
        if self.useless or self.signal < NO_SIGNAL:
            return "no effect shown" if self.no_effect else "factors predict no better than a constant"
        if self.differ(n_classes):
            return "groups of trials differ"
        if self.wrong(level) or self.vague:
            return "use corrected"
        return "good enough, unless it lapses" if _doubt([self], n_classes) else "good enough"


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

    estimated: whether guess or lapse rates are. Nothing follows from sizes and intervals of classes whose model lacks
    something.
    """
    if not classes:
        return []
    lacking = [c for c in classes if c.lacks(len(classes))]
    valid = [c for c in classes if c not in lacking]
    shown = valid or lacking
    sized, unbounded = [c for c in shown if not c.unbounded], [c for c in shown if c.unbounded]
    lines = []
    if unbounded and valid:
        lines = [f"without shrinkage there is no estimate{_of(unbounded, len(classes))}; use the corrected column"]
    lines += [*_use(classes), *_lack(lacking, len(classes))]
    told = [] if valid and all(c.no_effect for c in sized) else sized  # sizes of what is not shown to exist say nothing
    lines += [_size(level, told, holds=bool(valid), n_classes=len(classes))] if told else []
    lines += _groups(classes)
    if estimated:
        lines += _rates([c for c in valid if c.logistic_p < UNLIKELY / len(classes)], len(classes))
    head = f"{_spaced(n_trials)} trials, {counted(n_factors, 'factor')}"
    if len(classes) > 1:
        part = f"{len(sized or shown)} of " if valid and len(sized or shown) < len(classes) else ""
        head += f", {part}{len(classes)} classes (yes/no responses)"
    unbounded_lines = [_unbounded(n_trials, n_factors, level, c.name, c.unbounded) for c in classes if c.unbounded]
    signal = _signal(told) if valid else ""  # which nobody knows of a model that does not hold
    return [f"{head}{signal}: {lines[0]}", *lines[1:], *unbounded_lines]


def together(terms: Mapping[str, Sequence[Any]], n_factors: int) -> list[str]:
    """A line on the families of factors, from `term_table`; of one class, where some but not all are a family."""
    rows = zip(*(terms[name] for name in ("class", "term", "factors", "p")), strict=True) if terms else ()
    some = [(term, n, p) for _, term, n, p in rows if 1 < n < n_factors and math.isfinite(p)]
    if len({*terms.get("class", ())}) > 1 or not some:
        return []
    parts = [f"{term} ({n}) {f'p = {p:.2g}' if p > 1e-12 else 'p < 1e-12'}" for term, n, p in some]
    return [f"factors tested together: {first_of(parts)}"]


def without_estimate(reasons: Mapping[str, str], separating: Mapping[str, Sequence[str]]) -> list[str]:
    """reasons: for the classes without an estimate; separating: for classes that factors separate, these factors."""
    lines = [
        f"{separate(factors)} the responses of {named(name, 'class')}: train.shrinkage: auto gives an estimate"
        for name, factors in separating.items()
        if name in reasons
    ]
    return lines + _lacking("estimate", reasons, separating)


def without_inference(reasons: Mapping[str, str], shrunk: Mapping[str, Sequence[str]]) -> list[str]:
    """reasons: for the classes that have an estimate, but no corrections and intervals; shrunk: for those that have
    none without shrinkage, the factors that separate them.
    """
    lines = [
        f"{separate(factors)} the responses of {named(name, 'class')}; they were shrunk for the fit"
        + (f", without corrections and intervals: {reasons[name]}" if name in reasons else "")
        for name, factors in shrunk.items()
    ]
    return lines + _lacking("corrections and intervals", reasons, shrunk)


def _lacking(what: str, reasons: Mapping[str, str], mentioned: Collection[str]) -> list[str]:
    """One line on the classes that no other line mentions."""
    rest = [name for name in reasons if name not in mentioned]
    more = f" (and {len(rest) - 1} more)" if rest[1:] else ""
    return [f"no {what} of {named(rest[0], 'class')}{more}: {reasons[rest[0]]}"] if rest else []


def _use(classes: Sequence[Situation]) -> list[str]:
    """A sentence: do the factors predict better than a constant?"""
    known = [(c, c.use) for c in classes if c.use]
    if not known:
        return []
    c, worst = min(known, key=lambda one: (not one[0].useless, one[1].gain))
    of, together = _of([c], len(classes)), f"all factors together: p = {worst.p_value:.2g}"
    losses = f"{worst.best:.4f} nats per trial against {worst.constant:.4f}, leave-one-out"
    if worst.p_value >= NOTHING:
        return [f"no effect of the factors on the responses{of} is shown ({together}; cross-entropy {losses})"]
    if worst.gain <= 0:
        matter = f"the factors matter{of} ({together}), but " if worst.p_value < NOTHING else ""  # NaN: not tested
        return [f"{matter}so many weights predict no better than a constant: cross-entropy {losses}"]
    at_worst = f" at worst ({named(c.name, 'class')})" if len(classes) > 1 else ""
    return [
        f"predictions are {measured(worst.gain, worst.gain_error)} nats per trial better than a constant{at_worst}, "
        f"leave-one-out (R² {worst.r_squared:.2g})"
    ]


def _lack(classes: Sequence[Situation], n_classes: int) -> list[str]:
    """A sentence: what the model lacks most, and what would be added."""
    if not classes:
        return []
    c = max(classes, key=lambda one: one.lacks(n_classes)[0].gain)
    lacking = c.lacks(n_classes)
    text = sentence(lacking, c.use.gain if c.use else 0.0, _of(classes, n_classes))
    remedy = REMEDIES.get(lacking[0].family, PRODUCTS).format(response=_column(c.name))
    if c.guess_rate and lacking[0].family == LINK:  # then it is given
        remedy = remedy.replace("--rates estimate", f"--rates {c.guess_rate:g},estimate")
    return [f"{text}. {remedy}"]


def _size(level: float, classes: Sequence[Situation], *, holds: bool, n_classes: int) -> str:
    """One sentence: size of the weights, coverage, verdict. No verdict if the model does not hold."""
    if max(c.signal for c in classes) < NO_SIGNAL:
        return "no factor predicts the responses better than chance would"
    largest = max(classes, key=lambda c: (matters(c.off, GOOD_SIZE), c.off))
    shortest = max(classes, key=lambda c: (matters(c.short(level), GOOD_COVERAGE), c.short(level)))
    off, short = largest.off, shortest.short(level)
    at_worst = f" at worst ({named(largest.name, 'class')})" if len(classes) > 1 else ""
    size = f"{off} too {'large' if largest.alpha >= 1 else 'small'}{at_worst}" if off.value else "of the right size"
    coverage = Percent(round(100 * shortest.coverage), short.error)
    covered = f"classical {100 * level:g} % intervals cover {coverage if coverage.value else 'less than 1 %'}"
    if not holds:
        return f"if the model held, weights would come out {size}, and {covered}"
    if any(c.useless for c in classes):
        return f"weights come out {size} and {covered}; of what use they are is said above"
    if any(c.differ(n_classes) for c in classes):
        return f"weights come out {size} and {covered}; but they are means over groups that differ"
    verdict = f": a plain logistic regression is good enough{_doubt(classes, n_classes)}"
    if any(c.wrong(level) for c in classes):
        verdict = "; use the corrected column"
    elif any(c.vague for c in classes):
        verdict = "; use the corrected column, as these trials do not tell whether it is needed"
    return f"weights come out {size} and {covered}{verdict}"


def _doubt(classes: Sequence[Situation], n_classes: int) -> str:
    """Guesses or lapses that are likely, but not beyond chance over all that was asked."""
    asked = [one for c in classes for one in c.asked if one.family == LINK and one.steeper > STEEPER]
    likely = [one for one in asked if one.p_value < UNLIKELY / n_classes]
    if not likely:
        return ""
    worst = min(likely, key=lambda one: one.p_value)
    return (
        f", unless the observer guesses or lapses (p = {worst.p_value:.1g} that not, of this test alone): with such "
        f"rates (--rates) weights would be {1 + worst.steeper:.2g} times as large"
    )


def _groups(classes: Sequence[Situation]) -> list[str]:
    """A sentence: do groups of trials replicate one another? Of several classes the one that does least."""
    known = [(c, c.groups, c.groups.corrected) for c in classes if c.groups and c.groups.corrected]
    if not known:
        return []
    c, groups, common = min(known, key=lambda one: (not one[0].differ(len(classes)), one[1].p_value))
    error = f" ± {common.error:.1g}" if common.df > 1 else ""  # of two groups the jackknife tells little
    of, slope = _of([c], len(classes)), f"{common.value:.2f}{error}"
    if not c.differ(len(classes)):
        alike = "groups replicate one another" if common.error < LOOSE else "groups are too short to be compared"
        return [f"{alike}{of}: corrected weights of one are {slope} times those of the others"]
    slopes = [group.corrected.value for group in groups.groups if group.corrected]
    lowest, highest = (f"{value:.2f}".replace("-", "−") for value in (min(slopes), max(slopes)))
    return [
        f"groups do not replicate one another{of}: corrected weights of one are {lowest} to {highest} times those of "
        f"the others, {slope} in all (p = {groups.p_value:.1g} that these are alike): fit each group alone, or add "
        "what changes between them"
    ]


def _signal(classes: Sequence[Situation]) -> str:
    if not classes:
        return ""
    low, high = (f"{end(c.signal for c in classes):.2g}" for end in (min, max))
    return f", signal {low} (sd of the true logit)" if low == high else f", signals {low} to {high} (sd of true logits)"


def _rates(classes: Sequence[Situation], n_classes: int) -> list[str]:
    """A line on the rates of classes whose responses do not follow a logistic function without them."""
    if not classes:
        return []
    guess, lapse = _range([c.guess_rate for c in classes]), _range([c.lapse_rate for c in classes])
    follow = f"the responses{_of(classes, n_classes)} do not follow a logistic function without estimated rates"
    return [f"{follow}: guess {guess}, lapse {lapse}"]


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
    parts = [first_of(parts)] if parts else []
    if undetermined:
        parts.append(f"{first_of(undetermined)} {'is' if len(undetermined) == 1 else 'are'} not determined")
    if len(found.intervals) <= n_factors:
        parts.append("the other coefficients are what the trials that are left tell")
    return (
        f"{separate([name for name in found.intervals if name != 'bias'])} {_spaced(found.n_separated)} of "
        f"{_spaced(n_trials)} trials of {named(name, 'class')}: {'; '.join(parts)}"
    )


def _column(name: str) -> str:
    """The column of a class's responses, as a formula names it."""
    column = name.partition("=")[0]
    return "response" if column.isdigit() else column if column.isidentifier() else f"`{column}`"


def _of(classes: Sequence[Situation], n_classes: int) -> str:
    """` of a, b`, where there are several classes."""
    return f" of {first_of([named(c.name, 'class') for c in classes])}" if n_classes > 1 else ""


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
