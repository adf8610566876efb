"""Small projects to run the real pipeline in: a copy of this one's files, with few trials and epochs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Before NumPy is imported: the tests run on all cores already, one to a core, and threads on top of that only spin.

import pytest
import yaml
from hypothesis import settings

if TYPE_CHECKING:
    from tests.revisions import Repository

settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
SMALL: dict[str, dict[str, Any]] = {
    "simulate": {"n_factors": 4, "n_classes": 2, "n_trials": 300, "n_test_trials": 200, "weight_scale": 0.8},
    "train": {"num_epochs": 5, "batch_size": 64, "device": "cpu"},
    "plot": {"class_index": 0, "dpi": 40},
}


class Project:
    """A folder with the pipeline in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = folder / "params.yaml"
        self.data = folder / "data"

    def set(self, **sections: Mapping[str, Any]) -> None:
        """Change keys of params.yaml: project.set(train={"num_epochs": 3})."""
        params = yaml.safe_load(self.params.read_text())
        for section, values in sections.items():
            params[section].update(values)
        self.params.write_text(yaml.safe_dump(params))

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command here, with this interpreter first on the path, as in an activated environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        everything = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        return subprocess.run(command, cwd=self.folder, env=everything, capture_output=True, text=True, check=False)

    def stage(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one stage without DVC."""
        return self.run("python", "-m", f"stages.{name}", **environment)

    def repro(self) -> list[str]:
        """`dvc repro`; the stages that were run, not those restored or skipped."""
        result = self.run("dvc", "repro")
        assert result.returncode == 0, result.stdout + result.stderr
        return [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]

    def commit(self) -> None:
        """Commit everything that is not ignored."""
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        for command in (["add", "--all"], ["commit", "--quiet", "--message", "as it is"]):
            assert self.run("git", *identity, *command).returncode == 0


def copy_code(folder: Path) -> None:
    """Copy the files that git tracks or would track, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A small project in which nothing was run."""
    return new_project(tmp_path / "project")


def new_project(folder: Path) -> Project:
    copy_code(folder)
    small = Project(folder)
    small.set(**SMALL)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (small.data / "metrics.json").unlink(missing_ok=True)
    assert small.run("git", "init", "--quiet").returncode == 0
    small.commit()
    return small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project whose pipeline has run. Not to be changed: copy it."""
    small = new_project(tmp_path_factory.mktemp("finished") / "project")
    assert small.repro() == ["simulate", "train", "evaluate", "plot"]
    small.commit()
    return small


@pytest.fixture
def copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of `finished` that may be changed."""
    return Project(Path(shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)))


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Callable[[Callable[[], None]], str]:
    """Call a stage's main that must refuse its input; gives the one line it says."""
    from stages.errors import run

    def call(main: Callable[[], None]) -> str:
        with pytest.raises(SystemExit) as stop:
            run(main)
        message = str(stop.value.code)
        assert message.startswith("error: ")
        assert "\n" not in message
        return message

    return call


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A tiny repository with one commit. Not to be changed: copy it."""
    from tests.revisions import new_repository

    return new_repository(tmp_path_factory.mktemp("pristine") / "repository")


@pytest.fixture
def repository(pristine: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy of `pristine` that may be changed, as the current folder."""
    copied = pristine.copy(tmp_path / "repository")
    monkeypatch.chdir(copied.folder)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)  # the tests may themselves run on a runner
    return copied
