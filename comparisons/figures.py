"""The figures that changed, old beside new.

Pictures in docs/ are tracked by git, so their old selves are always at hand. Those in data/figures are DVC's: the old
ones are there only where its cache holds them, which a fresh clone's does not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from comparisons import lock
from comparisons.base import Base
from comparisons.commands import DVC, output
from stages.errors import InputError

FIGURES = Path("data/figures")
COPIES = {Path(f"docs/{name}.png"): FIGURES / f"{name}.png" for name in lock.PICTURES}
NOT_THERE, NOT_AT_HAND = "not there", "not at hand"


@dataclass(frozen=True)
class Figure:
    """A picture as it was and as it is; where it is not, in words, why."""

    path: Path
    old: bytes | str
    new: bytes | str

    def sides(self) -> Iterable[tuple[str, bytes | str]]:
        return (("old", self.old), ("new", self.new))


def changed(against: Base) -> list[Figure]:
    """The figures, and the pictures in docs/ that are no copies of them, that differ from those of a commit."""
    pictures, old_pictures = contents(Path("docs")), pictures_at(against)
    figures, old_figures = contents(FIGURES), figures_at(against)
    absent = NOT_THERE if old_figures is not None else NOT_AT_HAND
    if old_figures is None:  # then their copies in docs/ are what there is
        old_figures = {COPIES[path]: data for path, data in old_pictures.items() if path in COPIES}
    new = figures | {path: data for path, data in pictures.items() if path not in COPIES}
    old = old_figures | {path: data for path, data in old_pictures.items() if path not in COPIES}
    return [
        Figure(path, old.get(path, absent if path.is_relative_to(FIGURES) else NOT_THERE), new.get(path, NOT_THERE))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def contents(folder: Path, name: Path | None = None) -> dict[Path, bytes]:
    """The pictures in a folder, as if it were called `name`."""
    return {(name or folder) / path.name: path.read_bytes() for path in folder.glob("*.png")}


def pictures_at(against: Base) -> dict[Path, bytes]:
    """The pictures in docs/ at a commit."""
    listed = output("git", "ls-tree", "--name-only", "-z", against.commit, "docs/")
    paths = [Path(name) for name in listed.split("\0") if name.endswith(".png")]
    return {path: against.file(str(path)) or b"" for path in paths}


def figures_at(against: Base) -> dict[Path, bytes] | None:
    """DVC's figures at a commit, or None if they are not in its cache here."""
    then = recorded(against.file("dvc.lock") or b"stages: {}", f"dvc.lock at {against}")
    now = recorded(Path("dvc.lock").read_bytes(), "dvc.lock")
    if then is None:
        return {}
    if then == now:
        return contents(FIGURES)
    with tempfile.TemporaryDirectory() as folder:
        got = Path(folder) / FIGURES.name
        try:
            output(*DVC, "get", ".", str(FIGURES), "--rev", against.commit, "--out", str(got))
        except InputError:
            return None
        return contents(got, FIGURES)


def recorded(text: bytes, where: str) -> str | None:
    """The hash of data/figures in a lock."""
    outs = [out for stage in lock.stages(text, where).values() for out in stage.get("outs", ())]
    return next((out["md5"] for out in outs if out["path"] == str(FIGURES)), None)
