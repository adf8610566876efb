"""Stage `prepare`: what it writes equals what a person would compute by hand, and the trials stay as they are."""

from __future__ import annotations

import hashlib
import json
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

from stages import prepare
from stages.files.errors import InputError
from stages.trials import prepared
from tests.coding import DEFAULTS, asked
from tests.conftest import ROOT

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
OTHERS = {"train": SHIPPED["train"], "evaluate": SHIPPED["evaluate"], "plot": {**SHIPPED["plot"], "class_index": 0}}


class Study:
    """A folder with trials and parameters, as the current folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        self.table = pd.DataFrame(
            {
                "contrast": rng.normal(3, 2, 200),
                "rule": rng.choice(["a", "b", "c"], 200),
                "day": np.repeat(np.arange(10), 20),
                "choice": rng.choice(["left", "right"], 200),
            }
        )

    def prepare(self, **keys: Any) -> dict[str, Any]:
        self.table.to_csv("t.csv", index=False)
        Path("params.yaml").write_text(yaml.safe_dump({"prepare": DEFAULTS | {"group": "day"} | keys, **OTHERS}))
        prepare.main()
        return self.written()

    def written(self) -> dict[str, Any]:
        arrays = {f"{path.parent.name}/{path.stem}": np.load(path) for path in Path("data").glob("*/*.npy")}
        return {**json.loads(Path("data/trials.json").read_text()), **arrays}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    return Study(tmp_path)


def test_arrays_names_and_counts_are_those_of_the_table(study: Study) -> None:
    study.table.loc[[4, 9], "contrast"] = np.nan
    written, table = study.prepare(where="day < 8"), study.table.dropna()
    table = table[table.day < 8]
    dummies = pd.get_dummies(table.rule)[["b", "c"]]
    np.testing.assert_array_equal(written["train/factors"], np.column_stack([table.contrast, dummies]))
    np.testing.assert_array_equal(written["train/responses"][:, 0], table.choice == "right")
    np.testing.assert_array_equal(written["train/groups"], table.day)
    assert [written[f"train/{name}"].dtype for name in ("factors", "responses", "groups")] == [float, bool, np.int32]
    assert written["test/factors"].shape == (0, 3)
    assert written["test/responses"].shape == (0, 1)
    assert written["factors"] == ["contrast", "rule[T.b]", "rule[T.c]"]
    assert written["terms"] == {"contrast": [0], "rule": [1, 2]}
    assert written["classes"] == ["choice=right"]
    assert written["groups"] == [str(day) for day in range(8)]
    np.testing.assert_allclose(written["mean"], written["train/factors"].mean(axis=0), rtol=1e-11)
    np.testing.assert_allclose(written["sd"], written["train/factors"].std(axis=0), rtol=1e-11)
    assert written["trials"] == {"read": 200, "taken": 160, "used": 158, "train": 158, "test": 0, "repeated": 0}
    assert written["missing"] == {"contrast": {"trials": 2, "first": "t.csv, line 6"}}
    assert written["in_order"]
    assert written["file"] == {"name": "t.csv", "sha256": hashlib.sha256(Path("t.csv").read_bytes()).hexdigest()}


def test_rows_that_stand_for_several_trials_do_not_tell_their_order(study: Study) -> None:
    study.table["n"] = 3
    assert not study.prepare(count="n")["in_order"]


def test_what_there_is_to_say_is_said(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.table = study.table.assign(copy=study.table.contrast, same=1, note=[f"n{i}" for i in range(200)], none=np.nan)
    study.table.loc[3, "contrast"] = np.nan
    study.table.loc[3, "copy"] = 0
    written = study.prepare(held_out=0.25)
    printed = capsys.readouterr().out
    for line in (
        "199 trials, 3 factors: contrast, rule[T.b], rule[T.c]",
        "10 groups: 0, 1, 2",
        "1 trial left out because a value is missing:",
        "contrast is missing in 1 trial; the first: t.csv, line 5",
        "no factor, as it follows from contrast: copy",
        "no factor, as it is 1 in every trial: same",
        "no factor, as it is text, of more than 20 values: note",
        "no factor, as it is empty: none",
        "50 trials held out",
        "% yes",
    ):
        assert line in printed
    assert set(written["left_out"]) == {"copy", "same", "note", "none"}


def test_of_many_columns_that_lack_values_eight_are_listed(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 40)).round(3)).rename(columns="x{}".format)
    wide.iloc[3, 2:] = np.nan
    study.table = pd.concat([study.table, wide], axis=1)
    written = study.prepare()
    printed = capsys.readouterr().out.splitlines()
    assert sum("is missing in 1 trial; the first: t.csv, line 5" in line for line in printed) == 8
    assert "  … and 30 more columns" in printed
    assert len(written["missing"]) == 38


def test_copies_are_equal_in_numbers_and_response(study: Study) -> None:
    table = study.table.astype({"contrast": object})
    for row, contrast in ((0, "0.0"), (1, "-0.0"), (2, "0.0")):
        table.loc[row, ["contrast", "rule", "choice"]] = contrast, "a", "left" if row == 2 else "right"
    study.table = table
    assert study.prepare()["trials"]["repeated"] == 1


def test_the_first_trial_without_a_value_is_named_however_many_follow(study: Study) -> None:
    study.table = pd.concat([study.table] * 25, ignore_index=True)
    study.table.loc[[10, 4900], "contrast"] = np.nan  # in two batches
    assert study.prepare()["missing"] == {"contrast": {"trials": 2, "first": "t.csv, line 12"}}


def test_where_every_trial_lacks_some_value_the_columns_are_named(study: Study) -> None:
    study.table.loc[:120, "contrast"] = np.nan
    study.table.loc[100:, "rule"] = None
    with pytest.raises(InputError, match=r"t\.csv: every trial lacks a value \(of contrast, rule\); correct the file"):
        study.prepare(factors=["contrast", "rule"])


def test_standardised_factors_have_mean_0_and_sd_1_where_they_are_trained_on(study: Study) -> None:
    raw = study.prepare(held_out=0.3)
    written = study.prepare(held_out=0.3, standardise=True)
    np.testing.assert_allclose(written["train/factors"].mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(written["train/factors"].std(axis=0), 1)
    for split in ("train", "test"):
        back = written[f"{split}/factors"] * written["sd"] + written["mean"]
        np.testing.assert_allclose(back, raw[f"{split}/factors"], atol=1e-9)


@pytest.mark.parametrize("by", ["trial", "group", "last"])
def test_every_trial_is_trained_on_or_held_out(by: str, study: Study) -> None:
    whole = study.prepare()
    written = study.prepare(held_out=0.3, held_out_by=by)
    both = np.concatenate([written["train/factors"], written["test/factors"]])
    assert sorted(map(tuple, both)) == sorted(map(tuple, whole["train/factors"]))
    assert len(written["test/factors"]) == 60
    if by == "group":
        assert not set(written["train/groups"]) & set(written["test/groups"])
    if by == "last":
        np.testing.assert_array_equal(written["test/factors"], whole["train/factors"][140:])


def test_two_runs_write_the_same_bytes(study: Study) -> None:
    def run(seed: str) -> dict[str, str]:
        command = [sys.executable, "-m", "stages.prepare"]
        environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "PATH": ""}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        files = sorted(path for path in Path("data").rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    study.prepare(held_out=0.3)
    assert run("1") == run("2")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"missing": "refuse"}, "t.csv, line 6: contrast is missing"),
        ({"where": "choice == 'left'"}, "the response choice holds only 'left'"),
        ({"held_out_by": "group", "group": None}, "prepare.held_out_by = 'group', but group is null"),
        ({"trial": "day"}, "prepare.trial, position and value = day, None, None, but a long file needs all"),
        ({"intervals": "day"}, "it must be the intervals' column in a long file"),
        ({"intervals": ["_1"]}, "have at least 2 items"),
        ({"held_out": 0.04, "held_out_by": "group"}, "prepare.held_out = 0.04 holds out none of 199 trials, 10 groups"),
        ({"held_out": 0.001}, "prepare.held_out = 0.001 holds out none of 199 trials"),
        ({"response": []}, "prepare.response = []"),
        ({"held_out": 0.999}, "holds out all of 199 trials"),
        ({"formula": "I(contrast - contrast)"}, "no factor varies"),
        ({"trials": "absent.csv"}, "absent.csv: No such file"),
    ],
)
def test_a_refusal_is_one_line_and_writes_nothing(
    keys: dict[str, Any], message: str, study: Study, refuses: Callable[[Callable[[], None]], str]
) -> None:
    study.table.loc[4, "contrast"] = np.nan
    with pytest.raises(InputError, match=r".") as error:
        study.prepare(**keys)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(Path("data").glob("t*"))


def test_other_trials_are_coded_as_the_study_s(study: Study) -> None:
    written = study.prepare()
    study.table.drop(columns="choice").to_parquet("new.parquet")
    again = prepared.prepare(asked(group="day"), Path("t.csv"))
    factors, lacking, why = again.code(again.study.open(Path("new.parquet")))
    np.testing.assert_array_equal(factors, written["train/factors"])
    assert not lacking.any()
    assert not why


def test_a_killed_run_leaves_the_trials_and_no_half_outputs(study: Study) -> None:
    study.prepare()
    before = {path: path.read_bytes() for path in (Path("t.csv"), *Path("data").glob("*/*.npy"))}
    for delay in (0.3, 0.6, 0.9, 1.2):
        command = [sys.executable, "-m", "stages.prepare"]
        running = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT), "PATH": ""}, stdout=subprocess.DEVNULL)
        time.sleep(delay)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert all(not path.exists() or path.read_bytes() == content for path, content in before.items())
        assert Path("t.csv").read_bytes() == before[Path("t.csv")]
