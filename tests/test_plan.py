"""`python -m stages.plan`: how many trials are needed, before any data exist."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from stages import plan


def test_planning_answers_before_any_data_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", "256", "--signal", "16", "--n-trials", "4000", "10000"])
    plan.main()
    shown = capsys.readouterr().out
    assert "from about 4076 trials on" in shown
    lines = {line[0]: line for line in (text.replace("|", " ").split() for text in shown.splitlines()) if line}
    assert lines["4000"][1] == "no"
    assert "1.232" in lines["10000"]  # too large by


@pytest.mark.parametrize(
    "arguments", ["256 --signal -1", "0 --signal 2", "9 --signal 2 --base-rate 1", "9 --signal 1e6", "9 --signal nan"]
)
def test_an_impossible_observer_is_refused(
    arguments: str, refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", *arguments.split()])
    refuses(plan.main)
