"""A study that has been run, or the simulation: its folder, and what was inferred there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hdlogit.inference.result import ClassInference
from stages.current import check_current
from stages.files.account import named
from stages.files.errors import InputError
from stages.files.parameters import FILE, Evaluate, read_parameters
from stages.tables.stored import read_inference


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Within this, params.yaml and data/ are those of the folder. Raises InputError where it has no params.yaml."""
    if not (Path(folder) / FILE).is_file():
        raise InputError(f"{folder} holds no {FILE}; it must be the folder of a study, as in: studies/rat")
    with contextlib.chdir(folder):
        yield


def read_finished() -> tuple[dict[str, ClassInference], Evaluate]:
    """What was inferred of each class that has an estimate, by its name, and how.

    Raises InputError unless the fit is an exact one and of these parameters, and some class has an inference.
    """
    parameters = read_parameters()
    if parameters.train.solver != "exact":
        raise InputError("params.yaml: train.solver must be exact: inference is for exact fits")
    results = read_inference()
    check_current()
    reasons = [f"{named(name, 'class')} has no inference: {c.reason}" for name, c in results.items() if c.reason]
    if len(reasons) == len(results):
        raise InputError(reasons[0])
    return results, parameters.evaluate
