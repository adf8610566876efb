"""What the observer of a study will answer to new trials: `python -m stages.predict studies/rat new.csv --out p.csv`.

For each trial, and each class, the probability of a yes and an interval of it; empty where a value is missing, or
cannot be coded as the study's: a new word, say, a number beyond a spline, or another value of a constant column.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from hdlogit.inference import ClassInference
from stages.files import DATA
from stages.files.account import counted, named, read_account, some
from stages.files.errors import InputError, run
from stages.files.parameters import read_study
from stages.files.tables import AGAIN
from stages.finished import inside, read_finished
from stages.terminal import say, table
from stages.trials.design import Study
from stages.trials.prepared import prepare, sha256
from stages.trials.values import Table, words

BATCH = 2048  # rows
WITHOUT_SIGNAL = "no factor predicts the responses better than chance would, so nothing tells how far they could"

Floats = NDArray[np.float64]
Classes = dict[str, ClassInference | None]  # None: it has no inference


def main() -> None:
    """Code the trials as the study's, predict them, and name the file at its end."""
    arguments = parse()
    trials, out = Path(arguments.trials).expanduser().absolute(), Path(arguments.out).expanduser().absolute()
    if out.exists():
        raise InputError(f"{arguments.out} exists already; --out must name a new file")
    if not out.parent.is_dir():
        raise InputError(f"{arguments.out}: there is no folder {out.parent}")
    with inside(arguments.study):
        if (account := read_account()) is None:
            raise InputError(f"{arguments.study} has no {DATA / 'trials.json'}: it must be a study that has been run")
        results, p = read_finished()
        asked = read_study().prepare
        if sha256(Path(asked.trials)) != account["file"]["sha256"]:
            raise InputError(f"{asked.trials} is not what the study was run with; {AGAIN}")
        study = prepare(asked, Path(asked.trials))
        if study.names != account["factors"]:
            raise InputError(
                f"{DATA / 'trials.json'} names {some(account['factors'])}, but the trials give others; {AGAIN}"
            )
        classes = usable(results)
    new = study.study.open(trials)
    factors, lacking, why = study.code(new)
    batches = np.split(factors, range(BATCH, len(factors), BATCH))
    with tqdm(batches, unit="batch", disable=None, leave=False) as progress:
        found = [predicted([*classes.values()], batch, p.interval_level) for batch in progress]
    numbers = np.concatenate(found, axis=2)  # (3, n_classes, n_rows)
    whole = np.asarray(np.isfinite(factors).all(axis=1))
    if why and not whole.any():
        raise InputError(why)
    keys = dict.fromkeys([asked.trial, *asked.groups]) if asked.trial else {}
    labels = new.frame[[name for name in keys if name in new.frame]].reset_index(drop=True)
    labels = labels.apply(lambda label: words(label) if label.dtype.kind == "f" else label)  # 007 stays
    cells = pd.DataFrame(numbers.transpose(2, 1, 0).reshape(len(factors), -1), columns=header([*classes]))
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        pd.concat([labels, cells], axis=1).to_csv(unfinished, index=False, float_format="%.6g", lineterminator="\n")
        unfinished.rename(out)
    finally:
        unfinished.unlink(missing_ok=True)
    say(*new.notes)
    empty = [f"lines left empty because a value is missing: {int(lacking.sum())}"] if lacking.any() else []
    if why:
        n = len(factors) - int(lacking.sum()) - int(whole.sum())
        empty.append(f"lines left empty because a value cannot be coded: {n}, the first: {why}")
    say(f"{arguments.out}: {'; '.join([counted(len(factors), 'trial'), *empty])}")
    if whole.any():
        report(study.study, new, [*classes], numbers[:, :, whole], whole, p.interval_level)


def usable(results: dict[str, ClassInference]) -> Classes:
    """By the classes' names; what is left empty, and why, goes to stderr."""
    for name, result in results.items():
        if result.reason:
            print(f"{named(name, 'class')} is left empty: {result.reason}", file=sys.stderr)
        elif not result.theory.signal > 0:
            print(f"{named(name, 'class')}: {WITHOUT_SIGNAL}", file=sys.stderr)
    return {name: None if result.reason else result for name, result in results.items()}


def header(names: list[Any]) -> list[str]:
    """probability, low, high; of several classes each with its name."""
    keys = ("probability", "low", "high")
    return [*keys] if len(names) == 1 else [f"{key}[{name}]" for name in names for key in keys]


def predicted(classes: list[ClassInference | None], factors: Floats, level: float) -> Floats:
    """Probability, low and high (3, n_classes, n_trials) of trials (n_trials, n_factors); NaN for incomplete ones."""
    whole = np.asarray(np.isfinite(factors).all(axis=1))
    found = np.full((3, len(classes), len(factors)), np.nan)
    for k, c in enumerate(classes):
        if c is not None and whole.any():
            found[:, k, whole] = c.predict(factors[whole], level)
    return found


def report(study: Study, new: Table, names: list[str], numbers: Floats, rows: NDArray[np.bool_], level: float) -> None:
    """Means over the predicted trials, and where the file has responses, how well they were predicted.

    numbers: probability, low, high (3, n_classes, n); rows (n_rows,): which of the file's are these n.
    """
    probability, low, high = numbers
    headings = ["class", "mean probability\nof yes", f"mean width of\n{100 * level:g} % intervals"]
    lines = [
        [name, *map(shown, (p.mean(), w.mean()))] for name, p, w in zip(names, probability, high - low, strict=True)
    ]
    given = [each.code(new)[rows] if each.column in new.frame else None for each in study.responses]
    scored = {each.name: yes for each, yes in zip(study.responses, given, strict=True) if yes is not None}
    if scored:
        headings += ["cross-entropy\n(nats)", "predicted\nright (%)"]
        for line, p in zip(lines, probability, strict=True):
            yes = scored.get(line[0], np.full(len(p), np.nan))
            known = ~np.isnan(yes)
            with np.errstate(divide="ignore"):
                entropy = -np.log(np.where(yes == 1, p, 1 - p))[known]
            right = 100 * ((p > 0.5) == (yes == 1))[known]
            line += [shown(entropy.mean()), shown(right.mean(), 1)] if known.any() else ["-", "-"]
    table(headings, lines)


def shown(value: float, decimals: int = 3) -> str:
    return f"{value:.{decimals}f}".replace("nan", "-")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("study", help="folder of a study that has been run, as in studies/rat")
    parser.add_argument("trials", help="a file of new trials, with the columns of the study's")
    parser.add_argument("--out", required=True, help="the file of predictions to write, a line for each trial")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
