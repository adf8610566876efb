"""What a change does, as a page for its pull request: `make report`, or `python -m comparisons.ci.report [BASE]`.

Writes report/report.md, also at the end of the file that $GITHUB_STEP_SUMMARY names, and
report/plots/index.html, DVC's page of figures and plots, old beside new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from comparisons.ci.gate import measure, rules_file, verdict
from comparisons.git import DVC, base_of_arguments, described, file_at, output
from stages.files.errors import run

FOLDER = Path("report")


def main(arguments: Sequence[str] | None = None) -> None:
    """Replace the report, once all of it is known."""
    base, rules = base_of_arguments(__doc__, arguments), rules_file()
    rules_changed = file_at(base, str(rules)) != rules.read_text(encoding="utf-8")
    page = f"""\
# What this change does

Compared with {described(base)}. The figures are in plots/index.html of this report's folder, which is stored
with the run: old beside new, where DVC's cache holds the old ones.

## Metrics

{verdict(measure(base))[0]}{" The rules changed too." * rules_changed}

## Parameters

{output(*DVC, "params", "diff", "--md", base) or "None changed."}
"""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    output(*DVC, "plots", "diff", base[:10], "--out", str(FOLDER / "plots"))
    (FOLDER / "report.md").write_text(page, encoding="utf-8")
    if of_the_run := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(of_the_run).open("a", encoding="utf-8") as file:
            file.write(page)
    print(f"{FOLDER / 'report.md'} and {FOLDER / 'plots' / 'index.html'} show what changed.")


if __name__ == "__main__":
    run(main)
