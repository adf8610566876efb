"""Where the pipeline's files lie, and how they are read, checked and written. No other module knows a path in data/.

    observer.npy                           true coefficients (n_factors + 1, n_classes); absent where no truth is known
    train/, test/: factors.npy             (n_trials, n_factors) float64
                   responses.npy           (n_trials, n_classes) bool
    model.safetensors, checkpoints/*       weight (n_classes, n_factors), bias (n_classes,)
    loss.csv, metrics.json, *.csv          tables, numbers
    figures/*.png

A stage writes into a folder of its own under data/.partial/ and renames whole outputs into place at its end, so a stage
that dies leaves nothing that looks whole. A stage that starts removes what earlier runs of it left there. So if DVC is
killed and its orphan goes on, the orphan finds its folder gone and cannot write over the outputs of the rerun.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages.errors import InputError

Floats = NDArray[np.floating]

DATA = Path("data")
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
    factors = _read_array(DATA / split / "factors.npy", "float", ndim=2)
    responses = _read_array(DATA / split / "responses.npy", "bool", ndim=2)
    if len(factors) != len(responses):
        raise InputError(
            f"{DATA / split}: factors.npy has {len(factors)} trials but responses.npy has {len(responses)}; "
            "both need one row per trial"
        )
    return Trials(factors, responses)


def read_observer() -> Floats | None:
    """True coefficients (n_factors + 1, n_classes), or None where no truth is known."""
    path = DATA / "observer.npy"
    return _read_array(path, "float", ndim=2) if path.exists() else None


def read_model() -> Model:
    """The fitted model."""
    return _read_model(DATA / "model.safetensors")


def read_checkpoints() -> dict[int, Floats]:
    """Coefficients (n_factors + 1, n_classes) by epoch, in order."""
    folder = DATA / "checkpoints"
    models = [_read_model(path) for path in sorted(folder.glob("*.safetensors"))]
    if not models:
        raise InputError(f"{folder} holds no checkpoint; `dvc repro train` writes them")
    return {int(model.evidence["epoch"]): model.coefficients for model in models}


def read_table(name: str, *required: str) -> dict[str, list[Any]]:
    """A CSV file as columns, the `required` ones among them; numbers are floats, anything else is text."""
    path = DATA / name
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, csv.Error):
        raise InputError(f"{path} is not a CSV table with a header") from None
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: {len(row)} values where the header names {len(header)}")
    if not rows or not set(required) <= set(header):
        raise InputError(f"{path} must be a table with the columns {', '.join(required)}; `dvc repro` makes it")
    return {key: [_number(row[index]) for row in rows] for index, key in enumerate(header)}


def read_metrics() -> dict[str, Any]:
    """metrics.json."""
    path = DATA / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(metrics, dict):
        raise InputError(f"{path} must hold an object of metrics")
    return metrics


def _read_array(path: Path, kind: str, ndim: int) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(
            path, mmap_mode="c"
        )  # copy-on-write: torch refuses to view a read-only array in silence
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is truncated or not a .npy array: {error}") from None
    good = np.issubdtype(array.dtype, np.bool_ if kind == "bool" else np.floating)
    if not good or array.ndim != ndim or 0 in array.shape:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}; it must be {kind}, {ndim}-dimensional and not empty"
        )
    return array


def _read_model(path: Path) -> Model:
    try:
        with safe_open(path, framework="numpy") as file:
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
            evidence = json.loads((file.metadata() or {})["evidence"])
    except FileNotFoundError:
        raise _missing(path) from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is truncated or not a model of this pipeline: {error}") from None
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise InputError(
            f"{path}: weight {weight.shape} and bias {bias.shape} must be (n_classes, n_factors) and (n_classes,)"
        )
    return Model(np.vstack([weight.T, bias]).astype(np.float64), evidence)


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

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._folder = DATA / ".partial"

    def __enter__(self) -> Outputs:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left_over in self._folder.glob(f"{self._stage}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{self._stage}-", dir=self._folder))
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
        try:
            for whole in sorted((self._scratch / "outputs").iterdir()):
                target = DATA / whole.name
                if target.is_dir():  # a folder cannot be renamed onto a folder that holds something
                    target.rename(self._scratch / f"old-{whole.name}")
                whole.replace(target)
        except FileNotFoundError:
            raise self._taken_over() from None

    def _taken_over(self) -> InputError:
        return InputError(f"another run of {self._stage} was started meanwhile; this one has written nothing")

    def path(self, name: str) -> Path:
        """Where to write the output `name`, a path relative to data/."""
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
        if needed > free:  # a memory-mapped file that outgrows the disk ends in a bus error, which nobody can read
            raise InputError(
                f"{DATA}: an array of shape {shape} needs {needed / 1e9:.3g} GB but {free / 1e9:.3g} GB are free; "
                "lower simulate.n_trials, n_test_trials or n_factors in params.yaml, or free some disk"
            )
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

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

    def json(self, name: str, numbers: Mapping[str, Any]) -> None:
        """Nested numbers with SIGNIFICANT_DIGITS digits; None (undefined here) becomes null."""
        self.path(name).write_text(json.dumps(_rounded(numbers), indent=2) + "\n", encoding="utf-8")


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
