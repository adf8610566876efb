"""`python -m stages.study`: files become a study that has been run, at once or not at all; named again, it changes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from stages import predict, study, summary
from stages.files.parameters import Prepare, read_study
from stages.trials.design import learn
from stages.trials.observers import observers_of
from stages.trials.read import read
from tests.coding import asked
from tests.conftest import ROOT, Project, copy_code, run_here

RAT = ROOT / "studies" / "rat"
TRIALS = "trials of mine.csv"


@pytest.fixture(scope="module")
def pristine_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "project"
    copy_code(folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"contrast": rng.normal(size=300), "who": rng.choice(["anna b", "bert"], 300)})
    table["choice"] = (rng.logistic(size=300) < table.contrast).astype(int)
    table.to_csv(folder.parent / TRIALS, index=False)
    return folder


@pytest.fixture
def project(pristine_project: Path, tmp_path: Path) -> Project:
    shutil.copy(pristine_project.parent / TRIALS, tmp_path)
    return Project(Path(shutil.copytree(pristine_project, tmp_path / "project")))


def run(project: Project, *options: str, **environment: str) -> list[str]:
    """The lines that a command prints, which must succeed."""
    ran = project.run("python", "-m", "stages.study", *options, **environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture(scope="module")
def made(pristine_project: Path) -> tuple[Project, list[str]]:
    """A project with a study of two files, made by a command that was killed and run again; and what that printed."""
    shutil.copytree(pristine_project, pristine_project.with_name("with a study"))
    project = Project(pristine_project.with_name("with a study"))
    files = [project.folder.parent / name / "a.csv" for name in ("day1", "day2")]
    for file in files:
        file.parent.mkdir()
        shutil.copy(project.folder.parent / TRIALS, file)
    contents = [file.read_bytes() for file in files]
    options = [*map(str, files), "--name", "mine", "--response", "choice", "--set", "plot.dpi=40"]
    more = "--group file --where '`contrast` > -9' --formula '~ contrast + lag(choice, 1)'"  # as `make study` does
    with subprocess.Popen(
        ["python", "-m", "stages.study", *options],
        cwd=project.folder,
        env=project.environment(STUDY_OPTIONS=more),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        time.sleep(2)
        os.killpg(running.pid, signal.SIGKILL)
    assert project.run("python", "-m", "comparisons.unlock").returncode == 0  # as `make study` does
    lines = run(project, *options, STUDY_OPTIONS=more)
    assert [file.read_bytes() for file in files] == contents
    project.commit()
    return project, lines


def test_a_study_is_made_and_run_and_its_answer_is_printed(made: tuple[Project, list[str]]) -> None:
    project, lines = made
    folder = project.folder / "studies/mine"
    answer = (folder / "data/inference/answer.txt").read_text().splitlines()
    assert [sum(line[1:] in shown for shown in lines) for line in answer] == [1] * len(answer)
    assert f"Page:    {folder / 'data/report.html'}" in lines
    assert not any("stage" in line or "dvc" in line.lower() for line in lines)  # DVC's lines
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mine", "rat"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".gitignore", "data", "dvc.lock", "dvc.yaml", "params.yaml", "trials", "trials.dvc"]
    )
    found = json.loads((folder / "data/trials.json").read_text())
    assert found["factors"] == ["contrast", "lag(choice, 1)"]
    assert found["groups"] == ["day1-a", "day2-a"]


def test_named_again_it_changes_what_it_is_told_to(
    made: tuple[Project, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[..., str]
) -> None:
    folder = Path(shutil.copytree(made[0].folder / "studies/mine", tmp_path / "mine"))
    monkeypatch.setattr(study, "STUDIES", tmp_path)
    monkeypatch.setattr(study, "reproduce", lambda folder, observers: (0, []))
    monkeypatch.setattr(summary, "main", lambda folder, errors: None)
    before = (folder / "params.yaml").read_text()
    monkeypatch.setattr(sys, "argv", ["study", "--name=mine", "--set=plot.dpi=41", "--axis", "time (ms)", "20"])
    study.main()
    after = (folder / "params.yaml").read_text()
    lines = zip(before.splitlines(), after.splitlines(), strict=True)
    changed = [new.split("#")[0].split() for old, new in lines if old != new]
    assert changed == [["dpi:", "41"], ["axis:", "[time", "(ms),", "20]"]]
    monkeypatch.setattr(sys, "argv", ["study", "--name", "mine", "--where", "contrast > 99"])
    refuses(study.main)
    assert (folder / "params.yaml").read_text() == after


def test_of_several_formulas_all_are_checked_before_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[..., str]
) -> None:
    (tmp_path / "t.csv").write_text("x,choice\n" + "1,0\n2,1\n1.5,1\n1.6,0\n" * 5)
    formulas = "--formula", "~ x", "--formula", "~ y"
    monkeypatch.setattr(study, "STUDIES", tmp_path / "studies")
    monkeypatch.setattr(sys, "argv", ["study", str(tmp_path / "t.csv"), "--response", "choice", *formulas])
    assert "no column 'y'" in refuses(study.main)
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("options", "factors", "formula"),
    [
        (["--formula", "~ x"], None, "~ x"),
        (["--factors", "x"], "x", None),
        (["--formula", "~ x", "--factors", "x"], "x", "~ x"),
    ],
)
def test_a_formula_takes_the_place_of_factors_and_they_of_it(
    options: list[str], factors: str | None, formula: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both at once it is up to the checks to refuse."""
    monkeypatch.setattr(sys, "argv", ["study", "--name", "mine", *options])
    arguments = study.parse()
    assert study.given(arguments, *arguments.formula) == {"prepare.factors": factors, "prepare.formula": formula}


def test_experiments_run_from_the_root(made: tuple[Project, list[str]], tmp_path: Path) -> None:
    project = made[0].copy_to(tmp_path / "project")
    changes = "-S", "studies/mine/params.yaml:prepare.held_out=0.2"
    ran = project.run("dvc", "exp", "run", "studies/mine/dvc.yaml:prepare", *changes, PYTHONPATH="")
    assert ran.returncode == 0, ran.stderr
    found = json.loads((project.folder / "studies/mine/data/trials.json").read_text())
    assert found["trials"]["test"] == 120


def reproduced_here(folder: Path, observers: list[str]) -> tuple[int, list[str]]:
    """As by DVC, but in this process, which has imported everything."""
    for name in observers:
        with contextlib.chdir(folder / "observers" / name):
            run_here("prepare", "train", "evaluate")
    return 0, []


def test_each_observer_alone_with_the_same_parameters(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    refuses: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (project.folder.parent / TRIALS).open("a") as trials:
        trials.write("0.5,carl,1\n-0.5,carl,1\n,bert,1\n0.5,NA,1\n-0.5,,0\n0.5,NA,0\n")
    path = project.folder.parent / TRIALS
    pd.read_csv(path, dtype=str, keep_default_na=False).assign(day=1).to_csv(path, index=False)
    folder = project.folder / "studies/trials of mine"
    monkeypatch.setattr(study, "STUDIES", folder.parent)
    monkeypatch.setattr(study, "reproduce", reproduced_here)
    options = ["--response=choice", "--by=who", "--group", "day", "--set=plot.dpi=40"]
    monkeypatch.setattr(sys, "argv", ["study", str(path), *options])
    study.main()
    shown = capsys.readouterr().out.splitlines()
    ran = Project(folder).run("dvc", "repro", "prepare@who-bert", PYTHONPATH="")
    assert ran.returncode == 0, ran.stderr
    n = {name: int((pd.read_csv(folder / TRIALS).who == name).sum()) for name in ("anna b", "bert")}
    rows = [line.split() for line in shown if line.split() and line.split()[0] in ("anna", "bert")]
    assert [rows[0][2], *rows[1][1:4]] == [str(n["anna b"]), str(n["bert"] - 1), "of", str(n["bert"])]
    carl, nobody = [line for line in shown if line.startswith("left out: ")]
    assert carl.startswith(f"left out: carl: {TRIALS}: ")
    assert carl.endswith("(2 rows)")
    assert nobody.startswith("left out: 3 of 306 rows: who is missing")
    assert nobody.endswith(f"; the first: {TRIALS}, line 305")
    assert any(line.startswith("2 observers: the population mean differs from 0 for ") for line in shown)
    assert pd.read_csv(folder / "data/population.csv").factor.tolist() == ["contrast"]
    table = pd.read_csv(folder / "data/coefficients.csv")
    assert table.observer.tolist() == ["anna b"] * 2 + ["bert"] * 2
    own = pd.read_csv(folder / "observers/who-bert/data/inference/coefficients.csv")
    pd.testing.assert_frame_equal(table[table.observer == "bert"].reset_index(drop=True)[[*own]], own)

    monkeypatch.setattr(sys, "argv", ["predict", str(folder), str(path), "--out", str(project.folder / "p.csv")])
    predict.main()
    whose = pd.read_csv(folder / TRIALS).dropna().who.isin(["anna b", "bert"])
    assert pd.read_csv(project.folder / "p.csv", skip_blank_lines=False).probability.count() == whose.sum()

    (folder / TRIALS).unlink()
    (folder / TRIALS).write_text("mine\n")
    monkeypatch.setattr(sys, "argv", ["study", str(path)])
    assert "was changed by hand" in refuses(study.main)
    assert (folder / TRIALS).read_text() == "mine\n"


def alone(prepare: Prepare, found: dict[str, tuple[str, int]], folder: str) -> Prepare:
    """What an observer's folder would read."""
    observers = {name: value for name, (value, _) in found.items()}
    whole = read_study(RAT / "params.yaml").model_copy(update={"prepare": prepare, "observers": observers})
    return whole.alone(folder).prepare


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_observers_are_told_apart_where_a_condition_is_on_a_factor(layout: str, tmp_path: Path) -> None:
    """Each has positions of their own in the long file, and trial numbers that restart."""
    rng = np.random.default_rng(0)
    keys: dict[str, Any]
    values, who, path = rng.normal(size=(40, 2)), np.repeat(["anna", "bert"], 20), tmp_path / "t.csv"
    wide = pd.DataFrame(
        {"c_1": values[:, 0], "c_2": values[:, 1], "who": who, "y": np.arange(40) % 2, "t": np.arange(40) % 20}
    )
    if layout == "wide":
        table, keys, names = wide, {"intervals": ["_1", "_2"]}, {"anna": ["c"], "bert": ["c"]}
        condition, taken = "c > 0 and t >= 0", values[:, 1] > values[:, 0]
    else:
        table = wide.rename(columns={"c_1": "a", "c_2": "b"}).melt(["who", "y", "t"], ["a", "b"], "p", "v")
        table["p"] += table.who.str[0].where(table.p == "b", "")
        keys = {"trial": "t", "position": "p", "value": "v"}
        names = {"anna": ["v[a]", "v[ba]"], "bert": ["v[a]", "v[bb]"]}
        condition, taken = "`v[a]` > 0", values[:, 0] > 0
    table.to_csv(path, index=False)
    prepare = asked(response="y", where=condition, by="who", **keys)
    found = observers_of(prepare, read(path))[0]
    assert [value for value, _ in found.values()] == ["anna", "bert"]
    for folder, (value, _) in found.items():
        learned = learn(alone(prepare, found, folder), path)
        assert learned.names == names[value]
        assert learned.taken.sum() == (taken & (who == value)).sum()


@pytest.mark.parametrize("by", ["class", "µ", "a name"])
def test_observers_may_stand_in_any_column_and_only_those_that_where_takes_are_made(by: str, tmp_path: Path) -> None:
    values = ["anna", "x`y`z", "carl"] * 10
    table = pd.DataFrame({by: values, "c": np.arange(30.0) * 7 % 30, "y": np.arange(30) // 3 % 2, "block": 1})
    table.loc[table[by] == "carl", "block"] = 2
    table.to_csv(tmp_path / "t.csv", index=False)
    prepare = asked(response="y", where="block == 1", by=by)
    found = observers_of(prepare, read(tmp_path / "t.csv"))[0]
    assert sorted(found.values()) == [("anna", 10), ("x`y`z", 10)]
    assert [learn(alone(prepare, found, name), tmp_path / "t.csv").taken.sum() for name in found] == [10, 10]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("estimate", ("estimate", "auto", "auto")),
        ("tied", ("tied", "auto", "auto")),
        ("0.5,0.02", ("none", 0.5, 0.02)),
        ("0.5,estimate", ("estimate", 0.5, "auto")),
        ("estimate,0", ("estimate", "auto", 0.0)),
    ],
)
def test_rates_are_estimated_or_given_each_alone(text: str, expected: tuple[object, ...]) -> None:
    values = study.rates(text)
    assert tuple(values[f"evaluate.{key}"] for key in ("asymptotes", "guess_rate", "lapse_rate")) == expected


REFUSALS = [  # options besides file and response, and what must be in the line
    (["--name", "a/b"], "without /"),
    (["--name", ".."], "must name a folder"),
    (["--response", "choise"], "the nearest is choice"),
    (["--group", "whom"], "the nearest is who"),
    (["--formula", "{1}"], "it names no factor"),
    (["--held-out", "2"], "held_out = 2, but it must be less than 1"),
    (["--by", "contrast"], "error: -"),
    (["--rates", "0.7,0"], "evaluate.guess_rate = 0.7, but it must be less than or equal to 0.5"),
    (["--rates", "half"], "guess and lapse rate, as in 0.5,0.02"),
    (["--set", "train.rigde=auto"], "the nearest is ridge"),
    (["--intervals", "_1"], "two endings of column names"),
    (["--trial", "who", "--position", "who", "--value", "contrast"], "but these must differ"),
    (["--correct", "--intervals", "_1", "_2"], "which was chosen"),
    (["--name", "rat", "--by", "day"], "it is another study, which needs another --name"),
    (["--held-out", "0.001"], "held_out = 0.001 holds out none of 300 trials"),
    (["nothing.csv"], "nothing.csv is missing"),
]


@pytest.mark.parametrize(("more", "message"), REFUSALS)
def test_a_refusal_is_one_line_and_leaves_nothing(
    more: list[str],
    message: str,
    pristine_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuses: Callable[..., str],
) -> None:
    shutil.copytree(RAT, tmp_path / "rat", ignore=shutil.ignore_patterns("data"))
    monkeypatch.setattr(study, "STUDIES", tmp_path)
    response = [] if "--response" in more else ["--response=choice"]
    monkeypatch.setattr(sys, "argv", ["study", str(pristine_project.parent / TRIALS), *response, *more])
    assert message in refuses(study.main)
    assert [path.name for path in tmp_path.iterdir()] == ["rat"]


def test_without_git_make_repro_can_run_and_what_was_configured_stays(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    assert project.run("dvc", "status", "dvc.yaml:simulate").returncode != 0
    config = project.folder / ".dvc" / "config.local"
    config.write_text("[core]\n    autostage = true\n")
    assert "core.no_scm" in project.run("python", "-m", "comparisons.unlock").stdout
    assert project.run("dvc", "status", "dvc.yaml:simulate").returncode == 0
    assert "autostage = true" in config.read_text()
    assert project.run("python", "-m", "comparisons.unlock").stdout == ""


def forms(params: str) -> list[tuple[str, ...]]:
    """Each line's key and comment, without its value."""
    return [re.findall(r"^( *\w+:|)[^#]*(#.*|)$", line)[0] for line in params.splitlines()]


def test_the_example_and_every_new_study_have_the_same_keys_and_comments_as_the_simulation() -> None:
    made, simulation = study.PARAMETERS.read_text(), (ROOT / "params.yaml").read_text()
    assert forms((RAT / "params.yaml").read_text()) == forms(made)
    shared = [forms(text[text.index("\ntrain:") :]) for text in (made, simulation)]
    assert shared[0] == shared[1]
    assert (RAT / "dvc.yaml").read_text() == study.PIPELINE.read_text()
    assert list(yaml.safe_load(made)["prepare"]) == list(read_study(RAT / "params.yaml").prepare.model_dump())
    assert all("#" in line for line in made.splitlines() if line.startswith("  "))
