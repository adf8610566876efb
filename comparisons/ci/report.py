"""What a change does, as a page for its pull request: `python -m comparisons.ci.report [BASE]`.

Writes report/report.md with the figures it shows, old beside new; and report/summary.md with their names alone, for
where files cannot be shown: as a comment, and in the file that $GITHUB_STEP_SUMMARY names, to which it is appended.
Exit status 0 once it is written; 2 if a comparison with the base is impossible.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparisons.ci import gate, lock
from comparisons.ci.base import Base, base_of_arguments
from comparisons.ci.figures import NOT_AT_HAND, changed
from comparisons.ci.rules import rules_file
from comparisons.commands import DVC, finish, output
from comparisons.tables import flatten, markdown

FOLDER = Path("report")
PAGE = FOLDER / "report.md"


def parameters(against: Base) -> str:
    """The parameters that changed."""
    files = json.loads(output(*DVC, "params", "diff", "--json", against.commit))
    changes = sorted(files.get("params.yaml", {}).items())
    lines = [[name, gate.shown(values["old"]), gate.shown(values["new"])] for name, values in changes]
    return markdown(["parameter", "old", "new"], lines) if lines else "None changed."


def metrics(against: Base) -> str:
    """The verdict of the gate, and the table of what changed."""
    found, rules = gate.measure(against), rules_file()
    verdict = "fails" if any(comparison.verdict.fails for comparison in found) else "passes"
    rules_changed = against.file(str(rules)) != rules.read_bytes()
    parts = [
        f"The gate {verdict}: {gate.summary(found)}.",
        gate.as_table(found),
        "The rules changed too." * rules_changed,
    ]
    return "\n\n".join(filter(None, parts))


def stages(against: Base) -> str:
    """The stages that ran since the base, according to the locks, each with the cause."""
    before = lock.stages(against.file("dvc.lock") or b"stages: {}", f"dvc.lock at {against}")
    after = lock.stages(Path("dvc.lock").read_bytes(), "dvc.lock")
    lines = [[name, reason] for name, stage in after.items() if (reason := cause(before.get(name), stage))]
    lines += [[name, "it is no longer a stage"] for name in before if name not in after]
    return markdown(["stage", "because of"], lines) if lines else "None."


def cause(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """What differs in a stage's command, parameters and inputs; empty if nothing does."""
    if before is None:
        return "it is new"
    old, new = inputs(before), inputs(after)
    return ", ".join(name for name in {**new, **old} if old.get(name) != new.get(name))


def inputs(stage: Mapping[str, Any]) -> dict[str, object]:
    """Everything that determines whether a stage runs, by name."""
    params = flatten({key: value for file in stage.get("params", {}).values() for key, value in file.items()})
    return {"its command": stage.get("cmd"), **params, **{file["path"]: file["md5"] for file in stage.get("deps", ())}}


def figures(drawn: Mapping[str, Mapping[str, bytes | str]], pictures: bool) -> str:
    """The figures that changed: pictures, by their paths in the report's folder, or only these paths."""
    if not drawn:
        return "None changed."
    notes = [] if pictures else ["They are in the folder of this report, which is stored with the run."]
    if any(sides["old"] == NOT_AT_HAND for sides in drawn.values()):
        notes.append("DVC's cache here lacks the old figures: beside the new ones are those that docs/ has copies of.")
    lines = []
    for name, sides in drawn.items():
        paths = {
            side: f"![{side} {Path(name).stem}]({side}/{name})" if pictures else f"{side}/{name}" for side in sides
        }
        lines.append([name, *(it if isinstance(it, str) else paths[side] for side, it in sides.items())])
    return "\n\n".join(filter(None, [" ".join(notes), markdown(["figure", "old", "new"], lines)]))


def page(parts: Mapping[str, str], against: Base) -> str:
    chapters = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())
    return f"# What this change does\n\nCompared with {against}.\n\n{chapters}\n"


def write(against: Base) -> None:
    """Replace the report, once all of it is known."""
    drawn = changed(against)
    parts = {"Metrics": metrics(against), "Parameters": parameters(against), "Stages that ran": stages(against)}
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, sides in drawn.items():
        for side, picture in sides.items():
            (FOLDER / side).mkdir(parents=True, exist_ok=True)
            if isinstance(picture, bytes):
                (FOLDER / side / name).write_bytes(picture)
    FOLDER.mkdir(exist_ok=True)
    PAGE.write_text(page({**parts, "Figures": figures(drawn, pictures=True)}, against), encoding="utf-8")
    summary = page({**parts, "Figures": figures(drawn, pictures=False)}, against)
    (FOLDER / "summary.md").write_text(summary, encoding="utf-8")
    if of_the_run := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(of_the_run).open("a", encoding="utf-8") as file:
            file.write(summary)


def main(arguments: Sequence[str] | None = None) -> int:
    write(base_of_arguments("ci.report", __doc__, arguments))
    print(f"{PAGE} lists what changed.")
    return 0


if __name__ == "__main__":
    finish(main)
