"""A study's trials, ready to be fitted: coded, split, and without factors that determine no weight."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import design
from stages.trials.checks import Dependent, dependent, hold_out, repeats
from stages.trials.values import Table, words

LARGEST_FACTOR = 1e100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prepared:
    """Trials, and which of their factors are fitted."""

    study: design.Study
    test: NDArray[np.bool_]  # (n_trials,)
    n_repeated: int
    dependent: list[Dependent]  # factors that are not fitted
    selected: list[int]  # the others
    mean: list[float]  # of these, over the trials to train on
    sd: list[float]

    @property
    def names(self) -> list[str]:
        """Of the factors that are fitted."""
        return [self.study.names[j] for j in self.selected]

    def fitted(self, factors: Floats) -> Floats:
        """The factors that are fitted, of all (n_rows, n_factors); standardised if the study is."""
        chosen = factors if len(self.selected) == factors.shape[1] else factors[:, self.selected]
        return (chosen - self.mean) / self.sd if self.study.p.standardise else chosen

    def code(self, table: Table) -> tuple[Floats, NDArray[np.bool_], str]:
        """Other trials: factors (n_rows, n_selected), NaN where they cannot be predicted; which rows lack a value; and
        the first row that lacks none and cannot be coded, with its line.
        """
        study = self.study
        frame = study.coding.frame(table, study.p.groups)
        lacking = frame.isna().any(axis=1).to_numpy()
        complete = frame[~lacking]
        coded = study.coding.encode(complete)
        faults: list[tuple[NDArray[np.bool_], Callable[[int], str]]] = [  # which rows, and why one of them
            (np.asarray(np.isnan(coded).any(axis=1)), lambda row: study.coding.why_not(complete.iloc[[row]]))
        ]
        for j in self.selected:
            large = f"but it must be within ±{LARGEST_FACTOR:g}"
            faults.append((np.abs(coded[:, j]) > LARGEST_FACTOR, _is(study.names[j], coded[:, j], large)))
        for each in self.dependent:
            why = f"but in the study {each.why}"
            faults.append((each.differs(coded), _is(study.names[each.index], coded[:, each.index], why)))
        for name, value in study.constants.items():
            if name in table.frame:
                given = words(table.frame[name])[~lacking]
                why = f"but {show(value)} in every trial of the study"
                faults.append(((given.notna() & (given != value)).to_numpy(), _is(name, [*given], why)))
        wrong = np.logical_or.reduce([rows for rows, _ in faults])
        factors = np.full((len(frame), len(self.selected)), np.nan)
        factors[~lacking] = np.where(wrong[:, None], np.nan, self.fitted(coded))
        for row in np.flatnonzero(wrong)[:1]:
            reason = next(why(row) for rows, why in faults if rows[row])
            return factors, lacking, f"{complete.index[row]}: {reason}"
        return factors, lacking, ""


def _is(name: str, given: Any, why: str) -> Callable[[int], str]:
    return lambda row: f"{name} is {show(given[row]) if isinstance(given[row], str) else f'{given[row]:g}'}, {why}"


def prepare(p: Prepare, trials: Path | Table) -> Prepared:
    """Code and split the trials. Raises InputError, in one line, for what cannot be fitted."""
    study = design.learn(p, trials)
    same, n_repeated = repeats(study.factors, study.yes)
    test = hold_out(p.held_out, p.held_out_by, same, study.groups, p.seed)
    key = f"params.yaml: prepare.held_out = {p.held_out}, which"
    if p.held_out and not test.any():
        units = f"{len(study.labels)} groups" if p.held_out_by == "group" else f"{len(test)} trials"
        raise InputError(f"{key} holds out none of {units}; it must be 0 or larger than that")
    if test.all():
        raise InputError(f"{key} leaves no trial to train on")
    for response, yes in zip(study.responses, study.yes[~test].mean(axis=0), strict=True):
        if yes in (0, 1):
            which = f"{response.name} is {'always' if yes else 'never'} a yes in the {int((~test).sum())} trials"
            raise InputError(f"{study.table.name}: {which} to train on; there is nothing to fit")
    left_out, mean, sd = dependent(study.factors[~test], study.names, study.table.name)
    selected = [j for j in range(len(study.names)) if j not in {each.index for each in left_out}]
    if not selected:
        raise InputError(f"{study.table.name}: no factor varies, so there is no weight to fit")
    means, sds = ([stable(of[j]) for j in selected] for of in (mean, sd))
    return Prepared(study, test, n_repeated, left_out, selected, means, sds)


def stable(value: float) -> float:
    """Without the last digits, which differ between processors."""
    return float(f"{value:.12g}")


def sha256(path: Path) -> str:
    """Of a folder: that of its files, joined in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
