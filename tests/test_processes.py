"""Several processes fit as one; and if one of them is lost or hangs, none goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hdlogit.exact import fit
from stages import launching
from stages.errors import InputError

PROGRAM = """
import sys
import numpy as np
from stages import launching
from stages.errors import InputError, run

def main():
    if launching.start("program"):
        return
    from hdlogit.exact import fit  # and with it torch: only where it is needed
    with launching.processes() as group:
        factors, responses = np.load("factors.npy", mmap_mode="r"), np.load("responses.npy")
        kwargs = eval(open("kwargs").read())
        if "endless" in kwargs:
            import torch
            if group.is_writer:  # two lines at once would run into one another
                print("under way", flush=True)
            while True:
                group.all_reduce_sum(torch.ones(1))
        try:
            found = fit(factors, responses, group=group, **kwargs)
        except ValueError as error:
            raise InputError(str(error)) from None
        np.savez(f"found{group.rank}.npz", coefficients=found.coefficients, loss=found.loss, converged=found.converged)

run(main)
"""


def prepare(folder: Path, factors: np.ndarray, responses: np.ndarray, **kwargs: object) -> None:
    (folder / "program.py").write_text(PROGRAM)
    (folder / "kwargs").write_text(repr(kwargs))
    (folder / "tmp").mkdir()
    np.save(folder / "factors.npy", factors)
    np.save(folder / "responses.npy", responses)


def started(folder: Path, count: int, **environment: str) -> subprocess.Popen[str]:
    path = f"{folder}{os.pathsep}{Path(__file__).parent.parent}"
    return subprocess.Popen(
        [sys.executable, "-m", "program"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder / "tmp"), "TRAIN_PROCESSES": str(count)}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def problem(n_trials: int, n_factors: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    factors = rng.standard_normal((n_trials, n_factors))
    weights = rng.standard_normal((n_factors, n_classes))
    return factors, factors @ weights > rng.logistic(size=(n_trials, n_classes))


@pytest.mark.parametrize(("count", "shape"), [(2, (66_000, 8, 64)), (3, (2_000, 40, 2))])
def test_several_processes_give_the_fit_of_one(count: int, shape: tuple[int, int, int], tmp_path: Path) -> None:
    """More logits than the sample keeps, and an outlier that is not in it, so that Newton's method ends the fit; or
    factors that depend on one another, so that all look at all trials.
    """
    factors, responses = problem(*shape)
    if count == 3:
        factors[:, 1] = factors[:, 0]
    else:
        factors[5, 2] = 1e6
        responses[:, 3:] = True  # costs no time, but a place in the sample
    responses[:, 1] = factors[:, 3] > 0
    alone = fit(factors, responses, polish=True)
    prepare(tmp_path, factors, responses, polish=True)
    process = started(tmp_path, count)
    assert process.communicate(timeout=100) == ("", "")
    assert process.returncode == 0
    for rank in range(count):
        found = np.load(tmp_path / f"found{rank}.npz")
        atol = 1e-9 if count == 2 else 1e-13  # a sample cannot be polished
        np.testing.assert_allclose(found["coefficients"], alone.coefficients, rtol=0, atol=atol)
        np.testing.assert_allclose(found["loss"], alone.loss, rtol=0, atol=1e-9)
        assert found["converged"].tolist() == [k != 1 and k < 3 for k in range(shape[2])]
    assert not list((tmp_path / "tmp").iterdir())


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether this process runs: neither gone nor waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


KILLED = "error: a training process was killed by signal 9; no model was written\n"
HANGS = "error: a training process hangs: no answer within 3 seconds; no model was written\n"


@pytest.mark.parametrize(
    ("number", "rank", "message"),
    [(signal.SIGKILL, 1, KILLED), (signal.SIGSTOP, 1, HANGS)],
)
def test_a_process_that_is_killed_or_stopped_ends_all(
    number: signal.Signals, rank: int, message: str, tmp_path: Path
) -> None:
    prepare(tmp_path, *problem(300, 4, 2), endless=True)
    process = started(tmp_path, 2, TRAIN_TIMEOUT="3")
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    time.sleep(0.3)  # the other one as well
    workers = children(process)
    os.kill(workers[rank], number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors == message
    assert not any(alive(worker) for worker in workers)
    assert not list((tmp_path / "tmp").iterdir())


def test_the_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    prepare(tmp_path, *problem(300, 4, 2), endless=True)
    process = started(tmp_path, 2)
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    workers = children(process)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)
    assert not list((tmp_path / "tmp").iterdir())


def test_the_processes_end_with_the_agent_of_torchrun(tmp_path: Path) -> None:
    prepare(tmp_path, *problem(300, 4, 2), endless=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "program"]
    path = f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path / "tmp"), "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "under way\n"
            workers = children(agent)
        finally:
            agent.kill()  # or leaving this block would wait for it
        agent.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2
    assert not any(alive(worker) for worker in workers)
    assert not list((tmp_path / "tmp").glob("train-*"))


@pytest.mark.parametrize("value", ["two", "0"])
def test_a_wrong_number_of_processes_is_reported_in_one_line(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_PROCESSES", value)
    with pytest.raises(InputError, match=f"^TRAIN_PROCESSES = '{value}' must be a whole number, at least 1$"):
        launching.start("program")
