"""What git and DVC say of the current folder and its commits."""

from __future__ import annotations

import subprocess
import sys

from stages.files.errors import InputError

DVC = (sys.executable, "-m", "dvc")  # from this interpreter's environment, activated or not


def output(*command: str) -> str:
    """What git or DVC prints; if it fails, raises InputError with the line that gives the reason."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError(f"{command[0]} is not installed, or not on the path") from None
    if done.returncode:
        name = " ".join(command).replace(" ".join(DVC), "dvc")
        raise InputError(f"`{name}` failed: {reason(done.stderr or done.stdout)}")
    return done.stdout.strip()


def reason(printed: str) -> str:
    """The first line of git's, DVC's or a stage's output that gives the reason for a failure."""
    lines = printed.strip().splitlines() or ["it gives no reason"]
    errors = (line.split(": ", 1)[1] for line in lines if line.lower().startswith(("error: ", "fatal: ")))
    return next(errors, lines[0])


def base(revision: str | None) -> str:
    """The merge base of HEAD and a revision; without one, of HEAD and origin's branch, or else HEAD's parent.

    Raises InputError where there is no such revision, or no common history.
    """
    names = ["refs/remotes/origin/HEAD", "HEAD^"] if revision is None else [revision]
    for name in names:
        found = subprocess.run(["git", "merge-base", name, "HEAD"], capture_output=True, text=True, check=False)
        sha = found.stdout.strip()
        if sha and (revision is not None or sha != output("git", "rev-parse", "HEAD")):
            return sha
    tried = " nor ".join(map(repr, names))
    raise InputError(f"no common history of HEAD with {tried}: git fetch --unshallow, or name another: BASE=...")


def described(sha: str) -> str:
    """A commit for a person: its short hash and its subject."""
    return output("git", "show", "--no-patch", "--format=%h (%s)", sha)


def file_at(revision: str, path: str) -> str | None:
    """The file at `path` in a commit, relative to the current folder, or None if there is none."""
    command = ["git", "cat-file", "blob", f"{revision}:./{path}"]
    found = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    return found.stdout if found.returncode == 0 else None
