"""The results in a few lines: `python -m stages.summary studies/rat`, which also ends `make repro` and `make
study`.

Of observers who are fitted each alone: a verdict on each and the mean of the population, also on one page,
data/index.html, with a figure, and in data/population.csv; data/coefficients.csv has the corrected weights of
all.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stages.current import at, check_current
from stages.files import DATA, OBSERVERS
from stages.files.account import lacking, named, some
from stages.files.errors import InputError, run
from stages.files.parameters import Evaluate, Study, read_parameters
from stages.files.tables import read_json, read_lines, read_table
from stages.files.writing import Outputs
from stages.page.render import render_observers
from stages.tables.answer import LACKING
from stages.tables.inferred import read_and_infer
from stages.tables.population import Observer, family_tests, in_words, population_of, population_table
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
    "loo.best.cross_entropy": "cross-entropy of each trial, best predicted from all others (nats)",
    "loo.accuracy": "fraction of responses on the likelier side, likewise",
    "replication.classical_slope": "size of one group's weights, relative to those of the others",
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
    values = {text: at(metrics, name) for name, text in LINES.items()}
    numbers([(f"{value:.4g}", text) for text, value in values.items() if value is not None][:SHOWN])
    folder = DATA.resolve()  # absolute, so that it can be clicked, and is right in any folder
    say(
        f"Page:    {folder / 'report.html'}",
        f"Figures: {folder / 'figures'}",
        f"Numbers: {folder / 'metrics.json'}",
    )


HEADINGS = "observer", "trials", "signal (sd of\nthe true logit)", "weights\ncome out", "verdict"
NONE = "no corrections"
MADE = "coefficients.csv", "psychometric.csv", "population.*", "index.html"  # of all observers


class Found(NamedTuple):
    """What came out of one observer."""

    rows: list[list[str]]  # of the table below HEADINGS, one per class
    lines: list[str]  # what was left out, and why
    weights: pd.DataFrame | None = None
    observer: Observer | None = None
    numbers: pd.DataFrame | None = None  # of the psychometric function


def side_by_side(study: Study) -> None:
    """A verdict on each observer, one table of all corrected weights, the population, and a page."""
    found = dict[str, Found]()
    for folder, value in (study.observers or {}).items():
        with contextlib.chdir(Path(OBSERVERS, folder)):
            found[folder] = read_observer(str(value), study.evaluate)
    rows = [row for one in found.values() for row in one.rows]
    table(HEADINGS, rows, text=(0, 4))
    lines, lacking = list[str](), sum(row[-1].startswith(LACKING) for row in rows)
    if lacking:
        far_off = "their weights, and the mean of all, may be far off (their pages say what to add)"
        lines.append(f"models that lack something: {lacking} of {len(rows)}; {far_off}")
    left_out = [line for one in found.values() for line in one.lines]
    left_out += [f"left out: {why}" for why in study.left_out]
    say(*lines, *left_out)
    for path in [path for name in MADE for path in DATA.glob(name)]:  # of an earlier run
        path.unlink()
    weights = [one.weights for one in found.values() if one.weights is not None]
    if not weights:
        raise InputError("no observer has corrected weights")
    with Outputs("summary") as outputs:
        observers = [one.observer for one in found.values() if one.observer]
        said, means, tests, pooled = write_population(study, observers, outputs)
        own = pd.concat(weights).merge(pooled, "left", ["observer", "class", "factor"])
        outputs.table("coefficients.csv", own)
        if numbers := [one.numbers for one in found.values() if one.numbers is not None]:
            outputs.table("psychometric.csv", pd.concat(numbers))
        picture = outputs.path("population.png")
        page = render_observers(
            title=f"{', '.join(study.prepare.responses)} in {study.prepare.trials}, {len(found)} observers",
            sentences=[*said, *lines],
            observers={folder: one.rows for folder, one in found.items()},
            means=means,
            tests=tests,
            picture=picture if len(means) else None,
            left_out=left_out,
        )
        outputs.text("index.html", page)
    say(f"Page of all: {DATA.resolve()}/index.html")
    made = "coefficients.csv, population.csv, population.png" if len(means) else "coefficients.csv"
    say(f"Numbers:     {DATA.resolve()}/{made}")


def read_observer(name: str, p: Evaluate) -> Found:
    """What stands in the observer's folder, which is this one."""
    try:
        check_current()
        account = read_json("trials.json")
        rows, lines, n = verdicts(name, account), list[str](), account["trials"]
        if any(row[-1] == NONE for row in rows):
            lines += read_lines("inference/answer.txt") or read_lines("inference/left_out.txt")
        if missing := n["taken"] - n["used"]:
            columns = some([column for column, *_ in lacking(account)])
            lines.append(f"{missing} of {n['taken']} trials left out because a value is missing: {columns}")
        lines = [f"{name}: {line}" for line in lines]
        if not (DATA / "inference/coefficients.csv").exists():
            return Found(rows, lines)
        weights = read_table("inference/coefficients.csv", "class", "factor")
        weights.insert(0, "observer", name)
        terms = {j: term for term, places in account["terms"].items() for j in places}
        factors = {factor: terms.get(j, factor) for j, factor in enumerate(account["factors"])}
        function = "inference/psychometric.csv"
        numbers = read_table(function).assign(observer=name) if (DATA / function).exists() else None
        return Found(rows, lines, weights, Observer(name, factors, read_and_infer(p)[1]), numbers)
    except InputError as error:
        return Found([[name, "", "", "", "no estimate"]], [f"{name}: no corrected weights: {error}"])


def verdicts(observer: str, account: dict[str, Any]) -> list[list[str]]:
    """A row of the table for each class of the observer in whose folder this is."""
    known, several = dict[str, dict[str, Any]](), len(account["classes"]) > 1
    if (DATA / "inference/classes.csv").exists():
        known = read_table("inference/classes.csv", "verdict").set_index("class").to_dict("index")
    rows = []
    for name in account["classes"]:
        c = known.get(name)
        numbers = [f"{c['signal']:.2g}", f"× {c['alpha']:.3g}", c["verdict"]] if c else ["", "", NONE]
        who = f"{observer}, {name}" if several else observer
        rows.append([who, str(account["trials"]["used"]), *numbers])
    return rows


def write_population(
    study: Study, observers: list[Observer], outputs: Outputs
) -> tuple[list[str], pd.DataFrame, list[dict[str, Any]], pd.DataFrame]:
    """Say, write and draw (one class of) the population: sentences, means by class and factor, joint tests;
    and each observer's weights, partially pooled.
    """
    from stages.figures import style, weights  # matplotlib takes a while

    level, p = study.evaluate.interval_level, study.plot
    classes = [*dict.fromkeys(name for one in observers for name in one.results)]
    sentences, tables, tests, drawn = list[str](), [pd.DataFrame()], list[dict[str, Any]](), list[Any]()
    pooled = [pd.DataFrame(columns=["observer", "class", "factor", "pooled", "pooled_error"])]
    for name in classes:
        of = f"{named(name, 'class')}: " if len(classes) > 1 else ""
        try:
            found, who, places, others = population_of(observers, name, p.axis)
        except ValueError as error:
            sentences.append(f"{of}no population mean: {error}")
            continue
        sentences.append(f"{of}{in_words(found, level, len(study.observers or {}))}")
        if others:
            sentences.append(f"{of}not of the population, as some observers lack them: {some(others)}")
        tables.append(population_table(found, level))
        tables[-1].insert(0, "class", name)
        tests += [{"class": name} | test for test in family_tests(found)]
        means = places.join(tables[-1].rename(columns={"mean": "corrected"}))
        drawn.append((means, pd.DataFrame(found.estimates.T)))
        cells = pd.MultiIndex.from_product([who, [name], found.names], names=pooled[0].columns[:3])
        values = {"pooled": found.shrunk.ravel(), "pooled_error": found.shrunk_error.ravel()}
        pooled.append(pd.DataFrame(values, cells).reset_index())
    say(*sentences)
    for test in tests:
        of, df = (
            f"{test['class']}: " if len(classes) > 1 else "",
            " and ".join(f"{x:.1f}" for x in test["df"]),
        )
        statistic = f"F = {test['statistic']:.3g} with {df} degrees of freedom, p = {test['p_value']:.2g}"
        say(f"{of}{test['family']} together: {statistic}")
    means = pd.concat(tables)
    if len(means):
        outputs.table("population.csv", means)
        formats = [*dict.fromkeys(["png", *p.formats])]  # the page shows the first
        with style.saved(outputs.path("population.png"), p.dpi, formats, p.width) as figure:
            means_of_class, own = drawn[min(p.class_index, len(drawn) - 1)]
            weights.weights(figure, means_of_class, {"inference": {"level": level}}, own)
    return sentences, means, tests, pd.concat(pooled[1:] or pooled)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.summary", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", help="of a study (default: this one)")
    return parser.parse_args()


if __name__ == "__main__":
    run(lambda: main(parse().folder))
