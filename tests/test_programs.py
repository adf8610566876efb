"""Files as experiment programs and statistics packages write them: each gives the trials that it means."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyreadstat
import pytest
import scipy.io

from stages.trials.design import learn
from stages.trials.read import read
from tests.coding import asked, coded, frame, refused

N = 30


def trials(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"contrast": rng.normal(size=N).round(3), "key": rng.choice(["f", "j"], N)})


def spread(rows: list[dict[str, Any]], path: Path, **options: Any) -> None:
    pd.DataFrame(rows).to_csv(path, index=False, **options)


def psychopy(path: Path) -> None:
    """An instruction row, practice rows, and a column without a name at the end."""
    always = {"participant": "07", "expName": "contrast", "frameRate": 60.0, "date": "2024-01-01_10h00"}
    rows = [{"instruction.started": 1.5, **always}]
    for loop, table in (("practice", trials(1)[:4]), ("trials", trials())):
        for i, row in enumerate(table.itertuples()):
            key = "None" if loop == "trials" and i == 3 else row.key
            rows.append(
                {f"{loop}.thisN": i, "contrast": row.contrast, "key_resp.keys": key, "key_resp.rt": 0.4} | always
            )
    pd.DataFrame(rows).assign(**{"": ""}).to_csv(path, index=False, encoding="utf-8-sig")


def jspsych(path: Path) -> None:
    rows: list[dict[str, Any]] = [{"trial_type": "instructions", "response": None, "view_history": '[{"page":0}]'}]
    rows += [{"trial_type": "survey-text", "response": '{"Q0":"24, left"}'}]
    for row in trials().itertuples():
        rows += [{"trial_type": "html-keyboard-response", "stimulus": "<b>+</b>", "response": None, "rt": None}]
        rows += [{"trial_type": "image-keyboard-response", "stimulus": f"img/{row.Index}.png", "response": row.key}]
        rows[-1] |= {"contrast": row.contrast, "rt": 400 + row.Index}
    spread([{"trial_index": i, "time_elapsed": 10 * i} | row for i, row in enumerate(rows)], path)


def jspsych_json(path: Path) -> None:
    jspsych(path)
    path.write_text(pd.read_csv(path).to_json(orient="records"))


def opensesame(path: Path) -> None:
    rows = [
        {"opensesame_version": "3.3", "subject_nr": 3, "count_trial": i, "practice": p, "response": row.key}
        | {"contrast": row.contrast}
        for p, table in (("yes", trials(2)[:5]), ("no", trials()))
        for i, row in enumerate(table.itertuples())
    ]
    spread(rows, path)


def gorilla(path: Path) -> None:
    """A row per event, and a last line."""
    rows: list[dict[str, Any]] = []
    for row in trials().itertuples():
        for zone, response in (("fixation", ""), ("response_keyboard_single", row.key), ("feedback", "")):
            rows += [{"Event Index": len(rows), "Experiment ID": 7, "Zone Type": zone, "Response": response}]
            rows[-1] |= {"contrast": row.contrast}
    spread(rows, path)
    with path.open("a") as file:
        file.write("END OF FILE\n")


def lab_js(path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for row in trials().itertuples():
        rows += [{"sender": "Fixation", "ended_on": "timeout"}, {"sender": "Trial", "response": row.key}]
        rows[-1] |= {"contrast": row.contrast, "duration": 300 + row.Index * 37 % 101}
    rows += [{"sender": "Thanks", "response": "ok"}]
    spread([{"sender_type": "html.Screen", "sender_id": i} | row for i, row in enumerate(rows)], path)


def e_prime(path: Path) -> None:
    """UTF-16, a path as first line."""
    always = {"ExperimentName": "x", "Subject": 1, "Stimulus.RT": 300}
    table = [{"contrast": row.contrast, "Stimulus.RESP": row.key} | always for row in trials().itertuples()]
    text = "C:\\Users\\lab\\merged.emrg2\n" + pd.DataFrame(table).to_csv(index=False, sep="\t")
    path.write_bytes(text.encode("utf-16"))


def e_prime_log(path: Path) -> None:
    """Frames of lines; the block's comes after those of its trials."""
    lines = ["*** Header Start ***", "Subject: 7", "Experiment: x", "*** Header End ***"]
    for row in trials().itertuples():
        cells = ["\tProcedure: TrialProc", f"\tcontrast: {row.contrast}", f"\tStimulus.RESP: {row.key}"]
        lines += ["Level: 3", "*** LogFrame Start ***", *cells, "*** LogFrame End ***"]
    lines += ["Level: 2", "*** LogFrame Start ***", "\tProcedure: BlockProc", "*** LogFrame End ***"]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))


PROGRAMS: list[tuple[Callable[[Path], None], str, str]] = [
    (psychopy, "t.csv", "key_resp.keys"),
    (jspsych, "t.csv", "response"),
    (jspsych_json, "t.json", "response"),
    (opensesame, "t.csv", "response"),
    (gorilla, "t.csv", "Response"),
    (lab_js, "t.csv", "response"),
    (e_prime, "t.txt", "Stimulus.RESP"),
    (e_prime_log, "t.txt", "Stimulus.RESP"),
]


@pytest.mark.parametrize(("write", "name", "response"), PROGRAMS)
def test_a_program_s_rows_that_are_no_trials_are_left_out(write: Any, name: str, response: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    study = learn(asked(response=f"{response}=j", factors="contrast"), tmp_path / name)
    expected = trials().drop(3) if write is psychopy else trials()
    np.testing.assert_array_equal(study.factors[:, 0], expected.contrast)
    np.testing.assert_array_equal(study.yes[:, 0], expected.key == "j")
    assert any(note.startswith("looks like ") for note in study.table.notes)
    assert (tmp_path / name).read_bytes() == before


def test_the_reaction_time_of_a_program_is_no_factor_whatever_its_name(tmp_path: Path) -> None:
    lab_js(tmp_path / "t.csv")
    study = learn(asked(response="response=j"), tmp_path / "t.csv")
    assert study.names == ["contrast"]
    assert study.left_out["duration"] == "it is the reaction time in lab.js"
    assert "t.csv: duration is the reaction time in lab.js" in refused(
        tmp_path / "t.csv", response="response=j", factors="duration"
    )


def test_a_row_of_a_program_that_where_names_is_taken_by_it(tmp_path: Path) -> None:
    opensesame(tmp_path / "t.csv")
    keys = {"response": "response=j", "factors": "contrast", "where": "practice == 'yes'"}
    assert len(coded(tmp_path / "t.csv", **keys)[1]) == 5


def test_a_contrast_that_is_missing_on_the_other_side_is_0_and_no_choice_is_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    left, contrast = rng.random(N) < 0.5, rng.choice([0.125, 0.25, 1], N)
    choice = np.where(np.arange(N) == 4, 0, rng.choice([-1, 1], N))
    table = pd.DataFrame({"contrastLeft": np.where(left, contrast, np.nan), "choice": choice})
    table["contrastRight"] = np.where(left, np.nan, contrast)
    table.loc[7, ["contrastLeft", "contrastRight"]] = np.nan  # missing on both sides is missing
    table.to_parquet(tmp_path / "t.pqt")
    _, factors, responses = coded(tmp_path / "t.pqt", response="choice=1", factors=["contrastLeft", "contrastRight"])
    expected = np.column_stack([np.where(left, contrast, 0), np.where(left, 0, contrast)])
    np.testing.assert_array_equal(factors, np.delete(expected, [4, 7], axis=0))
    np.testing.assert_array_equal(responses[:, 0], np.delete(choice, [4, 7]) == 1)
    expected[7] = np.nan
    study = learn(asked(response="choice=1", factors=["contrastLeft", "contrastRight"]), tmp_path / "t.pqt")
    table.drop(columns="choice").to_parquet(tmp_path / "new.pqt")
    new = study.coding.frame(study.open(tmp_path / "new.pqt"), [])
    np.testing.assert_array_equal(study.coding.encode(new), expected)


def arrays(table: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: table[name].to_numpy(object if table[name].dtype.kind not in "fi" else float) for name in table}


def matlab(path: Path, table: pd.DataFrame) -> None:
    """A struct of arrays within another."""
    scipy.io.savemat(path, {"data": {"trials": arrays(table), "subject": "s1", "gamma": np.arange(256.0)}})


def matlab_array_of_structs(path: Path, table: pd.DataFrame) -> None:
    """data.trials(i).contrast"""
    scipy.io.savemat(path, {"data": {"trials": [*table.to_dict("records")], "subject": "s1"}})


def hdf(file: h5py.File, group: h5py.Group, name: str, value: Any) -> None:
    """As MATLAB writes it: transposed, text as numbers, cells as references."""
    if isinstance(value, str):
        group[name] = np.array([[ord(sign)] for sign in value], np.uint16)
        group[name].attrs["MATLAB_class"] = np.bytes_("char")
    elif value.dtype == object:
        references = []
        for i, each in enumerate(value):
            hdf(file, file.require_group("#refs#"), f"{name}{i}", each)
            references.append(file[f"#refs#/{name}{i}"].ref)
        group[name] = np.array([references], h5py.ref_dtype)
        group[name].attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        group[name] = value[None, :]
        group[name].attrs["MATLAB_class"] = np.bytes_("double")


def matlab_73(path: Path, table: pd.DataFrame) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        trials = file.create_group("data").create_group("trials")
        for name, values in arrays(table).items():
            hdf(file, trials, name, values)
        hdf(file, file["data"], "subject", "s1")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


def nwb(path: Path, table: pd.DataFrame) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        trials = file.create_group("intervals/trials")
        trials.attrs["colnames"] = np.array([*table, "spikes"], h5py.string_dtype())
        for name, values in arrays(table).items():
            trials[name] = values
        trials["spikes"], trials["spikes_index"] = np.arange(5.0), np.zeros(len(table), int)


def excel_file(path: Path, table: pd.DataFrame) -> None:
    """A title above the names, as SpreadsheetML that needs no writer's package."""

    def cell(value: Any) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, float | int):
            return f'<c t="n"><v>{value!r}</v></c>'
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    rows = [["Experiment 1"], [*table, "note"], *([*row, None] for row in table.to_numpy(object).tolist())]
    data = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    relations = f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{kind}/'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'{relations}officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{kind}"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'{relations}worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in parts.items():
            archive.writestr(part, text)


def labelled(path: Path, table: pd.DataFrame) -> None:
    """SPSS: the choice as a number with labels."""
    numbers = table.assign(choice=(table.choice == "right").astype(float))
    pyreadstat.write_sav(numbers, path, variable_value_labels={"choice": {0: "left", 1: "right"}})


FORMATS: list[tuple[Callable[[Path, pd.DataFrame], Any], str, str]] = [
    (lambda path, table: table.to_json(path), "t.json", ""),
    (lambda path, table: table.to_json(path, orient="split"), "t.json", ""),
    (lambda path, table: table.to_csv(path, index=False), "t.csv.xz", ""),
    (lambda path, table: table.to_csv(path, index=False), "t.csv.zip", ""),
    (matlab, "t.mat", "data.trials."),
    (matlab_array_of_structs, "t.mat", "data.trials."),
    (matlab_73, "t.mat", "data.trials."),
    (nwb, "t.nwb", ""),
    (excel_file, "t.xlsx", ""),
    (labelled, "t.sav", ""),
    (lambda path, table: table.to_stata(path, write_index=False), "t.dta", ""),
    (lambda path, table: table.to_json(path, orient="records"), "t.json", ""),
    (lambda path, table: path.write_text(json.dumps({"trials": table.to_dict("list")})), "t.json", "trials."),
    (lambda path, table: table.to_json(path, orient="records", lines=True), "t.jsonl", ""),
    (lambda path, table: table.to_parquet(path, index=False), "t.pqt", ""),
    (lambda path, table: table.to_csv(path, index=False), "t.csv.gz", ""),
]


@pytest.mark.parametrize(("write", "name", "prefix"), FORMATS)
def test_every_format_gives_the_same_arrays(write: Any, name: str, prefix: str, tmp_path: Path) -> None:
    table = frame()
    write(tmp_path / name, table)
    keys = {"response": f"{prefix}choice=right", "factors": [f"{prefix}contrast", f"{prefix}rule"]}
    names, factors, responses = coded(tmp_path / name, **keys)
    assert names == [f"{prefix}{name}" for name in ("contrast", "rule[T.b]", "rule[T.c]")]
    np.testing.assert_array_equal(factors[:, 0], table.contrast)
    np.testing.assert_array_equal(factors[:, 2], table.rule == "c")
    np.testing.assert_array_equal(responses[:, 0], table.choice == "right")


def test_trials_of_each_block_are_numbered_by_it(tmp_path: Path) -> None:
    """block(i).trials(j), as Psychtoolbox' workspaces have them; a response that was not given is NaN or empty."""
    blocks: list[dict[str, Any]] = [
        {"trials": [{"x": float(10 * b + i), "choice": float(i % 2) if i else []} for i in range(4)]} for b in (1, 2)
    ]
    scipy.io.savemat(tmp_path / "t.mat", {"block": blocks})
    table = read(tmp_path / "t.mat").frame
    assert table["block.block"].tolist() == [1] * 4 + [2] * 4
    _, factors, _ = coded(tmp_path / "t.mat", response="block.choice", factors="block.x")
    assert factors[:, 0].tolist() == [11, 12, 13, 21, 22, 23]


def test_a_file_without_trials_is_refused_with_the_reason(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file.create_group("intervals/epochs")
    assert "holds no table of trials (intervals/trials)" in refused(tmp_path / "t.nwb")
    (tmp_path / "t.log").write_text("Scenario - x\nLogfile written - 1\n\nSubject\tTrial\n\nS1\t1\n")
    assert "a log of Presentation, a line per event" in refused(tmp_path / "t.log")


HEADERS = [  # what stands above, or among, the trials
    ("# made by us\n# contrast, then choice\n{header}\n{rows}", "column names are in line 3"),
    ("Subject: 7\nDate: 1 May\n\n{header}\n{rows}", "column names are in line 4"),
    ("# {header}\n{rows}", ""),
    ("{header}\n{first}\n{header}\n{rest}", "column names are repeated in line 22"),
    ("{header}\n{first}\n{other}", "column names are repeated in line 22"),  # with columns in another order
    ('{header}\nHow strong?,Which?,What?\n"{{""ImportId"":""QID1""}}","{{}}","{{}}"\n{rows}', "Qualtrics"),
    ("{header}\n{rows}\nEND OF FILE", ""),
    ("{header}\n{rows}\nEND OF FILE,,", ""),
]


@pytest.mark.parametrize(("form", "note"), HEADERS)
def test_the_line_of_names_is_found(form: str, note: str, tmp_path: Path) -> None:
    header, *rows = frame().to_csv(index=False).splitlines()
    parts = {"rows": rows, "first": rows[:20], "rest": rows[20:]}
    other = frame().iloc[20:, ::-1].to_csv(index=False)
    text = form.format(header=header, other=other, **{name: "\n".join(part) for name, part in parts.items()})
    (tmp_path / "t.csv").write_text(text + "\n")
    study = learn(asked(), tmp_path / "t.csv")
    np.testing.assert_array_equal(study.factors[:, 0], frame().contrast)
    assert note in " ".join(study.table.notes)


def test_a_file_without_names_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(frame().to_csv(index=False).splitlines()[1:]))
    message = "t.csv, line 1 must name the columns, but it holds values; add a line above it with the names of the 3"
    assert message in refused(tmp_path / "t.csv", response="right")
    spectrum = pd.DataFrame({"0.5": [1, 2, 3], "1.5": [3, 1, 2], "choice": [0, 1, 1]})  # numbers may be names
    spectrum.to_csv(tmp_path / "t.csv", index=False)
    assert coded(tmp_path / "t.csv", response="choice")[0] == ["0.5", "1.5"]


@pytest.mark.parametrize("word", ["none", "undefined", "NaT", "-", "..", "?", "#NULL!", "-nan", "None", "", "null"])
def test_rows_without_a_response_are_no_trials_whatever_the_word(word: str, tmp_path: Path) -> None:
    table = frame()
    table.loc[[3, 7], "choice"] = word
    table.to_csv(tmp_path / "t.csv", index=False)
    study = learn(asked(), tmp_path / "t.csv")
    np.testing.assert_array_equal(study.factors[:, 0], table.contrast.drop([3, 7]))
    assert study.lacking == {"choice": (2, "t.csv, line 5")}


def test_further_words_for_a_missing_value_are_named(tmp_path: Path) -> None:
    table = frame().astype({"contrast": object})
    table.loc[3, "choice"], table.loc[5, "contrast"] = "timeout", -99.0
    table.to_csv(tmp_path / "t.csv", index=False)
    message = refused(tmp_path / "t.csv")
    assert "leave out what is no response, as in --missing timeout" in message
    _, factors, _ = coded(tmp_path / "t.csv", missing_words=["timeout", -99])
    np.testing.assert_array_equal(factors[:, 0], table.contrast.drop([3, 5]))


def test_words_that_differ_in_case_or_quotes_are_one(tmp_path: Path) -> None:
    table = frame()
    table.loc[:5, "choice"] = table.choice[:6].str.upper()
    table.loc[8:11, "rule"] = "['" + table.rule[8:12] + "']"
    table.to_csv(tmp_path / "t.csv", index=False)
    study = learn(asked(), tmp_path / "t.csv")
    assert study.names == ["contrast", "rule[T.b]", "rule[T.c]"]
    np.testing.assert_array_equal(study.yes[:, 0], frame().choice == "right")
    assert any("choice: one value: " in note and "'LEFT'" in note for note in study.table.notes)


@pytest.mark.parametrize("words", [("H", "M", "FA", "CR"), ("hit", "miss", "false alarm", "correct rejection")])
def test_codes_of_signal_detection_tell_response_and_signal(words: tuple[str, ...], tmp_path: Path) -> None:
    table = pd.DataFrame({"x": np.arange(8.0), "outcome": [*words] * 2})
    table.to_csv(tmp_path / "t.csv", index=False)
    names, factors, responses = coded(tmp_path / "t.csv", response="outcome", factors=["x", "signal"])
    assert names == ["x", "signal"]
    assert factors[:4, 1].tolist() == [1, 1, 0, 0]
    assert responses[:4, 0].tolist() == [True, False, True, False]


@pytest.mark.parametrize("form", ["n_yes/n", "p*n", "count"])
def test_a_row_may_stand_for_several_trials(form: str, tmp_path: Path) -> None:
    expected = [(0.1, True)] * 2 + [(0.1, False)] * 2 + [(0.2, False)] * 3 + [(0.3, True)] * 5
    if form == "count":
        table = pd.DataFrame({"level": [0.1, 0.1, 0.2, 0.3, 0.3], "yes": [1, 0, 0, 1, 0], "n": [2, 2, 3, 5, 0]})
    else:
        table = pd.DataFrame({"level": [0.1, 0.2, 0.3], "n_yes": [2, 0, 5], "n": [4, 3, 5], "p": [0.5, 0, 1]})
    table.to_csv(tmp_path / "t.csv", index=False)
    keys = {"response": "yes", "count": "n"} if form == "count" else {"response": form}
    _, factors, responses = coded(tmp_path / "t.csv", factors="level", **keys)
    assert [*zip(factors[:, 0], responses[:, 0], strict=True)] == expected
    table.assign(n=table.n.where(table.index != 1, 2.5)).to_csv(tmp_path / "t.csv", index=False)
    assert "t.csv, line 3: " in refused(tmp_path / "t.csv", factors="level", **keys)


def test_factors_are_named_in_order_and_by_patterns(tmp_path: Path) -> None:
    frame().assign(frame2=np.arange(40) % 7, frame1=np.arange(40) % 5, other=1.5).to_csv(
        tmp_path / "t.csv", index=False
    )
    assert coded(tmp_path / "t.csv", factors=["frame*", "contrast"])[0] == ["frame2", "frame1", "contrast"]
    for name, message in (
        ("contrst", "no column 'contrst'; the nearest is contrast"),
        ("choice", "the response or a group"),
        ("zzzzzz", "no column 'zzzzzz'; it must be one of contrast, rule"),
    ):
        assert message in refused(tmp_path / "t.csv", factors=name)


def test_several_files_are_told_apart_by_their_names(tmp_path: Path) -> None:
    paths = [tmp_path / "trials" / f"{name}.csv" for name in ("a", "b")]
    paths[0].parent.mkdir()
    for path, part in zip(paths, (frame()[:25], frame()[25:]), strict=True):
        part.to_csv(path, index=False)
    table = read(paths)
    assert table.frame["file"].tolist() == ["a"] * 25 + ["b"] * 15
    assert table.frame.index[27] == "b.csv, line 4"
    np.testing.assert_array_equal(table.frame.contrast, frame().contrast)


def test_truth_is_the_same_in_every_spelling(tmp_path: Path) -> None:
    table = frame().assign(cued=np.arange(40) % 3 == 0)
    table.to_csv(tmp_path / "t.csv", index=False)
    study = learn(asked(factors=["contrast", "cued"]), tmp_path / "t.csv")
    table.assign(cued=table.cued.map({True: "TRUE", False: "FALSE"})).to_csv(tmp_path / "new.csv", index=False)
    factors = study.coding.encode(study.coding.frame(study.open(tmp_path / "new.csv"), []))
    np.testing.assert_array_equal(factors, study.factors)
