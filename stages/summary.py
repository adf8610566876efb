"""The results in a few lines: `python -m stages.summary studies/rat`; they also end `make repro` and `make study`.

Of observers who are fitted each alone: a verdict on each and the mean of the population, also on one page,
data/index.html, and in data/population.csv; data/coefficients.csv has the corrected weights of all.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.files import DATA, OBSERVERS
from stages.files.account import first_of, named
from stages.files.errors import InputError, run
from stages.files.parameters import Study, check_current, observer, read_parameters
from stages.files.tables import read_json, read_lines, read_table
from stages.files.writing import Outputs
from stages.page.render import render_observers
from stages.page.words import sentences
from stages.tables.answer import LACKING
from stages.tables.inferred import read_and_infer
from stages.tables.population import Observer, family_tests, in_words, population_of, population_table
from stages.terminal import say, table

HEADINGS = "observer", "trials", "signal (sd of\nthe true logit)", "weights\ncome out", "verdict"
WITHOUT = "no corrections"
MADE = "coefficients.csv", "psychometric.csv", "population.*", "index.html"  # of all observers


def main(folder: str | Path = ".", errors: Sequence[str] = ()) -> None:
    """Print what came out in this folder. errors: of observers' stages, as `folder: why`, if they have just run."""
    with contextlib.chdir(folder):
        parameters = read_parameters()
        if isinstance(parameters, Study) and parameters.observers and not observer():
            summarise_observers(parameters, parameters.observers, errors)
        else:
            summarise()


def summarise() -> None:
    check_current()
    answer = read_lines("inference/answer.txt")
    page = [*sentences(answer, read_json("metrics.json"), read_table("trajectory.csv"))]  # the answer first
    folder = DATA.resolve()  # absolute, so that it can be clicked, and is right in any folder
    say(
        *answer,
        *page[len(answer) :],
        f"Page:    {folder / 'report.html'}",
        f"Figures: {folder / 'figures'}",
        f"Numbers: {folder / 'metrics.json'}",
    )


def summarise_observers(study: Study, folders: Mapping[str, Any], errors: Sequence[str]) -> None:
    """A verdict on each observer, one table of all corrected weights, the population, and a page."""
    rows, left_out = dict[str, list[list[str]]](), list[str]()
    observers, weights, functions = list[Observer](), list[pd.DataFrame](), list[pd.DataFrame]()
    for folder, value in folders.items():
        with contextlib.chdir(Path(OBSERVERS, folder)):
            name = str(value)
            try:
                check_current()
                account = read_json("trials.json")
                rows[folder] = verdicts(name, account)
                weights += own_table(name, "inference/coefficients.csv")
                functions += own_table(name, "inference/psychometric.csv")
                observers.append(Observer(name, terms_of(account), read_and_infer(study.evaluate)[1]))
                if any(row[-1] == WITHOUT for row in rows[folder]):
                    reasons = read_lines("inference/answer.txt") or read_lines("inference/left_out.txt")
                    left_out += [f"{name}: {reason}" for reason in reasons]
            except InputError as error:
                rows[folder] = [[name, "", "", "", "no estimate"]]
                own = [line.partition(": ")[2] for line in errors if line.startswith(f"{folder}: ")]
                left_out.append(f"{name}: {[*own, error][0]}")
    left_out += [f"left out: {why}" for why in study.left_out]
    every = [row for of_observer in rows.values() for row in of_observer]
    table(HEADINGS, every, text=(0, 4))
    for path in [path for name in MADE for path in DATA.glob(name)]:  # of an earlier run
        path.unlink()
    if not weights:
        raise InputError("; ".join(["no observer has corrected weights", *left_out]))
    with Outputs("summary") as outputs:
        said, tests, means, pooled = write_population(study, observers, outputs)
        if lacking := sum(row[-1].startswith(LACKING) for row in every):
            far_off = "their weights, and the mean of all, may be far off (their pages say what to add)"
            said.append(f"models that lack something: {lacking} of {len(every)}; {far_off}")
        outputs.table("coefficients.csv", pd.concat(weights).merge(pooled, "left"))
        if functions:
            outputs.table("psychometric.csv", pd.concat(functions))
        page = render_observers(
            title=f"{', '.join(study.prepare.responses)} in {study.prepare.trials}, {len(rows)} observers",
            sentences=said,
            observers=rows,
            means=means,
            tests=tests,
            picture=outputs.path("population.png") if len(means) else None,
            left_out=left_out,
        )
        outputs.text("index.html", page)
    say(*said, *left_out, f"Page of all: {DATA.resolve() / 'index.html'}", f"Numbers:     {DATA.resolve()}")


def verdicts(observer: str, account: dict[str, Any]) -> list[list[str]]:
    """A row of the table for each class of the observer in whose folder this is."""
    known, several = dict[str, dict[str, Any]](), len(account["classes"]) > 1
    if (DATA / "inference/classes.csv").exists():
        known = read_table("inference/classes.csv", "verdict").set_index("class").to_dict("index")
    used, taken = account["trials"]["used"], account["trials"]["taken"]
    rows = []
    for name in account["classes"]:
        c = known.get(name)
        numbers = [f"{c['signal']:.2g}", f"× {c['alpha']:.3g}", c["verdict"]] if c else ["", "", WITHOUT]
        n_trials = f"{used}" if used == taken else f"{used} of {taken}"  # the others lack a value
        rows.append([f"{observer}, {name}" if several else observer, n_trials, *numbers])
    return rows


def own_table(observer: str, name: str) -> list[pd.DataFrame]:
    """A table of the observer in whose folder this is, if it was made."""
    if not (DATA / name).exists():
        return []
    table = read_table(name)
    table.insert(0, "observer", observer)
    return [table]


def terms_of(account: dict[str, Any]) -> dict[str, str]:
    """By factor the term that it belongs to."""
    terms = {j: term for term, places in account["terms"].items() for j in places}
    return {factor: terms.get(j, factor) for j, factor in enumerate(account["factors"])}


def write_population(
    study: Study, observers: Sequence[Observer], outputs: Outputs
) -> tuple[list[str], list[dict[str, Any]], pd.DataFrame, pd.DataFrame]:
    """Sentences, joint tests, means by class and factor, and each observer's weights, partially pooled.

    Writes the means, and draws those of one class.
    """
    level, p = study.evaluate.interval_level, study.plot
    classes = [*dict.fromkeys(name for one in observers for name in one.results)]
    said, tests, means, pooled, drawn = list[str](), list[dict[str, Any]](), [], [], []
    for name in classes:
        of = f"{named(name, 'class')}: " if len(classes) > 1 else ""
        try:
            found, who, places, others = population_of(observers, name, p.axis)
        except ValueError as error:
            said.append(f"{of}no population mean: {error}")
            continue
        said.append(f"{of}{in_words(found, level, len(study.observers or {}))}")
        if others:
            said.append(f"{of}not of the population, as some observers lack them: {first_of(others)}")
        tests += [{"class": name} | test for test in family_tests(found)]
        means.append(population_table(found, level))
        means[-1].insert(0, "class", name)
        cells = pd.MultiIndex.from_product([who, [name], found.names], names=["observer", "class", "factor"])
        values = {"pooled": found.shrunk.ravel(), "pooled_error": found.shrunk_error.ravel()}
        pooled.append(pd.DataFrame(values, cells).reset_index())
        weights_of_class = places.join(means[-1].rename(columns={"mean": "corrected"}))
        drawn.append((weights_of_class, pd.DataFrame(found.estimates.T)))
    if not means:
        return said, tests, pd.DataFrame(), pd.DataFrame(columns=["observer", "class", "factor"])
    from stages.figures import style, weights  # matplotlib takes a while

    outputs.table("population.csv", pd.concat(means))
    formats = ["png", *p.formats]  # the page shows the first
    with style.saved(outputs.path("population.png"), p.dpi, formats, p.width) as figure:
        means_of_class, own = drawn[min(p.class_index, len(drawn) - 1)]
        weights.weights(figure, means_of_class, {"inference": {"level": level}}, own)
    return said, tests, pd.concat(means), pd.concat(pooled)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.summary", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", help="of a study (default: this one)")
    return parser.parse_args()


if __name__ == "__main__":
    run(lambda: main(parse().folder))
