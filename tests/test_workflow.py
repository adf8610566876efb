"""What CI runs: only `make` targets that there are, so that anyone can run the same."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import yaml

from tests.conftest import ROOT

WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
ON = WORKFLOW[True]  # YAML 1.1 reads `on` as true


def test_every_command_is_a_make_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for step in STEPS if "run" in step]
    assert commands == ["make ci"]
    for command in [*commands, (ROOT / ".ci/run").read_text().splitlines()[-1]]:
        make, target = command.split()
        assert make == "make"
        assert target in targets


def test_it_runs_on_pull_requests_of_forks_too() -> None:
    assert set(ON) == {"pull_request", "push"}  # pull_request_target would hand secrets to strangers' code
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "secrets" not in (ROOT / ".github/workflows/ci.yml").read_text()


def test_it_has_the_whole_history_and_pinned_actions() -> None:
    uses = {step["uses"]: step for step in STEPS if "uses" in step}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in uses)
    (checkout,) = (step for name, step in uses.items() if name.startswith("actions/checkout@"))
    assert checkout["with"]["fetch-depth"] == 0
    (upload,) = (step for name, step in uses.items() if name.startswith("actions/upload-artifact@"))
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "report/"
    assert "/report/" in (ROOT / ".gitignore").read_text().splitlines()


def test_one_check_that_fails_hides_none_of_the_others() -> None:
    shown = subprocess.run(["make", "--dry-run", "ci"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--keep-going" in shown
    checks = ("ruff check", "mypy", "comparisons.lock", "comparisons.gate", "comparisons.report", "pytest")
    assert sorted(checks, key=shown.index) == list(checks)
