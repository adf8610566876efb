"""The first of what `make torture` tries at length; and what is left after DVC was killed, or a stage has failed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.torture import fuzz

CHEAP = [t for t in fuzz.targets() if t.stage in ("simulate", "ridge", "train", "prepare", "summary")]
CHEAP += [t for t in fuzz.targets() if (t.pipeline, t.stage) == ("adam", "evaluate")]


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz.make(folder)
    return folder


@pytest.mark.parametrize("target", CHEAP, ids=str)
def test_a_damaged_file_is_refused_in_one_line_or_gives_what_it_says(target: fuzz.Target, pipelines: Path) -> None:
    for number in range(10):
        found = fuzz.attempt(pipelines, target, random.Random(f"{target} {number}"))
        assert found in ("refused", "accepted"), number


@pytest.mark.parametrize("content", ["", '{"read": {'])
def test_a_lock_that_a_killed_dvc_left_is_removed(content: str, copy: Project) -> None:
    rwlock = copy.folder / ".dvc/tmp/rwlock"
    rwlock.write_text(content)
    assert copy.run("dvc", "status").returncode != 0
    assert "removed" in copy.run("python", "-m", "comparisons.unlock").stdout
    assert copy.run("dvc", "status").returncode == 0
    rwlock.write_text("{}")
    assert copy.run("python", "-m", "comparisons.unlock").stdout == ""
    assert rwlock.exists()


def test_after_a_failed_stage_nothing_of_it_is_there_and_nothing_later_looks_current(copy: Project) -> None:
    copy.set(train={"seed": 5})
    assert copy.run("dvc", "repro", TRAIN_PROCESSES="none").returncode != 0
    assert [name for name in ("model.safetensors", "loss.csv", "checkpoints") if (copy.data / name).exists()] == []
    status = copy.run("dvc", "status").stdout
    assert [stage for stage in ("train", "evaluate", "plot") if f"{stage}:" in status] == ["train", "evaluate", "plot"]
    shown = copy.run("python", "-m", "stages.summary")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "all numbers are of an earlier run" in shown.stderr
