"""Is a change good for the metrics? `python -m comparisons.ci.gate [BASE]`, exit status 0 if so.

Compares the workspace's data/metrics.json with that of the merge base of BASE and HEAD, by rules.yaml.
(`dvc metrics diff` does not decide: it exits 0 whatever happened to a metric, and leaves out null.)
Exit status 1: a metric is worse than its rule allows, missing, or not a number. 2: it could not be compared.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeGuard

from dvc.utils.flatten import flatten
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from comparisons.ci.base import base_of_arguments, described, file_at
from comparisons.commands import finish
from comparisons.tables import markdown
from stages.current import check_parameters
from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError

METRICS = Path("data/metrics.json")
ROUNDING = 1e-12  # of a difference, relative to its terms; metrics have 6 digits
FAILURES = ("worse than allowed", "missing", "not a number")
VERDICTS = (*FAILURES, "worse within tolerance", "better", "changed", "new", "gone", "no rule", "unchanged")

Tolerance = Annotated[FiniteFloat, Field(ge=0)]


class Rule(BaseModel):
    """What is good for a metric: lower or higher values, those near a target, or neither: information only.

    It may become worse by the larger of `absolute`, in its unit, and `relative` times the old value's size.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    better: Literal["lower", "higher", "neither"] | None = None
    target: FiniteFloat | None = None
    absolute: Tolerance = 0.0
    relative: Tolerance = 0.0
    required: bool = False

    @model_validator(mode="after")
    def _has_one_goal(self) -> Rule:
        if (self.better is None) == (self.target is None):
            raise ValueError("must have either better: lower | higher | neither, or target: a number")
        if self.better == "neither" and (self.absolute or self.relative):
            raise ValueError("has a tolerance, but where neither direction is better none is worse")
        return self

    def badness(self, value: float) -> float:
        """How bad a value is, in the metric's unit; only differences have a meaning."""
        if self.target is not None:
            return abs(value - self.target)
        return value if self.better == "lower" else -value

    def allowed(self, old: float) -> float:
        """How much the badness may grow."""
        return max(self.absolute, self.relative * abs(old))


Rules = Mapping[str, Rule]  # by name; a name may be a pattern such as `theory.*`


class Comparison(NamedTuple):
    """A metric at the base and in the workspace; None if it is null or missing; and one of VERDICTS."""

    metric: str
    old: object
    new: object
    rule: Rule | None
    verdict: str

    def cells(self) -> list[str]:
        """For the table: metric, old, new, change, allowed, verdict."""
        change = allowed = "-"
        if is_number(self.old) and is_number(self.new):
            difference = float(self.new) - float(self.old)
            change = f"{'↑' if difference > 0 else '↓' if difference < 0 else '='} {difference:+.3g}"
        if is_number(self.old) and self.rule is not None and self.rule.better != "neither":
            sign = "-" if self.rule.better == "higher" else "+"
            allowed = f"{sign}{self.rule.allowed(float(self.old)):.3g}"
            allowed += f" off {self.rule.target:g}" if self.rule.target is not None else ""
        verdict = f"**{self.verdict}**" if self.verdict in FAILURES else self.verdict
        return [self.metric, shown(self.old), shown(self.new), change, allowed, verdict]


def shown(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def rules_file() -> Path:
    """The rules of the current folder, or else those of this project's own metrics."""
    own = Path("rules.yaml")
    return own if own.exists() else Path(os.path.relpath(Path(__file__).with_name("rules.yaml")))


def read_rules(path: Path) -> Rules:
    """The rules in a file; raises InputError naming the file, the metric, the key and what would be right."""
    rules = {name: validate(Rule, body, f"{path}: {name}") for name, body in read_yaml(path).items()}
    for name, rule in rules.items():
        if rule.required and set(name) & set("*?["):
            raise InputError(f"{path}: {name} is required, but only a metric named in full can be")
    return rules


def rule_of(metric: str, rules: Rules) -> Rule | None:
    """The first rule that fits a metric."""
    return next((rule for pattern, rule in rules.items() if fnmatchcase(metric, pattern)), None)


def compare(rules: Rules, now: Mapping[str, object], before: Mapping[str, object]) -> list[Comparison]:
    """All metrics of the workspace and of the base, the failed ones first. An empty `now`: all are missing."""
    compared = []
    for metric in sorted({*now, *before}):
        rule, old, new = rule_of(metric, rules), before.get(metric), now.get(metric)
        verdict = "missing" if not now or (rule and rule.required) else "gone"
        if metric in now:
            verdict = judge(rule, old, new)
        compared.append(Comparison(metric, old, new, rule, verdict))
    return sorted(compared, key=lambda comparison: comparison.verdict not in FAILURES)


def judge(rule: Rule | None, old: object, new: object) -> str:
    """What happened to a metric that is there."""
    if rule is None:
        return "no rule" if is_number(new) else "not a number"
    if rule.better == "neither":
        if not (is_number(new) or isinstance(new, bool | str) or (new is None and not rule.required)):
            return "not a number"  # NaN informs nobody
        return "unchanged" if old == new else "new" if old is None else "changed"
    if not is_number(new):
        return "not a number"
    if not is_number(old):
        return "new"
    if old == new:
        return "unchanged"
    worse, rounding = rule.badness(float(new)) - rule.badness(float(old)), ROUNDING * abs(old)
    if worse <= rounding:
        return "better" if worse < -rounding else "changed"
    # Not `worse > allowed`: between values near the largest float it may be a NaN, which is not good either.
    return "worse within tolerance" if worse <= rule.allowed(float(old)) + rounding else "worse than allowed"


def measure(base: str) -> list[Comparison]:
    """Compare the workspace's metrics with those of a commit.

    Raises InputError if that is impossible, or if the workspace's metrics are not from its parameters.
    """
    check_parameters()
    now = METRICS.read_bytes() if METRICS.exists() else None
    before = metrics(file_at(base, str(METRICS)), f"{METRICS} at {described(base)}")
    return compare(read_rules(rules_file()), metrics(now, str(METRICS)), before)


def metrics(text: bytes | None, where: str) -> dict[str, object]:
    """The metrics in a file's text by name, none if there is no file. Raises InputError, naming its origin."""
    try:
        return dict(flatten(dict(json.loads("{}" if text is None else text))))
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} does not hold metrics by name, as JSON: {error}") from None


def as_table(compared: Sequence[Comparison]) -> str:
    """The metrics that changed, as Markdown; empty if none did."""
    lines = [comparison.cells() for comparison in compared if comparison.verdict != "unchanged"]
    return markdown(["metric", "old", "new", "change", "allowed", "verdict"], lines) if lines else ""


def summary(compared: Sequence[Comparison]) -> str:
    """The number of metrics with each verdict, in one line."""
    counts = Counter(comparison.verdict for comparison in compared)
    return ", ".join(f"{counts[each]} {each}" for each in VERDICTS if counts[each]) or "no metrics"


def main(arguments: Sequence[str] | None = None) -> int:
    base = base_of_arguments("ci.gate", __doc__, arguments)
    compared = measure(base)
    print(f"Metrics against {described(base)}: {summary(compared)}.")
    if changed := as_table(compared):
        print(f"\n{changed}\n")
    failed = [comparison.metric for comparison in compared if comparison.verdict in FAILURES]
    if failed:
        print(f"Not good: {', '.join(failed)}. If that is intended, change {rules_file()} and say why.")
    return 1 if failed else 0


if __name__ == "__main__":
    finish(main)
