"""A study's trials, ready to be fitted: coded, split, and without factors that determine no weight."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files.documents import show
from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import design
from stages.trials.checks import Selection, hold_out, select
from stages.trials.values import Table, words

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Prepared:
    """Trials, and which of their factors are fitted."""

    study: design.Study
    test: Bools  # (n_trials,) held out
    selection: Selection  # by the trials to train on

    @property
    def names(self) -> list[str]:
        """Of the factors that are fitted."""
        return [self.study.names[j] for j in self.selection.fitted]

    def fitted(self, factors: Floats) -> Floats:
        """The factors that are fitted, of all (n_rows, n_factors); standardised if the study is."""
        chosen, selection = self.selection.fitted, self.selection
        factors = factors[:, chosen] if selection.why_not else factors
        return (factors - selection.mean[chosen]) / selection.sd[chosen] if self.study.p.standardise else factors

    def code(self, table: Table) -> tuple[Floats, Bools, str]:
        """Other trials: factors (n_rows, n_fitted), NaN where they cannot be predicted; which rows lack a value; and
        the first row that lacks none and cannot be coded, with its line.
        """
        study = self.study
        frame = study.coding.frame(table, study.p.groups)
        lacking = frame.isna().any(axis=1).to_numpy()
        complete = frame[~lacking]
        coded = study.coding.encode(complete)
        reasons = {"": np.isnan(coded).any(axis=1)}  # why -> in which rows; "": what the coding says
        for (j, why), rows in zip(self.selection.why_not.items(), self.selection.differs(coded).T, strict=True):
            reasons[f"{study.names[j]} must be as in the study, where {why}"] = rows
        for name in [name for name in study.constants if name in table.frame]:
            value, held = study.constants[name], words(table.frame[name])[~lacking]
            differs = (held.notna() & (held != value)).to_numpy()
            reasons[f"{name} must be {show(value)}, as in every trial of the study"] = differs
        wrong = pd.DataFrame(reasons, complete.index)
        is_wrong = wrong.any(axis=1).to_numpy()
        factors = np.full((len(frame), len(self.names)), np.nan)
        factors[~lacking] = np.where(is_wrong[:, None], np.nan, self.fitted(coded))
        for row in np.flatnonzero(is_wrong)[:1]:
            why = wrong.columns[wrong.iloc[row]][0] or study.coding.why_not(complete.iloc[[row]])
            return factors, lacking, f"{complete.index[row]}: {why}"
        return factors, lacking, ""


def prepare(p: Prepare, trials: Path | Table) -> Prepared:
    """Code and split the trials. Raises InputError, in one line, for what cannot be fitted."""
    study = design.learn(p, trials)
    name = study.table.name
    test = hold_out(p, len(study.yes), study.groups)
    if test.all() or (p.held_out and not test.any()):
        units = f"{len(study.labels)} groups" if p.held_out_by == "group" else f"{len(test)} trials"
        which = f"{'all' if test.all() else 'none'} of {units}"
        raise InputError(
            f"params.yaml: prepare.held_out = {p.held_out}, which holds out {which}; it must hold out a part, or be 0"
        )
    for response, yes in zip(study.responses, study.yes[~test].mean(axis=0), strict=True):
        if yes in (0, 1):
            what = f"{response.name} is {'always' if yes else 'never'} a yes"
            raise InputError(f"{name}: {what} in the {int((~test).sum())} trials to train on; there is nothing to fit")
    selection = select(study.factors[~test], study.names)
    if not selection.fitted:
        raise InputError(f"{name}: no factor varies, so there is no weight to fit")
    return Prepared(study, test, selection)


def sha256(path: Path) -> str:
    """Of a folder: that of its files, joined in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
