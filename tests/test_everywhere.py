"""The lock is everybody's: other processors and numbers of threads, as far as one processor can play others."""

from __future__ import annotations

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
    "two threads, SSE": {
        **dict.fromkeys(THREADS, "2"),
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NPY_DISABLE_CPU_FEATURES": FOUND,
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
PIPELINES: dict[str, dict[str, dict[str, Any]]] = {
    "adam": {"train": {"num_epochs": 20}},
    "exact": {"train": {"solver": "exact"}},
    "one class without an estimate": {"simulate": {"n_trials": 200}, "train": {"solver": "exact"}},
    "ridge": {"train": {"solver": "exact", "ridge": "auto"}},
    "rates": {
        "simulate": {"guess_rate": 0.1, "lapse_rate": 0.05},
        "train": {"solver": "exact"},
        "evaluate": {"asymptotes": "estimate"},
    },
}
SCRIPT = """
import os, sys
from tests.conftest import run_here

for pipeline in sys.argv[1:]:
    os.chdir(pipeline)
    run_here("simulate", "train", "evaluate")  # figures are drawn from the tables of evaluate
    os.chdir("..")
"""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of what ran in each environment."""
    root = tmp_path_factory.mktemp("everywhere")
    return [ran(root / name, **environment) for name, environment in ENVIRONMENTS.items()]


def ran(folder: Path, **environment: str) -> Path:
    """The folder in which all pipelines have run."""
    folder.mkdir()
    for name, changes in PIPELINES.items():
        project = Project.small(folder / name)
        project.set(simulate=SIZE)
        project.set(**changes)
    command, variables = ["python", "-c", SCRIPT, *PIPELINES], project.environment(**environment)
    subprocess.run(command, cwd=folder, env=variables, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_other_processors_give_the_same_files(everywhere: list[Path], pipeline: str) -> None:
    here, *others = (contents(folder / pipeline / "data") for folder in everywhere)
    assert "metrics.json" in here
    for there in others:
        assert here.keys() == there.keys()
        assert [name for name in here if here[name] != there[name]] == []


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
