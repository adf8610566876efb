"""Is a change good for the metrics? `python -m comparisons.ci.gate [BASE]`, exit status 0 if so.

Compares the workspace's data/metrics.json, which git tracks, with that of the merge base of BASE and HEAD, by the rules
in rules.yaml. (`dvc metrics diff` does not decide: it exits 0 whatever happened to a metric, and leaves out null.)
Exit status 1: a metric is worse than its rule allows, is missing, or is not a number. 2: it could not be compared.
"""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comparisons.ci.base import Base, base_of_arguments
from comparisons.ci.rules import Rule, Rules, is_number, read_rules, rule_of, rules_file
from comparisons.commands import finish
from comparisons.tables import flatten, markdown
from stages.current import check_parameters
from stages.files.errors import InputError

METRICS = Path("data/metrics.json")
ROUNDING = 1e-12  # of a difference, relative to its terms; metrics have 6 digits


class Verdict(enum.Enum):
    """What happened to a metric."""

    WORSE = "worse than allowed"
    MISSING = "missing"
    NO_NUMBER = "no number"
    TOLERATED = "worse within tolerance"
    BETTER = "better"
    AS_GOOD = "as good"
    CHANGED = "changed"  # and neither direction is better
    NEW = "new"
    GONE = "gone"
    NO_RULE = "no rule"
    UNCHANGED = "unchanged"

    @property
    def fails(self) -> bool:
        return self in (Verdict.WORSE, Verdict.MISSING, Verdict.NO_NUMBER)


@dataclass(frozen=True)
class Comparison:
    """A metric at the base and in the workspace; None if it is null or missing."""

    metric: str
    old: object
    new: object
    rule: Rule | None
    verdict: Verdict

    def cells(self) -> list[str]:
        """For the table: metric, old, new, change, allowed, verdict."""
        change = allowed = "-"
        if is_number(self.old) and is_number(self.new):
            difference = float(self.new) - float(self.old)
            change = f"{'↑' if difference > 0 else '↓' if difference < 0 else '='} {difference:+.3g}"
        if is_number(self.old) and self.rule is not None and self.rule.better != "neither":
            allowed = f"{'-' if self.rule.better == 'higher' else '+'}{self.rule.allowed(float(self.old)):.3g}"
            allowed += f" off {self.rule.target:g}" if self.rule.target is not None else ""
        verdict = f"**{self.verdict.value}**" if self.verdict.fails else self.verdict.value
        return [self.metric, shown(self.old), shown(self.new), change, allowed, verdict]


def shown(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def compare(rules: Rules, now: Mapping[str, object], before: Mapping[str, object]) -> list[Comparison]:
    """All metrics of the workspace and of the base, by name; the failed ones first. An empty `now`: all are missing."""
    found = []
    for metric in sorted({*now, *before}):
        rule, old, new = rule_of(metric, rules), before.get(metric), now.get(metric)
        absent = Verdict.MISSING if not now or (rule and rule.required) else Verdict.GONE
        found.append(Comparison(metric, old, new, rule, judge(rule, old, new) if metric in now else absent))
    return sorted(found, key=lambda comparison: not comparison.verdict.fails)


def judge(rule: Rule | None, old: object, new: object) -> Verdict:
    """What happened to a metric that is there."""
    if rule is None:
        return Verdict.NO_RULE if is_number(new) else Verdict.NO_NUMBER
    if rule.better == "neither":
        if not (is_number(new) or isinstance(new, bool | str) or (new is None and not rule.required)):
            return Verdict.NO_NUMBER  # NaN informs nobody
        return Verdict.UNCHANGED if old == new else Verdict.NEW if old is None else Verdict.CHANGED
    if not is_number(new):
        return Verdict.NO_NUMBER
    if not is_number(old):
        return Verdict.NEW
    if old == new:
        return Verdict.UNCHANGED
    worse, rounding = rule.badness(float(new)) - rule.badness(float(old)), ROUNDING * abs(old)
    if worse <= rounding:
        return Verdict.BETTER if worse < -rounding else Verdict.AS_GOOD
    # Not `worse > allowed`: between values near the largest float it may be a NaN, which is not good either.
    return Verdict.TOLERATED if worse <= rule.allowed(float(old)) + rounding else Verdict.WORSE


def measure(against: Base) -> list[Comparison]:
    """Compare the workspace's metrics with those of a commit.

    Raises InputError if that is impossible, or if the workspace's metrics are not from its parameters.
    """
    check_parameters()
    now = METRICS.read_bytes() if METRICS.exists() else None
    before = metrics(against.file(str(METRICS)), f"{METRICS} at {against}")
    return compare(read_rules(rules_file()), metrics(now, str(METRICS)), before)


def metrics(text: bytes | None, where: str) -> dict[str, object]:
    """The metrics in a file's text by name, empty if there is no file. Raises InputError, naming its origin."""
    try:
        return flatten(dict(json.loads("{}" if text is None else text)))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{where} does not hold metrics by name, as JSON: {error}") from None


def as_table(found: Sequence[Comparison]) -> str:
    """The metrics that changed, as Markdown; empty if none did."""
    lines = [comparison.cells() for comparison in found if comparison.verdict is not Verdict.UNCHANGED]
    return markdown(["metric", "old", "new", "change", "allowed", "verdict"], lines) if lines else ""


def summary(found: Sequence[Comparison]) -> str:
    """The number of metrics with each verdict, in one line."""
    counts = Counter(comparison.verdict for comparison in found)
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]) or "no metrics"


def main(arguments: Sequence[str] | None = None) -> int:
    against = base_of_arguments("ci.gate", __doc__, arguments)
    found = measure(against)
    print(f"Metrics against {against}: {summary(found)}.")
    if changed := as_table(found):
        print(f"\n{changed}\n")
    failed = [comparison.metric for comparison in found if comparison.verdict.fails]
    if failed:
        print(f"Not good: {', '.join(failed)}. If that is intended, change the rule in {rules_file()} and say why.")
    return 1 if failed else 0


if __name__ == "__main__":
    finish(main)
