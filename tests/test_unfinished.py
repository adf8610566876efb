"""A run that was killed goes on from its last state, to the same bits; a state of another run is left aside."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from stages.storage import Unfinished

from tests.conftest import Project

KILLED = """
import os, signal
from stages import storage, train
saved = storage.Unfinished.offer
calls = 0
def offer(self, state):
    global calls
    saved(self, state)
    calls += 1
    if calls == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
storage.Unfinished.offer = offer
train.main()
"""
HARD = {"solver": "lbfgs", "tolerance": "1e-13", "ridge": "1e-6"}  # more than single precision can do


def outputs(project: Project) -> dict[str, bytes]:
    paths = [project.data / "model.safetensors", project.data / "loss.csv", *project.data.glob("checkpoints/*")]
    return {str(path.relative_to(project.data)): path.read_bytes() for path in paths}


def killed_after(project: Project, after: int) -> None:
    result = project.run("python", "-c", KILLED.format(after=after), UNFINISHED_SECONDS="0")
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert (project.data / ".unfinished" / "train.npz").exists()


@pytest.mark.parametrize(("train", "after"), [({"num_epochs": 70}, 41), (HARD, 2)])
def test_a_killed_run_ends_where_the_uninterrupted_one_ends(
    train: dict[str, object], after: int, copy: Project
) -> None:
    copy.set(train=train)
    assert copy.stage("train").returncode == 0
    whole = outputs(copy)
    killed_after(copy, after)
    resumed = copy.repro()  # by DVC, which removes the outputs first
    assert "train" in resumed
    assert outputs(copy) == whole
    assert not (copy.data / ".unfinished" / "train.npz").exists()


def test_it_says_where_it_goes_on(copy: Project) -> None:
    copy.set(train={"num_epochs": 30})
    killed_after(copy, 12)
    assert "going on from epoch 12," in copy.stage("train").stdout


def changed(project: Project, what: str) -> None:
    if what == "parameters":
        project.set(train={"learning_rate": 0.02})
    elif what == "code":
        path = project.folder / "stages" / "adam.py"
        path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize("what", ["parameters", "code", "file"])
def test_the_state_of_another_run_is_left_aside_with_a_line(what: str, copy: Project) -> None:
    copy.set(train={"num_epochs": 20})
    killed_after(copy, 5)
    state = copy.data / ".unfinished" / "train.npz"
    if what == "file":
        state.write_bytes(state.read_bytes()[:-100])
    changed(copy, what)
    said = copy.stage("train").stdout
    assert "left aside, starting from the beginning" in said
    assert "going on" not in said
    assert "Iteration: 0 " in said


def test_other_data_is_another_run(copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.folder)
    first = Unfinished("train", "asked")._run
    assert Unfinished("train", "asked")._run == first
    responses = Path("data/train/responses.npy")
    flipped = bytearray(responses.read_bytes())
    flipped[-1] ^= 1
    responses.unlink()  # a link to DVC's cache, maybe
    responses.write_bytes(bytes(flipped))
    assert Unfinished("train", "asked")._run != first
    assert Unfinished("train", "otherwise")._run != first
