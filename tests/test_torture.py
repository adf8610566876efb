"""The first of what `make torture` tries at length; and what is left after DVC was killed, or a stage has failed."""

from __future__ import annotations

import json
import random
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from comparisons import unlock
from stages.files.errors import InputError
from stages.files.parameters import check_current, check_parameters
from tests.conftest import ROOT, Project, run_here
from tests.torture import damage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a study. Not to be changed."""
    made = tmp_path_factory.mktemp("damage")
    damage.make(made, "study")
    return made


@pytest.mark.parametrize("stage", [stage for pipeline, stage in damage.TARGETS if pipeline == "study"])
def test_a_damaged_file_is_refused_in_one_line_or_gives_what_it_says(stage: str, folder: Path) -> None:
    with damage.copied(folder / "study"):
        assert damage.outcome(stage) == ("", 0)
    assert damage.attempt(folder, "study", stage, random.Random(0)) in ("refused", "accepted")


def test_the_plots_of_a_study_without_held_out_trials_are_of_columns_that_it_has(folder: Path) -> None:
    """`dvc plots show` warns of any other, each time."""
    plots = yaml.safe_load((ROOT / "studies/rat/dvc.yaml").read_text())["plots"]
    shown = [item for plot in plots if isinstance(plot, dict) for of in plot.values() for item in of["y"].items()]
    assert len(shown) > 2
    with damage.copied(folder / "study") as here:
        params = (here / "params.yaml").read_text()
        (here / "params.yaml").write_text(params.replace("held_out: 0.2", "held_out: 0.0"))
        run_here("prepare", "train", "evaluate")
        for file, column in shown:
            assert column in (here / file).read_text().splitlines()[0].split(",")


def test_locks_that_a_killed_dvc_left_half_written_are_removed_and_all_comes_back(
    copy: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy.folder)
    rwlock, lock, of_study = map(Path, (".dvc/tmp/rwlock", "dvc.lock", "studies/rat/dvc.lock"))
    whole, half = {}, {}
    for file in (lock, of_study):
        whole[file] = file.read_text()
        half[file] = whole[file][: whole[file].index("outs:") + 3]
    conflict = f"<<<<<<< HEAD\n{whole[lock]}=======\n{whole[lock]}>>>>>>> other\n"  # for a person to resolve
    for file, content in ((rwlock, "{}"), (lock, whole[lock]), (lock, conflict), (of_study, whole[of_study])):
        file.write_text(content)
        unlock.main()
        assert (file.read_text(), capsys.readouterr().out) == (content, "")
    for file, content in ((of_study, half[of_study]), (rwlock, '{"read": {'), (rwlock, ""), (lock, half[lock])):
        file.write_text(content)
        assert (file, content) != (rwlock, "") or copy.run("dvc", "status").returncode != 0
        unlock.main()
        assert f"{file} was left half-written" in capsys.readouterr().out
        assert not file.exists()
    assert copy.repro() == []  # all comes back from the cache
    assert lock.read_text() == whole[lock]


def test_after_a_failed_stage_its_outputs_are_missing_and_no_number_looks_current(copy: Project) -> None:
    copy.set(train={"solver": "exact", "max_iterations": 1})
    assert copy.run("dvc", "repro").returncode != 0
    left = {path.name for path in copy.data.iterdir()}
    assert left.isdisjoint(["model.safetensors", "loss.csv", "checkpoints"])
    assert [*json.loads(copy.run("dvc", "status", "--json", "dvc.yaml").stdout)] == ["train", "evaluate", "plot"]
    with chdir(copy.folder):
        with pytest.raises(
            InputError, match=r"^data/model.safetensors is missing: the last run has not come to its end"
        ):
            check_current()
        with pytest.raises(InputError, match=r"^params.yaml: train is not what train last ran with"):
            check_parameters()
    assert copy.run("git", "restore", "params.yaml").returncode == 0
    assert copy.repro() == []  # all comes back from the cache
    assert copy.run("git", "status", "--porcelain").stdout == ""


def test_numbers_of_other_parameters_are_refused_and_those_of_other_figures_are_not(copy: Project) -> None:
    copy.set(plot={"dpi": 41})
    with chdir(copy.folder):
        check_current()
    copy.set(train={"ridge": 1e-5, "solver": "exact"})
    with chdir(copy.folder), pytest.raises(InputError, match=r"params.yaml: train is not what train last ran with"):
        check_current()
    lock = copy.folder / "dvc.lock"
    recorded = yaml.safe_load(lock.read_text())
    later = {"stages": {"plot": recorded["stages"]["plot"], "gone": recorded["stages"]["train"]}}
    lock.write_text(yaml.safe_dump(later))  # makes no numbers, or is no stage any more
    with chdir(copy.folder):
        check_current()
    for damaged in ("", "stages: 1", "stages: {train: {params: 1}}", "<<<<<<< HEAD\n"):
        lock.write_text(damaged)
        with chdir(copy.folder), pytest.raises(InputError, match=r"^dvc.lock"):
            check_current()
