"""Renew the pictures that docs/ shows, after `dvc repro`: `python -m comparisons.ci.pictures` (`make docs`).

Each file in docs/ with the name of a figure is replaced: by the pipeline's own figure or, if it has none of
that name, by that of a run with the other solver, in a folder of its own. The metrics of the exact fit are
copied, too.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from stages.files.documents import read_yaml
from stages.files.errors import InputError, run

DATA = Path("data")
DOCS = Path("docs")
OTHER = {"adam": {"solver": "exact"}, "exact": {"solver": "adam", "ridge": 0}}  # Adam has no ridge


def copies(data: Path = DATA) -> dict[Path, Path]:
    """The pictures in docs/ that are figures of the pipeline, each with its figure."""
    pairs = {shown: data / "figures" / shown.name for shown in sorted(DOCS.glob("*.png"))}
    return {shown: figure for shown, figure in pairs.items() if figure.is_file()}


def outdated() -> list[str]:
    """The pictures in docs/ that differ from the figure of the same name."""
    return [str(shown) for shown, figure in copies().items() if not filecmp.cmp(shown, figure, shallow=False)]


def run_other(folder: Path) -> None:
    """Run the stages of dvc.yaml with the other solver in `folder`; the code stays where it is."""
    params = read_yaml(Path("params.yaml"))
    params["train"] |= OTHER[params["train"]["solver"]]
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for name, stage in read_yaml(Path("dvc.yaml"))["stages"].items():
        code = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        if subprocess.run(stage["cmd"], shell=True, cwd=folder, env=code, check=False).returncode:
            raise InputError(f"the stage {name} failed with the other solver, as it says above")


def main() -> None:
    solver = read_yaml(Path("params.yaml"))["train"]["solver"]
    with tempfile.TemporaryDirectory() as name:
        other = Path(name) / DATA
        run_other(Path(name))
        metrics = (DATA if solver == "exact" else other) / "metrics.json"
        taken = {**copies(other), **copies(), DOCS / "exact_metrics.json": metrics}
        for shown, figure in taken.items():
            shutil.copyfile(figure, shown)
            print(f"{shown}: {'the pipeline' if figure.is_relative_to(DATA) else 'the other solver'}")


if __name__ == "__main__":
    run(main)
