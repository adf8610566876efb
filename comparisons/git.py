"""What git and DVC say of the current folder and its commits."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from dvc.utils.flatten import flatten
from ruamel.yaml import YAML

from stages.files.errors import InputError

DVC = (sys.executable, "-m", "dvc")  # from this interpreter's environment, activated or not
FILES = ("params.yaml", "data/metrics.json", "observers/*/data/metrics.json")


class Outcome(NamedTuple):
    """Parameters and metrics by name, as in train.ridge."""

    params: dict[str, Any]
    metrics: dict[str, Any]


def output(*command: str) -> str:
    """What git or DVC prints; if it fails, raises InputError with the line that gives the reason."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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


def outcome(revision: str | None) -> Outcome:
    """In a commit, or (None) in the folder as it is. Raises InputError, naming the file.

    Metrics of several observers are means over those that have them.
    """
    if revision is None:
        texts = {str(path): path.read_text("utf-8") for pattern in FILES for path in Path().glob(pattern)}
    else:
        listed = output("git", "ls-tree", "-r", "--name-only", revision, "params.yaml", "data", "observers")
        paths = [path for path in listed.splitlines() if any(fnmatch(path, pattern) for pattern in FILES)]
        texts = {path: output("git", "cat-file", "blob", f"{revision}:./{path}") for path in paths}
    params = YAML(typ="safe", pure=True).load(texts.pop("params.yaml", "{}"))
    metrics = []
    for path, text in texts.items():
        try:
            metrics.append(flatten(dict(json.loads(text))))
        except (ValueError, TypeError) as error:
            where = f" at {revision[:10]}" if revision else ""
            raise InputError(f"{path}{where} does not hold metrics by name, as JSON: {error}") from None
    if len(metrics) > 1:
        metrics = [pd.DataFrame(metrics).mean(numeric_only=True).to_dict()]
    return Outcome(flatten(params), metrics[0] if metrics else {})


def experiments() -> dict[str, Outcome]:
    """HEAD, as `baseline`, then its experiments by name, as far as they are of the current folder's pipeline.

    An experiment that has come to its end is a commit, too: DVC's reference refs/exps/<its base, after 2
    signs a slash>/<its name>. (`dvc exp show` mixes the metrics and parameters of all folders.)
    """
    head = output("git", "rev-parse", "--verify", "HEAD^{commit}")
    params = output("git", "rev-parse", "--show-prefix") + "params.yaml"  # or studies/rat/params.yaml
    outcomes = {"baseline": outcome(head)}
    for ref in output("git", "for-each-ref", "--format=%(refname)", f"refs/exps/{head[:2]}/{head[2:]}").split():
        changed = output("git", "diff", "--name-only", head, ref, "--", ":(top,glob)**/params.yaml").split()
        if not changed or params in changed:  # else it is an experiment of another folder
            outcomes[ref.rpartition("/")[2]] = outcome(ref)
    return outcomes
