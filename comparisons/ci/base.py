"""The revision that the workspace is compared with."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.commands import commit, enter, output, parser
from stages.files.errors import InputError

DEFAULTS = {  # the remote's default branch, which `git clone` sets; if HEAD is on it, or there is none, HEAD's parent
    "refs/remotes/origin/HEAD": "the merge base of origin's default branch and HEAD",
    "HEAD^": "HEAD's first parent",
}


@dataclass(frozen=True)
class Base:
    """A commit, and the reason for choosing it."""

    commit: str
    reason: str

    def __str__(self) -> str:
        return f"{self.commit[:10]} ({self.reason})"

    def file(self, path: str) -> bytes | None:
        """The file at `path` in this commit, relative to the current folder, or None if there is none."""
        found = subprocess.run(["git", "cat-file", "blob", f"{self.commit}:./{path}"], capture_output=True, check=False)
        return found.stdout if found.returncode == 0 else None


def base(revision: str | None) -> Base:
    """The merge base of HEAD and a revision; if none is given, the first of DEFAULTS that is not HEAD itself.

    Raises InputError for a shallow clone, an unknown revision, or one without common history.
    """
    if output("git", "rev-parse", "--is-shallow-repository").strip() == "true":
        raise InputError("this clone is shallow, so the revision to compare with may be cut off: git fetch --unshallow")
    if revision is not None and commit(revision) is None:
        raise InputError(f"BASE = {revision!r} is no commit here; a branch, tag or commit would be: git fetch it")
    asked = DEFAULTS if revision is None else {revision: f"the merge base of {revision} and HEAD"}
    for name, reason in asked.items():
        if commit(name) is None:
            continue
        found = subprocess.run(["git", "merge-base", name, "HEAD"], capture_output=True, text=True, check=False)
        if found.returncode != 0:
            raise InputError(f"{name} and HEAD have no common history, so there is nothing to compare with")
        if revision is not None or found.stdout.strip() != commit("HEAD"):
            return Base(found.stdout.strip(), reason)
    raise InputError("HEAD has no parent to compare with; name a revision: make ci BASE=...")


def base_of_arguments(module: str, description: str | None, arguments: Sequence[str] | None) -> Base:
    """Go to the folder given in the arguments, and return the base given there."""
    options = parser(module, description)
    options.add_argument("base", nargs="?", help="branch, tag or commit to compare with (default: origin's default)")
    parsed = options.parse_args(arguments)
    enter(parsed.folder)
    return base(parsed.base)
