"""Several processes fit as one; and if one of them dies or hangs, none goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from hdlogit.exact.coordinates import sampled_rows
from hdlogit.exact.solver import KEPT
from tests.conftest import Project


def fitted(project: Project) -> np.ndarray:
    """Weights, and last the largest gradients that the solver reported."""
    path = project.data / "model.safetensors"
    with safe_open(path, framework="numpy") as file:
        evidence = json.loads(file.metadata()["evidence"])
        return np.column_stack([file.get_tensor("weight"), evidence["max_gradient"]])


def started(project: Project, count: int, **environment: str) -> list[subprocess.Popen[str]]:
    """The train stage in so many processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "stages.train"],
            cwd=project.folder,
            env={**common, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts}


# Trials that the exact fit takes in six blocks, and first on a sample of them: what its processes share is uneven.
MANY = {"n_trials": 160_000, "n_factors": 16, "n_classes": 30, "n_test_trials": 10}


@pytest.mark.parametrize(("solver", "count", "trials"), [("adam", 2, {}), ("lbfgs", 2, MANY), ("lbfgs", 4, MANY)])
def test_several_processes_give_the_fit_of_one(solver: str, count: int, trials: dict[str, int], copy: Project) -> None:
    change = {"solver": solver, "num_epochs": 4, "batch_size": 299, "tolerance": "1e-6"}  # one trial is left
    copy.set(train=change, simulate=trials)
    assert not trials or copy.stage("simulate").returncode == 0
    assert copy.stage("train").returncode == 0
    alone, before = fitted(copy), files(copy.data)
    (copy.data / "model.safetensors").unlink()
    running = started(copy, count)
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * count, outputs
    np.testing.assert_allclose(fitted(copy), alone, rtol=0, atol=1e-9)
    assert files(copy.data) == before  # one has written, and nobody has left anything
    assert [bool(said) for said, _ in outputs] == [True] + [False] * (count - 1)


def test_what_is_wrong_with_the_data_is_said_by_several_processes_too(copy: Project) -> None:
    """Factors that depend on one another make all look at all trials, and one of these is no number."""
    copy.set(train={"solver": "lbfgs"}, simulate=MANY)
    assert copy.stage("simulate").returncode == 0
    factors = np.load(copy.data / "train" / "factors.npy", mmap_mode="r+")
    factors[:, 1] = factors[:, 0]
    unseen = set(range(100)) - set(sampled_rows(len(factors), KEPT // MANY["n_classes"]).tolist())
    factors[min(unseen), 2] = np.nan
    factors.flush()
    outputs = [process.communicate(timeout=60) for process in started(copy, 2)]
    assert outputs[0][1].startswith("error: data/train: factors must be finite numbers")
    assert outputs[1] == ("", "")


ENDLESS: dict[str, dict[str, Any]] = {
    "adam": {"num_epochs": 1_000_000},
    "lbfgs": {"solver": "lbfgs", "ridge": "1e-6", "tolerance": "1e-300", "max_iterations": 10**6},
}


@pytest.mark.parametrize("solver", ENDLESS)
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "another one died"), (signal.SIGSTOP, "another one hangs: no answer within 2 seconds")],
)
def test_a_process_that_dies_or_hangs_ends_the_others(
    solver: str, number: signal.Signals, said: str, copy: Project
) -> None:
    copy.set(train=ENDLESS[solver])
    before = (copy.data / "model.safetensors").read_bytes()
    first, second = started(copy, 2, TRAIN_TIMEOUT="2", UNFINISHED_SECONDS="0")
    try:
        under_way, deadline = copy.data / ".unfinished" / "train.npz", time.monotonic() + 30
        while not under_way.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert under_way.exists()
        second.send_signal(number)
        _, errors = first.communicate(timeout=30)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert first.returncode == 1
    assert errors.strip().splitlines()[-1] == f"error: train: process 0 says that {said}; no model was written"
    assert (copy.data / "model.safetensors").read_bytes() == before
    assert not list((copy.data / ".partial").iterdir())


def test_a_launcher_is_no_change_to_dvc(copy: Project) -> None:
    copy.set(train={"num_epochs": 3})
    result = copy.run("dvc", "repro", "train", TRAIN_LAUNCHER="torchrun --nproc-per-node 2")
    assert result.returncode == 0, result.stderr
    assert "Iteration: 2" in result.stdout
    assert copy.run("dvc", "repro", "--dry", "train").stdout.count("Running stage") == 0


def test_a_launcher_that_fails_is_said_in_one_line(copy: Project) -> None:
    missing = copy.stage("train", TRAIN_LAUNCHER="torchruin --nproc-per-node 2")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: TRAIN_LAUNCHER = 'torchruin --nproc-per-node 2': ")
    failing = copy.stage("train", TRAIN_LAUNCHER="false")
    assert failing.returncode == 1
    assert "'false' started failed (exit status 1" in failing.stderr
    assert len(failing.stderr.splitlines()) == 1


def test_what_is_launched_ends_with_the_stage(copy: Project) -> None:
    copy.set(train={"num_epochs": 1_000_000})
    environment = {**os.environ, "TRAIN_LAUNCHER": f"{sys.executable} -c 'import time; time.sleep(60)'"}
    stage = subprocess.Popen(
        [sys.executable, "-c", "from stages import train; train.main()"], cwd=copy.folder, env=environment
    )
    children = Path(f"/proc/{stage.pid}/task/{stage.pid}/children")
    deadline = time.monotonic() + 20
    while not children.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(children.read_text())
    stage.terminate()
    assert stage.wait(timeout=20) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{child}").exists()
