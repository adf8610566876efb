"""What the observer of a study will answer to new trials: `python -m stages.predict studies/rat new.csv --out p.csv`.

For each trial, and each class, the probability of a yes and an interval of it; empty where a value is missing, or
cannot be coded as the study's: a new word, say, a number beyond a spline, or another value of a constant column.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from hdlogit.inference import ClassInference
from stages.files import DATA
from stages.files.account import counted, named, read_account, some
from stages.files.errors import InputError, run
from stages.files.parameters import observer, read_study
from stages.files.tables import AGAIN, read_table
from stages.finished import for_each, read_finished
from stages.tables.answer import NOTHING
from stages.terminal import say, table
from stages.trials.prepared import prepare, sha256
from stages.trials.responses import answers
from stages.trials.values import key, keys, words

BATCH = 2048  # trials
WITHOUT_SIGNAL = "no factor predicts the responses better than chance would, so nothing tells how far they could"

KEYS = ("probability", "low", "high")

Array = NDArray[np.float64]


def main() -> None:
    """Code the trials as the study's, predict them, and name the file at its end."""
    arguments = parse()
    trials, out = Path(arguments.trials).expanduser().absolute(), Path(arguments.out).expanduser().absolute()
    if out.exists():
        raise InputError(f"{arguments.out} exists already; --out must name a new file")
    if not out.parent.is_dir():
        raise InputError(f"{arguments.out}: there is no folder {out.parent}")
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
        _, results, p = read_finished()
        use = read_table("inference/usefulness.csv", "class", "p_value")
        useless = {str(name) for name in use["class"][use.p_value >= NOTHING]}
        parameters = read_study()
        asked, alone = parameters.prepare, (parameters.observers or {}).get(observer() or "")
        if sha256(Path(asked.trials)) != account["file"]["sha256"]:
            raise InputError(f"{asked.trials} is not what the study was run with; {AGAIN}")
        study = prepare(asked, Path(asked.trials))
        if study.names != account["factors"]:
            names = some(account["factors"])
            raise InputError(f"{DATA / 'trials.json'} names {names}, but the trials give others; {AGAIN}")
    for name, c in results.items():
        if c.reason:
            print(f"{named(name, 'class')} is left empty: {c.reason}", file=sys.stderr)
        elif not c.signal > 0 or name in useless:
            print(f"{named(name, 'class')}: {WITHOUT_SIGNAL}", file=sys.stderr)
    new = study.study.open(trials)
    named_by = dict.fromkeys([asked.trial, *asked.groups]) if asked.trial else {}
    labels = new.frame[[name for name in named_by if name in new.frame]]
    labels = labels.apply(lambda label: words(label) if label.dtype.kind == "f" else label)  # 007 stays
    if asked.by:
        new = dataclasses.replace(new, frame=new.frame[keys(new.column(asked.by)) == key(alone)])
    factors, lacking, why = study.code(new)
    whole = np.asarray(np.isfinite(factors).all(axis=1))
    if why and not whole.any():
        raise InputError(why)
    numbers = {name: predicted(c, factors, whole, p.interval_level) for name, c in results.items()}
    say(*new.notes)
    empty = [f"lines left empty because a value is missing: {int(lacking.sum())}"] if lacking.any() else []
    if why:
        n = len(factors) - int(lacking.sum()) - int(whole.sum())
        empty.append(f"lines left empty because a value cannot be coded: {n}, the first: {why}")
    say("; ".join([counted(len(factors), "trial"), *empty]))
    if whole.any():
        report(numbers, answers(new, asked, study.study.responses), p.interval_level)
    of = {name: f"[{name}]" if len(numbers) > 1 else "" for name in numbers}
    columns = {f"{key}{of[name]}": values for name in numbers for key, values in zip(KEYS, numbers[name], strict=True)}
    return labels.join(pd.DataFrame(columns, new.frame.index))


def predicted(c: ClassInference, factors: Array, whole: NDArray[np.bool_], level: float) -> Array:
    """Probability, low and high (3, n_trials); NaN where the factors (n_trials, n_factors) are not `whole`."""
    numbers = np.full((3, len(factors)), np.nan)
    rows = np.flatnonzero(whole)
    if not c.reason:
        batches = np.split(rows, range(BATCH, len(rows), BATCH))
        for batch in tqdm(batches, unit="batch", disable=None, leave=False):
            numbers[:, batch] = c.predict(factors[batch], level)
    return numbers


def report(numbers: dict[str, Array], given: dict[str, Array], level: float) -> None:
    """Means over the predicted rows, and of classes whose responses are `given` how well they were predicted.

    By class: numbers: probability, low, high (3, n_rows); given: how often it was yes and no (n_rows, 2).
    """
    rows = []
    for name, (p, low, high) in numbers.items():
        row = [name, "-", "-"]
        if np.isfinite(p).any():
            row = [name, shown(np.nanmean(p)), shown(np.nanmean(high - low))]
        yes, no = given[name].T * np.isfinite(p) if name in given else np.zeros((2, len(p)))
        if n := (yes + no).sum():
            likely = np.nan_to_num(p, nan=0.5)
            with np.errstate(divide="ignore", invalid="ignore"):
                lost = np.where(yes > 0, yes * np.log(likely), 0) + np.where(no > 0, no * np.log1p(-likely), 0)
            right = np.where(likely > 0.5, yes, no).sum()
            row += [shown(-lost.sum() / n), f"{100 * right / n:.1f}"]
        rows.append([*row, *["-"] * (5 - len(row))] if given else row)
    headings = ["class", "mean probability\nof yes", f"mean width of\n{100 * level:g} % intervals"]
    table([*headings, "cross-entropy\n(nats)", "predicted\nright (%)"] if given else headings, rows)


def shown(value: float) -> str:
    return f"{value:.3f}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("study", help="folder of a study that has been run, as in studies/rat")
    parser.add_argument("trials", help="a file of new trials, with the columns of the study's")
    parser.add_argument("--out", required=True, help="the file of predictions to write, a line for each trial")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
