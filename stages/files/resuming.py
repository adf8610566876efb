"""The state of a stopped run, kept beside its outputs, which DVC removes before it starts a stage again."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputError
from stages.files import DATA
from stages.files.writing import orphaned

State = Mapping[str, NDArray[Any]]


class Unfinished:
    """A run of minutes that was killed goes on from its last state.

    A state is used only by a run with the same parameters, code, libraries and training trials; that of another run
    is left alone until this run saves its own.

    unfinished = Unfinished("train", asked, code=[...])
    state = unfinished.state()                  # arrays, or None
    unfinished.offer(lambda: {...})             # now and then; saved at most every UNFINISHED_SECONDS (30)
    unfinished.done()
    """

    def __init__(self, stage: str, asked: object, code: list[Path]) -> None:
        """asked: everything besides the trials and the `code` (files) that determines the run's outputs."""
        self._path = DATA / ".unfinished" / f"{stage}.npz"
        seconds = os.environ.get("UNFINISHED_SECONDS", "30")
        if not seconds.replace(".", "", 1).isdecimal():
            raise InputError(f"UNFINISHED_SECONDS = {seconds!r} must be a number of seconds, at least 0")
        self._seconds = float(seconds)
        self._last, self._parent = time.monotonic(), os.getppid()
        self._code, self._data = _digest(asked, code), _files()

    def state(self) -> dict[str, NDArray[Any]] | None:
        """What an earlier run of the same kind has left, if there is one."""
        if not self._path.is_file():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as file:
                state = dict(file)
            mine = str(state.pop("run")) == self._run
        except (OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, BadZipFile):  # all from zipfile
            self._say(f"{self._path} is truncated or of another version: left aside, starting from the beginning")
            return None
        if not mine:
            self._say(f"{self._path} is of other data, parameters or code: left aside, starting from the beginning")
            return None
        return state

    def offer(self, state: Callable[[], State]) -> None:
        """Save what `state` returns, if it is time."""
        if time.monotonic() - self._last < self._seconds:
            return
        if orphaned(self._parent) or not self._run:
            return  # an orphan, or a run whose data have changed meanwhile: its state is useless
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, run=np.array(self._run), **dict(state()))  # type: ignore[arg-type]  # it allows a bool, too
        partial.replace(self._path)
        self._last = time.monotonic()

    def done(self) -> None:
        """The run has ended well: its state is no longer needed."""
        self._path.unlink(missing_ok=True)

    def _say(self, line: str) -> None:
        print(line, flush=True)

    @functools.cached_property
    def _run(self) -> str:
        """A digest of all that determines the run's outputs; empty if the data are no longer those it began with.

        The data are read only if there is a state to compare or to save, so not in a short run.
        """
        digest = self._code.copy()
        for name in self._data:
            with (DATA / "train" / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest() if _files() == self._data else ""


def _digest(asked: object, code: list[Path]) -> hashlib._Hash:
    versions = [platform.python_version(), *(importlib.metadata.version(name) for name in ("numpy", "torch"))]
    digest = hashlib.sha256(repr((asked, versions)).encode())
    for path in sorted(code):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest


def _files() -> dict[str, tuple[int, ...]]:
    """What the file system reports on the training trials."""
    stats = {name: (DATA / "train" / name).stat() for name in ("factors.npy", "responses.npy")}
    return {name: (s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}
