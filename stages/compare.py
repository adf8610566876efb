"""Which of several models predicts one and the same trials best? `python -m stages.compare studies/a studies/b`.

Each study beside the first: leave-one-out cross-entropy, what is gained over the first (with the standard error of the
difference, trial by trial), the textbook's AIC and BIC, and of nested models a test of what the larger one adds. Where
studies use other trials of one file, as a lag leaves out the first ones, all are fitted again to those that they share.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdlogit.inference import infer
from hdlogit.inference.comparison import Comparison, Model, compare
from stages.figures.style import FAINT, saved
from stages.files.account import counted, first_of, measured, named, read_account
from stages.files.errors import InputError, run
from stages.files.parameters import Evaluate, read_study
from stages.files.reading import Fit
from stages.finished import for_each, read_finished
from stages.tables.inferred import Results
from stages.terminal import say, table
from stages.trials.prepared import prepare

SUFFIXES = ".png", ".svg", ".pdf"
HEADINGS = ("study", "leave-\none-out", "gain", "para-\nmeters", "AIC", "BIC", "more", "p")
NOTES = """\
Leave-one-out: cross-entropy of the best prediction, nats per trial, each trial
predicted without it. Gain: over the first study, ± its standard error. More:
columns that the larger of two nested models has beyond the other's; p: of the
test that these tell nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__)
    parser.add_argument("studies", nargs="+", help="folders of studies of the same trials; others are beside the first")
    parser.add_argument("--out", type=Path, help="a new file for the figure, as in gains.png")
    arguments = parser.parse_args()
    if len(arguments.studies) < 2:
        raise InputError(f"{arguments.studies[0]} alone: it must be two studies or more, as in: studies/a studies/b")
    if arguments.out and (arguments.out.exists() or arguments.out.suffix not in SUFFIXES):
        raise InputError(f"--out {arguments.out}: it must name a new file, that ends in {', '.join(SUFFIXES)}")
    compared = side_by_side(arguments.studies)
    if arguments.out:
        draw(arguments.out.absolute(), compared)


def side_by_side(studies: Sequence[str]) -> dict[str, list[Comparison]]:
    """Print a table for each response (of each observer), and give their rows."""
    compared = dict[str, list[Comparison]]()

    def of_observer(observer: str, folder: str) -> None:
        own = [str(Path(study, Path(folder).relative_to(studies[0]))) for study in studies]
        for name, models in models_of(own).items():
            try:
                rows = compare([model._replace(name=study) for model, study in zip(models, studies, strict=True)])
            except ValueError as reason:
                raise InputError(f"{named(name, 'class')}: {reason}") from None
            say(sentence(named(name, "class"), rows))
            table(HEADINGS, map(row, rows))
            compared[f"{observer}, {name}" if observer else name] = rows

    for_each(studies[0], of_observer)
    say(NOTES)
    for k in range(1, len(studies)) if len(compared) > 1 else ():
        gains = np.array([rows[k].gain for rows in compared.values()])
        mean = measured(float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains))))
        better = f"{studies[k]} predicts better than {studies[0]} in {(gains > 0).sum()} of {len(gains)}"
        say(f"{better}; mean gain {mean} nats per trial (standard error between them)")
    return compared


def models_of(studies: Sequence[str]) -> dict[str, list[Model]]:
    """The studies' models of each response that all share, of the same trials."""
    finished = []
    for study in studies:
        with contextlib.chdir(study):
            finished.append(read_finished())
    first = finished[0][0].train.responses
    if not all(np.array_equal(fit.train.responses, first) for fit, *_ in finished):
        rows = [rows_of(study) for study in studies]
        shared = rows[0][np.all([rows[0].isin(own) for own in rows], axis=0)]
        if not len(shared):
            raise InputError(
                f"{first_of([*studies])} share no trials: they are not of one file, or take other rows of it"
            )
        say(f"all are fitted again to the {counted(len(shared), 'trial')} that they share")
        finished = [refitted(*one, own.get_indexer(shared)) for one, own in zip(finished, rows, strict=True)]
    names = [name for name in finished[0][1] if all(name in results for _, results, _ in finished)]
    if not names:
        raise InputError(f"the studies share no response: {studies[0]} has {first_of([*finished[0][1]])}")

    def model(study: str, fit: Fit, results: Results, name: str) -> Model:
        return Model(study, results[name], fit.train.factors, fit.train.responses[:, fit.classes.index(name)])

    of_studies = [*zip(studies, finished, strict=True)]
    return {name: [model(study, fit, results, name) for study, (fit, results, _) in of_studies] for name in names}


def rows_of(study: str) -> pd.MultiIndex:
    """Of the trials that were fitted: file, row, and the how-many-th of that row."""
    with contextlib.chdir(study):
        if (account := read_account()) is None:
            raise InputError(f"{study} has other trials, which are simulated; it must have the same ones")
        prepared = prepare(p := read_study().prepare, Path(p.trials))
    rows = pd.Series(prepared.study.rows[~prepared.test])
    return pd.MultiIndex.from_arrays([[account["file"]["sha256"]] * len(rows), rows, rows.groupby(rows).cumcount()])


def refitted(fit: Fit, _: Results, p: Evaluate, chosen: NDArray[np.intp]) -> tuple[Fit, Results, Evaluate]:
    """A study as if it had only these of its trials."""
    from hdlogit.exact import fit as fit_exactly  # only here: it brings torch

    trials = fit.train._replace(factors=fit.train.factors[chosen], responses=fit.train.responses[chosen])
    fitted = fit_exactly(*trials, ridge := fit.evidence["ridge"], polish=True)
    if reasons := [reason for reason in fitted.reasons if reason]:
        raise InputError(f"there is no estimate for the trials that are shared: {reasons[0]}")
    results = infer(*trials, fitted.coefficients, ridge, 0.0, p.asymptotes, *p.known_rates, fit.factors)
    return replace(fit, train=trials), dict(zip(fit.classes, results, strict=True)), p


def sentence(name: str, rows: Sequence[Comparison]) -> str:
    """Which model predicts best, and whether by more than its error."""
    first, best = rows[0], max(rows[1:], key=lambda one: one.gain)
    better, worse = (best, first) if best.gain > 0 else (first, best)
    clear = "" if abs(best.gain) > 2 * best.gain_error else ", which may be chance"
    gain = f"{measured(abs(best.gain), best.gain_error)} nats per trial"
    return f"{name}: {better.name} predicts best: {gain} better than {worse.name}{clear}"


def row(one: Comparison) -> tuple[str, ...]:
    gain = measured(one.gain, one.gain_error) if one.gain_error else ""  # none of the first over itself
    likelihood = ("" if np.isnan(value) else f"{value:.1f}" for value in (one.aic, one.bic))
    nested = (f"{one.df}", f"{one.p_value:.2g}") if one.df else ("", "")
    return Path(one.name).name, f"{one.leave_one_out:.4f}", gain, f"{one.n_parameters}", *likelihood, *nested


def draw(path: Path, compared: Mapping[str, Sequence[Comparison]]) -> None:
    """What each study gains over the first, with two standard errors."""
    rows = [(name, one) for name, of_response in compared.items() for one in of_response[1:]]
    with saved(path, 150, [path.suffix[1:]]) as figure:
        figure.set_size_inches(6, 1.2 + 0.3 * len(rows))
        axes = figure.subplots()
        gains, errors = [one.gain for _, one in rows], [2 * one.gain_error for _, one in rows]
        axes.errorbar(gains, range(len(rows)), xerr=errors, fmt="o", capsize=3)
        axes.axvline(0, color=FAINT, lw=0.8)
        labels = [one.name if len(compared) == 1 else f"{one.name}, {name}" for name, one in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.invert_yaxis()
        first = next(iter(compared.values()))[0].name
        axes.set_xlabel(f"gain over {first} (nats per trial; bars: 2 standard errors)")


if __name__ == "__main__":
    run(main)
