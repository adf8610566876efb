"""The observers of a study that was made with --by, side by side: `python -m stages.observers studies/experiment`.

Prints the answer for each, and writes data/coefficients.csv in that folder: the corrected weights of all of them, with
intervals and what else `inference/coefficients.csv` of one observer holds, and one column more, the observer's.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from stages.errors import InputError, run
from stages.files import DATA
from stages.terminal import say

OBSERVERS = DATA / "observers.csv"  # a line for each observer: the folder of its study, or why it has none
TABLE = DATA / "coefficients.csv"
ANSWER = DATA / "inference" / "answer.txt"


def main() -> None:
    """Collect what there is; an observer without a fit is named and has no rows."""
    folder = Path(parse().study)
    if not (folder / OBSERVERS).is_file():
        raise InputError(f"{folder} holds no {OBSERVERS}; it must be the folder of a study that was made with --by")
    (by, *_), *observers = read(folder / OBSERVERS)
    header, rows = [by], list[list[str]]()
    for name, study, left_out in observers:
        say(f"left out: {left_out}" if left_out else f"{name}: {answer(folder / study)}")
        if not left_out and has_weights(folder / study):
            columns, *own = read(folder / study / DATA / "inference" / "coefficients.csv")
            header, rows = [by, *columns], rows + [[name, *row] for row in own]
    if not rows:
        raise InputError(f"{folder}: no observer has corrected weights; dvc repro -R {folder}")
    unfinished = folder / TABLE.with_suffix(".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    unfinished.rename(folder / TABLE)
    say(f"Their weights, corrected and with intervals: {folder / TABLE}; figures: in {DATA / 'figures'} of each")


def has_weights(study: Path) -> bool:
    """Whether it has corrected weights."""
    return has_answer(study) and (study / DATA / "inference" / "coefficients.csv").exists()


def has_answer(study: Path) -> bool:
    """Whether it has run to its end; DVC removes a stage's outputs before it runs, but no later stage's."""
    return (study / DATA / "model.safetensors").exists() and (study / ANSWER).exists()


def answer(study: Path) -> str:
    """Whether its coefficients can be trusted, on one line."""
    if not has_answer(study):
        return f"no fit; dvc repro {study}/dvc.yaml says why"
    return "; ".join((study / ANSWER).read_text(encoding="utf-8").splitlines())


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.reader(file)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.observers", description=__doc__)
    parser.add_argument("study", help="folder of a study that was made with --by, as in studies/experiment")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
