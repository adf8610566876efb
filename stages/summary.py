"""The results in a few lines: `python -m stages.summary studies/rat`, which also ends `make repro` and `make study`.

Of observers who are fitted each alone: a verdict on each and the mean of the population, with the corrected weights of
all in data/coefficients.csv, those of the population in data/population.csv, and a figure of both.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from stages.current import at, check_current
from stages.files import DATA, OBSERVERS
from stages.files.account import lacking, named, read_account, some
from stages.files.errors import InputError, run
from stages.files.families import families
from stages.files.parameters import Study, read_parameters
from stages.files.tables import read_json, read_lines, read_table
from stages.files.writing import Outputs
from stages.tables.answer import LACKING
from stages.tables.inferred import by_class
from stages.tables.population import (
    Observer,
    families_of,
    in_words,
    population_of,
    population_table,
    shared_factors,
)
from stages.terminal import numbers, say, table

# metric -> what it is, and what it would be for a fit that can be trusted; the first five found are shown
LINES = {
    "recovery.weight_slope": "size of the weights, relative to the true ones (1 = right size)",
    "inference.classical_coverage": "fraction of true weights inside their classical intervals",
    "inference.coverage": "fraction of true weights inside their corrected intervals",
    "recovery.corrected.weight_slope": "size of the corrected weights, relative to the true ones",
    "recovery.weight_correlation": "correlation of fitted with true weights",
    "test.cross_entropy": "cross-entropy of held-out trials (nats per response)",
    "test.bayes_cross_entropy": "the same for the true observer: no prediction can have less",
    "test.calibration_slope": "calibration slope of held-out trials (below 1 = overconfident)",
    "test.accuracy": "fraction of held-out responses on the likelier side",
    "loo.best.cross_entropy": "cross-entropy of each trial, best predicted from all others (nats per response)",
    "loo.accuracy": "fraction of responses on the likelier side, likewise",
    "replication.plain_slope": "size of one group's weights, relative to those of the others",
    "replication.corrected_slope": "the same for corrected weights (1 = groups replicate one another)",
}
SHOWN = 5


def main(folder: str | Path = ".", already: Collection[str] = ()) -> None:
    """Print what came out in this folder, but for lines that are shown already."""
    with contextlib.chdir(folder):
        parameters = read_parameters()
        if isinstance(parameters, Study) and parameters.observers:
            side_by_side(parameters)
        else:
            one(already)


def one(already: Collection[str]) -> None:
    metrics = read_json("metrics.json")
    check_current()
    say(*(line for line in read_lines("inference/answer.txt") if line not in already))
    values = [(f"{value:.4g}", text) for name, text in LINES.items() if (value := lookup(metrics, name)) is not None]
    numbers(values[:SHOWN])
    folder = DATA.resolve()  # absolute, so that it can be clicked, and is right in any folder
    say(f"Page:    {folder / 'report.html'}", f"Figures: {folder / 'figures'}", f"Numbers: {folder / 'metrics.json'}")


def lookup(metrics: dict[str, Any], name: str) -> float | None:
    """The number at "test.cross_entropy"; None where there is none."""
    value = at(metrics, name)
    return value if isinstance(value, int | float) else None


HEADINGS = "observer", "trials", "signal (sd of\nthe true logit)", "weights\ncome out", "verdict"
NONE = "no corrections"
MADE = "coefficients.csv", "population.csv", "population.png"  # of all observers


def side_by_side(study: Study) -> None:
    """A table with the verdict on each observer, one of all corrected weights, and the population."""
    rows, lines, tables, observers = list[list[str]](), list[str](), list[pd.DataFrame](), list[Observer]()
    for folder, value in (study.observers or {}).items():
        try:
            with contextlib.chdir(Path(OBSERVERS, folder)):
                check_current()
                own = verdicts(str(value))
                rows += own
                if any(verdict == NONE for *_, verdict in own):
                    why = read_lines("inference/answer.txt") or read_lines("inference/left_out.txt")
                    lines += [f"{value}: {line}" for line in why]
                lines += [f"{value}: {line}" for line in incomplete()]
                if (DATA / "inference/coefficients.csv").exists():
                    tables.append(read_table("inference/coefficients.csv", "class", "factor"))
                    tables[-1].insert(0, "observer", str(value))
                    observers.append(Observer(str(value), read_factors(), by_class(study.evaluate)[1]))
        except InputError as error:
            rows.append([str(value), "", "", "", "no estimate"])
            lines.append(f"{value}: no corrected weights: {error}")
    table(HEADINGS, rows, text=(0, 4))
    if lacking := sum(verdict.startswith(LACKING) for *_, verdict in rows):
        far_off = "their weights, and the mean of all, may be far off (their pages say what to add)"
        say(f"models that lack something: {lacking} of {len(rows)}; {far_off}")
    say(*lines, *(f"left out: {why}" for why in study.left_out))
    for name in MADE:  # of an earlier run
        (DATA / name).unlink(missing_ok=True)
    if not tables:
        raise InputError("no observer has corrected weights")
    with Outputs("summary") as outputs:
        outputs.table("coefficients.csv", dict(pd.concat(tables)))
        write_population(study, observers, outputs)
    say(f"Pages:      {Path(OBSERVERS).resolve()}/*/data/report.html")
    say(f"Weights:    {DATA.resolve()}/coefficients.csv")
    if (DATA / "population.csv").exists():
        say(f"Population: {DATA.resolve()}/population.csv, population.png")


def verdicts(observer: str) -> list[list[str]]:
    """A row of the table for each class of the observer in whose folder this is."""
    account = read_account() or {"classes": [], "trials": {"used": 0}}
    known = dict[str, dict[str, Any]]()
    if (DATA / "inference/classes.csv").exists():
        known = read_table("inference/classes.csv", "verdict").set_index("class").to_dict("index")
    rows = []
    for name in account["classes"]:
        numbers = ["", "", NONE]
        if c := known.get(name):
            numbers = [f"{c['signal']:.2g}", f"× {c['alpha']:.3g}", c["verdict"]]
        of = f", {name}" if len(account["classes"]) > 1 else ""
        rows.append([f"{observer}{of}", str(account["trials"]["used"]), *numbers])
    return rows


def read_factors() -> dict[str, str]:
    """The factors of the observer in whose folder this is, and the term of each."""
    account = read_json("trials.json")
    terms = {j: term for term, places in account["terms"].items() for j in places}
    return {name: terms.get(j, name) for j, name in enumerate(account["factors"])}


def write_population(study: Study, observers: list[Observer], outputs: Outputs) -> None:
    """Table, figure (of one class) and sentences of the population, if there is one."""
    from stages.figures import style, weights  # matplotlib takes a while

    level = study.evaluate.interval_level
    classes = [*dict.fromkeys(name for one in observers for name in one.results)]
    tables, drawn = list[pd.DataFrame](), list[tuple[pd.DataFrame, pd.DataFrame]]()
    for name in classes:
        answered = [one for one in observers if name in one.results and not one.results[name].reason]
        shared, others = shared_factors(answered)
        places = families(shared, study.plot.axis)
        terms = pd.Series([answered[0].factors[factor] for factor in shared], dtype=object)
        labels = places.family.fillna(terms)
        of = f"{named(name, 'class')}: " if len(classes) > 1 else ""
        try:
            found = population_of(answered, name, shared, families_of([*labels]))
        except ValueError as error:
            say(f"{of}no population mean: {error}")
            continue
        say(*(f"{of}{line}" for line in in_words(found, level, len(study.observers or {}))))
        say(*([f"{of}not of the population, as some observers lack them: {some(others)}"] if others else []))
        tables.append(pd.DataFrame({"class": name} | population_table(found, level)))
        drawn.append((places.join(tables[-1].rename(columns={"mean": "corrected"})), pd.DataFrame(found.estimates.T)))
    if tables:
        outputs.table("population.csv", dict(pd.concat(tables)))
        means, own = drawn[min(study.plot.class_index, len(drawn) - 1)]
        with style.saved(outputs.path("population.png"), study.plot.dpi, width=study.plot.width) as figure:
            weights.weights(figure, means, {"inference": {"level": level}}, own)


def incomplete() -> list[str]:
    """Of how many of its trials the study says nothing."""
    account = read_account()
    n = account["trials"] if account else {"used": 0, "taken": 0}
    if account is None or n["used"] == n["taken"]:
        return []
    columns = some([name for name, *_ in lacking(account)])
    return [f"{n['taken'] - n['used']} of {n['taken']} trials left out because a value is missing: {columns}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.summary", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", help="of a study (default: this one)")
    return parser.parse_args()


if __name__ == "__main__":
    run(lambda: main(parse().folder))
