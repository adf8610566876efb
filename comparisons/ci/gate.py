"""Is a change good for the metrics? `make gate`, or `python -m comparisons.ci.gate [BASE]` in its folder.

Compares data/metrics.json (of several observers: means) with that of the merge base of BASE and HEAD, by the
folder's rules.yaml or else by the one beside this file. (`dvc metrics diff` does not decide: it exits 0
whatever happened to a metric, and leaves out null.) Exit status 1: a metric is worse than its rule allows,
missing, or not a number; or they cannot be compared.

With --report (`make report`) it writes what changed to report/report.md, and DVC's page of figures and plots,
old beside new, to report/plots/index.html.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeGuard

import pandas as pd
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeFloat, model_validator

from comparisons.git import DVC, base, outcome, output
from stages.files.documents import read_yaml, validate
from stages.files.errors import InputError, run
from stages.files.parameters import check_parameters

REPORT = Path("report")
FAILURES = ("worse than allowed", "missing", "not a number")


class Rule(BaseModel):
    """What is good for a metric: lower or higher values, those near a target, or neither: information only.

    It may become worse by the larger of `absolute`, in its unit, and `relative` times the old value's size.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    better: Literal["lower", "higher", "neither"] | None = None
    target: FiniteFloat | None = None
    absolute: NonNegativeFloat = 0.0
    relative: NonNegativeFloat = 0.0
    required: bool = False  # whether it fails if the metric disappears

    @model_validator(mode="after")
    def _has_one_goal(self) -> Rule:
        if (self.better is None) == (self.target is None):
            raise ValueError("must have either better: lower | higher | neither, or target: a number")
        return self

    def badness(self, value: float) -> float:
        """How bad a value is, in the metric's unit; only differences have a meaning."""
        if self.target is not None:
            return abs(value - self.target)
        return value if self.better == "lower" else -value

    def allowed(self, old: float) -> float:
        """How much the badness may grow."""
        return max(self.absolute, self.relative * abs(old))


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def read_rules() -> tuple[Path, dict[str, Rule]]:
    """The rules of the current folder, or else those of this project's own metrics. Raises InputError."""
    path = Path("rules.yaml")
    if not path.exists():
        path = Path(os.path.relpath(Path(__file__).with_name("rules.yaml")))
    return path, {name: validate(Rule, body, f"{path}: {name}") for name, body in read_yaml(path).items()}


def rule_of(metric: str, rules: Mapping[str, Rule]) -> Rule:
    """The first rule whose name, which may be a pattern such as `theory.*`, fits; else it only informs."""
    fitting = (rule for pattern, rule in rules.items() if fnmatchcase(metric, pattern))
    return next(fitting, Rule(better="neither"))


def judge(rule: Rule, old: object, new: object) -> str:
    """What happened to a metric that is there: the verdict."""
    if rule.better == "neither":
        return "unchanged" if old == new else "changed"
    if not is_number(new):
        return "not a number"
    if not is_number(old):
        return "new"
    if old == new:
        return "unchanged"
    worse = rule.badness(new) - rule.badness(old)
    if worse <= 0:
        return "better"
    return "worse within tolerance" if worse <= rule.allowed(old) else "worse than allowed"


def compare(rules: Mapping[str, Rule], now: Mapping[str, object], before: Mapping[str, object]) -> pd.DataFrame:
    """All metrics of the workspace and of the base, failed ones first."""
    lines = []
    for metric in sorted({*now, *before}):
        rule, old, new = rule_of(metric, rules), before.get(metric), now.get(metric)
        change = allowed = "-"
        if is_number(old):
            change = f"{new - old:+.3g}" if is_number(new) else "-"
        if is_number(old) and rule.better != "neither":
            off = "" if rule.target is None else f" off {rule.target:g}"
            allowed = f"{'-' if rule.better == 'higher' else '+'}{rule.allowed(old):.3g}{off}"
        gone = "missing" if rule.required else "gone"
        verdict = judge(rule, old, new) if metric in now else gone
        lines.append((metric, shown(old), shown(new), change, allowed, verdict))
    lines.sort(key=lambda line: line[-1] not in FAILURES)
    return pd.DataFrame(lines, columns=["metric", "old", "new", "change", "allowed", "verdict"])


def judgement(base: str) -> tuple[str, bool]:
    """Workspace against a commit, in Markdown: counts of verdicts, a table of changes; and whether all is good.

    Raises InputError if they cannot be compared, or if the workspace's metrics are not from its parameters.
    """
    check_parameters()
    now, (path, rules) = outcome(None).metrics, read_rules()
    if not now:
        raise InputError("data/metrics.json is missing: `dvc repro` makes it, in a pipeline's folder")
    table = compare(rules, now, outcome(base).metrics)
    failed = [*table["metric"][table["verdict"].isin(FAILURES)]]
    counts = ", ".join(f"{n} {each}" for each, n in table["verdict"].value_counts(sort=False).items())
    parts = [f"The gate {'fails' if failed else 'passes'}: {counts}."]
    changed = table[table["verdict"] != "unchanged"]
    if len(changed):
        parts.append(changed.to_markdown(index=False, disable_numparse=True))
    if failed:
        parts.append(f"Not good: {', '.join(failed)}. If that is intended, change {path} and say why.")
    return "\n\n".join(parts), not failed


def report(base: str) -> None:
    """Replace the report, once all of it is known."""
    parts = [
        f"# What this change does\n\nCompared with {output('git', 'show', '-s', '--format=%h (%s)', base)}.",
        "Figures, old beside new where DVC's cache holds the old ones: plots/index.html, kept with the run.",
        f"## Metrics\n\n{judgement(base)[0]}",
        f"## Rules\n\n{output('git', 'diff', '--shortstat', base, '--', str(read_rules()[0])) or 'None changed.'}",
        f"## Parameters\n\n{output(*DVC, 'params', 'diff', '--md', base) or 'None changed.'}",
    ]
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir()
    output(*DVC, "plots", "diff", base[:10], "--out", str(REPORT / "plots"))
    (REPORT / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"{REPORT / 'report.md'} and {REPORT / 'plots' / 'index.html'} show what changed.")


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("base", nargs="?", help="what to compare with (default: origin's branch)")
    options.add_argument("--report", action="store_true", help="write what changed, good or not")
    asked = options.parse_args(arguments)
    if asked.report:
        return report(base(asked.base))
    text, good = judgement(base(asked.base))
    print(text)
    sys.exit(not good)


if __name__ == "__main__":
    run(main)
