"""The pipeline elsewhere: without git, by another user, in strange folders and locales; everywhere with the same lock.

`python -m tests.torture.environments`, as root, takes some minutes.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, STAGES, Project, new_project

NOBODY = 65534
MERE_USER = (  # who may read whatever there is, as Python may be root's, and write what is his own
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--{which}=-all,+dac_read_search" for which in ("bounding-set", "inh-caps", "ambient-caps")),
)
FORBIDDEN = "error: [Errno 13] Permission denied: 'data/.partial'\n"


def repro(project: Project, *before: str, **environment: str) -> None:
    """All stages run, and nothing is complained of."""
    done = project.run(*before, "dvc", "repro", **environment)
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert (done.returncode, ran) == (0, [*STAGES]), done.stdout + done.stderr


def study(project: Project, *before: str) -> None:
    """A study is made of own trials and run, and they stay as they are."""
    trials, made = project.folder / "mine.csv", project.folder / "studies/mine"
    trials.write_text("".join((ROOT / "studies/rat/trials.csv").read_text().splitlines(keepends=True)[:600]))
    options = ["--name", "mine", "--response", "choice=right", "--formula", "~ tone_a + tone_b"]
    done = project.run(*before, "python", "-m", "stages.study", "mine.csv", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (made / "data/report.html").exists()
    assert (made / "mine.csv").read_bytes() == trials.read_bytes()


def without_git(project: Project) -> None:
    """What `make repro` does, and `make study`."""
    shutil.rmtree(project.folder / ".git")
    assert "core.no_scm" in project.run("python", "-m", "comparisons.unlock").stdout
    repro(project)
    study(project)


def by_a_mere_user(project: Project) -> None:
    """In a folder that cannot be written one line, and nothing written; else all of it is his."""
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    project.data.chmod(0o555)
    refused = project.run(*MERE_USER, "python", "-m", "stages.simulate")
    assert (refused.returncode, refused.stderr) == (1, FORBIDDEN), refused.stderr
    assert project.run(*MERE_USER, "dvc", "repro").returncode != 0
    project.data.chmod(0o755)
    repro(project, *MERE_USER)
    study(project, *MERE_USER)
    assert {path.stat().st_uid for path in (project.folder / "studies/mine").rglob("*")} == {NOBODY}


def offline(project: Project) -> None:
    """A second run, which has nothing to do, and a third one from the cache."""
    repro(project)
    shutil.rmtree(project.data)
    for _ in range(2):
        done = project.run("unshare", "--net", "dvc", "repro")
        assert done.returncode == 0, done.stderr
        assert "Running stage" not in done.stdout, done.stdout


def under(*before: str) -> Callable[[Project], None]:
    return lambda project: repro(project, *before)


TRIED: dict[str, Callable[[Project], None]] = {
    "a tarball without git, and a study": without_git,
    "a user who is not root, and a study": by_a_mere_user,
    "offline, a second run": offline,
    "umask 077": under("sh", "-c", 'umask 077; exec "$@"', "sh"),
    "LANG=C": under("env", "LANG=C", "LC_ALL=C"),
    "HOME unset": under("env", "-u", "HOME"),
    "OMP_NUM_THREADS=64": under("env", "OMP_NUM_THREADS=64", "OPENBLAS_NUM_THREADS=64", "MKL_NUM_THREADS=64"),
}


def main() -> None:
    lock, failed = b"", 0
    with tempfile.TemporaryDirectory(prefix="environments-") as name:
        Path(name).chmod(0o755)  # also for a user who is not root
        pristine = new_project(Path(name) / "pristine")
        for number, (what, attempt) in enumerate(TRIED.items()):
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
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
