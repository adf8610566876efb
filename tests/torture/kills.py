"""Kills at random moments of `dvc repro`, of simulation and study: the rerun ends where an uninterrupted run ends.

`python -m tests.torture.kills 400` kills so many times, half of them by SIGKILL. After each kill the same command
starts again, and is killed again; every tenth time it may end, and its locks are compared with the uninterrupted run's.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import yaml

from tests.conftest import SMALL, Project, new_project

COMMAND = ["sh", "-c", "python -m comparisons.unlock && exec dvc repro dvc.yaml studies/rat/dvc.yaml"]  # make repro
KEPT = ("dvc.lock", "studies/rat/dvc.lock", "studies/rat/trials.csv")  # to the last byte
ROWS = 1200  # of the study's trials
IN_A_ROW = 10
KILLS = {  # whom, by what
    "SIGKILL of the stage": ("stage", signal.SIGKILL),
    "SIGKILL of DVC": ("dvc", signal.SIGKILL),
    "SIGKILL of all": ("group", signal.SIGKILL),
    "SIGINT of all": ("group", signal.SIGINT),
    "SIGTERM of DVC": ("dvc", signal.SIGTERM),
    "SIGTERM of all": ("group", signal.SIGTERM),
}


def prepared(folder: Path) -> Project:
    """A small project in which nothing was run."""
    project, study = new_project(folder), folder / "studies/rat"
    project.set(train={**SMALL["train"], "num_epochs": 20})
    trials = (study / "trials.csv").read_text().splitlines(keepends=True)
    (study / "trials.csv").write_text("".join(trials[:ROWS]))
    params = yaml.safe_load((study / "params.yaml").read_text())
    params["prepare"]["formula"] = "choice ~ tone_a + tone_b + lag(choice, 1)"
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    return project


def forget(project: Project) -> None:
    """Nothing was run: no locks, no cache of runs."""
    for lock in KEPT[:2]:
        (project.folder / lock).unlink(missing_ok=True)
    shutil.rmtree(project.folder / ".dvc/cache/runs", ignore_errors=True)


def complete(project: Project) -> list[bytes]:
    """Run to the end; the files that must be the same every time. Raises RuntimeError."""
    done = project.run(*COMMAND)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    return [(project.folder / name).read_bytes() for name in KEPT]


def kill(project: Project, whom: str, number: int, after: float) -> bool:
    """Start, and kill after so many seconds, unless it has ended."""
    quiet, there = subprocess.DEVNULL, project.environment()
    command = {"cwd": project.folder, "env": there, "stdout": quiet, "stderr": quiet, "start_new_session": True}
    with subprocess.Popen(COMMAND, **command) as running:  # type: ignore[call-overload]
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(after)
        while running.poll() is None:
            stages = stages_below(running.pid)
            if stages or whom != "stage":
                with contextlib.suppress(ProcessLookupError):
                    (os.killpg if whom == "group" else os.kill)(stages[0] if whom == "stage" else running.pid, number)
                try:
                    running.wait(30)
                except subprocess.TimeoutExpired:  # what heeds no signal is killed, as a person would
                    os.killpg(running.pid, signal.SIGKILL)
                return True
            time.sleep(0.01)
    return False


def stages_below(pid: int) -> list[int]:
    """The processes of stages that DVC has started, but not their shells."""
    with contextlib.suppress(psutil.Error):
        below = [(child.pid, child.cmdline()) for child in psutil.Process(pid).children(recursive=True)]
        return [number for number, words in below if "-m" in words and words[-1].startswith("stages.")]
    return []


def main() -> None:
    count, kills, stream = int(sys.argv[1]) if len(sys.argv) > 1 else 400, 0, random.Random(0)
    effective, failures = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        project, start = prepared(Path(name) / "project"), time.monotonic()
        forget(project)
        expected, seconds = complete(project), time.monotonic() - start
        while kills < count:
            forget(project)
            for _ in range(min(IN_A_ROW, count - kills)):
                what = [*KILLS][kills % len(KILLS)]
                if kill(project, *KILLS[what], after=stream.uniform(0, 2 * seconds / IN_A_ROW)):
                    effective[what] += 1
                else:
                    forget(project)  # it was too fast; from the beginning
                kills += 1
            try:
                after = complete(project)
                failures += [f"{file} differs" for file, a, b in zip(KEPT, after, expected, strict=True) if a != b]
            except RuntimeError as error:
                failures.append(str(error))
            print(f"{kills} kills, effective: {dict(effective)}, failures: {failures}", flush=True)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
