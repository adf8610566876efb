"""What git and DVC say of the current folder and its commits."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.utils.flatten import flatten
from ruamel.yaml import YAML

from stages.files.errors import InputError

DVC = (sys.executable, "-m", "dvc")  # from this interpreter's environment, activated or not
FILES = ("params.yaml", "data/metrics.json", "observers/*/data/metrics.json")


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
        command = ["git", "merge-base", name, "HEAD"]
        sha = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if sha and (revision is not None or sha != output("git", "rev-parse", "HEAD")):
            return sha
    tried = " nor ".join(map(repr, names))
    raise InputError(f"HEAD has no common history with {tried}: git fetch --unshallow, or set BASE")


def described(sha: str) -> str:
    """A commit for a person: its short hash and its subject."""
    return output("git", "show", "--no-patch", "--format=%h (%s)", sha)


def file_at(revision: str, path: str | Path) -> str:
    """The file at `path` in a commit, relative to the current folder; empty if there is none."""
    command = ["git", "cat-file", "blob", f"{revision}:./{path}"]
    return subprocess.run(command, capture_output=True, check=False).stdout.decode(errors="replace")


def outcome(revision: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and metrics by name, as in train.ridge, in a commit or (None) in the folder as it is.

    Metrics of several observers are means over those that have them. Raises InputError, naming the file.
    """
    if revision is None:
        texts = {path: path.read_text("utf-8") for pattern in FILES for path in Path().glob(pattern)}
    else:
        listed = output("git", "ls-tree", "-r", "--name-only", revision, "params.yaml", "data", "observers")
        paths = [path for path in listed.splitlines() if any(fnmatch(path, name) for name in FILES)]
        texts = {Path(path): file_at(revision, path) for path in paths}
    params = flatten(YAML(typ="safe", pure=True).load(texts.pop(Path("params.yaml"), "{}")))
    metrics = []
    for path, text in texts.items():
        try:
            metrics.append(flatten(dict(json.loads(text))))
        except (ValueError, TypeError) as error:
            where = f" at {described(revision)}" if revision else ""
            raise InputError(f"{path}{where} does not hold metrics by name, as JSON: {error}") from None
    if len(metrics) > 1:
        metrics = [pd.DataFrame(metrics).mean(numeric_only=True).to_dict()]
    return params, metrics[0] if metrics else {}
