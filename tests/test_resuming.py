"""A run that was killed goes on from its last state, to the same bits; a state of another run is left aside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages import train
from stages.errors import InputError
from stages.files.resuming import Unfinished
from tests.conftest import Project

STATE = Path(".unfinished") / "train.npz"  # below data/


def wait_for(exists: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fitted(project: Project) -> dict[str, bytes]:
    paths = [project.data / "model.safetensors", project.data / "loss.csv", *project.data.glob("checkpoints/*")]
    return {str(path.relative_to(project.data)): path.read_bytes() for path in paths}


def test_a_killed_training_ends_where_the_uninterrupted_one_ends(
    results: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    results.set(train={"num_epochs": 1000})
    train.main()
    whole = fitted(results)
    victim = subprocess.Popen(
        ["python", "-m", "stages.train"], env=results.environment(UNFINISHED_SECONDS="0"), stdout=subprocess.DEVNULL
    )
    wait_for((results.data / STATE).exists)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    capsys.readouterr()
    train.main()
    assert "going on from epoch" in capsys.readouterr().out
    assert fitted(results) == whole
    assert not (results.data / STATE).exists()


def test_killing_dvc_leaves_no_output_that_looks_whole_and_repro_goes_on(copy: Project) -> None:
    copy.set(train={"num_epochs": 100_000})
    dvc = subprocess.Popen(
        ["dvc", "repro", "train"],
        cwd=copy.folder,
        env=copy.environment(UNFINISHED_SECONDS="0"),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for((copy.data / STATE).exists)
        dvc.kill()
        dvc.wait()
        assert not (copy.data / "model.safetensors").exists()  # DVC had removed it, and the orphan has not finished
        copy.set(train={"num_epochs": 4})
        ran = copy.run("dvc", "repro", "train")  # while the orphan goes on
        assert "Running stage 'train'" in ran.stdout
        assert "is of other data, parameters or code: left aside" in ran.stdout
        assert (copy.data / "loss.csv").read_text().count("\n") == 5
    finally:
        os.killpg(dvc.pid, signal.SIGKILL)


# --- whose state it is


@pytest.fixture
def code(results: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the code of a run, whose state "asked" is there."""
    monkeypatch.setenv("UNFINISHED_SECONDS", "0")
    path = results.folder / "code.py"
    path.write_text("1 + 1\n")
    Unfinished("train", "asked", [path]).offer(lambda: {"epochs": np.arange(3)})
    return path


def taken_up(asked: str, code: Path) -> bool:
    state = Unfinished("train", asked, [code]).state()
    assert state is None or state["epochs"].tolist() == [0, 1, 2]
    return state is not None


def test_the_same_run_takes_it_up(code: Path) -> None:
    assert taken_up("asked", code)


def other_parameters(code: Path) -> None:
    pass  # "otherwise" below


def other_code(code: Path) -> None:
    code.write_text("1 + 2\n")


def other_trials(code: Path) -> None:
    responses = Path("data/train/responses.npy")
    flipped = bytearray(responses.read_bytes())
    flipped[-1] ^= 1
    responses.write_bytes(bytes(flipped))


def truncated(code: Path) -> None:
    state = Path("data") / STATE
    state.write_bytes(state.read_bytes()[:-100])


def foreign(code: Path) -> None:
    (Path("data") / STATE).write_bytes(b"not what it should be\n" * 30)


def empty(code: Path) -> None:
    (Path("data") / STATE).write_bytes(b"")


@pytest.mark.parametrize("change", [other_parameters, other_code, other_trials, truncated, foreign, empty])
def test_another_run_leaves_it_aside_with_a_line(
    change: Callable[[Path], None], code: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(code)
    assert not taken_up("otherwise" if change is other_parameters else "asked", code)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{Path('data') / STATE} is ")
    assert line.endswith("left aside, starting from the beginning")


def test_a_training_leaves_the_state_of_another_aside(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.main()
    assert "starting from the beginning\nIteration: 0 " in capsys.readouterr().out
    assert not (Path("data") / STATE).exists()


def test_trials_that_change_while_a_run_goes_on_leave_no_state(results: Project, code: Path) -> None:
    run = Unfinished("train", "asked", [code])
    run.done()
    other_trials(code)
    run.offer(lambda: {"epochs": np.arange(3)})
    assert not (results.data / STATE).exists()


def test_it_is_saved_only_now_and_then(results: Project, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Unfinished("train", "asked", [code]).done()
    monkeypatch.setenv("UNFINISHED_SECONDS", "1000")
    Unfinished("train", "asked", [code]).offer(lambda: {"epochs": np.arange(3)})
    assert not (results.data / STATE).exists()


@pytest.mark.parametrize("seconds", ["soon", "-1", ""])
def test_a_time_that_is_no_number_is_refused(seconds: str, results: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFINISHED_SECONDS", seconds)
    with pytest.raises(InputError, match="UNFINISHED_SECONDS"):
        Unfinished("train", "asked", [])
