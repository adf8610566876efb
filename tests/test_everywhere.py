"""The lock is everybody's: other processors and numbers of threads, as far as one processor can play others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from comparisons.ci.lock import LAST_BITS
from tests.conftest import Project

SIZE = {"n_factors": 40, "n_classes": 3, "n_trials": 2000, "n_test_trials": 1000, "weight_scale": 0.6}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FOUND = " ".join(np.show_config(mode="dicts")["SIMD Extensions"]["found"])
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "one thread": dict.fromkeys(THREADS, "1"),
    "two threads, AVX2": {
        **dict.fromkeys(THREADS, "2"),
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "SSE": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NPY_DISABLE_CPU_FEATURES": FOUND,
    },
}
SCRIPT = """
import os
from tests.conftest import run_here

for solver in ("adam", "lbfgs"):
    os.chdir(solver)
    run_here("simulate", "ridge", "train", "evaluate")  # figures are drawn from the tables of evaluate
    os.chdir("..")
"""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of what ran in each environment."""
    root = tmp_path_factory.mktemp("everywhere")
    return [ran(root / name, **environment) for name, environment in ENVIRONMENTS.items()]


def ran(folder: Path, **environment: str) -> Path:
    """The folder in which the pipeline has run with either solver."""
    folder.mkdir()
    for solver in ("adam", "lbfgs"):
        project = Project.small(folder / solver)
        project.set(simulate=SIZE, train={"solver": solver, "num_epochs": 20})
    variables = project.environment(**environment)
    subprocess.run(["python", "-c", SCRIPT], cwd=folder, env=variables, check=True, stdout=subprocess.DEVNULL)
    return folder


def files(folder: Path, but: set[str]) -> dict[str, bytes]:
    """All files below a folder, but those of some outputs."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if f"data/{name.parts[0]}" not in but}


@pytest.mark.parametrize(("solver", "but"), [("adam", set()), ("lbfgs", LAST_BITS)])
def test_other_processors_give_the_same_files(everywhere: list[Path], solver: str, but: set[str]) -> None:
    """So all that `make lock-check` compares is the same."""
    here, *others = (files(folder / solver / "data", but) for folder in everywhere)
    assert "metrics.json" in here
    for there in others:
        assert here.keys() == there.keys()
        assert [name for name in here if here[name] != there[name]] == []
