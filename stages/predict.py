"""What the observer of a study will answer to new trials: `python -m stages.predict studies/rat new.csv --out p.csv`.

For each trial, and each class, the probability of a yes and an interval of it; empty where a value is missing, or
cannot be coded as the study's: a new word, say, or a number beyond a spline.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files import DATA
from stages.files.account import counted, first_of, named, read_account
from stages.files.errors import InputError, run
from stages.files.parameters import observer, read_study
from stages.files.tables import AGAIN
from stages.finished import for_each, read_finished
from stages.terminal import say, table
from stages.trials.prepared import prepare, sha256
from stages.trials.values import key, keys, words

KEYS = ("probability", "low", "high")

Array = NDArray[np.float64]


def main() -> None:
    """Code the trials as the study's, predict them, and name the file at its end."""
    arguments = parse()
    trials, out = Path(arguments.trials).expanduser().absolute(), Path(arguments.out).expanduser().absolute()
    if out.exists() or not out.parent.is_dir():
        raise InputError(f"--out {arguments.out}: it must name a new file, in a folder that exists")
    parts = list[pd.DataFrame]()
    for_each(arguments.study, lambda _, folder: parts.append(predict(folder, trials)))
    whole = parts[0]
    for part in parts[1:]:  # of other observers
        whole = whole.combine_first(part)[[*whole]]
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        whole.to_csv(unfinished, index=False, float_format="%.6g", lineterminator="\n")
        unfinished.rename(out)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"Written: {arguments.out}")


def predict(folder: str, trials: Path) -> pd.DataFrame:
    """Labels of all trials, and the probability of a yes with its interval, empty for trials of other observers."""
    with contextlib.chdir(folder):
        if (account := read_account()) is None:
            raise InputError(f"{folder} has no {DATA / 'trials.json'}: it must be a study that has been run")
        _, results, evaluate = read_finished()
        parameters, alone = read_study(), observer()
        p, level = parameters.prepare, evaluate.interval_level
        study = prepare(p, Path(p.trials))
        if sha256(Path(p.trials)) != account["file"]["sha256"] or study.names != account["factors"]:
            raise InputError(f"{p.trials} is not what the study was run with; {AGAIN}")
    new = study.study.open(trials)
    labels = new.frame[[name for name in dict.fromkeys([p.trial, *p.groups]) if p.trial and name in new.frame]]
    labels = labels.apply(words)  # 007 stays
    if p.by:
        value = (parameters.observers or {}).get(alone or "")
        new = dataclasses.replace(new, frame=new.frame[keys(new.column(p.by)) == key(value)])
    factors, lacking, why = study.code(new)
    whole = np.asarray(np.isfinite(factors).all(axis=1))
    if why and not whole.any():
        raise InputError(why)
    said = [*new.notes, counted(len(factors), "trial")]
    if reasons := [f"{study.study.names[j]} ({why})" for j, why in study.why_not.items()]:
        said.append(f"not fitted, and taken to be as in the study: {first_of(reasons)}")
    if lacking.any():
        said.append(f"lines left empty because a value is missing: {lacking.sum()}")
    if why:
        n = len(factors) - int(lacking.sum()) - int(whole.sum())
        said.append(f"lines left empty because a value cannot be coded: {n}, the first: {why}")
    say(*said)
    table_of_trials, rows = pd.DataFrame(index=new.frame.index), list[list[str]]()
    for (name, c), response in zip(results.items(), study.study.responses, strict=True):
        numbers = np.full((3, len(factors)), np.nan)  # probability, low, high
        if c.reason:
            print(f"{named(name, 'class')} is left empty: {c.reason}", file=sys.stderr)
        else:
            numbers[:, whole] = c.predict(factors[whole], level)
        suffix = f"[{name}]" if len(results) > 1 else ""
        table_of_trials[[f"{key}{suffix}" for key in KEYS]] = numbers.T
        is_scored = response.column in new.frame and not p.count
        yes = response.code(new) if is_scored else np.full(len(factors), np.nan)
        rows.append([name, *scores(numbers[0], numbers[2] - numbers[1], yes)])
    headings = "class", "mean probability\nof yes", f"mean width of\n{100 * level:g} % intervals"
    table([*headings, "cross-entropy\n(nats)", "fraction\npredicted right"], rows)
    return labels.join(table_of_trials)


def scores(p: Array, width: Array, yes: Array) -> Iterator[str]:
    """Mean probability of a yes and width of its interval; cross-entropy, and fraction of right predictions.

    Of trials (n,); yes: 1, 0, or NaN where there is no response.
    """
    likely = np.where(yes == 1, p, 1 - p)[np.isfinite(yes + p)]  # probability of what was answered
    for values in (p, width, -np.log(likely), likely > 0.5):
        yield f"{np.nanmean(values):.3f}" if np.isfinite(values).any() else "-"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("study", help="folder of a study that has been run, as in studies/rat")
    parser.add_argument("trials", help="a file of new trials, with the columns of the study's")
    parser.add_argument("--out", required=True, help="the file of predictions to write, a line for each trial")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
