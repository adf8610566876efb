"""Is a change good for the metrics? `python -m comparisons.gate [BASE]`, exit status 0 if so.

What `dvc metrics diff` finds between the merge base of BASE with HEAD and the workspace, held against `rules.yaml`.
Exit status 1: a metric is worse than its rule allows, is missing, or is no number. 2: it could not be compared.
"""

from __future__ import annotations

import argparse
import enum
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons import rules
from comparisons.base import Base, base
from comparisons.commands import DVC, attempt, finish
from comparisons.markdown import table
from comparisons.rules import Rule, Rules, is_number
from stages.errors import InputError

METRICS = Path("data/metrics.json")
ROUNDING = 1e-12  # of a difference, relative to its terms; metrics have 6 digits


class Verdict(enum.Enum):
    """What became of a metric."""

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
    """A metric at the base and in the workspace. DVC cannot tell an old null from none, so None is either."""

    metric: str
    old: object
    new: object
    rule: Rule | None
    verdict: Verdict


def compare(known: Rules, now: Mapping[str, object], changes: Mapping[str, Any]) -> list[Comparison]:
    """All metrics, the failed ones first.

    `now` holds the workspace's metrics by name, `changes` what DVC says of those that differ: {name: {"old": value}}.
    """

    def one(metric: str) -> Comparison:
        rule = known.of(metric)
        old = changes[metric]["old"] if metric in changes else now.get(metric)
        if metric in now:
            return Comparison(metric, old, now[metric], rule, judge(rule, old, now[metric]))
        return Comparison(metric, old, None, rule, Verdict.MISSING if rule and rule.required else Verdict.GONE)

    found = [one(metric) for metric in sorted({*now, *changes, *known.required()})]
    return sorted(found, key=lambda comparison: not comparison.verdict.fails)


def judge(rule: Rule | None, old: object, new: object) -> Verdict:
    """What became of a metric that is there."""
    if rule is None:
        return Verdict.NO_RULE if is_number(new) else Verdict.NO_NUMBER
    if rule.better == "neither":
        if not (is_number(new) or isinstance(new, bool | str) or (new is None and not rule.required)):
            return Verdict.NO_NUMBER  # NaN is no news for anyone
        if old is None and new is not None:
            return Verdict.NEW
        return Verdict.UNCHANGED if old == new else Verdict.CHANGED
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
    """Compare the workspace's metrics with those of a commit; raises InputError if that cannot be done."""
    known, now = rules.read(), read()
    result = attempt(*DVC, "metrics", "diff", "--json", against.commit, "--targets", str(METRICS))
    unread = "failed to load" in result.stderr and against.commit[:7] in result.stderr  # its exit status says nothing
    if unread and against.file(str(METRICS)) is not None:
        raise InputError(f"{METRICS} cannot be read at {against}")
    return compare(known, now, json.loads(result.stdout).get(str(METRICS), {}))


def read(path: Path = METRICS) -> dict[str, object]:
    """The workspace's metrics by name: DVC says of none whether it is null, not there, or in a file it cannot read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} must hold metrics by name, but it is a {type(document).__name__}")
    return dict(flatten(document))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested mappings, each under its path: {"a": {"b": 1}} gives ("a.b", 1)."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def as_table(found: Sequence[Comparison]) -> str:
    """Those that are not unchanged, as Markdown."""
    lines = [
        [c.metric, shown(c.old), shown(c.new), change(c), allowance(c), words(c.verdict)]
        for c in found
        if c.verdict is not Verdict.UNCHANGED
    ]
    return table(["metric", "old", "new", "change", "allowed", "verdict"], lines) if lines else ""


def words(verdict: Verdict) -> str:
    return f"**{verdict.value}**" if verdict.fails else verdict.value


def shown(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def change(c: Comparison) -> str:
    if not (is_number(c.old) and is_number(c.new)):
        return "-"
    difference = float(c.new) - float(c.old)
    return f"{'↑' if difference > 0 else '↓' if difference < 0 else '='} {difference:+.3g}"


def allowance(c: Comparison) -> str:
    if c.rule is None or c.rule.better == "neither" or not is_number(c.old):
        return "-"
    allowed = f"{c.rule.allowed(float(c.old)):.3g}"
    return {"lower": f"+{allowed}", "higher": f"-{allowed}"}.get(c.rule.better, f"+{allowed} off {c.rule.target:g}")


def summary(found: Sequence[Comparison]) -> str:
    """How many of what, in one line."""
    counts = {verdict: sum(c.verdict is verdict for c in found) for verdict in Verdict}
    return ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count) or "no metrics"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m comparisons.gate", description=__doc__)
    parser.add_argument("base", nargs="?", help="branch, tag or commit to compare with (default: origin's default)")
    against = base(parser.parse_args(arguments).base)
    found = measure(against)
    print(f"Metrics against {against}: {summary(found)}.")
    if changed := as_table(found):
        print(f"\n{changed}\n")
    failed = [c.metric for c in found if c.verdict.fails]
    if failed:
        print(f"Not good: {', '.join(failed)}. If that is meant, change the rule in {rules.FILE}, and say there why.")
    return 1 if failed else 0


if __name__ == "__main__":
    finish(main)
