"""What a change does, as a page for its pull request: `python -m comparisons.ci.report [BASE]`.

Writes report/report.md, also at the end of the file that $GITHUB_STEP_SUMMARY names, and report/plots/index.html,
DVC's page of figures and plots, old beside new. Exit status 0 once they are there; 2 if no comparison is possible.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.flatten import flatten

from comparisons.ci import gate
from comparisons.ci.base import base_of_arguments, described, file_at
from comparisons.commands import DVC, finish, output
from comparisons.tables import markdown

FOLDER = Path("report")


def metrics(base: str) -> str:
    """The verdict of the gate, and the table of what changed."""
    compared, rules = gate.measure(base), gate.rules_file()
    verdict = "fails" if any(comparison.verdict in gate.FAILURES for comparison in compared) else "passes"
    rules_changed = file_at(base, str(rules)) != rules.read_bytes()
    parts = [f"The gate {verdict}: {gate.summary(compared)}.", gate.as_table(compared)]
    return "\n\n".join(filter(None, [*parts, "The rules changed too." * rules_changed]))


def parameters(base: str) -> str:
    """The parameters that changed."""
    changes = json.loads(output(*DVC, "params", "diff", "--json", base)).get("params.yaml", {})
    lines = [[name, gate.shown(values["old"]), gate.shown(values["new"])] for name, values in sorted(changes.items())]
    return markdown(["parameter", "old", "new"], lines) if lines else "None changed."


def stages(base: str) -> str:
    """The stages that ran since the base, according to the locks, each with what changed."""
    before, after = inputs(file_at(base, "dvc.lock")), inputs(Path("dvc.lock").read_bytes())
    lines = []
    for name, new in after.items():
        old = before.get(name, {})
        if changed := [key for key in {**new, **old} if old.get(key) != new.get(key)]:
            lines.append([name, ", ".join(changed) if old else "it is new"])
    lines += [[name, "it is no longer a stage"] for name in before if name not in after]
    return markdown(["stage", "because of"], lines) if lines else "None."


def inputs(lock: bytes | None) -> dict[str, dict[str, Any]]:
    """Everything that determines whether a stage runs, by stage and name."""
    found = {}
    for name, stage in yaml.safe_load(lock or b"stages: {}")["stages"].items():
        params = flatten(stage.get("params", {}).get("params.yaml", {}))
        files = {file["path"]: file["md5"] for file in stage.get("deps", [])}
        found[name] = {"its command": stage["cmd"], **params, **files}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace the report, once all of it is known."""
    base = base_of_arguments("ci.report", __doc__, arguments)
    page = f"""\
# What this change does

Compared with {described(base)}. The figures are in plots/index.html of this report's folder, which is stored with the
run: old beside new, where DVC's cache holds the old ones.

## Metrics

{metrics(base)}

## Parameters

{parameters(base)}

## Stages that ran

{stages(base)}
"""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    output(*DVC, "plots", "diff", base, "--out", str(FOLDER / "plots"))
    (FOLDER / "report.md").write_text(page, encoding="utf-8")
    if of_the_run := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(of_the_run).open("a", encoding="utf-8") as file:
            file.write(page)
    print(f"{FOLDER / 'report.md'} and {FOLDER / 'plots' / 'index.html'} show what changed.")
    return 0


if __name__ == "__main__":
    finish(main)
