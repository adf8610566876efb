"""What CI runs: one `make` target, so that anyone can run the same, with no secret."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import yaml

from tests.conftest import ROOT

WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["ci"]["steps"]
ON = WORKFLOW[True]  # YAML 1.1 reads `on` as true


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_it_runs_what_anyone_can_run_on_every_python_that_is_promised() -> None:
    assert [step["run"].split()[:2] for step in STEPS if "run" in step] == [["sudo", "apt-get"], ["make", "ci"]]
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "make ci"
    assert WORKFLOW["jobs"]["ci"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_it_runs_on_pull_requests_of_forks_too() -> None:
    assert set(ON) == {"pull_request", "push"}  # pull_request_target would hand secrets to strangers' code
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "secrets" not in (ROOT / ".github/workflows/ci.yml").read_text()


def test_it_has_the_whole_history_and_keeps_the_report() -> None:
    given = {step["uses"].split("@")[0]: step for step in STEPS if "uses" in step}
    assert given["actions/checkout"]["with"]["fetch-depth"] == 0
    assert given["actions/upload-artifact"]["if"] == "always()"
    assert given["actions/upload-artifact"]["with"]["path"] == "report/"


def test_one_check_that_fails_hides_none_of_the_others() -> None:
    shown = make("--dry-run", "ci")
    assert "--keep-going" in shown
    checks = ("ruff check", "mypy", "comparisons.ci.lock", "comparisons.ci.gate", "comparisons.ci.report", "pytest")
    assert sorted(checks, key=shown.index) == list(checks)


def test_a_study_of_the_repository_is_checked_too() -> None:
    shown = make("--dry-run", "ci")
    for check in ("lock", "gate"):
        for folder in (".", "studies/rat"):
            assert f'comparisons.ci.{check} --folder "{folder}"' in shown


def test_make_alone_lists_the_targets() -> None:
    assert make() == make("help")
    assert {"repro", "ci", "gate", "show"} < {line.split()[1] for line in make().splitlines()}


# --- what is installed

LOCKS = ("requirements.lock", "requirements-torch.lock")
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\\\)?)*)", re.MULTILINE)


def locked() -> list[tuple[str, str, str]]:
    """Name, version and hashes."""
    return [entry for name in LOCKS for entry in ENTRY.findall((ROOT / name).read_text())]


def test_actions_are_given_by_commit() -> None:
    for step in STEPS:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", "actions/none@" + 40 * "0"))


def test_everything_that_is_installed_has_hashes_and_the_versions_that_are_asked_for() -> None:
    found = locked()
    assert all(hashes for _, _, hashes in found)
    versions = {(name, version.partition("+")[0]) for name, version, _ in found}
    asked = [line for name in ("", "-dev") for line in (ROOT / f"requirements{name}.txt").read_text().splitlines()]
    pins = {tuple(line.split()[0].split("==")) for line in asked if "==" in line}
    assert len(pins) > 20
    assert pins <= versions
    assert {"pywin32", "colorama", "tzdata"} <= {name for name, _ in versions}  # of Windows


def test_no_index_could_supply_another_package_of_the_same_name() -> None:
    files = [*LOCKS, "requirements.txt", "requirements-dev.txt", "Makefile", ".github/workflows/ci.yml"]
    everything = "".join((ROOT / name).read_text() for name in files)
    assert not re.search(r"index[-_]url", everything, re.IGNORECASE)
    assert "--find-links" not in everything
    installs = make("--dry-run", "--always-make", "repro").splitlines()
    assert [("--require-hashes" in line, "--no-deps" in line) for line in installs if "pip install" in line] == [
        (True, True),
        (True, True),
    ]
    assert any(line.endswith("pip check") for line in installs)
