"""The results in a few lines: `python -m stages.summary studies/rat`, which also ends `make repro` and `make study`.

Of observers who are fitted each alone: the answer for each, and the corrected weights of all in data/coefficients.csv.
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
from stages.files.account import lacking, read_account, some
from stages.files.errors import InputError, run
from stages.files.parameters import Study, read_parameters
from stages.files.tables import read_json, read_lines, read_table
from stages.files.writing import Outputs
from stages.terminal import numbers, say

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


def side_by_side(study: Study) -> None:
    """A line for each observer, and one table of all corrected weights."""
    tables = list[pd.DataFrame]()
    for name, value in (study.observers or {}).items():
        try:
            with contextlib.chdir(Path(OBSERVERS, name)):
                check_current()
                say(f"{value}: " + "; ".join([*read_lines("inference/answer.txt"), *incomplete()]))
                if (DATA / "inference/coefficients.csv").exists():  # or else the answer says why
                    tables.append(read_table("inference/coefficients.csv", "class", "factor"))
                    tables[-1].insert(0, "observer", str(value))
        except InputError as error:
            say(f"{value}: no corrected weights: {error}")
    say(*(f"left out: {why}" for why in study.left_out))
    if not tables:
        raise InputError("no observer has corrected weights")
    with Outputs("summary") as outputs:
        outputs.table("coefficients.csv", dict(pd.concat(tables)))
    say(f"Weights: {DATA.resolve() / 'coefficients.csv'}", f"Pages:   {Path(OBSERVERS).resolve()}/*/data/report.html")


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
