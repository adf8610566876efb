"""The lock is everybody's: other processors and numbers of threads, as far as one processor can play others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
from tests.conftest import STAGES, run_here

for solver in ("adam", "lbfgs"):
    os.chdir(solver)
    run_here(*(stage for stage in STAGES if stage != "plot" or solver == "adam"))
    os.chdir("..")
"""

# How far an exact fit's metrics may be from one another: by the last of six digits, but for what measures where within
# its tolerance the solver has stopped.
DIGITS = 5e-6
NOISE = {"fit.max_gradient": 0.2, "theory.certificate": 0.01}
WORK = {"fit.iterations", "fit.evaluations"}  # may be one more


def ran(folder: Path, **environment: str) -> Path:
    """The folder in which the pipeline has run with either solver."""
    folder.mkdir()
    for solver in ("adam", "lbfgs"):
        project = Project.small(folder / solver)
        project.set(simulate=SIZE, train={"solver": solver, "num_epochs": 20})
    variables = project.environment(**environment)
    subprocess.run(["python", "-c", SCRIPT], cwd=folder, env=variables, check=True, stdout=subprocess.DEVNULL)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flat(numbers: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested numbers by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in numbers.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_other_processors_give_the_files_of_adam_and_the_metrics_of_the_exact_fit(tmp_path: Path) -> None:
    here, *others = (ran(tmp_path / name, **environment) for name, environment in ENVIRONMENTS.items())
    for there in others:
        assert_same_files(here / "adam" / "data", there / "adam" / "data")
        assert_same_metrics(here / "lbfgs" / "data", there / "lbfgs" / "data")


def assert_same_files(here: Path, there: Path) -> None:
    """So all that dvc.lock records is the same."""
    ours, theirs = files(here), files(there)
    assert ours.keys() == theirs.keys()
    assert [path for path in ours if ours[path] != theirs[path]] == []


def assert_same_metrics(here: Path, there: Path) -> None:
    ours, theirs = (flat(json.loads((data / "metrics.json").read_text())) for data in (here, there))
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - WORK:
        assert theirs[name] == pytest.approx(ours[name], rel=NOISE.get(name, DIGITS), abs=1e-12), name
    for name in WORK:
        assert abs(ours[name] - theirs[name]) <= 1
