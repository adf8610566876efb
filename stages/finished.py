"""A study that has been run, or the simulation: its folder, and what was inferred there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.current import check_current
from stages.files import OBSERVERS
from stages.files.account import named
from stages.files.errors import InputError
from stages.files.parameters import FILE, Evaluate, Study, file_of_parameters, observer, read_parameters
from stages.files.reading import Fit
from stages.tables.inferred import Results, read_and_infer
from stages.terminal import say


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Within this, params.yaml and data/ are those of the folder, which must have a params.yaml."""
    wanted = f"{folder} holds no {FILE}; it must be the folder of a study, as in: studies/rat"
    if not Path(folder).is_dir():
        raise InputError(wanted)
    with contextlib.chdir(folder):
        if not file_of_parameters().is_file():
            raise InputError(wanted)
        yield


def observers_of(folder: str) -> dict[str, str]:
    """The folder of each observer, by name, of a study in which each is fitted alone; else its own, by ""."""
    with inside(folder):
        study, alone = read_parameters(), observer()
    if not isinstance(study, Study) or study.observers is None or alone:
        return {"": folder}
    return {str(name): str(Path(folder, OBSERVERS, key)) for key, name in study.observers.items()}


def for_each(folder: str, one: Callable[[str, str], None]) -> None:
    """Call one(name, folder) for each observer. One that fails is named, and does not stop the others."""
    folders = observers_of(folder)
    errors = list[InputError]()
    for name, own in folders.items():
        try:
            say(*([f"{name}:"] if name else []))
            one(name, own)
        except InputError as error:
            errors.append(error)
            if name:
                print(f"{name}: {error}", file=sys.stderr)
    if len(errors) == len(folders):
        raise errors[0]


def read_finished() -> tuple[Fit, Results, Evaluate]:
    """The fit, what is inferred of each class that has an estimate, by its name, and how.

    Raises InputError unless the fit is an exact one and of these parameters, and some class has an inference.
    """
    parameters = read_parameters()
    if parameters.train.solver != "exact":
        raise InputError("params.yaml: train.solver must be exact: inference is for exact fits")
    check_current()
    fit, results = read_and_infer(parameters.evaluate)
    reasons = {name: c.reason for name, c in results.items() if c.reason}
    if len(reasons) == len(results):
        name, reason = next(iter(reasons.items()))
        raise InputError(f"{named(name, 'class')} has no inference: {reason}")
    return fit, results, parameters.evaluate
