"""A study's trials, ready to be fitted: coded, split, and without factors that determine no weight."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
    mean: Floats  # of all, over the trials to train on
    sd: Floats

    @property
    def names(self) -> list[str]:
        """Of the factors that are fitted."""
        return [self.study.names[j] for j in self.selected]

    def fitted(self, factors: Floats) -> Floats:
        """The factors that are fitted, of all (n_rows, n_factors); standardised if the study is."""
        chosen = factors if len(self.selected) == factors.shape[1] else factors[:, self.selected]
        mean, sd = (np.array([stable(of[j]) for j in self.selected]) for of in (self.mean, self.sd))
        return (chosen - mean) / sd if self.study.p.standardise else chosen

    def code(self, table: Table) -> tuple[Floats, NDArray[np.bool_], str]:
        """Other trials: factors (n_rows, n_selected), NaN where they cannot be predicted; which rows lack a value; and
        the first row that lacks none and cannot be coded, with its line.
        """
        study = self.study
        frame = study.coding.frame(table, study.p.groups)
        lacking = frame.isna().any(axis=1).to_numpy()
        complete = frame[~lacking]
        coded = study.coding.encode(complete)
        faults: list[tuple[Any, str, Any, str]] = []  # which rows, the column, what it holds, and what is wrong with it
        for j in self.selected:
            large = f"but it must be within ±{LARGEST_FACTOR:g}"
            faults.append((np.abs(coded[:, j]) > LARGEST_FACTOR, study.names[j], coded[:, j], large))
        for each in self.dependent:
            why, held = f"but in the study {each.why}", coded[:, each.index]
            faults.append((each.differs(coded, self.mean), study.names[each.index], held, why))
        for name in [name for name in study.constants if name in table.frame]:
            given, value = words(table.frame[name])[~lacking].to_numpy(), study.constants[name]
            differs = pd.notna(given) & (given != value)
            faults.append((differs, name, given, f"but {show(value)} in every trial of the study"))
        wrong = np.logical_or.reduce([np.isnan(coded).any(axis=1), *(rows for rows, *_ in faults)])
        factors = np.full((len(frame), len(self.selected)), np.nan)
        factors[~lacking] = np.where(wrong[:, None], np.nan, self.fitted(coded))
        for row in np.flatnonzero(wrong)[:1]:
            reason = study.coding.why_not(complete.iloc[[row]]) if np.isnan(coded[row]).any() else ""
            for rows, name, held, why in faults if not reason else ():
                if rows[row]:
                    value = f"{held[row]:g}" if isinstance(held[row], float) else show(held[row])
                    reason = reason or f"{name} is {value}, {why}"
            return factors, lacking, f"{complete.index[row]}: {reason}"
        return factors, lacking, ""


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
    return Prepared(study, test, n_repeated, left_out, selected, mean, sd)


def stable(value: float) -> float:
    """Without the last digits, which differ between processors."""
    return float(f"{value:.12g}")


def sha256(path: Path) -> str:
    """Of a folder: that of its files, joined in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
