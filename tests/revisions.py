"""A tiny repository with a pipeline of one stage, to compare revisions of: what the real one has, in a second."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Project

METRICS: dict[str, Any] = {
    "test": {"loss": 0.5, "accuracy": 0.9, "slope": 0.75, "optional": 2.0},
    "fit": {"steps": 10, "converged": False, "undefined": None},
}
RULES = """
test.loss: {better: lower, relative: 0.1, required: true}
test.accuracy: {better: higher, absolute: 1e-2, required: true}
test.slope: {target: 1, absolute: 0.05}
test.optional: {better: lower}
fit.*: {better: neither}
"""
PIPELINE = """
plots: [data/figures]
stages:
  evaluate:
    cmd: >-
      mkdir -p data/figures && cp source.json data/metrics.json &&
      cp picture data/figures/recovery.png && cp picture data/figures/trajectory.png && cp picture data/figures/loss.png
    params: [train]
    deps: [picture, source.json]
    outs: [data/figures]
    metrics:
      - data/metrics.json: {cache: false}
"""


class Repository(Project):
    """A folder with that pipeline in it, and what a stage would do on the way."""

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def metrics(self, **changes: Any) -> None:
        """Write metrics.json: the usual numbers, but for those in `test` that are named."""
        self.write("data/metrics.json", json.dumps({**METRICS, "test": {**METRICS["test"], **changes}}))

    def copy(self, folder: Path) -> Repository:
        return Repository(Path(shutil.copytree(self.folder, folder, symlinks=True)))

    def clone(self, folder: Path, *options: str) -> Repository:
        """What git alone carries over: no cache, no figures."""
        self.git("clone", "--quiet", *options, self.folder.as_uri(), str(folder))
        return Repository(folder)


def new_repository(folder: Path) -> Repository:
    """Its pipeline has run once, and all of it is committed on main."""
    made = Repository(folder)
    for name in ("config", ".gitignore", "plots/page.html"):
        made.write(f".dvc/{name}", (ROOT / ".dvc" / name).read_text())
    made.write("dvc.yaml", PIPELINE)
    made.write("params.yaml", "train: {epochs: 10, solver: adam}\n")
    made.write("source.json", json.dumps(METRICS))
    made.write("rules.yaml", RULES)
    for name in ("picture", "docs/recovery.png", "docs/trajectory.png"):
        made.write(name, "first picture")
    made.write("data/.gitignore", "/figures\n")
    made.git("init", "--quiet", "--initial-branch", "main")
    assert made.repro() == ["evaluate"]
    made.commit()
    return made
