"""The pipeline elsewhere: without git, by another user, in strange folders and locales; everywhere with the same lock.

`python -m tests.torture.environments` takes some minutes, and ends with counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, STAGES, Project, new_project

NOBODY = 65534
MERE_USER = (  # who may read whatever there is, as Python may be root's, and write what is his own
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    *(f"--{which}=-all,+dac_read_search" for which in ("bounding-set", "inh-caps", "ambient-caps")),
)
STUDY = "studies/mine"
FORBIDDEN = "error: [Errno 13] Permission denied: 'data/.partial'\n"


def run(project: Project, *command: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command there; variables that are None are unset."""
    everything = {**project.environment(), **environment}
    there = {name: value for name, value in everything.items() if value is not None}
    return subprocess.run(command, cwd=project.folder, env=there, capture_output=True, text=True, check=False)


def repro(project: Project, *before: str, **environment: str | None) -> None:
    """All stages run, and nothing is complained of."""
    done = run(project, *before, "dvc", "repro", **environment)
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert (done.returncode, ran) == (0, [*STAGES]), done.stdout + done.stderr


def without_git(project: Project) -> None:
    """What `make repro` does, and `make study`."""
    shutil.rmtree(project.folder / ".git")
    assert "core.no_scm" in run(project, "python", "-m", "comparisons.unlock").stdout
    repro(project)
    study(project)


def study(project: Project, *before: str) -> None:
    """A study is made of own trials and run, and they stay as they are."""
    trials = project.folder / "mine.csv"
    trials.write_text("".join((ROOT / "studies/rat/trials.csv").read_text().splitlines(keepends=True)[:600]))
    formula = "~ tone_a + tone_b"
    options = ["--name", Path(STUDY).name, "--response", "choice=right", "--formula", formula]
    made = run(project, *before, "python", "-m", "stages.study", "mine.csv", *options)
    assert made.returncode == 0, made.stdout + made.stderr
    assert (project.folder / STUDY / "data/report.html").exists()
    assert (project.folder / STUDY / "mine.csv").read_bytes() == trials.read_bytes()


def by_a_mere_user(project: Project) -> None:
    give(project)
    repro(project, *MERE_USER)
    study(project, *MERE_USER)
    owners = {path.stat().st_uid for path in (project.folder / STUDY).rglob("*")}
    assert owners == {NOBODY}, owners


def give(project: Project) -> None:
    """Make the mere user its owner."""
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def in_a_read_only_folder(project: Project) -> None:
    """One line, and nothing written; with write permission the same command goes on."""
    give(project)
    project.data.chmod(0o555)
    refused = run(project, *MERE_USER, "python", "-m", "stages.simulate")
    assert (refused.returncode, refused.stderr) == (1, FORBIDDEN), refused.stderr
    assert run(project, *MERE_USER, "dvc", "repro").returncode != 0
    project.data.chmod(0o755)
    repro(project, *MERE_USER)


def offline(project: Project) -> None:
    """A second run, which has nothing to do, and a third one from the cache."""
    repro(project)
    shutil.rmtree(project.data)
    for _ in range(2):
        done = run(project, "unshare", "--net", "dvc", "repro")
        assert done.returncode == 0, done.stderr
        assert "Running stage" not in done.stdout, done.stdout


def with_variables(**environment: str | None) -> Callable[[Project], None]:
    return lambda project: repro(project, **environment)


TRIED: dict[str, Callable[[Project], None]] = {
    "a tarball without git, and a study": without_git,
    "a user who is not root, and a study": by_a_mere_user,
    "data/ that is read-only": in_a_read_only_folder,
    "umask 077": lambda project: repro(project, "sh", "-c", 'umask 077; exec "$@"', "sh"),
    "LANG=C": with_variables(LANG="C", LC_ALL="C", LC_CTYPE=None),
    "HOME unset": with_variables(HOME=None),
    "python -OO": with_variables(PYTHONOPTIMIZE="2"),
    "OMP_NUM_THREADS=64": with_variables(OMP_NUM_THREADS="64", OPENBLAS_NUM_THREADS="64", MKL_NUM_THREADS="64"),
    "offline, a second run": offline,
}
AS_ROOT = {"a user who is not root, and a study", "data/ that is read-only", "offline, a second run"}


def main() -> None:
    lock, failed, left_out = b"", 0, 0
    with tempfile.TemporaryDirectory(prefix="environments-") as name:
        Path(name).chmod(0o755)  # also for a user who is not root
        pristine = new_project(Path(name) / "pristine")
        for number, (what, attempt) in enumerate(TRIED.items()):
            if what in AS_ROOT and os.getuid() != 0:
                left_out += 1
                print(f"left out: {what} (it takes root)", flush=True)
                continue
            project = pristine.copy_to(Path(name) / f"{number} mit Leerzeichen, „Ümläuten“ & 'Zeichen'")
            try:
                attempt(project)
                lock = lock or (project.folder / "dvc.lock").read_bytes()
                assert (project.folder / "dvc.lock").read_bytes() == lock, "another lock than elsewhere"
                print(f"passed: {what}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"failed: {what}: {error}", flush=True)
            shutil.rmtree(project.folder)
    print(f"{len(TRIED)} environments, in folders with spaces and umlauts: {failed} failed, {left_out} left out")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
