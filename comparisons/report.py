"""What a change does, as a page for its pull request: `python -m comparisons.report [BASE]`.

Writes `report/report.md` with the figures it shows, old beside new. Where $GITHUB_STEP_SUMMARY names a file the page is
appended to it, with the figures by name: a summary cannot show files, so CI keeps the folder beside it.
Exit status 0 once it is written, whatever it says; 2 if the base cannot be compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparisons import gate, lock, rules
from comparisons.base import Base, base
from comparisons.commands import DVC, finish, output
from comparisons.figures import NOT_AT_HAND, Figure, changed
from comparisons.markdown import table

FOLDER = Path("report")
PAGE = FOLDER / "report.md"


def parameters(against: Base) -> str:
    """The parameters that changed."""
    files: dict[str, dict[str, Any]] = json.loads(output(*DVC, "params", "diff", "--json", against.commit))
    lines = [
        [name, gate.shown(values["old"]), gate.shown(values["new"])]
        for changes in files.values()
        for name, values in sorted(changes.items())
    ]
    return table(["parameter", "old", "new"], lines) if lines else "None changed."


def metrics(found: Sequence[gate.Comparison], rules_changed: bool) -> str:
    """The verdict of the gate, and the table of what changed."""
    verdict = "fails" if any(c.verdict.fails for c in found) else "passes"
    said = [f"The gate {verdict}: {gate.summary(found)}.", gate.as_table(found)]
    said.append("The rules changed too." * rules_changed)
    return "\n\n".join(filter(None, said))


def stages(against: Base) -> str:
    """The stages that ran since, by the locks, each with what made it run."""
    before = lock.stages(against.file("dvc.lock") or b"stages: {}", f"dvc.lock at {against}")
    after = lock.stages(Path("dvc.lock").read_bytes(), "dvc.lock")
    lines = [[name, reason] for name, stage in after.items() if (reason := cause(before.get(name), stage))]
    lines += [[name, "it is no longer a stage"] for name in before if name not in after]
    return table(["stage", "because of"], lines) if lines else "None."


def cause(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """What differs in a stage's command, parameters and inputs, or nothing."""
    if before is None:
        return "it is new"
    old, new = inputs(before), inputs(after)
    return ", ".join(name for name in {**new, **old} if old.get(name) != new.get(name))


def inputs(stage: Mapping[str, Any]) -> dict[str, object]:
    """Everything that decides whether a stage runs, by name."""
    named = {name: value for params in stage.get("params", {}).values() for name, value in gate.flatten(params)}
    return {"its command": stage.get("cmd"), **named, **{file["path"]: file["md5"] for file in stage.get("deps", ())}}


def figures(drawn: Sequence[Figure], shown: bool) -> str:
    """The figures that changed: pictures, by their paths in the report's folder, or only these paths."""
    if not drawn:
        return "None changed."

    def cell(figure: Figure, side: str, picture: bytes | str) -> str:
        if isinstance(picture, str):
            return picture
        return f"![{side} {figure.path.stem}]({side}/{figure.path})" if shown else f"{side}/{figure.path}"

    said = [] if shown else ["They are in the folder of this report, which is kept with the run."]
    if any(figure.old == NOT_AT_HAND for figure in drawn):
        said.append("DVC's cache here lacks the old figures: beside the new ones are those that docs/ keeps copies of.")
    lines = [[str(figure.path), *(cell(figure, *side) for side in figure.sides())] for figure in drawn]
    return " ".join(said) + "\n\n" * bool(said) + table(["figure", "old", "new"], lines)


def page(parts: Mapping[str, str], against: Base) -> str:
    chapters = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())
    return f"# What this change does\n\nCompared with {against}.\n\n{chapters}\n"


def write(against: Base) -> None:
    """Replace the report, once all of it is known."""
    found, drawn = gate.measure(against), changed(against)
    parts = {
        "Metrics": metrics(found, against.file(str(rules.FILE)) != rules.FILE.read_bytes()),
        "Parameters": parameters(against),
        "Stages that ran": stages(against),
    }
    shutil.rmtree(FOLDER, ignore_errors=True)
    for figure in drawn:
        for side, picture in figure.sides():
            if isinstance(picture, bytes):
                path = FOLDER / side / figure.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture)
    FOLDER.mkdir(exist_ok=True)
    PAGE.write_text(page({**parts, "Figures": figures(drawn, shown=True)}, against), encoding="utf-8")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(page({**parts, "Figures": figures(drawn, shown=False)}, against))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m comparisons.report", description=__doc__)
    parser.add_argument("base", nargs="?", help="branch, tag or commit to compare with (default: origin's default)")
    write(base(parser.parse_args(arguments).base))
    print(f"{PAGE} says what changed.")
    return 0


if __name__ == "__main__":
    finish(main)
