"""Kills at random moments of `dvc repro`, of simulation and study: the rerun ends where an uninterrupted run ends.

`python -m tests.torture.kills 400` kills so many times, half of them by SIGKILL, and ends with counts. After each kill
the same command starts again, and is killed again; every tenth time it may end, and its locks are compared with the
uninterrupted run's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.conftest import SMALL, Project, new_project

COMMAND = "python -m comparisons.unlock && exec dvc repro dvc.yaml studies/rat/dvc.yaml"  # as make repro does
STUDY = Path("studies/rat")
LOCKS = (Path("dvc.lock"), STUDY / "dvc.lock")
ROWS = 1200  # of the study's trials
IN_A_ROW = 10

# whom, by what
KILLS = {
    "SIGKILL of the stage": ("stage", signal.SIGKILL),
    "SIGKILL of DVC": ("dvc", signal.SIGKILL),
    "SIGKILL of all": ("group", signal.SIGKILL),
    "SIGINT of all": ("group", signal.SIGINT),
    "SIGTERM of DVC": ("dvc", signal.SIGTERM),
    "SIGTERM of all": ("group", signal.SIGTERM),
}


@dataclass
class Soak:
    """A project, the random moments, and what came of them."""

    project: Project
    stream: random.Random
    seconds: float = 0.0  # of an uninterrupted run
    effective: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    locks: list[bytes] = field(default_factory=list)
    trials: str = ""

    @classmethod
    def prepared(cls, folder: Path) -> Soak:
        """With the locks of an uninterrupted run."""
        project = new_project(folder)
        project.set(train={**SMALL["train"], "num_epochs": 20})
        trials = folder / STUDY / "trials.csv"
        trials.write_text("".join(trials.read_text().splitlines(keepends=True)[:ROWS]))
        params = yaml.safe_load((folder / STUDY / "params.yaml").read_text())
        params["prepare"]["formula"] = "choice ~ tone_a + tone_b + lag(choice, 1)"
        (folder / STUDY / "params.yaml").write_text(yaml.safe_dump(params))
        (folder / STUDY / "dvc.lock").unlink()
        soak = cls(project, random.Random(0), trials=digest(trials))
        start = time.monotonic()
        soak.complete()
        soak.seconds = time.monotonic() - start
        soak.locks = [(folder / lock).read_bytes() for lock in LOCKS]
        return soak

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", COMMAND],
            cwd=self.project.folder,
            env=self.project.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def complete(self) -> None:
        """Run to the end."""
        done = self.project.run("sh", "-c", COMMAND)
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}: {(done.stdout + done.stderr)[-600:]}")

    def forget(self) -> None:
        """Nothing was run: no locks, no outputs, no cache of runs."""
        for lock in LOCKS:
            (self.project.folder / lock).unlink(missing_ok=True)
        shutil.rmtree(self.project.folder / ".dvc/cache/runs", ignore_errors=True)

    def kill(self, what: str) -> None:
        """Start, and kill at a random moment."""
        whom, number = KILLS[what]
        running = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(self.stream.uniform(0, 2 * self.seconds / IN_A_ROW))
        while not (stage := stages_of(running.pid)) and whom == "stage" and running.poll() is None:
            time.sleep(0.01)
        if running.poll() is not None:
            self.forget()  # it was too fast; from the beginning
            return
        self.effective[what] += 1
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whom == "group" else os.kill)(stage[0] if whom == "stage" else running.pid, number)
        end(running)

    def check(self) -> None:
        """Run to the end; whatever is not as it would be without kills is a failure."""
        try:
            self.complete()
        except RuntimeError as error:
            self.failures.append(str(error))
            return
        folder = self.project.folder
        found = [(folder / lock).read_bytes() for lock in LOCKS]
        self.failures += [f"{lock} differs" for lock, a, b in zip(LOCKS, found, self.locks, strict=True) if a != b]
        if digest(folder / STUDY / "trials.csv") != self.trials:
            self.failures.append("the trials are changed")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stages_of(parent: int) -> list[int]:
    """The processes of stages below a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            found += [int(child)] if b"\0-m\0stages." in command and b"sh" not in command.split(b"\0")[0] else []
            found += stages_of(int(child))
    return found


def end(running: subprocess.Popen[bytes]) -> None:
    """Wait until it has ended; what heeds no signal for a while is killed, as a person would."""
    try:
        running.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    deadline = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else float("inf"))  # seconds
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        soak = Soak.prepared(Path(name) / "project")
        print(f"an uninterrupted run takes {soak.seconds:.1f} s", flush=True)
        kills = 0
        while kills < count and time.monotonic() < deadline:
            soak.forget()
            for _ in range(min(IN_A_ROW, count - kills)):
                soak.kill([*KILLS][kills % len(KILLS)])
                kills += 1
            soak.check()
            print(f"{kills} kills, {soak.effective.total()} effective, failures: {soak.failures}", flush=True)
    print(
        f"n = {kills}, effective n = {soak.effective.total()} ({dict(soak.effective)}), {len(soak.failures)} failures"
    )
    sys.exit(bool(soak.failures))


if __name__ == "__main__":
    main()
