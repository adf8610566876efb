"""One stage in several processes, each of which runs the whole script.

On one machine TRAIN_PROCESSES=2 starts them: they find one another by a file and talk through the loopback interface,
which no other machine reaches. On several machines torchrun's environment variables (RANK, WORLD_SIZE, MASTER_ADDR,
...) connect them; its ports accept any connection, see docs/performance.md. None of these is a parameter: they make
nothing out of date.
If a process dies, or gives no answer for TRAIN_TIMEOUT seconds (600), all end; they also end with their parent.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from hdlogit.compute.processes import ALONE, ProcessGroup, ProcessLost, connected
from stages.errors import InputError

PROCESSES, TIMEOUT, RENDEZVOUS = "TRAIN_PROCESSES", "TRAIN_TIMEOUT", "TRAIN_RENDEZVOUS"
LOST = 75  # exit status of a process that lost another one
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(module: str) -> bool:
    """Run `python -m MODULE` in TRAIN_PROCESSES processes and wait for them; False where none are asked for.

    The first one prints; of the others only a last line is shown, and only if the first printed nothing.
    """
    count = _whole_number(PROCESSES, 1)
    if count == 1 or "RANK" in os.environ:
        return False
    if count > 1024:
        raise InputError(f"{PROCESSES} = {count}: at most one process per core makes sense")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with tempfile.TemporaryDirectory(prefix="train-", ignore_cleanup_errors=True) as folder, ExitStack() as files:
        errors = [files.enter_context(tempfile.TemporaryFile()) for _ in range(1, count)]
        running: list[subprocess.Popen[bytes]] = []
        try:
            for rank, where in enumerate([None, *errors]):
                running.append(_started(module, rank, count, Path(folder, "rendezvous"), where))
            status = _wait(running)
        finally:
            for process in running:
                process.kill()  # a stopped process reacts to nothing else
                process.wait()
        printed = [_text(file).splitlines() for file in errors]
    if status:
        _report(running, status, [lines[-1] for lines in printed if lines])
    return True


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _started(module: str, rank: int, count: int, rendezvous: Path, errors: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """The process of this rank; the output of all but the first is not shown, and their errors go to a file."""
    threads = max(1, (os.cpu_count() or 1) // count)
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "GLOO_SOCKET_IFNAME": "lo",
        RENDEZVOUS: f"file://{rendezvous}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module],
        env=environment,
        stdout=None if errors is None else subprocess.DEVNULL,
        stderr=errors,
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    """Be killed when the parent ends, however it ends (Linux; elsewhere TRAIN_TIMEOUT does it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(running: list[subprocess.Popen[bytes]]) -> int:
    """Wait until all have ended or one has failed; return its status (LOST only if no other shows within a second)."""
    parent, failed = os.getppid(), 0.0
    while any(process.poll() is None for process in running):
        status = [process.returncode for process in running if process.returncode]
        failed = failed or (time.monotonic() if status else 0.0)
        if any(s != LOST for s in status) or (failed and time.monotonic() > failed + 1):
            break
        if os.getppid() != parent:
            raise InputError("the process that started this one was killed; this run has written nothing")
        time.sleep(0.05)
    status = [process.returncode for process in running if process.returncode]
    return next((s for s in status if s != LOST), status[0] if status else 0)


def _report(running: list[subprocess.Popen[bytes]], status: int, last_lines: list[str]) -> None:
    if status == LOST:
        seconds = os.environ.get(TIMEOUT, "600")
        raise InputError(f"a training process hangs: no answer within {seconds} seconds; no model was written")
    if status < 0:
        raise InputError(f"a training process was killed by signal {-status}; no model was written")
    if running[0].returncode == status:
        sys.exit(status)  # it has reported why
    raise InputError(f"a training process failed (exit status {status}): {' '.join(last_lines[:1])}")


@contextmanager
def processes() -> Iterator[ProcessGroup]:
    """Within this, the processes that `start` or torchrun has started are connected; a process alone is ALONE."""
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    rendezvous = os.environ.get(RENDEZVOUS, "env://")
    if RENDEZVOUS not in os.environ:
        _end_with_parent()  # torchrun's agent does not do so
    try:
        with connected(rank, size, rendezvous, _whole_number(TIMEOUT, 600)) as group:
            _remove(rendezvous, group)
            yield group
    except ProcessLost as lost:
        if RENDEZVOUS in os.environ:
            sys.stdout.flush()
            os._exit(LOST)  # the parent reports it; gloo's threads may hang on the way out
        raise InputError(f"process {rank} says: {lost}; no model was written") from None


def _remove(rendezvous: str, group: ProcessGroup) -> None:
    """Remove the folder in which all have met: if the process that started them is killed, no other would do so."""
    if rendezvous.startswith("file://"):
        from torch import ones

        group.all_reduce_sum(ones(1))  # wait until all have met
        if group.is_writer:
            shutil.rmtree(Path(rendezvous.removeprefix("file://")).parent, ignore_errors=True)


def _whole_number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal() or int(value) < 1:
        raise InputError(f"{name} = {value!r} must be a whole number, at least 1")
    return int(value)


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)
