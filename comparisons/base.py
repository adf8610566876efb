"""The revision that the workspace is compared with."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from comparisons.commands import output
from stages.errors import InputError

REMOTE = "refs/remotes/origin/HEAD"  # the remote's default branch, which `git clone` sets


@dataclass(frozen=True)
class Base:
    """A commit, and in words why it is the one."""

    commit: str
    reason: str

    def __str__(self) -> str:
        return f"{self.commit[:10]} ({self.reason})"

    def file(self, path: str) -> bytes | None:
        """What this commit holds at `path`, or None if it holds nothing there."""
        found = subprocess.run(["git", "cat-file", "blob", f"{self.commit}:{path}"], capture_output=True, check=False)
        return found.stdout if found.returncode == 0 else None


def base(revision: str | None) -> Base:
    """The merge base of `revision` and HEAD.

    Without a revision it is that of the remote's default branch, or where that is HEAD itself or unknown, HEAD's
    first parent. Raises InputError for a shallow clone, an unknown revision, and one without common history.
    """
    if output("git", "rev-parse", "--is-shallow-repository").strip() == "true":
        raise InputError("this clone is shallow, so the revision to compare with may be cut off: git fetch --unshallow")
    head = _commit("HEAD")
    if head is None:
        raise InputError("there is no commit yet: there is nothing to compare with")
    if revision is not None:
        asked = _commit(revision)
        if asked is None:
            raise InputError(f"BASE = {revision!r} is no commit here; a branch, tag or commit would be: git fetch it")
        return Base(_merge_base(asked, head, revision), f"the merge base of {revision} and HEAD")
    remote = _commit(REMOTE)
    if remote is not None:
        fork = _merge_base(remote, head, "origin's default branch")
        if fork != head:
            return Base(fork, "the merge base of origin's default branch and HEAD")
    parent = _commit("HEAD^")
    if parent is None:
        raise InputError("HEAD has no parent to compare with; name a revision: make ci BASE=...")
    return Base(parent, "HEAD's first parent")


def _commit(revision: str) -> str | None:
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def _merge_base(one: str, head: str, name: str) -> str:
    found = subprocess.run(["git", "merge-base", one, head], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise InputError(f"{name} and HEAD have no common history, so there is nothing to compare with")
    return found.stdout.strip()
