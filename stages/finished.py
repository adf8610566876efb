"""A study that has been run, or the simulation: its folder, and what was inferred there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from stages.files import OBSERVERS
from stages.files.account import first_of, named
from stages.files.errors import InputError
from stages.files.parameters import Evaluate, Study, check_current, observer, read_parameters
from stages.files.reading import Fit
from stages.tables.inferred import Results, read_and_infer
from stages.terminal import say


def for_each(folder: str, one: Callable[[str, str], None]) -> None:
    """Call one("", folder), or where each observer is fitted alone one(name, folder) for each.

    An observer for whom it fails is named, and does not stop the others.
    """
    with contextlib.chdir(folder):
        study, alone = read_parameters(), observer()
    observers = study.observers or {} if isinstance(study, Study) and not alone else {}
    errors = list[InputError]()
    for key, name in observers.items():
        try:
            say(f"{name}:")
            one(str(name), str(Path(folder, OBSERVERS, key)))
        except InputError as error:
            errors.append(error)
            print(f"{name}: {error}", file=sys.stderr)
    if not observers:
        one("", folder)
    elif len(errors) == len(observers):
        raise errors[0]


def read_finished() -> tuple[Fit, Results, Evaluate]:
    """The fit, what is inferred of each class that has an estimate, by its name, and how.

    Raises InputError unless the fit is of these parameters, and some class has an inference.
    """
    check_current()
    p = read_parameters().evaluate
    fit, results = read_and_infer(p)
    if all(c.reason for c in results.values()):
        why = [f"{named(name, 'class')}: {c.reason}" for name, c in results.items()]
        raise InputError(f"there is no inference: {first_of(why) or 'it needs train.solver: exact'}")
    return fit, results, p
