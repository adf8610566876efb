"""What a change does, as a page for its pull request: `python -m comparisons.ci.report [BASE]`.

Writes report/report.md, also at the end of the file that $GITHUB_STEP_SUMMARY names, and
report/plots/index.html, DVC's page of figures and plots, old beside new. Exit status 0 once they are there;
2 if no comparison is possible.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

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
    """The parameters that changed. (With `--targets params.yaml` DVC would miss a study's.)"""
    changes = json.loads(output(*DVC, "params", "diff", "--json", base)).get("params.yaml", {})
    lines = [[name, gate.shown(each["old"]), gate.shown(each["new"])] for name, each in sorted(changes.items())]
    return markdown(["parameter", "old", "new"], lines) if lines else "None changed."


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace the report, once all of it is known."""
    base = base_of_arguments("ci.report", __doc__, arguments)
    page = f"""\
# What this change does

Compared with {described(base)}. The figures are in plots/index.html of this report's folder, which is stored
with the run: old beside new, where DVC's cache holds the old ones.

## Metrics

{metrics(base)}

## Parameters

{parameters(base)}
"""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    output(*DVC, "plots", "diff", base[:10], "--out", str(FOLDER / "plots"))
    (FOLDER / "report.md").write_text(page, encoding="utf-8")
    if of_the_run := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(of_the_run).open("a", encoding="utf-8") as file:
            file.write(page)
    print(f"{FOLDER / 'report.md'} and {FOLDER / 'plots' / 'index.html'} show what changed.")
    return 0


if __name__ == "__main__":
    finish(main)
