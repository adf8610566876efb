"""A study that has been run, or the simulation: its folder, its exact fit, and its classes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.current import check_current
from stages.files.documents import nearest
from stages.files.errors import InputError
from stages.files.fit import Fit, read_fit
from stages.files.parameters import FILE, Evaluate, read_parameters


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Within this, params.yaml and data/ are those of the folder. Raises InputError where it has no params.yaml."""
    if not (Path(folder) / FILE).is_file():
        raise InputError(f"{folder} holds no {FILE}; it must be the folder of a study, as in: studies/rat")
    with contextlib.chdir(folder):
        yield


def read_exact_fit() -> tuple[Fit, Evaluate]:
    """The classes that have an estimate, and how to infer from it.

    Raises InputError unless the fit is an exact one, and of these parameters.
    """
    parameters, whole = read_parameters(), read_fit()
    check_current()
    if whole.evidence.solver != "exact":
        raise InputError("params.yaml: train.solver must be exact: inference is for exact fits")
    return whole.part(whole.evidence.classes), parameters.evaluate


def place_of(fit: Fit, name: str) -> int:
    """The index of a class, given by name or number, among those that have an estimate."""
    names = [str(each) for each in fit.classes]
    if name not in names:
        raise InputError(f"--class {name}: no such class has an estimate; {nearest(name, names)}")
    return names.index(name)
