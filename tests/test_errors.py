"""What a command reports to its user, and to the program that has started it."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable

import pytest

from stages.files.errors import InputError, NoEstimateError, run, run_stage
from tests.conftest import STAGES, Project


def exits(main: Callable[[], None], runner: Callable[[Callable[[], None]], None] = run) -> object:
    with pytest.raises(SystemExit) as end:
        runner(main)
    return end.value.code


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("params.yaml: what is wrong"), 1, "error: params.yaml: what is wrong"),
        (NoEstimateError("class 1 is separable"), 3, "error: class 1 is separable"),
        (MemoryError("8 GiB"), 1, "error: not enough memory for parameters or data of this size: 8 GiB"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: [Errno 28] No space left on device"),
    ],
)
def test_what_a_user_can_put_right_is_one_line_and_a_status(
    error: Exception, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    assert exits(main) == status
    assert capsys.readouterr().err == f"{line}\n"


def test_interruption_has_the_shells_status_and_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert exits(main) == 130
    assert capsys.readouterr().err == ""


def test_a_mistake_of_ours_keeps_its_traceback_and_success_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)
    run(lambda: None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_takes_no_arguments_and_has_help(
    stage: str, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(f"stages.{stage}").main
    monkeypatch.setattr(sys, "argv", [f"{stage}.py", "trials.csv"])
    assert exits(main, run_stage) == 2
    assert "unrecognized arguments: trials.csv" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [f"{stage}.py", "--help"])
    assert exits(main, run_stage) == 0
    assert f"Stage `{stage}`:" in capsys.readouterr().out
    assert not project.data.exists()
