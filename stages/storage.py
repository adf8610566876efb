"""Where the pipeline's files lie, and how they are read, checked and written; no other module opens one.

    observer.npy                           true coefficients (n_factors + 1, n_classes); absent where no truth is known
    train/, test/: factors.npy             (n_trials, n_factors) float64 or float32
                   responses.npy           (n_trials, n_classes) bool
    model.safetensors, checkpoints/*       weight (n_classes, n_factors), bias (n_classes,)
    loss.csv, metrics.json, *.csv          tables, numbers
    figures/*.png

A stage writes into a folder of its own under data/.partial/ and renames whole outputs into place at its end, so a stage
that dies leaves nothing that looks whole. A stage that starts removes what earlier runs of it left there, and a stage
whose DVC was killed renames nothing: so the orphan cannot write over what a rerun has made or restored.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib.metadata
import io
import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages.errors import InputError

Floats = NDArray[np.floating]

DATA = Path("data")
FLOATS = (np.float64, np.float32)
SIGNIFICANT_DIGITS = 6  # another processor changes the last bits of a fit; what git tracks must not change with them


@dataclass(frozen=True)
class Trials:
    """Memory-mapped stimuli and responses of one split, copy-on-write."""

    factors: Floats  # (n_trials, n_factors)
    responses: NDArray[np.bool_]  # (n_trials, n_classes)


@dataclass(frozen=True)
class Model:
    """Fitted coefficients in the observer's layout, and what the solver reported."""

    coefficients: Floats  # (n_factors + 1, n_classes), last row = bias
    evidence: dict[str, Any]


# ---------------------------------------------------------------------------------------------------------- reading


def read_trials(split: str) -> Trials:
    """The trials of `split`, "train" or "test"; raises InputError if they are not whole or do not fit together."""
    factors = _read_array(DATA / split / "factors.npy", FLOATS)
    responses = _read_array(DATA / split / "responses.npy", (np.bool_,))
    if len(factors) != len(responses):
        raise InputError(
            f"{DATA / split}: factors.npy has {len(factors)} trials but responses.npy has {len(responses)}; "
            "both need one row per trial"
        )
    return Trials(factors, responses)


def read_observer() -> Floats | None:
    """True coefficients (n_factors + 1, n_classes), or None where no truth is known."""
    path = DATA / "observer.npy"
    return _finite(path, _read_array(path, FLOATS)) if path.exists() else None


def read_model() -> Model:
    """The fitted model."""
    return _read_model(DATA / "model.safetensors")


def read_checkpoints(epochs: list[int]) -> dict[int, Floats]:
    """Coefficients (n_factors + 1, n_classes) of these epochs, in their order."""
    return {epoch: _read_model(DATA / checkpoint_name(epoch)).coefficients for epoch in epochs}


def checkpoint_name(epoch: int) -> str:
    """The output that holds the coefficients after `epoch`."""
    return f"checkpoints/epoch-{epoch:06d}.safetensors"


def read_table(name: str, *numbers: str) -> dict[str, list[Any]]:
    """A CSV file as columns. Those named in `numbers` must be there; every cell that is a number becomes a float."""
    path = DATA / name
    try:
        text = path.read_text(encoding="utf-8")
        header, *rows = csv.reader(io.StringIO(text))
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, csv.Error):
        raise InputError(f"{path} is not a CSV table with a header") from None
    if not text.endswith("\n"):
        raise InputError(f"{path} is truncated: its last line has no end; `dvc repro` makes it")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: {len(row)} values where the header names {len(header)}")
    if not rows or not set(numbers) <= set(header):
        raise InputError(f"{path} must be a table with the columns {', '.join(numbers)}; `dvc repro` makes it")
    table = {key: [_number(row[index]) for row in rows] for index, key in enumerate(header)}
    for key in numbers:
        for number, value in enumerate(table[key], start=2):
            if not isinstance(value, float) or not math.isfinite(value):
                raise InputError(f"{path}, line {number}: {key} is {value!r}; it must be a number")
    return table


def read_metrics(*required: str) -> dict[str, Any]:
    """metrics.json, in which the `required` ones ("test.cross_entropy") are numbers or null."""
    path = DATA / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    for name in required:
        value: Any = metrics
        for key in name.split("."):
            value = value.get(key, "") if isinstance(value, dict) else ""
        if not isinstance(value, int | float | None):
            raise InputError(f"{path} must hold the number {name}; `dvc repro` makes it")
    return metrics


def _read_array(path: Path, kinds: tuple[type[np.generic], ...]) -> NDArray[Any]:
    """A memory-mapped array with two dimensions; copy-on-write, as torch does not view a read-only one in silence."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c")
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is truncated or not a .npy array: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive; it must be a .npy array")
    if array.dtype not in [np.dtype(kind) for kind in kinds] or array.ndim != 2 or 0 in array.shape:
        names = " or ".join(np.dtype(kind).name for kind in kinds)
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}; it must be {names}, 2-dimensional and not empty"
        )
    return array


def _read_model(path: Path) -> Model:
    try:
        with safe_open(path, framework="numpy") as file:
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
            evidence = dict(json.loads((file.metadata() or {})["evidence"]))
    except FileNotFoundError:
        raise _missing(path) from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is truncated or not a model of this pipeline: {error}") from None
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise InputError(
            f"{path}: weight {weight.shape} and bias {bias.shape} must be (n_classes, n_factors) and (n_classes,)"
        )
    return Model(_finite(path, np.vstack([weight.T, bias]).astype(np.float64)), evidence)


def _finite(path: Path, coefficients: Floats) -> Floats:
    if not np.isfinite(coefficients).all():
        raise InputError(f"{path} holds NaN or infinite coefficients; they must be finite")
    return coefficients


def _missing(path: Path) -> InputError:
    return InputError(f"{path} is missing; `dvc repro` makes it")


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


# ---------------------------------------------------------------------------------------------------------- writing


class Outputs:
    """The outputs of one run of a stage; nothing of them is seen in data/ before the run has ended well.

    with Outputs("train") as outputs:
        outputs.table("loss.csv", {"epoch": epochs, "loss": losses})
    """

    def __init__(self, stage: str, keep: bool = True) -> None:
        """keep: whether they are wanted; of several processes one keeps, and the others write for nobody."""
        self._stage, self._keep = stage, keep
        self._folder = DATA / ".partial"
        self._parent = os.getppid()

    def __enter__(self) -> Outputs:
        if self._keep:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left_over in self._folder.glob(f"{self._stage}-*"):
                shutil.rmtree(left_over, ignore_errors=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{self._stage}-", dir=self._folder if self._keep else None))
        (self._scratch / "outputs").mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
            elif issubclass(kind, FileNotFoundError) and not self._scratch.exists():
                raise self._taken_over() from None
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _commit(self) -> None:
        if not self._keep:
            return
        if _orphaned(self._parent):
            raise InputError(f"DVC was killed while {self._stage} ran; this run has written nothing")
        try:
            whole = sorted((self._scratch / "outputs").iterdir())
            for new in whole:  # first all old ones go, so that a run killed here leaves some missing, never a mixture
                if (DATA / new.name).exists():
                    (DATA / new.name).rename(self._scratch / f"old-{new.name}")
            for new in whole:
                new.rename(DATA / new.name)
        except FileNotFoundError:
            raise self._taken_over() from None

    def _taken_over(self) -> InputError:
        return InputError(f"another run of {self._stage} was started meanwhile; this one has written nothing")

    def path(self, name: str) -> Path:
        """Where to write the output `name`, relative to data/."""
        path = self._scratch / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def array(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """A new memory-mapped .npy file, to be filled in place."""
        return self._new_array(self.path(name), shape, dtype)

    def scratch_array(self, shape: tuple[int, ...]) -> Floats:
        """A float64 array on disk that goes with the run: as large as the trials, and no anonymous memory."""
        path = Path(tempfile.mkstemp(suffix=".npy", dir=self._scratch)[1])
        return self._new_array(path, shape, np.float64)

    def _new_array(self, path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        needed, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(self._scratch).free
        if needed > free:
            raise InputError(
                f"{DATA}: an array of shape {shape} needs {needed / 1e9:.3g} GB but {free / 1e9:.3g} GB are free; "
                "lower simulate.n_trials, n_test_trials or n_factors in params.yaml, or free some disk"
            )
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk is an OSError here, and a bus error once the file is mapped
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def model(self, name: str, weight: NDArray[Any], bias: NDArray[Any], **evidence: object) -> None:
        """`weight` (n_classes, n_factors), `bias` (n_classes,) and what the solver reports, as safetensors."""
        # One metadata entry: with several, their order, and so the file's hash, would change from run to run.
        metadata = {"evidence": json.dumps(evidence, sort_keys=True)}
        save_file({"weight": weight, "bias": bias}, self.path(name), metadata=metadata)

    def table(self, name: str, columns: Mapping[str, ArrayLike]) -> None:
        """A CSV file of equally long columns, numbers with SIGNIFICANT_DIGITS digits."""
        with self.path(name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in zip(*(_cells(column) for column in columns.values()), strict=True):
                writer.writerow(row)

    def text(self, name: str, line: str) -> None:
        """A file with one line for a person."""
        self.path(name).write_text(line + "\n", encoding="utf-8")

    def json(self, name: str, numbers: Mapping[str, Any]) -> None:
        """Nested numbers with SIGNIFICANT_DIGITS digits; None (undefined here) becomes null."""
        self.path(name).write_text(json.dumps(_rounded(numbers), indent=2) + "\n", encoding="utf-8")


def _orphaned(parent: int) -> bool:
    """Whether DVC, the `parent`, or the stage that launched this process has ended: a rerun may be under way."""
    if "DVC_STAGE" in os.environ and os.getppid() != parent:
        return True
    try:
        os.kill(int(os.environ.get("TRAIN_SUPERVISOR", os.getpid())), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # the number is another user's by now, or it may not be asked
        return False
    return False


class Unfinished:
    """The state of a stage's run, kept beside its outputs, which DVC removes before it starts a stage again.

    A run of minutes that is killed goes on from there. A state is taken up only by a run of the same parameters, code,
    libraries, data and number of processes; that of another run is left where it is until this run saves its own.

    unfinished = Unfinished("train", asked)
    state = unfinished.state()                  # arrays, or None
    unfinished.offer(lambda: {...})             # now and then; saved at most every UNFINISHED_SECONDS (30)
    unfinished.done()
    """

    def __init__(self, stage: str, asked: object, keep: bool = True) -> None:
        self._path, self._asked, self._keep = DATA / ".unfinished" / f"{stage}.npz", asked, keep
        seconds = os.environ.get("UNFINISHED_SECONDS", "30")
        if not seconds.replace(".", "", 1).isdecimal():
            raise InputError(f"UNFINISHED_SECONDS = {seconds!r} must be a number of seconds, at least 0")
        self._seconds = float(seconds)
        self._last, self._parent = time.monotonic(), os.getppid()
        self._code, self._data = self._digest_of_code(), self._files()

    def state(self) -> dict[str, NDArray[Any]] | None:
        """What an earlier run of the same kind has left, if there is one."""
        if not self._keep or not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as file:
                state = dict(file)
            mine = str(state.pop("run")) == self._run
        except (
            OSError,
            ValueError,
            EOFError,
            KeyError,
            TypeError,
            RuntimeError,
            BadZipFile,
        ):  # as zipfile and NumPy please
            print(f"{self._path} is truncated or of another version: left aside, starting from the beginning")
            return None
        if not mine:
            print(f"{self._path} is of other data, parameters or code: left aside, starting from the beginning")
            return None
        return state

    def offer(self, state: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        """Save what `state` returns, if it is time."""
        if not self._keep or time.monotonic() - self._last < self._seconds:
            return
        if _orphaned(self._parent) or not self._run:
            return  # an orphan, or a run whose data have changed under it: its state is of no use to anybody
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, run=np.array(self._run), **dict(state()))  # type: ignore[arg-type]  # it allows a bool, too
        partial.replace(self._path)
        self._last = time.monotonic()

    def done(self) -> None:
        """The run has ended well: its state is no longer needed."""
        if self._keep and self._path.exists():
            self._path.unlink()

    @functools.cached_property
    def _run(self) -> str:
        """A digest of all that decides what the run's outputs are; empty if the data are not those it began with.

        The data are read only where there is a state to compare or to save: a short run does without.
        """
        digest = self._code.copy()
        for name in self._data:
            with (DATA / "train" / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest() if self._files() == self._data else ""

    def _digest_of_code(self) -> hashlib._Hash:
        digest = hashlib.sha256(repr(self._asked).encode())
        for package in ("numpy", "torch"):
            digest.update(f"{package} {importlib.metadata.version(package)}".encode())
        digest.update(platform.python_version().encode())
        for path in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest

    @staticmethod
    def _files() -> dict[str, tuple[int, ...]]:
        """What the file system says of the training trials."""
        stats = {name: (DATA / "train" / name).stat() for name in ("factors.npy", "responses.npy")}
        return {name: (s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


class FileRows:
    """Takes rows of a whole memory-mapped array, from any thread, and writes them to its file; the array then has them.

    with FileRows(array) as rows:
        rows[10:20] = ...

    Assigning to the array does the same, but the kernel's work for new pages of a map made `simulate` slower by 7 % in
    float64 and 30 % in float32.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        assert isinstance(array, np.memmap)
        self.shape, self.dtype = array.shape, array.dtype
        self._path, self._first_byte, self._row_bytes = Path(str(array.filename)), array.offset, array.strides[0]

    def __enter__(self) -> FileRows:
        self._file = os.open(self._path, os.O_WRONLY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def __setitem__(self, rows: slice, values: NDArray[Any], /) -> None:
        left = np.ascontiguousarray(values, self.dtype).data.cast("B")
        position = self._first_byte + rows.start * self._row_bytes
        while left:
            written = os.pwrite(self._file, left, position)
            left, position = left[written:], position + written


def _cells(column: ArrayLike) -> Iterator[str]:
    for value in np.asarray(column, dtype=object).tolist():
        yield f"{value:.{SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else str(value)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"a metric is {value}: look for NaN or infinite factors in {DATA}/")
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value
