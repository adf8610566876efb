"""Small projects to run the real pipeline in, with few trials and epochs: on paper only, or with DVC and git."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Before NumPy is imported: the tests run on all cores already, one to a core, and threads on top of that only spin.
os.environ |= {
    f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
# DVC's experiments are commits, and git may know nobody's name here.

import pytest
import yaml
from hypothesis import settings

if TYPE_CHECKING:
    from tests.revisions import Repository

settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
STAGES = ("simulate", "train", "evaluate", "plot")
SMALL: dict[str, dict[str, Any]] = {
    "simulate": {"n_factors": 4, "n_classes": 2, "n_trials": 300, "n_test_trials": 200, "weight_scale": 0.8},
    "train": {"num_epochs": 5, "batch_size": 64, "device": "cpu"},
    "plot": {"class_index": 0, "dpi": 40},
}


class Project:
    """A folder with params.yaml and what the stages write; its code is its own, or else this repository's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = folder / "params.yaml"
        self.data = folder / "data"

    @classmethod
    def small(cls, folder: Path) -> Project:
        """A small project in a new folder: nothing but params.yaml."""
        folder.mkdir()
        shutil.copy(ROOT / "params.yaml", folder)
        project = cls(folder)
        project.set(**SMALL)
        return project

    def copy_to(self, folder: Path) -> Project:
        return Project(Path(shutil.copytree(self.folder, folder, symlinks=True)))

    def set(self, **sections: Mapping[str, Any]) -> None:
        """Change keys of params.yaml: project.set(train={"num_epochs": 3})."""
        params = yaml.safe_load(self.params.read_text())
        for section, values in sections.items():
            params[section].update(values)
        self.params.write_text(yaml.safe_dump(params, sort_keys=False))

    def environment(self, **more: str) -> dict[str, str]:
        """This interpreter first on the path, as in an activated environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command here."""
        everything = self.environment(**environment)
        return subprocess.run(command, cwd=self.folder, env=everything, capture_output=True, text=True, check=False)

    def repro(self) -> list[str]:
        """`dvc repro`; the stages that were run, not those restored or skipped."""
        result = self.run("dvc", "repro")
        assert result.returncode == 0, result.stdout + result.stderr
        return [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]

    def commit(self) -> None:
        """Commit everything that is not ignored."""
        for command in (["add", "--all"], ["commit", "--quiet", "--message", "as it is"]):
            assert self.run("git", *command).returncode == 0


def run_here(*stages: str) -> None:
    """Run stages in the current folder, in this process: without DVC, and without importing everything again."""
    for name in stages:
        importlib.import_module(f"stages.{name}").main()


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


def new_project(folder: Path) -> Project:
    """A small project with code, git and DVC, in which nothing was run."""
    copy_code(folder)
    small = Project(folder)
    small.set(**SMALL)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (small.data / "metrics.json").unlink(missing_ok=True)
    assert small.run("git", "init", "--quiet").returncode == 0
    small.commit()
    return small


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A small project, without DVC, in which nothing was run; the current folder."""
    return _here(Project.small(tmp_path / "project"), monkeypatch)


@pytest.fixture
def results(simulated: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A small project, without DVC, whose stages have run; the current folder."""
    return _here(simulated.copy_to(tmp_path / "results"), monkeypatch)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What `results` is a copy of. Not to be changed."""
    small = Project.small(tmp_path_factory.mktemp("simulated") / "project")
    with contextlib.chdir(small.folder):
        run_here(*STAGES)
    return small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project whose pipeline was run by DVC, and committed. Not to be changed: copy it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers: one makes it, the others wait
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (shared / "finished" / "committed").exists():
            return Project(shared / "finished" / "project")
        shutil.rmtree(shared / "finished", ignore_errors=True)  # what a failed attempt has left
        small = new_project(shared / "finished" / "project")
        assert small.repro() == [*STAGES]
        small.commit()
        (shared / "finished" / "committed").touch()
        return small


@pytest.fixture
def copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of `finished` that may be changed."""
    return finished.copy_to(tmp_path / "copy")


def _here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.folder)
    return project


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call a command's main that must refuse its input, with this exit status; gives the one line it reports."""
    from stages.files.errors import run

    def call(main: Callable[[], None], status: int = 1) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(main)
        assert stop.value.code == status
        [message] = capsys.readouterr().err.splitlines()
        assert message.startswith("error: ")
        return str(message)

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
    return copied
