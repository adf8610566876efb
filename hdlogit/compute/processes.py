"""One fit by several processes: each has rows of the trials, and sums over trials are summed over processes.

Started by `torchrun`, processes find one another through its environment variables; started alone, a process is
number 0 of 1 and every sum here returns at once. Sums go through gloo on the CPU and nccl on CUDA. A sum that does not
come about within TRAIN_TIMEOUT seconds (600), because a process died or hangs, raises Lost in all the others.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from stages.errors import InputError

Value = TypeVar("Value")

LAUNCHER, TIMEOUT, SUPERVISOR = "TRAIN_LAUNCHER", "TRAIN_TIMEOUT", "TRAIN_SUPERVISOR"


class Lost(RuntimeError):  # noqa: N818  # a finding about the others
    """Another process died or hangs."""


# -------------------------------------------------------------------------------------------------- starting them


def launched() -> bool:
    """Whether a launcher such as torchrun has started this process."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


def launch(launcher: str, module: str) -> None:
    """Run `LAUNCHER -m MODULE` and wait for it; it ends if this process, or its parent, ends first."""
    command, parent = [*shlex.split(launcher), "-m", module], os.getppid()
    environment = {"OMP_NUM_THREADS": "1", **os.environ, SUPERVISOR: str(os.getpid())}  # torchrun's own choice, unsaid
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        running = subprocess.Popen(command, env=environment)
        try:
            while _still(running):
                if os.getppid() != parent:
                    raise InputError("DVC was killed while train ran; this run has written nothing")
        finally:
            _end(running)
    except FileNotFoundError as error:
        raise InputError(f"{LAUNCHER} = {launcher!r}: {error}; it must be a command such as torchrun") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    if running.returncode:
        raise InputError(
            f"train: a process that {launcher!r} started failed (exit status {running.returncode}, the reason stands "
            "above); no model was written"
        )


def _still(running: subprocess.Popen[bytes]) -> bool:
    try:
        running.wait(0.5)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(running: subprocess.Popen[bytes]) -> None:
    """Torchrun passes SIGTERM on to its processes, and kills those that do not heed it within 30 seconds."""
    running.terminate()
    try:
        running.wait(60)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Within this, the processes that a launcher has started are one."""
    if not launched() or os.environ.get("WORLD_SIZE") == "1":
        yield
        return
    seconds = os.environ.get(TIMEOUT, "600")
    if not seconds.isdecimal() or int(seconds) < 1:
        raise InputError(f"{TIMEOUT} = {seconds!r} must be a whole number of seconds, at least 1")
    with _losing():
        backends = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # or nccl would abort this process where a sum fails
        distributed.init_process_group(backends, timeout=timedelta(seconds=int(seconds)))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """On CUDA, each process of a machine has a device of its own."""
    if device.type != "cuda":
        return device
    number, available = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= available:
        raise InputError(f"process {number} of this machine has no CUDA device, there are {available}; start no more")
    return torch.device("cuda", number)


@contextmanager
def _losing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that torch says of a peer that is gone, or of a timeout
        silent = "timed out" in str(error).lower()
        reason = f"hangs: no answer within {os.environ.get(TIMEOUT, '600')} seconds" if silent else "died"
        raise Lost(f"process {os.environ['RANK']} says that another one {reason}") from None


# -------------------------------------------------------------------------------------------------------- sharing


def joined() -> bool:
    """Whether this process is one of several that fit together."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """This process's number, from 0; 0 alone reports and writes."""
    return distributed.get_rank() if joined() else 0


def count() -> int:
    """How many processes fit together."""
    return distributed.get_world_size() if joined() else 1


def share(n_trials: int) -> slice:
    """The rows of this process: consecutive, and as many as the others' but for one."""
    k, n = rank(), count()
    return slice(n_trials * k // n, n_trials * (k + 1) // n)


def total(*sums: Tensor) -> None:
    """Replace each of these by its sum over processes, in one message."""
    if not joined():
        return
    packed = sums[0] if len(sums) == 1 else torch.cat([s.reshape(-1) for s in sums])
    with _losing():
        distributed.all_reduce(packed)
    start = 0
    for s in sums if len(sums) > 1 else ():
        s.copy_(packed[start : start + s.numel()].view_as(s))
        start += s.numel()


def largest(values: Tensor) -> None:
    """Replace these by their maxima over processes."""
    if joined():
        with _losing():
            distributed.all_reduce(values, distributed.ReduceOp.MAX)


def tell(*command: object) -> None:
    """From process 0 to the others, who `hear` it: what to do next, or nothing more."""
    if joined():
        _broadcast(command)


def hear() -> Any:
    """What process 0 tells."""
    return _broadcast(None)


def same(value: Value) -> Value:
    """What process 0 has, in all."""
    return _broadcast(value) if joined() else value


def _broadcast(value: Any) -> Any:
    box = [value]
    with _losing():
        distributed.broadcast_object_list(box, 0, device=torch.device("cpu"))
    return box[0]
