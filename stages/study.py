"""Fit your own trials: `python -m stages.study trials.csv --response choice=right`.

Makes a study in studies/, runs it, and prints the answer. Named again, with `--name`, it changes what the
options say, and runs what that touches.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError

from stages import compare, summary
from stages.files import DATA, OBSERVERS
from stages.files.account import counted
from stages.files.documents import one_line, validate
from stages.files.errors import SAID, InputError, run
from stages.files.families import smooth_families
from stages.files.parameters import FILE, Prepare, Study, read_study
from stages.terminal import say
from stages.trials.observers import observers_of
from stages.trials.prepared import prepare
from stages.trials.read import read

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ROOT / "studies"
PIPELINE, PARAMETERS = ROOT / "stages/study.yaml", ROOT / "stages/study_params.yaml"  # of a new study
ENVIRONMENT = "STUDY_OPTIONS"  # holds options, as `make study` gives them: no shell runs their backticks


def main() -> None:
    """Make or change the study, and run it; of several formulas one for each, which are then compared."""
    arguments = parse()
    files = [file for named in arguments.trials for file in named]
    name = arguments.name or name_of(files)
    if "/" in name or name in (".", ".."):
        raise InputError(f"--name {name}: it must name a folder in {shown(STUDIES)}, without /")
    formulas = arguments.formula or [None]
    numbers = [f"-{k}" for k in range(1, len(formulas) + 1)] if formulas[1:] else [""]
    folders = [STUDIES / f"{name}{number}" for number in numbers]
    values = [given(arguments, formula) for formula in formulas]
    documents = [checked(folder, files, each) for folder, each in zip(folders, values, strict=True)]
    for folder, document in zip(folders, documents, strict=True):
        if folders[1:]:
            say(f"{folder.name}: {document['prepare']['formula']}")
        make(folder, files, document)
        status, errors = reproduce(folder, document.get("observers", ()))
        if status == 0 or "observers" in document:
            summary.main(folder, errors)
        if status:
            sys.exit(status)
    if folders[1:]:
        picture = folders[0] / DATA / "compare.png"
        compare.draw(picture, compare.side_by_side([*map(shown, folders)]))
        say(f"Figure: {picture}")


def checked(folder: Path, files: list[Path], values: dict[str, Any]) -> Any:
    """The study's params.yaml with these values. Raises InputError unless the trials can be prepared so."""
    is_new = not folder.exists()
    if is_new and not (files and "prepare.response" in values):
        raise InputError(f"{shown(folder)} is no study yet; to make one, give a file of trials and --response")
    parameters = PARAMETERS if is_new else folder / FILE
    read_study(parameters)
    document = ROUND_TRIP.load(parameters.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        trials = copied(files, Path(scratch)) if files else None
        change(document, values | ({"prepare.trials": trials.name} if trials else {}))
        if not is_new and (document["prepare"].get("by") is None) == ("observers" in document):
            raise InputError(f"{shown(folder)}: with --by it is another study, which needs another --name")
        check(document, trials or folder / document["prepare"]["trials"])
    return document


def make(folder: Path, files: list[Path], document: Any) -> None:
    """Write what has been checked: a new study at once or not at all."""
    with scratch_beside(folder) as scratch:
        target = folder if folder.exists() else scratch
        if files:
            trials = copied(files, scratch)
            if target == folder:
                replace(folder / trials.name, trials)
            track(trials.name, target)
        write(target, document)
        if target == scratch:
            scratch.rename(folder)


# --- what is asked for


def find(text: str) -> list[Path]:
    """The files that an argument names: a file, a folder of files, or a pattern as in data/*.csv."""
    path = Path(text).expanduser()
    pattern = glob.escape(str(path)) if path.is_file() else str(path / "*" if path.is_dir() else path)
    if files := [file for file in map(Path, sorted(glob.glob(pattern))) if file.is_file()]:  # noqa: PTH207
        return files
    raise InputError(f"{text} is missing or not a file")


def name_of(files: list[Path]) -> str:
    """A study is called as its file; one of several files, as the folder that holds them all."""
    if not files:
        raise InputError("nothing is named; it must be a file of trials, or the --name of a study")
    return files[0].stem if len(files) == 1 else folder_of(files).name


def folder_of(files: list[Path]) -> Path:
    return Path(os.path.commonpath([file.absolute().parent for file in files]))


def given(arguments: argparse.Namespace, formula: str | None = None) -> dict[str, Any]:
    """The parameters that are named; a formula takes the place of factors, and they of a formula."""
    values = {key: value for key, value in vars(arguments).items() if "." in key and value is not None}
    for key in ("response", "factors", "group", "intervals"):  # one column, or a list of them
        if len(columns := values.get(f"prepare.{key}", ())) == 1:
            values[f"prepare.{key}"] = columns[0]
    if formula is not None:
        values = {"prepare.factors": None, **values, "prepare.formula": formula}
    elif "prepare.factors" in values:
        values["prepare.formula"] = None
    return {**values, **arguments.rates, **dict(arguments.set)}


def rates(text: str) -> dict[str, Any]:
    """`estimate`, `tied`, or guess and lapse rate, each a number or `estimate`."""
    both = ["estimate"] * 2 if text in ("estimate", "tied") else text.split(",")
    try:
        guess_rate, lapse_rate = ("auto" if rate == "estimate" else float(rate) for rate in both)
    except ValueError:
        right = "estimate, tied, or guess and lapse rate, as in 0.5,0.02 or 0.5,estimate"
        raise InputError(f"--rates {text}: it must be {right}") from None
    asymptotes = "tied" if text == "tied" else "estimate" if "auto" in (guess_rate, lapse_rate) else "none"
    values = {"asymptotes": asymptotes, "guess_rate": guess_rate, "lapse_rate": lapse_rate}
    return {f"evaluate.{key}": value for key, value in values.items()}


def assignment(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    return key, setting(value)


def setting(text: str) -> Any:
    """A value as in params.yaml."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise InputError(f"{text!r} is not a value, such as auto, 0.5, null or [a, b]") from None


# --- params.yaml, with its comments

ROUND_TRIP = YAML()
ROUND_TRIP.width, ROUND_TRIP.preserve_quotes = 10**6, True
ROUND_TRIP.representer.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def change(document: Any, values: dict[str, Any]) -> None:
    """Set keys such as "prepare.where"; comments and all other keys stay as they are."""
    for key, value in values.items():
        section, _, name = key.partition(".")
        if isinstance(value, list):
            value = CommentedSeq(value)
            value.fa.set_flow_style()
        document.setdefault(section, {})[name] = value


def check(document: Any, trials: Path) -> None:
    """Raise InputError unless the trials can be prepared in this way; name the observers of whom they can."""
    p, table = validate(Prepare, document["prepare"], f"{FILE}: prepare"), read(trials)
    observers, notices = observers_of(p, table) if p.by else ({"": ("", 0)}, [])
    if p.by:
        document["observers"] = {folder: value for folder, (value, _) in observers.items()}
    study, reasons = validate(Study, document, str(FILE)), dict[str, str]()
    for folder, (value, n_rows) in observers.items():
        own = study.alone(folder) if p.by else study
        try:
            smooth_families(prepare(own.prepare, table).names, own.evaluate.smooth or [])
        except InputError as error:
            reasons[folder] = f"{value}: {error} ({counted(n_rows, 'row')})" if p.by else str(error)
    if len(reasons) == len(observers):
        raise InputError(next(iter(reasons.values())))
    if p.by:
        document["left_out"] = [*reasons.values(), *notices]
    for folder in reasons:
        del document["observers"][folder]


# --- the study's folder


@contextlib.contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """A folder to write into, so that what fails leaves nothing."""
    scratch = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def copied(files: list[Path], folder: Path) -> Path:
    """A copy of the file; of several a folder of copies, which also have the names of their folders."""
    if len(files) == 1:
        return Path(shutil.copyfile(files[0], folder / files[0].name))
    (folder / "trials").mkdir()
    for file in files:
        parts = file.absolute().relative_to(folder_of(files)).parts
        shutil.copyfile(file, folder / "trials" / "-".join(parts))
    return folder / "trials"


def replace(old: Path, new: Path) -> None:
    """Put new trials in the place of those that DVC keeps. Raises InputError for any that it does not."""
    if old.exists():
        if dvc("status", "--quiet", f"{old.name}.dvc", folder=old.parent).returncode:
            instead = "move it away, and name it as the file of trials"
            raise InputError(f"{shown(old)} was changed by hand; {instead}")
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    new.rename(old)


def track(name: str, folder: Path) -> None:
    """Keep the trials with DVC: their bytes go to its cache, and a .dvc file stands for them in git."""
    adding = dvc("add", "--", name, folder=folder, capture_output=True)
    if adding.returncode:
        raise InputError(f"dvc add {name}: {one_line(adding.stderr)}")


def write(folder: Path, document: Any) -> None:
    """params.yaml, and what is not there yet."""
    for name in document.get("observers", ()):
        (folder / OBSERVERS / name).mkdir(parents=True, exist_ok=True)
    if not (folder / "dvc.yaml").exists():
        (folder / "dvc.yaml").write_text(pipeline("observers" in document), encoding="utf-8")
    unfinished = folder / f".{FILE}"
    with unfinished.open("w", encoding="utf-8") as stream:
        ROUND_TRIP.dump(document, stream)
    unfinished.rename(folder / FILE)


def pipeline(is_by_observer: bool) -> str:
    """dvc.yaml; with observers every stage runs for each, in a folder of the observer's."""
    text = PIPELINE.read_text(encoding="utf-8")
    if not is_by_observer:
        return text
    document = yaml.safe_load(text)
    for name, stage in document["stages"].items():
        sections = [*stage["params"], *(["observers.${key}"] if name == "prepare" else [])]
        stage["params"] = [{f"../../{FILE}": sections}]
        stage["deps"] = [dep.replace("${prepare.trials}", "../../${prepare.trials}") for dep in stage["deps"]]
        body = {"wdir": f"{OBSERVERS}/${{key}}"} | stage
        document["stages"][name] = {"foreach": "${observers}", "do": body}
    head = "# Like stages/study.yaml, for each observer.\n"
    parts = {"vars": [{"root": "../../../.."}], "stages": document["stages"]}
    return head + yaml.safe_dump(parts, sort_keys=False, width=110)


# --- DVC


def dvc(*words: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run DVC, whose stages run with this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path} | options.pop("env", {})
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **options)


def reproduce(folder: Path, observers: Collection[str]) -> tuple[int, list[str]]:
    """Run what is out of date; the exit status, and the errors. Of several observers none stops the others."""
    if observers:
        say(counted(len(observers), "observer"))
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as temporary:
        said = Path(temporary, "said")
        words = ["repro", "--quiet", *(["--keep-going"] if observers else [])]
        stdout = subprocess.DEVNULL if observers else None  # the lines of many are too many
        status = dvc(*words, folder=folder, env={SAID: str(said)}, stdout=stdout).returncode
        if status and not said.exists():
            command = f"`dvc repro {shlex.quote(shown(folder))}/dvc.yaml`"
            raise InputError(f"DVC failed, perhaps as another DVC is at work here; {command} goes on, or says why")
        errors = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
    return min(status, 1), errors


def shown(path: Path) -> str:
    return os.path.relpath(path)


# --- the command line

MANY: dict[str, Any] = {"nargs": "+"}
PAIR: dict[str, Any] = {"nargs": 2, "type": setting}
SEVERAL: dict[str, Any] = {"action": "append"}
OPTIONS: list[tuple[str, str, str, dict[str, Any]]] = [  # option, key, help, how it is given
    ("--response", "prepare.response", "column, or column=value that is a yes; may be repeated", SEVERAL),
    ("--factors", "prepare.factors", "columns of factors, in order; patterns as in frame* are allowed", MANY),
    ("--count", "prepare.count", "the column that says how many trials a row is", {}),
    ("--missing", "prepare.missing_words", "further words for a missing value, as in: -99 timeout", MANY),
    ("--group", "prepare.group", "the columns of sessions or observers; lags do not run across groups", MANY),
    ("--by", "prepare.by", "the column of observers, who are fitted each alone", {}),
    ("--where", "prepare.where", 'which rows to take, as in: block == 2 and rule in ("a", "b")', {}),
    ("--held-out", "prepare.held_out", "fraction of the trials that is held out", {"type": setting}),
    ("--held-out-by", "prepare.held_out_by", "how to choose them: trial, group or last", {}),
    ("--trial", "prepare.trial", "a long file's column that numbers the trials", {}),
    ("--position", "prepare.position", "a long file's column that names the factor", {}),
    ("--value", "prepare.value", "a long file's column of values", {}),
    ("--intervals", "prepare.intervals", "two endings of column names, or a long file's column", MANY),
    ("--smooth", "evaluate.smooth", "factors with a smooth kernel, by pattern, as in: 'frame*'", MANY),
    ("--axis", "plot.axis", 'label and spacing of numbered factors, as in: "time (ms)" 20', PAIR),
]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.study", description=__doc__)
    add = parser.add_argument
    add("trials", nargs="*", type=find, help="files of trials, which are copied into the study")
    add("--name", help="of the study, which is in studies/ (default: the file's name)")
    for option, key, text, how in OPTIONS:
        add(option, dest=key, help=text, metavar=option.strip("-").upper(), **how)
    text = "as in: ~ contrast * side + lag(choice, 1); of several, a study of each"
    add("--formula", **SEVERAL, default=[], help=text)
    text = "estimate, tied (half of the lapses are a yes), or guess and lapse rate, as in 0.5,estimate"
    add("--rates", type=rates, default={}, help=text)
    text = "the response is whether one of two was right: guess rate 0.5"
    add("--correct", dest="rates", action="store_const", const={"evaluate.guess_rate": 0.5}, help=text)
    add("--set", **SEVERAL, type=assignment, default=[], metavar="KEY=VALUE", help="as in: train.ridge=auto")
    try:
        return parser.parse_intermixed_args([*shlex.split(os.environ.get(ENVIRONMENT, "")), *sys.argv[1:]])
    except ValueError as error:  # a quote without its end
        raise InputError(f"OPTIONS={os.environ[ENVIRONMENT]}: {error}") from None


if __name__ == "__main__":
    run(main)
