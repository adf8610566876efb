"""The commit that the workspace is compared with."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from comparisons.commands import commit, enter, output, parser
from stages.files.errors import InputError


def base(revision: str | None) -> str:
    """The merge base of HEAD and a revision; without one, of HEAD and origin's branch, or else HEAD's parent.

    Raises InputError for a shallow clone, an unknown revision, or one without common history.
    """
    if output("git", "rev-parse", "--is-shallow-repository") == "true":
        raise InputError("this clone is shallow, so the base may be cut off: git fetch --unshallow")
    if revision is not None and commit(revision) is None:
        raise InputError(f"BASE = {revision!r} is not a branch, tag or commit here: git fetch it")
    for name in ("refs/remotes/origin/HEAD", "HEAD^") if revision is None else (revision,):
        if commit(name):
            command = ["git", "merge-base", name, "HEAD"]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.returncode != 0:
                raise InputError(f"{name} and HEAD have no common history; name another base: make ci BASE=...")
            if revision is not None or found.stdout.strip() != commit("HEAD"):
                return found.stdout.strip()
    raise InputError("HEAD has no parent to compare with; name a revision: make ci BASE=...")


def described(sha: str) -> str:
    """A commit for a person: its short hash and its subject."""
    return output("git", "show", "--no-patch", "--format=%h (%s)", sha)


def file_at(sha: str, path: str) -> bytes | None:
    """The file at `path` in a commit, relative to the current folder, or None if there is none."""
    found = subprocess.run(["git", "cat-file", "blob", f"{sha}:./{path}"], capture_output=True, check=False)
    return found.stdout if found.returncode == 0 else None


def base_of_arguments(module: str, description: str | None, arguments: Sequence[str] | None) -> str:
    """Go to the folder given in the arguments, and return the base given there."""
    options = parser(module, description)
    options.add_argument("base", nargs="?", help="what to compare with (default: origin's branch)")
    parsed = options.parse_args(arguments)
    enter(parsed.folder)
    return base(parsed.base)
