"""The usable trials of a study: coded, counted, and kept on disk until they can be split and written."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.files.account import some
from stages.files.documents import show
from stages.files.errors import InputError
from stages.trials import cells
from stages.trials.design import Found, usable
from stages.trials.table import BATCH

Floats = NDArray[np.floating]


@dataclass
class Gathered:
    """Trials without missing values."""

    factors: Floats  # (≥ n_trials, n_factors), memory-mapped; read it by `blocks`
    responses: NDArray[np.bool_]  # (n_trials, n_classes)
    groups: NDArray[np.int32] | None  # (n_trials,) codes, indices of labels
    labels: list[str]  # of the groups, in order of appearance
    same: NDArray[np.int64]  # (n_trials,) equal where factors and responses are equal
    lacking: dict[str, tuple[int, str]] = field(default_factory=dict)  # column -> number of trials, place of the first

    def blocks(self, rows: NDArray[np.bool_]) -> Iterator[Floats]:
        """Factors of the trials in `rows` (n_trials,), read from the file: mapped pages would count as memory."""
        with open(str(self.factors.filename), "rb") as file:  # type: ignore[attr-defined]  # noqa: PTH123
            file.seek(self.factors.offset)  # type: ignore[attr-defined]
            width = self.factors.shape[1]
            for start in range(0, len(rows), BATCH):
                here = rows[start : start + BATCH]
                block = np.fromfile(file, np.float64, len(here) * width).reshape(len(here), width)
                if here.any():
                    yield block[here]


def gather(found: Found, factors: Floats, refuse_missing: bool) -> Gathered:
    """Code all trials of the study into `factors` (≥ n_taken, n_factors). Raises InputError if none is left."""
    responses: list[NDArray[np.bool_]] = []
    groups: list[NDArray[np.int32]] = []
    same = array("q")
    codes: dict[str, int] = {}
    lacking: dict[str, tuple[int, str]] = {}
    n_before = 0
    progress = tqdm(desc="coding", total=found.n_rows, unit=" rows", disable=None, leave=False)
    with progress:
        for block in found.design.blocks(found.table, found.also):
            complete, lacks = usable(found, block.missing, block.also)
            for name, rows in lacks.items():
                if rows.any():
                    n, place = lacking.get(name, (0, ""))
                    lacking[name] = (n + int(rows.sum()), place or found.table.place(n_before + int(np.argmax(rows))))
                    if refuse_missing:
                        raise InputError(
                            f"{lacking[name][1]}: {name} is missing; with missing: drop such trials are left out"
                        )
            chosen = found.encode(block, complete, n_before) + 0.0  # no −0, which equals 0 but has different bytes
            coded = np.column_stack([response.code(block.also) == 1 for response in found.design.responses])[complete]
            factors[len(same) : len(same) + len(chosen)] = chosen
            same.extend(hash((row.tobytes(), yes.tobytes())) for row, yes in zip(chosen, coded, strict=True))
            responses.append(coded)
            if found.design.groups:
                own = cells.labels(block.also, found.design.groups).to_pylist()
                here = [codes.setdefault(own[i], len(codes)) for i in np.flatnonzero(complete)]
                groups.append(np.array(here, np.int32))
            n_before += len(complete)
            progress.update(len(complete))
    if not same:
        raise InputError(
            f"{found.table.name}: every trial lacks a value (of {some([*lacking])}), so none is left; correct the file"
        )
    labels = [label.replace(cells.SEPARATOR, " ") for label in codes]
    twice = [label for label, n in Counter(labels).items() if n > 1]
    if twice:
        raise InputError(f"{found.table.name}: two groups are both named {show(twice[0])}; rename one")
    return Gathered(
        factors,
        np.concatenate(responses),
        np.concatenate(groups) if found.design.groups else None,
        labels,
        np.array(same, np.int64),
        lacking,
    )
