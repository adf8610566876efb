"""`python -m stages.new`: a file becomes a study that DVC can run, at once or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import new, observers
from stages.files.errors import InputError
from stages.files.parameters import read_study
from stages.trials.design import learn
from tests.coding import asked
from tests.conftest import ROOT, Project, copy_code, run_here

RAT = ROOT / "studies" / "rat"


@pytest.fixture(scope="module")
def pristine_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "project"
    copy_code(folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "contrast": rng.normal(size=300),
            "who": rng.choice(["anna b", "bert"], 300),
            "choice": rng.integers(0, 2, 300),
        }
    )
    table.to_csv(folder.parent / "trials of mine.csv", index=False)
    return folder


@pytest.fixture
def project(pristine_project: Path, tmp_path: Path) -> Project:
    shutil.copy(pristine_project.parent / "trials of mine.csv", tmp_path)
    return Project(Path(shutil.copytree(pristine_project, tmp_path / "project")))


def make(project: Project, *options: str, study: str = "studies/mine", response: str = "choice") -> Any:
    trials = str(project.folder.parent / "trials of mine.csv")
    return project.run("python", "-m", "stages.new", study, trials, "--response", response, *options)


def test_a_study_runs_and_leaves_the_trials_as_they_are(project: Project) -> None:
    original = (project.folder.parent / "trials of mine.csv").read_bytes()
    made = make(project, "--group", "who", "--formula", "~ contrast + lag(choice, 1)")
    assert made.returncode == 0, made.stderr
    assert "git add studies/mine" in made.stdout
    folder = project.folder / "studies" / "mine"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".gitignore", "data", "dvc.yaml", "params.yaml", "trials of mine.csv", "trials of mine.csv.dvc"]
    )
    ran = project.run("dvc", "repro", "studies/mine/dvc.yaml:prepare")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Running stage 'studies/mine/dvc.yaml:prepare'" in ran.stdout
    assert json.loads((folder / "data" / "trials.json").read_text())["factors"] == ["contrast", "lag(choice, 1)"]
    assert (folder / "trials of mine.csv").read_bytes() == original


def test_experiments_run_from_the_root_and_from_the_study_s_folder(project: Project) -> None:
    assert make(project).returncode == 0
    project.commit()
    study = Project(project.folder / "studies" / "mine")
    changes = "-S", "studies/mine/params.yaml:prepare.held_out=0.2"
    for here, command in (
        (project, ["studies/mine/dvc.yaml:prepare", *changes]),
        (study, ["prepare", "-S", "prepare.standardise=true"]),
    ):
        ran = here.run("dvc", "exp", "run", *command, PYTHONPATH="")
        assert ran.returncode == 0, ran.stderr
    found = json.loads((study.folder / "data" / "trials.json").read_text())
    assert found["standardise"] is True
    assert found["trials"]["test"] == 60
    assert len(study.run("dvc", "exp", "list", "--name-only").stdout.split()) == 2


def test_after_kills_the_trials_are_unchanged_and_a_rerun_completes(project: Project) -> None:
    original = project.folder.parent / "trials of mine.csv"
    content = original.read_bytes()
    study = project.folder / "studies" / "mine"
    command = ["python", "-m", "stages.new", "studies/mine", str(original), "--response", "choice"]
    for delay in (0.3, 1.5):
        kill_after(delay, project, *command)
        assert original.read_bytes() == content
        if study.exists():
            shutil.rmtree(study)
    assert project.run("python", "-m", "comparisons.unlock").returncode == 0  # as `make study` does
    made = make(project)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in study.parent.iterdir()) == ["mine", "rat"]
    for delay in (0.8, 1.8):
        kill_after(delay, project, "dvc", "repro", "studies/mine/dvc.yaml:prepare")
        assert (study / original.name).read_bytes() == content
    assert project.run("python", "-m", "comparisons.unlock").returncode == 0
    ran = project.run("dvc", "repro", "studies/mine/dvc.yaml:prepare")
    assert ran.returncode == 0, ran.stderr
    assert (study / "data" / "trials.json").exists()
    assert (study / original.name).read_bytes() == content


def kill_after(seconds: float, project: Project, *command: str) -> None:
    """SIGKILL for a command and all that it has started."""
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        time.sleep(seconds)
        os.killpg(running.pid, signal.SIGKILL)


def test_each_observer_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project.folder.parent / "trials of mine.csv").open("a") as trials:
        trials.write("0.5,carl,1\n-0.5,carl,1\n,bert,1\n0.5,NA,1\n-0.5,,0\n0.5,NA,0\n")
    made = make(project, "--by", "who")
    assert made.returncode == 0, made.stderr
    assert "left out: carl: trials of mine.csv: " in made.stdout
    assert "(2 rows)\nleft out: 3 of 306 rows: who is missing (an empty cell, or a word such as NA" in made.stdout
    assert "; the first: trials of mine.csv, line 305\n" in made.stdout
    folder = project.folder / "studies" / "mine"
    left_out = pd.read_csv(folder / "data" / "observers.csv", index_col="who").loc["carl"]
    assert pd.isna(left_out.study)
    assert left_out.left_out.startswith("carl: trials of mine.csv: ")
    parts = {path.parent.name: read_study(path).prepare for path in folder.glob("*/params.yaml")}
    assert {name: part.where for name, part in parts.items()} == {
        "who-anna-b": "who == 'anna b'",
        "who-bert": "who == 'bert'",
    }
    assert all(part.group == ["who"] for part in parts.values())
    monkeypatch.chdir(folder / "who-bert")
    run_here("prepare")
    used = json.loads((folder / "who-bert" / "data" / "trials.json").read_text())["trials"]["used"]
    assert used == (pd.read_csv(folder / "trials of mine.csv").who == "bert").sum() - 1  # one lacks its contrast
    run_here("train", "evaluate")
    monkeypatch.setattr("sys.argv", ["observers", str(folder)])
    observers.main()
    anna, bert, carl, nobody, _ = capsys.readouterr().out.splitlines()[-5:]
    assert anna.startswith("anna b: no fit; dvc repro")
    assert bert.startswith(f"bert: {used} trials, 1 factor, signal ")
    assert bert.endswith(f"; 1 of {used + 1} trials left out because a value is missing: contrast")
    assert carl.startswith("left out: carl: trials of mine.csv: ")
    assert nobody.startswith("left out: 3 of 306 rows: who is missing")
    table = pd.read_csv(folder / "data" / "coefficients.csv")
    own = pd.read_csv(folder / "who-bert" / "data" / "inference" / "coefficients.csv")
    pd.testing.assert_frame_equal(table, own.assign(who="bert")[["who", *own]])
    Path("data/inference/coefficients.csv").unlink()  # as where inference is left out
    Path("data/inference/answer.txt").write_text("no corrections and intervals of choice: why\n")
    with pytest.raises(InputError, match="no observer has corrected weights"):
        observers.main()
    assert "bert: no corrections and intervals of choice: why" in capsys.readouterr().out


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
        table, keys, names = wide, {"intervals": ["_1", "_2"]}, {"anna": ["t", "c"], "bert": ["t", "c"]}
        condition, taken = "c > 0 and t >= 0", values[:, 1] > values[:, 0]
    else:
        table = wide.rename(columns={"c_1": "a", "c_2": "b"}).melt(["who", "y", "t"], ["a", "b"], "p", "v")
        table["p"] += table.who.str[0].where(table.p == "b", "")
        keys = {"trial": "t", "position": "p", "value": "v"}
        names = {"anna": ["v[a]", "v[ba]"], "bert": ["v[a]", "v[bb]"]}
        condition, taken = "`v[a]` > 0", values[:, 0] > 0
    table.to_csv(path, index=False)
    prepare = asked(response="y", where=condition, **keys)
    found, *_ = new.observers_of(prepare, path, "who")
    assert list(found.values()) == ["anna", "bert"]
    for name, part in new.split(prepare, "who", found).items():
        learned = learn(part, path)
        assert learned.names == names[found[name]]
        assert learned.n_taken == (taken & (who == found[name])).sum()


@pytest.mark.parametrize("by", ["class", "µ", "a name"])
def test_observers_may_stand_in_any_column_and_only_those_that_where_takes_are_made(by: str, tmp_path: Path) -> None:
    values = ["anna", "x`y`z", "carl"] * 10
    table = pd.DataFrame({by: values, "c": np.arange(30.0), "y": np.arange(30) // 3 % 2, "block": 1})
    table.loc[table[by] == "carl", "block"] = 2
    table.to_csv(tmp_path / "t.csv", index=False)
    prepare = asked(response="y", where="block == 1")
    found, *_ = new.observers_of(prepare, tmp_path / "t.csv", by)
    assert sorted(found.values()) == ["anna", "x`y`z"]
    assert [learn(part, tmp_path / "t.csv").n_taken for part in new.split(prepare, by, found).values()] == [10, 10]


REFUSALS = [  # study, response, options, and what must be in the line
    ("/tmp/elsewhere", "choice", [], "is not below"),
    ("studies/rat", "choice", [], "exists already; `dvc repro studies/rat/dvc.yaml` goes on with it"),
    ("studies/mine", "choise", [], "the nearest is choice"),
    ("studies/mine", "choice", ["--group", "whom"], "the nearest is who"),
    ("studies/mine", "choice", ["--formula", "{1}"], "it names no factor"),
    ("studies/mine", "choice", ["--held-out", "2"], "held_out = 2.0, but it must be less than 1"),
    ("studies/mine", "choice", ["--by", "contrast"], "error: -3.1"),
    ("studies/mine", "choice", ["--intervals", "_1"], "--intervals _1: it must be two endings of column names"),
    ("studies/mine", "choice", ["--trial", "who", "--position", "who", "--value", "contrast"], "be different columns"),
    ("studies/mine", "choice", ["--correct", "--intervals", "_1", "_2"], "exclude each other"),
]
REFUSE = """
import contextlib, io, json, sys
from stages import new, observers
from stages.files.errors import run

found = []
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    with contextlib.redirect_stderr(io.StringIO()) as printed, contextlib.redirect_stdout(sys.stderr):
        try:
            found.append([run(new.main), ""])
        except SystemExit as stop:
            found.append([stop.code, printed.getvalue()])
print(json.dumps(found))
"""


def test_a_refusal_is_one_line_and_leaves_nothing(project: Project) -> None:
    trials = str(project.folder.parent / "trials of mine.csv")
    commands = [[study, trials, "--response", response, *options] for study, response, options, _ in REFUSALS]
    before = sorted(project.folder.rglob("studies/*"))
    refused = project.run("python", "-c", REFUSE, json.dumps(commands))  # in one process: imports are slow
    assert refused.returncode == 0, refused.stderr
    for (status, line), (*_, message) in zip(json.loads(refused.stdout), REFUSALS, strict=True):
        assert status == 1, message
        assert line.startswith("error: ")
        assert message in line
        assert line.count("\n") == 1
    assert sorted(project.folder.rglob("studies/*")) == before


def test_without_git_a_study_runs_as_well(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    made = make(project)
    assert made.returncode == 0, made.stderr
    shown = project.run("dvc", "status", "studies/mine/dvc.yaml:prepare")
    assert "changed deps" in shown.stdout, shown.stderr


def test_without_git_make_repro_can_run_and_what_was_configured_stays(project: Project) -> None:
    assert project.run("python", "-m", "comparisons.unlock").stdout == ""
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


def test_the_example_is_as_new_would_make_it() -> None:
    prepare = read_study(RAT / "params.yaml").prepare
    own, made = ((RAT / "params.yaml").read_text(), new.parameters(prepare))
    sections = [text.index("\ntrain:") for text in (own, made)]
    assert own[: sections[0]] == made[: sections[1]]
    assert forms(own) == forms(made)  # a default may change, and the example keep its value
    assert (RAT / "dvc.yaml").read_text() == new.pipeline("../..")


def test_a_response_that_is_correct_or_not_fixes_the_guess_rate(tmp_path: Path) -> None:
    prepare = read_study(RAT / "params.yaml").prepare
    (tmp_path / "params.yaml").write_text(new.parameters(prepare, is_correctness=True))
    assert read_study(tmp_path / "params.yaml").evaluate.guess_rate == 0.5
    differences = prepare.model_copy(update={"intervals": ["_1", "_2"]})
    (tmp_path / "params.yaml").write_text(new.parameters(differences, is_correctness=True))
    with pytest.raises(InputError, match="guess_rate auto or 0"):
        read_study(tmp_path / "params.yaml")


def test_every_key_of_a_study_has_a_comment() -> None:
    prepare = read_study(RAT / "params.yaml").prepare
    assert list(new.COMMENTS) == list(prepare.model_dump())
    lines = [line for line in new.parameters(prepare).splitlines() if line.startswith("  ")]
    assert all("#" in line for line in lines)
