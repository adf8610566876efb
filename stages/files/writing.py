"""The outputs of a stage: whole or not at all, and with bytes that do not depend on the processor.

A stage writes into a folder of its own below data/.partial/ and renames whole outputs into place at its end,
so that one that dies leaves nothing that looks complete. When a stage starts, it removes what its earlier
runs left there, which then cannot write any more.

The last bits of a sum depend on the processor. So tables and metrics keep SIGNIFICANT_DIGITS digits, and
weights are stored in single precision: then dvc.lock is the same everywhere.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save

from stages.files import DATA
from stages.files.errors import InputError

SIGNIFICANT_DIGITS = 6
BIAS_STEP = 2.0**-20  # about 1e-6 logits, to which a bias is rounded


class Outputs:
    """The outputs of one run of a stage; none of them appears in data/ before the run has succeeded."""

    def __init__(self, stage: str) -> None:
        self._stage, self._folder = stage, DATA / ".partial"

    def __enter__(self) -> Outputs:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left_over in self._folder.glob(f"{self._stage}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{self._stage}-", dir=self._folder))
        (self._scratch / "outputs").mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if not self._scratch.exists():
                raise InputError(f"another run of {self._stage} has been started; this one wrote nothing")
            whole = [] if kind else sorted((self._scratch / "outputs").iterdir())
            for new in whole:  # first move all old ones: a run killed here leaves some missing, not a mixture
                if (DATA / new.name).exists():
                    (DATA / new.name).rename(self._scratch / f"old-{new.name}")
            for new in whole:
                new.rename(DATA / new.name)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Where to write the output `name`, relative to data/."""
        path = self._scratch / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def array(self, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A new memory-mapped .npy file, to be filled in place; refused where the disk has no room for it."""
        needed, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(self._scratch).free
        if needed > free:
            sizes = f"an array of shape {shape} needs {needed / 1e9:.3g} GB but {free / 1e9:.3g} GB are free"
            raise InputError(f"{DATA}: {sizes}; free some disk, or take fewer trials or factors")
        return np.lib.format.open_memmap(self.path(name), mode="w+", dtype=np.dtype(dtype), shape=shape)

    def model(
        self, name: str, coefficients: NDArray[np.floating], means: NDArray[np.floating], **evidence: object
    ) -> None:
        """As safetensors: coefficients (n_factors + 1, n_classes), last row = bias, and the solver's report.

        Weights are rounded to float32. Each bias changes with them, so that the logit at the factors' `means`
        (n_factors,) stays what it was, and is rounded to BIAS_STEP.
        """
        with np.errstate(over="ignore", under="ignore"):  # refused below
            weights = coefficients[:-1].astype(np.float32)
        if np.isinf(weights).any() or ((weights == 0) & (coefficients[:-1] != 0)).any():
            limits = "float32's range, 1e-45 to 3e38"
            raise InputError(f"{DATA / name}: a weight is beyond {limits}; rescale its factor")
        bias = coefficients[-1] + means @ (coefficients[:-1] - weights)
        bias = np.round(bias / BIAS_STEP) * BIAS_STEP + 0.0  # no -0.0
        # One metadata entry: with several, their order, and so the file's hash, would change from run to run.
        metadata = {"evidence": json.dumps(_rounded(evidence), sort_keys=True)} if evidence else None
        written = save({"weight": np.ascontiguousarray(weights.T), "bias": bias}, metadata)
        self.path(name).write_bytes(written)  # safetensors' save_file would let only the owner read it

    def table(self, name: str, columns: pd.DataFrame | Mapping[str, ArrayLike]) -> None:
        """A CSV file of equally long columns, numbers with SIGNIFICANT_DIGITS digits."""
        table, path, digits = pd.DataFrame(columns), self.path(name), f"%.{SIGNIFICANT_DIGITS}g"
        table.to_csv(path, index=False, float_format=digits, na_rep="nan", lineterminator="\n")

    def text(self, name: str, text: str) -> None:
        """A text file, with a line break added at its end."""
        self.path(name).write_text(text + "\n", encoding="utf-8")

    def json(self, name: str, numbers: Mapping[str, Any]) -> None:
        """Nested numbers with SIGNIFICANT_DIGITS digits; None (undefined here) becomes null."""
        self.text(name, json.dumps(_rounded(numbers), indent=2))


def _rounded(values: Mapping[str, Any]) -> Any:
    """The same as it is to be in a JSON file."""
    try:
        exact = json.dumps(values, allow_nan=False)
    except ValueError:
        raise InputError(f"a metric is not finite: look for NaN or infinite factors in {DATA}/") from None
    return json.loads(exact, parse_float=lambda text: float(f"{float(text):.{SIGNIFICANT_DIGITS}g}"))
