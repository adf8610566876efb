"""The figures that changed, old beside new.

Pictures in docs/ are tracked by git, so their old versions are always available. Those in data/figures are DVC's: the
old ones are available only if its cache holds them, which that of a fresh clone does not; docs/ may then have a copy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from comparisons.ci.base import Base
from comparisons.commands import DVC, output
from stages.files.errors import InputError

DOCS, FIGURES = Path("docs"), Path("data/figures")
NOT_THERE, NOT_AT_HAND = "not there", "not at hand"


def changed(against: Base) -> dict[str, dict[str, bytes | str]]:
    """The figures, and the other pictures in docs/, that differ from those of a commit.

    By name, each as {"old": ..., "new": ...}: the picture, or the reason why it is missing.
    """
    drawn = figures_at(against)
    old, new = pictures_at(against) | (drawn or {}), contents(DOCS) | contents(FIGURES)
    absent = NOT_AT_HAND if drawn is None else NOT_THERE
    return {
        name: {"old": old.get(name, absent), "new": new.get(name, NOT_THERE)}
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def contents(folder: Path) -> dict[str, bytes]:
    """The pictures in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def pictures_at(against: Base) -> dict[str, bytes]:
    """The pictures in docs/ at a commit."""
    listed = output("git", "ls-tree", "--name-only", "-z", against.commit, f"{DOCS}/").split("\0")
    return {Path(name).name: against.file(name) or b"" for name in listed if name.endswith(".png")}


def figures_at(against: Base) -> dict[str, bytes] | None:
    """DVC's figures at a commit, or None if they are not in its cache here."""
    ours = output("git", "rev-parse", "--show-prefix").strip() + str(FIGURES)  # DVC wants a path from git's root
    with tempfile.TemporaryDirectory() as folder:
        got = Path(folder) / FIGURES.name
        try:
            output(*DVC, "get", ".", ours, "--rev", against.commit, "--out", str(got))
        except InputError:
            return None
        return contents(got)
