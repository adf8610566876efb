"""Make a study of your own trials: `python -m stages.new studies/rat trials.csv --response choice=right`."""

from __future__ import annotations

import argparse
import csv
import keyword
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.files.account import counted, some
from stages.files.documents import validate
from stages.files.errors import InputError, run
from stages.files.parameters import Prepare, read_study
from stages.observers import OBSERVERS
from stages.repository import allow_no_git
from stages.trials import values, where
from stages.trials.design import learn, prepared
from stages.trials.read import read

ROOT = Path(__file__).resolve().parent.parent

COMMENTS = {  # the section `prepare` of a study's params.yaml: every key, in order, with what it may hold
    "trials": "the file, from this folder: text, Excel, JSON, Parquet, MATLAB, R, SPSS, …",
    "response": "column, or column=value that is a yes; a list for several classes",
    "formula": "null (every column of numbers or few words) | as in: ~ contrast * side + C(rule) + lag(choice, 1)",
    "factors": "null | columns that are factors, by name or a shell's pattern, as in: [contrast, frame*]",
    "count": "null | a column that says how many trials each row stands for",
    "missing_words": "null | words or numbers that mean a missing value, as in: [timeout, -99]",
    "group": "null | the column of sessions or observers, or a list; lags do not run across groups",
    "where": 'null | which rows to take, as in: block == 2 and rule in ("a", "b")',
    "missing": "drop | refuse; trials that lack a value",
    "standardise": "true | false; true: weights per standard deviation of a factor",
    "held_out": "[0, 1); fraction of the trials that is held out",
    "held_out_by": "trial (at random) | group (whole groups at random) | last (the last trials)",
    "seed": "0 .. 2^32 - 1; of the choice of held-out trials",
    "trial": "null | a long file's column that numbers the trials",
    "position": "null | a long file's column that names the factor",
    "value": "null | a long file's column of values",
    "intervals": "null | a long file's column of two intervals | two endings of a wide file's columns",
}

IGNORED = "/.partial/\n"  # what a killed stage leaves behind; DVC adds its own outputs


def main() -> None:
    """Check everything, make the folder in one step, and print how to go on."""
    arguments = parse()
    trials = Path(arguments.trials).expanduser()
    folder = Path.cwd() / arguments.study
    folder = folder.parent.resolve() / folder.name
    if ROOT not in folder.parents:
        raise InputError(f"{arguments.study} is not below {ROOT}, where the stages are; as in: studies/{trials.stem}")
    if folder.exists():
        what = "-R -k {}" if (folder / OBSERVERS).exists() else "{}/dvc.yaml"  # --recursive --keep-going
        go_on = f"dvc repro {what.format(shlex.quote(arguments.study))}"
        raise InputError(f"{arguments.study} exists already; `{go_on}` goes on with it, or choose another name")
    prepare = section(arguments, trials)
    if arguments.correct and prepare.intervals:
        raise InputError("--correct and --intervals exclude each other: differences predict which interval was chosen")
    observers, rows, nobodys = observers_of(prepare, trials, arguments.by) if arguments.by else ({}, {}, [])
    parts = split(prepare, arguments.by, observers) if arguments.by else {"": prepare}
    left_out: dict[str, str] = {}
    for name, part in parts.items():
        try:
            print("\n".join([*([f"{observers[name]}:"] if name else []), *findings(part, trials)]))
        except InputError as error:
            left_out[name] = f"{observers[name]}: {error} ({counted(rows[name], 'row')})" if name else str(error)
    if len(left_out) == len(parts):
        raise InputError(next(iter(left_out.values())))
    print("".join(f"left out: {why}\n" for why in [*left_out.values(), *nobodys]), end="")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
    scratch.mkdir()
    try:
        shutil.copy(trials, scratch / prepare.trials)
        for name, part in parts.items():
            if name not in left_out:
                write(scratch / name, part, folder / name, arguments.correct)
        if arguments.by:
            write_observers(scratch, arguments.by, observers, left_out, nobodys)
        track(scratch, prepare.trials)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(how_to_go_on(os.path.relpath(folder), bool(arguments.by)))


def how_to_go_on(folder: str, by: bool) -> str:
    """The commands that run the study, and keep it."""
    study, target = shlex.quote(folder), shlex.quote(f"{folder}/dvc.yaml")
    lines = [f"dvc repro --recursive --keep-going {study}", f"python -m stages.observers {study}"]
    keep = [f"git add {study}", f"git commit --message {shlex.quote(f'Study {Path(folder).name}')}"]
    run = "\n    ".join(lines if by else [f"dvc repro {target}"])
    return f"{folder} is made. To run it:\n    {run}\nTo keep it:\n    " + "\n    ".join(keep)


def section(arguments: argparse.Namespace, trials: Path) -> Prepare:
    """The section `prepare` that the command line asks for."""
    if not trials.is_file():
        raise InputError(f"{trials} is missing or not a file")
    if arguments.intervals and len(arguments.intervals) != (1 if arguments.trial else 2):
        raise InputError(
            f"--intervals {' '.join(arguments.intervals)}: it must be two endings of column names, as in _1 _2, or "
            "in a long file (--trial) the one column of intervals"
        )
    values: dict[str, Any] = {
        "trials": trials.name,
        "response": arguments.response[0] if len(arguments.response) == 1 else arguments.response,
        "missing": "drop",
        "seed": 1973,
        "group": arguments.group[0] if arguments.group and len(arguments.group) == 1 else arguments.group,
        "intervals": arguments.intervals[0] if arguments.intervals and arguments.trial else arguments.intervals,
    }
    given = ("formula", "where", "standardise", "held_out", "held_out_by", "trial", "position", "value")
    return validate(Prepare, values | {key: getattr(arguments, key) for key in given}, "options")


def observers_of(prepare: Prepare, trials: Path, by: str) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """By the names of their folders, the values of the column `by` and their rows; and which rows are nobody's."""
    table = prepared(read(trials), prepare)
    column = table.column(by)
    taken = where.parse(prepare.where).among(table.frame.columns)(table)
    missing = taken & column.isna().to_numpy()
    n_rows, n_taken, n_missing = len(taken), int(taken.sum()), int(missing.sum())
    first = int(column.index[np.argmax(missing)])
    counts = values.words(column[taken]).value_counts()
    if len(counts) > 1000:
        raise InputError(f"{table.name}: {by} holds more than 1000 values; --by makes a study for each")
    lines = []
    if n_taken < n_rows:
        lines.append(f"{n_rows - n_taken} of {counted(n_rows, 'row')}: excluded by where")
    if n_missing:
        why = f"{by} is missing (an empty cell, or a word such as NA, which can name no observer)"
        lines.append(f"{n_missing} of {counted(n_rows, 'row')}: {why}; the first: {table.place(first)}")
    if not len(counts):
        raise InputError(f"{table.name}: no row names an observer in {by}{''.join(f'; {line}' for line in lines)}")
    names = {re.sub(r"[^\w.-]+", "-", f"{by}-{value}"): value for value in sorted(counts.index, key=values.order)}
    if len(names) < len(counts):
        raise InputError(f"{table.name}: two values of {by} would give folders of the same name")
    return names, {name: int(counts[value]) for name, value in names.items()}, lines


def split(prepare: Prepare, by: str, observers: dict[str, str]) -> dict[str, Prepare]:
    """One section for each observer, who is fitted alone."""
    rest = f" and ({prepare.where})" if prepare.where else ""
    is_number = all(re.fullmatch(values.NUMBER, value) for value in observers.values())
    column = by if by.isidentifier() and by.isascii() and not keyword.iskeyword(by) else f"`{by}`"
    form = str if is_number else repr
    groups = [*dict.fromkeys([by, *prepare.groups])]  # no lag from one to another
    common = {"trials": f"../{prepare.trials}", "group": groups}
    return {
        name: prepare.model_copy(update=common | {"where": f"{column} == {form(value)}{rest}"})
        for name, value in observers.items()
    }


def findings(prepare: Prepare, trials: Path) -> list[str]:
    """What the file holds, a line each; raises InputError where it cannot be a study."""
    found = learn(prepare, trials)
    names = found.names
    lines = [f"{counted(found.n_taken, 'trial')}, {counted(len(names), 'factor')}: {some(names)}"]
    lines += found.table.notes
    for response in found.responses:
        lines.append(f"{response.column} is a yes where it is {' or '.join(response.yes)}")
    return lines + [f"{name} is no factor: {why}" for name, why in found.left_out.items()]


def write(folder: Path, prepare: Prepare, final: Path, is_correctness: bool = False) -> None:
    """params.yaml and dvc.yaml of one study, in `folder` for now and in `final` later."""
    folder.mkdir(exist_ok=True)
    (folder / "params.yaml").write_text(parameters(prepare, is_correctness), encoding="utf-8")
    (folder / "data").mkdir()
    (folder / "data" / ".gitignore").write_text(IGNORED, encoding="utf-8")
    (folder / "dvc.yaml").write_text(pipeline(os.path.relpath(ROOT, final)), encoding="utf-8")
    read_study(folder / "params.yaml")


def write_observers(
    folder: Path, by: str, observers: dict[str, str], left_out: dict[str, str], nobodys: list[str]
) -> None:
    """The table from which `stages.observers` reads which observers there are, and what is left out and why."""
    (folder / OBSERVERS).parent.mkdir()
    with (folder / OBSERVERS).open("w", newline="", encoding="utf-8") as file:
        rows = [[value, "" if k in left_out else k, left_out.get(k, "")] for k, value in observers.items()]
        rows += [["", "", why] for why in nobodys]
        csv.writer(file, lineterminator="\n").writerows([[by, "study", "left_out"], *rows])


def parameters(prepare: Prepare, is_correctness: bool = False) -> str:
    """params.yaml: the section `prepare`, and the simulation's other sections, changed to an exact fit."""
    lines = [f"  {key}: {one_line(value)}" for key, value in prepare.model_dump(mode="json").items()]
    width = min(max(map(len, lines)), 40)
    head = (
        "# One section per stage; a stage reads its own section only. Try others: `dvc exp run -S train.ridge=auto`.\n"
        "# A value with signs in it stands in two pairs of quotes: -S 'prepare.formula=\"~ contrast * side\"'."
    )
    section = [f"{line:{width}}  # {comment}" for line, comment in zip(lines, COMMENTS.values(), strict=True)]
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    others = text[text.index("\ntrain:") :]
    changes = {"solver": "exact", "class_index": "0"} | ({"guess_rate": "0.5"} if is_correctness else {})
    for key, value in changes.items():
        others = re.sub(rf"(?m)^(  {key}: )\S+ *(#.*)$", rf"\g<1>{value:<{22 - len(key)}} \2", others)
    return "\n".join([head, "", "prepare:", *section]) + "\n" + others


def one_line(value: object) -> str:
    """A value as YAML on one line."""
    dumped = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return dumped.removesuffix("...\n").strip()


def pipeline(root: str) -> str:
    """dvc.yaml of a study, from which the repository's folder is `root`."""
    return (ROOT / "stages" / "study.yaml").read_text(encoding="utf-8").replace("../..", root, 1)


def track(folder: Path, name: str) -> None:
    """Track the trials with DVC: their bytes go to its cache, and `name`.dvc stands for them in git."""
    command = [sys.executable, "-m", "dvc", "add", "--", name]
    allow_no_git(ROOT)
    added = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if added.returncode:
        message = " ".join((added.stderr or added.stdout).split())
        raise InputError(f"dvc add {name} failed: {message}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.new", description=__doc__)
    parser.add_argument("study", help="the folder to make, as in studies/rat")
    parser.add_argument("trials", help="the file of trials; it is copied")
    parser.add_argument(
        "--response", action="append", required=True, help="column, or column=value that is a yes; may be repeated"
    )
    parser.add_argument("--formula", help=COMMENTS["formula"])
    parser.add_argument("--group", nargs="+", help=COMMENTS["group"])
    parser.add_argument("--where", help=COMMENTS["where"])
    parser.add_argument("--by", help="a column of observers: a study for each, below the folder")
    parser.add_argument("--standardise", action="store_true", help="weights per standard deviation of a factor")
    parser.add_argument("--held-out", type=float, default=0.0, help="fraction of the trials that is held out")
    parser.add_argument("--held-out-by", default="trial", choices=("trial", "group", "last"), help="how to choose them")
    parser.add_argument(
        "--correct",
        action="store_true",
        help="the response is correct or not, of two alternatives: half of the guesses are right",
    )
    parser.add_argument("--trial", help=COMMENTS["trial"])
    parser.add_argument("--position", help=COMMENTS["position"])
    parser.add_argument("--value", help=COMMENTS["value"])
    parser.add_argument("--intervals", nargs="+", help=COMMENTS["intervals"])
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
