"""The observers of a study that was made with --by, side by side: `python -m stages.observers studies/experiment`.

Prints the answer for each, and writes data/coefficients.csv in that folder: the corrected weights of all of them, with
intervals and the other columns of an observer's `inference/coefficients.csv`, and one column more for the observer.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from stages.current import check_current
from stages.files import DATA
from stages.files.account import lacking, read_account, some
from stages.files.errors import InputError, run
from stages.files.tables import Table, read_lines, read_table, reading
from stages.files.writing import Outputs
from stages.terminal import say

OBSERVERS = DATA / "observers.csv"  # a line for each observer: the folder of its study, or why it has none
COLUMNS = ["study", "left_out"]  # after the observer's
ANSWER, COEFFICIENTS = "inference/answer.txt", "inference/coefficients"
TABLE = "coefficients.csv"


def main() -> None:
    """Collect the results; an observer without a fit is named and has no rows."""
    folder = Path(parse().study)
    if not (folder / OBSERVERS).is_file():
        raise InputError(f"{folder} holds no {OBSERVERS}; it must be the folder of a study that was made with --by")
    with contextlib.chdir(folder):
        by, observers = read_observers()
    (folder / DATA / TABLE).unlink(missing_ok=True)
    table: Table = {}
    for name, study, left_out in observers:
        found = None if left_out else read_study(folder / study)
        say(f"left out: {left_out}" if left_out else f"{name}: {found[0] if found else no_fit(folder / study)}")
        if found and found[1]:
            heading = by if by not in found[1] else f"{by} of the study"
            own = {heading: [name] * len(found[1]["factor"]), **found[1]}
            if table and table.keys() != own.keys():
                raise InputError(f"{folder / study}: its coefficients have other columns than the observers before it")
            table = {key: [*table.get(key, []), *column] for key, column in own.items()}
    if not table:
        raise InputError(f"{folder}: no observer has corrected weights; dvc repro -R {folder}")
    with contextlib.chdir(folder), Outputs("observers") as outputs:
        outputs.table(TABLE, table)
    say(f"Their weights, corrected and with intervals: {folder / DATA / TABLE}; figures: in {DATA / 'figures'} of each")


def read_observers() -> tuple[str, list[list[str]]]:
    """The column of observers, and for each one: the name, the folder of its study, and why it has none, if so."""
    with reading(OBSERVERS):
        table = pd.read_csv(OBSERVERS, dtype=str, keep_default_na=False)
        by = table.columns[0]
        return by, table[[by, *COLUMNS]].to_numpy().tolist()


def read_study(study: Path) -> tuple[str, Table] | None:
    """Whether its coefficients can be trusted, on one line, and the corrected ones if there are any.

    None if it has no fit as it is now.
    """
    if not (study / DATA / ANSWER).exists():
        return None
    with contextlib.chdir(study):
        try:
            check_current()
        except InputError:
            return None
        try:
            table: Table = {}
            if (DATA / f"{COEFFICIENTS}.csv").exists():
                table = read_table(f"{COEFFICIENTS}.csv", "class", "factor").to_dict("list")
            return "; ".join([*read_lines(ANSWER), *left_out_trials()]), table
        except InputError as error:
            raise InputError(f"{study}: {error}") from None


def left_out_trials() -> Iterator[str]:
    """Of how many of its trials the study says nothing."""
    account = read_account()
    if account and (n := account["trials"])["used"] < n["taken"]:
        columns = some([name for name, *_ in lacking(account)])
        yield f"{n['taken'] - n['used']} of {n['taken']} trials left out because a value is missing: {columns}"


def no_fit(study: Path) -> str:
    return f"no fit; dvc repro {study}/dvc.yaml says why"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.observers", description=__doc__)
    parser.add_argument("study", help="folder of a study that was made with --by, as in studies/experiment")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
