"""What CI runs: one `make` target, so that anyone can run the same, with no secret."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["ci"]["steps"]


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_it_runs_make_ci_on_every_python_with_the_whole_history_and_without_secrets() -> None:
    commands = [step["run"].split()[:2] for step in STEPS if "run" in step]
    assert commands == [["sudo", "apt-get"], ["make", "ci"], ["cat", "report/report.md"]]
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "make ci"
    assert WORKFLOW["jobs"]["ci"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    # YAML 1.1 reads `on` as true; pull_request_target would hand secrets to strangers' code.
    assert set(WORKFLOW[True]) == {"pull_request", "push"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "secrets" not in (ROOT / ".github/workflows/ci.yml").read_text()
    given = {step["uses"].split("@")[0]: step["with"] for step in STEPS if "uses" in step}
    assert given["actions/checkout"]["fetch-depth"] == 0
    assert given["actions/upload-artifact"]["path"] == "report/"


def test_the_report_is_a_comment_where_one_may_be_written_by_a_job_that_runs_no_code_of_the_request() -> None:
    comment = WORKFLOW["jobs"]["comment"]
    assert comment["permissions"] == {"pull-requests": "write"}
    assert "permissions" not in WORKFLOW["jobs"]["ci"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in comment["if"]
    got, written = comment["steps"]
    assert got["with"]["name"].removeprefix("report-") in WORKFLOW["jobs"]["ci"]["strategy"]["matrix"]["python"]
    assert "${{" not in written["run"]  # what others name must not become part of a command


def test_one_check_that_fails_hides_none_of_the_others_and_studies_are_checked_too() -> None:
    shown = make("--dry-run", "ci")
    assert "--keep-going" in shown
    checks = ("ruff check", "mypy", "dvc repro", "comparisons.ci.gate", "comparisons.ci.gate --report", "pytest")
    assert sorted(checks, key=shown.index) == list(checks)
    assert 'lock-check gate FOLDER="studies/rat"' in shown
    assert [shown.count(check) for check in ("dvc repro", "comparisons.ci.gate ")] == [2, 3]


def test_make_alone_lists_the_targets() -> None:
    assert {"repro", "ci", "gate", "show"} < {line.split()[1] for line in make().splitlines()}


# --- what is installed

LOCKS = ("requirements.lock", "requirements-torch.lock", "requirements-torch-pypi.lock")
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\\\)?)*)", re.MULTILINE)


PYPI = "2.13.0, 2.12.1"  # what pip sees of torch with PyPI alone


def locked() -> list[tuple[str, str, str]]:
    """Name, version and hashes."""
    return [entry for name in LOCKS for entry in ENTRY.findall((ROOT / name).read_text())]


def test_actions_are_given_by_commit() -> None:
    for step in (step for job in WORKFLOW["jobs"].values() for step in job["steps"]):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", "actions/none@" + 40 * "0"))


def test_everything_that_is_installed_has_hashes_and_the_versions_that_are_asked_for() -> None:
    found = locked()
    assert all(hashes for _, _, hashes in found)
    versions = {(name.replace(".", "-"), version.partition("+")[0]) for name, version, _ in found}
    asked = [line for name in ("", "-dev") for line in (ROOT / f"requirements{name}.txt").read_text().splitlines()]
    pins = {tuple(line.split()[0].replace("ruamel.", "ruamel-").split("==")) for line in asked if "==" in line}
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


def test_a_source_distribution_holds_the_library_and_no_tests_that_could_not_run(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    for name in ("hdlogit", "tests"):
        (tmp_path / name).mkdir()
        for path in (ROOT / name).glob("*.py"):
            shutil.copy(path, tmp_path / name)
    build = "from setuptools import build_meta; build_meta.build_sdist('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, check=True)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        held = {Path(name).parts[1] for name in file.getnames() if len(Path(name).parts) > 2}
    assert held == {"hdlogit", "hdlogit.egg-info"}


# --- make on a machine of somebody else's

STUB = """#!/bin/sh
printf '%s|' "$@" >> "$LOG"; echo >> "$LOG"
case "$*" in
*"index versions"*) echo "Available versions: $VERSIONS" ;;
-c*) exec "$REAL" -c "import sys; sys.version_info = ($PYTHON_IS, 0); exec(sys.argv[1])" "$2" ;;
esac
"""


class Checkout:
    """The Makefile in a folder of its own, with an environment whose `python` only notes what it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        python = folder / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(STUB)
        python.chmod(0o755)
        for name in ("Makefile", *LOCKS):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, folder)

    def make(self, *arguments: str, versions: str = PYPI, python: str = "3, 13") -> subprocess.CompletedProcess[str]:
        given = {"LOG": str(self.log), "VERSIONS": versions, "REAL": sys.executable, "PYTHON_IS": python}
        there = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env=there | given, capture_output=True, text=True, check=False
        )

    def asked(self) -> list[list[str]]:
        return [line.split("|")[:-1] for line in self.log.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a folder $(touch ran) $(shell touch ran)")


@pytest.mark.parametrize(
    ("versions", "lock"),
    [(f"2.13.0+cpu, {PYPI}", "requirements-torch.lock"), (PYPI, "requirements-torch-pypi.lock")],
)
def test_torch_is_the_build_for_the_cpu_where_pip_sees_one_and_else_that_of_pypi(
    versions: str, lock: str, checkout: Checkout
) -> None:
    made = checkout.make(".venv/installed", versions=versions)
    assert made.returncode == 0, made.stderr
    assert [command[-1] for command in checkout.asked() if "install" in command] == ["requirements.lock", lock]
    said = [line for line in made.stdout.splitlines() if line.startswith("pip sees no torch 2.13.0+cpu")]
    assert len(said) == (lock == LOCKS[2] and sys.platform == "linux")
    assert all("3 GB" in line for line in said)


def test_what_pypi_s_torch_needs_is_locked_for_linux_alone() -> None:
    text = (ROOT / "requirements-torch-pypi.lock").read_text()
    lines = [line for line in text.splitlines() if "==" in line and not line.startswith(("#", "torch=="))]
    assert {"triton", "nvidia-cublas", "nvidia-cudnn-cu13", "cuda-bindings"} < {line.split("==")[0] for line in lines}
    assert all("sys_platform == 'linux'" in line for line in lines)


@pytest.mark.parametrize("python", ["3, 10", "3, 14"])
def test_a_python_that_no_torch_is_locked_for_is_refused_in_one_line(python: str, checkout: Checkout) -> None:
    made = checkout.make(".venv/installed", python=python)
    assert made.returncode != 0
    assert "3.11, 3.12 or 3.13 is needed" in made.stderr.splitlines()[0]
    assert not any("pip" in command for command in checkout.asked())


def test_what_a_person_gives_runs_no_command(checkout: Checkout) -> None:
    (checkout.folder / ".venv/installed").touch()
    name = "my $(shell touch ran) `touch ran` $(touch ran).csv"
    options = "--where '`touch.ran` > $(touch ran)'"
    checkout.make("study", f"TRIALS={name}", "RESPONSE=a=$(shell touch ran)", f"OPTIONS={options}")
    (checkout.folder / "$(touch ran)$(shell touch ran)").mkdir()
    checkout.make("gate", "FOLDER=$(touch ran)$(shell touch ran)", "BASE=$(shell touch ran)")
    checkout.make("ci", "BASE=$(shell touch ran)")
    checkout.make("page", "FOLDER=.venv/$(shell touch ran)")
    assert [*checkout.folder.rglob("ran")] == []
    study, *_, gate, _ = (c for c in checkout.asked() if {"stages.study", "comparisons.ci.gate"} & {*c})
    assert study[2:] == ["--response=a=$(shell touch ran)", "--", name]
    assert gate[2:] == ["$(shell touch ran)"]


def test_a_name_that_looks_like_an_option_is_a_name(checkout: Checkout) -> None:
    (checkout.folder / ".venv/installed").touch()
    checkout.make("study", "TRIALS=-rf.csv", "RESPONSE=-a")
    [study] = (command for command in checkout.asked() if "stages.study" in command)
    assert study[2:] == ["--response=-a", "--", "-rf.csv"]
