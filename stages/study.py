"""Fit your own trials: `python -m stages.study trials.csv --response choice=right`.

Makes a study in studies/, runs it, and prints the answer. Named again, with `--name`, it changes what the options say,
and runs what that touches.
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
from stages.files.documents import validate
from stages.files.errors import SAID, InputError, run
from stages.files.parameters import FILE, Prepare, Study, read_study
from stages.files.writing import Outputs
from stages.repository import allow_no_git
from stages.terminal import CONSOLE, say
from stages.trials.observers import observers_of
from stages.trials.prepared import prepare
from stages.trials.read import read

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ROOT / "studies"
PIPELINE, PARAMETERS = ROOT / "stages/study.yaml", ROOT / "stages/study_params.yaml"  # of a study that is made
OPTIONS = "STUDY_OPTIONS"  # holds options in the environment, as `make study` gives them: no shell runs their backticks
IGNORED = "/.partial/\n"  # what a killed stage leaves behind; DVC adds its own outputs


def main() -> None:
    """Check everything, make or change the study, run it, and print the answer. Of several formulas one for each."""
    arguments = parse()
    files = [file for text in arguments.trials for file in find(text)]
    name, formulas = arguments.name or name_of(files), arguments.formula or [None]
    if len(formulas) == 1:
        sys.exit(one(arguments, files, name, formulas[0]))
    names = [f"{name}-{k}" for k in range(1, len(formulas) + 1)]
    for is_check in (True, False):
        for name, formula in zip(names, formulas, strict=True):
            say(*([] if is_check else [f"{name}: {formula}"]))
            if status := one(arguments, files, name, formula, is_check):
                sys.exit(status)
    folders = [STUDIES / name for name in names]
    found = compare.side_by_side([*map(shown, folders)])
    with contextlib.chdir(folders[0]), Outputs("compare") as outputs:
        compare.draw(outputs.path("compare.png"), found)
    say(f"Figure: {folders[0] / DATA / 'compare.png'}")


def one(
    arguments: argparse.Namespace, files: list[Path], name: str, formula: str | None, is_check: bool = False
) -> int:
    """One study: its exit status. is_check: nothing is made or changed."""
    arguments.formula = formula
    if Path(name).name != name:
        raise InputError(f"--name {name}: it must be that of a folder in {shown(STUDIES)}, without / and not . or ..")
    folder = STUDIES / name
    is_new = not folder.exists()
    if is_new and not (files and arguments.response):
        raise InputError(f"{shown(folder)} is no study yet; to make one, give a file of trials and --response")
    parameters = PARAMETERS if is_new else folder / FILE
    if not parameters.is_file():
        raise InputError(f"{shown(folder)} holds no {FILE}; --name must be that of a study, or a new one")
    read_study(parameters)
    document = ROUND_TRIP.load(parameters.read_text(encoding="utf-8"))
    with scratch_beside(folder) as scratch:
        trials = copied(files, scratch) if files else None
        change(document, given(arguments, trials))
        if not is_new and (document["prepare"].get("by") is None) == ("observers" in document):
            raise InputError(f"{shown(folder)}: with --by it is another study, which needs another --name")
        check(document, trials or folder / document["prepare"]["trials"])
        if is_check:
            return 0
        if trials and not is_new:
            replace(folder / trials.name, trials)
        write(scratch if is_new else folder, document)
        if trials:
            track(trials.name, scratch if is_new else folder)
        if is_new:
            scratch.rename(folder)
    observers = document.get("observers", ())
    lines, status = reproduce(folder, observers)
    if status and not observers:
        return status
    summary.main(folder, lines)
    if is_new:
        study = shlex.quote(shown(folder))
        print(f"To keep it: git add {study} && git commit -m {shlex.quote(f'Study {folder.name}')}")
    return status


# --- what is asked for


def find(text: str) -> list[Path]:
    """The files that an argument names: a file, a folder of files, or a pattern as in data/*.csv."""
    path = Path(text).expanduser()
    pattern = str(path / "*" if path.is_dir() else path)
    files = [path] if path.is_file() else [*filter(Path.is_file, map(Path, sorted(glob.glob(pattern))))]  # noqa: PTH207
    if not files:
        raise InputError(f"{text} is missing or not a file")
    return files


def name_of(files: list[Path]) -> str:
    """A study is called as its file; one of several files, as the folder that holds them all."""
    if not files:
        raise InputError("nothing is named; it must be a file of trials, or the --name of a study")
    return files[0].stem if len(files) == 1 else folder_of(files).name


def folder_of(files: list[Path]) -> Path:
    return Path(os.path.commonpath([file.absolute().parent for file in files]))


def given(arguments: argparse.Namespace, trials: Path | None) -> dict[str, Any]:
    """The parameters that the command line names."""
    section = vars(arguments) | {"trials": trials and trials.name}
    values = {f"prepare.{key}": section[key] for key in Prepare.model_fields if section.get(key) is not None}
    for key in ("response", "factors", "group", "intervals"):  # one column, or a list of them
        if len(columns := values.get(f"prepare.{key}", ())) == 1:
            values[f"prepare.{key}"] = columns[0]
    if arguments.axis:
        values["plot.axis"] = [arguments.axis[0], spacing(arguments.axis[1])]
    if arguments.smooth:
        values["evaluate.smooth"] = arguments.smooth
    if arguments.correct:
        values["evaluate.guess_rate"] = 0.5
    if arguments.rates:
        values |= rates(arguments.rates)
    return values | dict(arguments.set)


def spacing(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"--axis: the spacing is {text}, but it must be a number, as in: --axis 'time (ms)' 20"
        ) from None


def rates(text: str) -> dict[str, Any]:
    """`estimate`, `tied`, or guess and lapse rate, each a number or `estimate`."""
    one, _, other = text.partition(",")
    given = {"evaluate.guess_rate": one, "evaluate.lapse_rate": other} if other else {}
    try:
        values = {key: "auto" if rate == "estimate" else float(rate) for key, rate in given.items()}
    except ValueError:
        values = {}
    if not values and text not in ("estimate", "tied"):
        raise InputError(
            f"--rates {text}: it must be estimate, tied, or guess and lapse rate, as in 0.5,0.02 or 0.5,estimate"
        )
    asymptotes = ("estimate" if "auto" in values.values() else "none") if values else text
    return {"evaluate.asymptotes": asymptotes, "evaluate.guess_rate": "auto", "evaluate.lapse_rate": "auto"} | values


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
        if name:
            document.setdefault(section, {})[name] = value
        else:
            document[section] = value


def check(document: Any, trials: Path) -> None:
    """Raise InputError unless the trials can be prepared in this way; name the observers of whom they can."""
    p, table = validate(Prepare, document["prepare"], f"{FILE}: prepare"), read(trials)
    if p.by is None:
        prepare(validate(Study, document, str(FILE)).prepare, table)
        return
    observers, notices = observers_of(p, table)
    if "observers" not in document:
        document.yaml_set_comment_before_after_key("observers", "\nfolder: value of the column prepare.by")
    document["observers"] = {folder: value for folder, (value, _) in observers.items()}
    study, reasons = validate(Study, document, str(FILE)), {}
    for folder, (value, n_rows) in observers.items():
        try:
            prepare(study.alone(folder).prepare, table)
        except InputError as error:
            reasons[folder] = f"{value}: {error} ({counted(n_rows, 'row')})"
    if len(reasons) == len(observers):
        raise InputError(next(iter(reasons.values())))
    for folder in reasons:
        del document["observers"][folder]
    document["left_out"] = [*reasons.values(), *notices]


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
    """A copy of the file; of several a folder, in which those of the same name are told apart by their folders."""
    if len(files) == 1:
        return Path(shutil.copyfile(files[0], folder / files[0].name))
    (folder / "trials").mkdir()
    for file in files:
        shutil.copyfile(file, folder / "trials" / "-".join(file.absolute().relative_to(folder_of(files)).parts))
    return folder / "trials"


def replace(old: Path, new: Path) -> None:
    """Put new trials in the place of those that DVC keeps. Raises InputError for any that it does not."""
    if old.exists():
        if dvc("status", "--quiet", f"{old.name}.dvc", folder=old.parent).wait():
            raise InputError(f"{shown(old)} was changed by hand; move it away, and name it as the file of trials")
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    new.rename(old)


def track(name: str, folder: Path) -> None:
    """Keep the trials with DVC: their bytes go to its cache, and a .dvc file stands for them in git."""
    allow_no_git(ROOT)
    adding = dvc("add", "--quiet", "--", name, folder=folder, stderr=subprocess.STDOUT)
    said, _ = adding.communicate()
    if adding.returncode:
        raise InputError(f"dvc add {name} failed: {' '.join(said.split())}")


def write(folder: Path, document: Any) -> None:
    """params.yaml, and what is not there yet."""
    for place in (folder, *(folder / OBSERVERS / name for name in document.get("observers") or ())):
        (place / DATA).mkdir(parents=True, exist_ok=True)
        if not (place / DATA / ".gitignore").exists():
            (place / DATA / ".gitignore").write_text(IGNORED, encoding="utf-8")
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


def dvc(*words: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start DVC, whose stages run with this Python."""
    python = Path(sys.executable)
    options["env"] = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", **options.pop("env", {})}
    command = [str(python), "-m", "dvc", *words]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, **options)


def reproduce(folder: Path, observers: Collection[str]) -> tuple[list[str], int]:
    """Run what is out of date: the stages' own lines, which are shown as they come, and the exit status.

    Of several observers none stops the others, and only errors are shown.
    """
    lines = list[str]()
    with tempfile.TemporaryDirectory() as temporary:
        said = Path(temporary, "said")
        words = ["repro", "--quiet", *(["--keep-going"] if observers else [])]
        waiting = CONSOLE.status(f"{len(observers)} observers") if observers else contextlib.nullcontext()
        with waiting, dvc(*words, folder=folder, env={SAID: str(said)}) as running:
            for line in running.stdout or ():
                lines.append(line.rstrip())
                if not observers:
                    print(line, end="", flush=True)
        if running.returncode and not said.exists():
            raise InputError(f"DVC failed; `dvc repro {shlex.quote(shown(folder))}/dvc.yaml` says why")
    return lines, min(running.returncode, 1)


def shown(path: Path) -> str:
    return os.path.relpath(path)


# --- the command line


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.study", description=__doc__)
    add = parser.add_argument
    add("trials", nargs="*", help="files of trials, which are copied into the study")
    add("--name", help="of the study, which is in studies/ (default: the file's name)")
    add("--response", action="append", help="column, or column=value that is a yes; may be repeated")
    add("--factors", nargs="+", help="the columns of factors, in order; patterns as in frame* are allowed")
    add("--count", help="the column that says how many trials a row is")
    add("--missing", nargs="+", dest="missing_words", help="further words for a missing value, as in: -99 timeout")
    add("--formula", action="append", help="as in: ~ contrast * side + lag(choice, 1); several are compared")
    add("--group", nargs="+", help="the columns of sessions or observers; lags do not run across groups")
    add("--by", help="the column of observers, who are fitted each alone")
    add("--where", help='which rows to take, as in: block == 2 and rule in ("a", "b")')
    add("--rates", help="estimate, tied (half of the lapses are a yes), or guess and lapse rate, as in 0.5,estimate")
    add("--correct", action="store_true", help="the response is whether one of two was right: guess rate 0.5")
    add("--smooth", nargs="+", metavar="FACTOR", help="factors with a smooth kernel, by pattern, as in: 'frame*'")
    add("--standardise", action="store_true", default=None, help="weights per standard deviation of a factor")
    add("--held-out", type=float, help="fraction of the trials that is held out")
    add("--held-out-by", choices=("trial", "group", "last"), help="how to choose them")
    add("--trial", help="a long file's column that numbers the trials")
    add("--position", help="a long file's column that names the factor")
    add("--value", help="a long file's column of values")
    add("--intervals", nargs="+", help="two endings of column names, or a long file's column of intervals")
    add("--axis", nargs=2, metavar=("LABEL", "SPACING"), help='of numbered factors in figures, as in: "time (ms)" 20')
    add("--set", type=setting, action="append", default=[], metavar="KEY=VALUE", help="as in: train.shrinkage=auto")
    try:
        return parser.parse_intermixed_args([*shlex.split(os.environ.get(OPTIONS, "")), *sys.argv[1:]])
    except ValueError as error:  # a quote without its end
        raise InputError(f"OPTIONS={os.environ[OPTIONS]}: {error}") from None


def setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE, as in train.shrinkage=auto") from None


if __name__ == "__main__":
    run(main)
