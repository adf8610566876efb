"""A study's trials, ready to be fitted: coded, split, and without factors that determine no weight."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.files.errors import InputError
from stages.files.parameters import Prepare
from stages.trials import design
from stages.trials.values import Bools, Floats, Table

MOST_CHECKED = 2000  # factors up to which dependent ones are looked for; time grows as their number cubed
TOLERANCE = 1e-9  # 1 - R² below which a factor follows from others


@dataclass(frozen=True)
class Prepared:
    """Trials, and which of their factors are fitted."""

    study: design.Study
    test: Bools  # (n_trials,) held out
    why_not: dict[int, str]  # factors that are not fitted, by their index among all
    mean: Floats  # (n_factors,) of all, over the trials to train on
    sd: Floats

    @property
    def selected(self) -> list[int]:
        """The factors that are fitted."""
        return [j for j in range(len(self.study.names)) if j not in self.why_not]

    @property
    def names(self) -> list[str]:
        """Theirs."""
        return [self.study.names[j] for j in self.selected]

    def fitted(self, factors: Floats) -> Floats:
        """The factors that are fitted, of all (n_rows, n_factors); standardised if the study is."""
        chosen, selected = factors[:, self.selected] if self.why_not else factors, self.selected
        return (chosen - self.mean[selected]) / self.sd[selected] if self.study.p.standardise else chosen

    def code(self, table: Table) -> tuple[Floats, Bools, str]:
        """Other trials: factors (n_rows, n_fitted), NaN where they cannot be predicted; which rows lack a value; and
        the first row that lacks none and cannot be coded, with its line.
        """
        coding = self.study.coding
        frame = coding.frame(table, self.study.p.groups)
        lacking = frame.isna().any(axis=1).to_numpy()
        complete = frame[~lacking]
        factors = np.full((len(frame), len(self.names)), np.nan)
        factors[~lacking] = self.fitted(coding.encode(complete))
        for row in np.flatnonzero(np.isnan(factors[~lacking]).any(axis=1))[:1]:
            return factors, lacking, f"{complete.index[row]}: {coding.why_not(complete.iloc[[row]])}"
        return factors, lacking, ""


def prepare(p: Prepare, trials: Path | Table) -> Prepared:
    """Code and split the trials. Raises InputError, in one line, for what cannot be fitted."""
    study = design.learn(p, trials)
    test = hold_out(p, len(study.yes), study.groups)
    if test.all() or (p.held_out and not test.any()):
        units = f"{len(test)} trials, {len(study.labels)} groups"
        which = f"{'all' if test.all() else 'none'} of {units}; it must be a part, or 0"
        raise InputError(f"params.yaml: prepare.held_out = {p.held_out} holds out {which}")
    for response, yes in zip(study.responses, study.yes[~test].mean(axis=0), strict=True):
        if yes in (0, 1):
            what = f"{response.name} is {'always' if yes else 'never'} a yes in the {(~test).sum()} trials"
            raise InputError(f"{study.table.name}: {what} to train on; there is nothing to fit")
    why_not, mean, sd = undetermined(study.factors[~test], study.names)
    if len(why_not) == len(study.names):
        raise InputError(f"{study.table.name}: no factor varies, so there is no weight to fit")
    return Prepared(study, test, why_not, mean, sd)


def hold_out(p: Prepare, n_trials: int, groups: NDArray[np.integer] | None) -> Bools:
    """Which trials are held out, (n_trials,): about the fraction `held_out`, the last, groups, or any."""
    wanted = round(p.held_out * n_trials)
    if p.held_out_by == "last" or wanted == 0:
        return np.arange(n_trials) >= n_trials - wanted
    codes = np.arange(n_trials) if p.held_out_by == "trial" or groups is None else groups
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(p.seed).permutation(len(sizes))
    before = np.cumsum(sizes[shuffled]) - sizes[shuffled] / 2  # a unit is taken if most of it is wanted
    return np.isin(codes, shuffled[before < wanted])


def undetermined(factors: Floats, names: list[str]) -> tuple[dict[int, str], Floats, Floats]:
    """Which factors (n_trials, n_factors) do not vary or follow from earlier ones, and why; mean and sd."""
    n, mean = len(factors), factors.mean(axis=0)
    sd = (factors - mean).std(axis=0)
    sd[sd <= 1e-12 * np.abs(mean)] = 0
    why_not = {int(j): f"it is {mean[j]:.6g} in every trial" for j in np.flatnonzero(sd == 0)}
    varying = [j for j in range(len(names)) if j not in why_not]
    if 0 < len(varying) < min(n, MOST_CHECKED + 1):
        scaled = (factors[:, varying] - mean[varying]) / sd[varying]
        correlations = scaled.T @ scaled / n
        kept = independent(correlations)
        for j in sorted({*range(len(varying))} - {*kept}):
            slopes = np.linalg.solve(correlations[np.ix_(kept, kept)], correlations[kept, j])
            sources = [names[varying[i]] for i in np.array(kept)[np.abs(slopes) > 1e-6]]
            why_not[varying[j]] = f"it follows from {', '.join(sources[:5])}{', …' if sources[5:] else ''}"
    return why_not, np.array([*map(stable, mean)]), np.array([*map(stable, sd)])


def independent(correlations: Floats) -> list[int]:
    """The columns of which a part remains, given the earlier ones, by Gaussian elimination."""
    if np.linalg.eigvalsh(correlations)[0] > TOLERANCE:
        return [*range(len(correlations))]
    rest, columns = correlations.copy(), list[int]()
    for j in range(len(rest)):
        if rest[j, j] > TOLERANCE:
            columns.append(j)
            rest[j + 1 :, j + 1 :] -= np.outer(rest[j + 1 :, j], rest[j, j + 1 :] / rest[j, j])
    return columns


def stable(value: float) -> float:
    """Without the last digits, which differ between processors."""
    return float(f"{value:.12g}")


def sha256(path: Path) -> str:
    """Of a folder: that of its files, joined in the order of their names."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
