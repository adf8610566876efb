"""Files of trials: a file gives the arrays that it means, or one line that says what is wrong with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_series_equal

from stages.trials.design import learn
from stages.trials.values import plain
from tests.coding import asked, coded, frame, one_line, refused


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    """With R's names of rows."""
    return table.set_axis([str(i + 1) for i in range(len(table))])


def npz(table: pd.DataFrame, path: Path) -> None:
    np.savez(path, **{name: table[name].to_numpy(str if table[name].dtype.kind != "f" else float) for name in table})


WORDS: dict[str, Any] = {"quoting": csv.QUOTE_NONNUMERIC, "na_rep": "NA"}
WRITERS: list[tuple[Callable[[pd.DataFrame, Path], Any], str]] = [
    (lambda table, path: table.to_csv(path, index=False), "csv"),
    (lambda table, path: table.to_csv(path), "csv"),  # with pandas' index
    (lambda table, path: table.rename_axis("Unnamed: 0").reset_index().to_csv(path), "csv"),  # twice
    (lambda table, path: table.to_csv(path, sep="\t", index=False), "tsv"),
    (lambda table, path: table.to_csv(path, sep=";", decimal=",", index=False), "csv"),  # a comma in each line but one
    (lambda table, path: table.to_csv(path, sep="\t", decimal=",", index=False, lineterminator="\r\n"), "tsv"),
    (
        lambda table, path: table.assign(**{"name, or so": "Smith, John | him"}).to_csv(path, sep=";", index=False),
        "csv",
    ),
    (lambda table, path: path.write_text(table.to_csv(index=False).replace(",", " , ")), "csv"),
    (lambda table, path: numbered(table).to_csv(path, index_label="", **WORDS), "csv"),  # R's write.csv
    (lambda table, path: table.to_csv(path, sep=";", decimal=",", index=False, **WORDS), "csv"),  # write.csv2
    (lambda table, path: path.write_text(numbered(table).to_csv(sep=" ", **WORDS).replace('"" ', "", 1)), "txt"),
    (  # Excel: a byte-order mark, rows of commas and blank lines at the end
        lambda table, path: path.write_bytes(table.to_csv(index=False).encode("utf-8-sig") + b",,\r\n\r\n\r\n"),
        "csv",
    ),
    (lambda table, path: path.write_text("sep=;\n" + table.to_csv(index=False, sep=";", decimal=",")), "csv"),
    (lambda table, path: path.write_bytes(table.to_csv(index=False, sep="\t").encode("utf-16")), "txt"),
    (lambda table, path: table.to_parquet(path, index=False), "parquet"),
    (lambda table, path: table.astype({"rule": "category"}).to_parquet(path), "parquet"),
    (lambda table, path: table.set_axis(np.arange(40) * 2 + 1).to_parquet(path), "parquet"),  # filtered, say
    (lambda table, path: pa.feather.write_feather(pa.Table.from_pandas(table), path), "feather"),
    (npz, "npz"),
]


@pytest.mark.parametrize(("write", "ending"), WRITERS)
def test_every_writer_s_file_gives_the_same_arrays(write: Any, ending: str, tmp_path: Path) -> None:
    table, path = frame(), tmp_path / f"t.{ending}"
    write(table, path)
    names, factors, responses = coded(path)
    assert names == ["contrast", "rule[T.b]", "rule[T.c]"]
    np.testing.assert_array_equal(factors[:, 0], table["contrast"])
    np.testing.assert_array_equal(factors[:, 1:], pd.get_dummies(table["rule"]).to_numpy()[:, 1:])
    np.testing.assert_array_equal(responses[:, 0], table["choice"] == "right")


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("x;v;z;choice\n0,5;1.2;3;left\n1,5;1.3;0,25;right\n", "x v z", [[0.5, 1.2, 3], [1.5, 1.3, 0.25]]),
        ("a,b;choice\n0,5;left\n1,5;right\n", "a,b", [[0.5], [1.5]]),  # a comma in every line
        ("x,side,choice\n1,0.5,left,\n2,-0.25,right,\n", "x side", [[1, 0.5], [2, -0.25]]),
        ("x,choice\na,1,left\nb,2,right\n", "x", [[1], [2]]),  # names of rows
        ("size;dots;choice\n12;900;left\n34;1,201;right\n", "size dots", [[12, 900], [34, 1.201]]),
    ],
)
def test_delimiters_and_the_decimal_commas_of_each_column_are_found(
    text: str, names: str, expected: list[list[float]], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text)
    found, factors, responses = coded(tmp_path / "t.csv")
    assert found == names.split()
    np.testing.assert_array_equal(factors, expected)
    np.testing.assert_array_equal(responses[:, 0], [False, True])


@pytest.mark.parametrize("words", [["n.d."] * 8, ["oops"] * 19, ["1.234,5"] * 30, ["0,5"] * 15])
@pytest.mark.parametrize("formula", [None, "~ x"])
def test_a_column_of_numbers_holds_no_words(words: list[str], formula: str | None, tmp_path: Path) -> None:
    values = [*words, *(f"{i * 7 % 40}.{i}" for i in range(40 - len(words)))]
    marked = [f"{i}.{i:03},{i}" for i in range(len(words))]  # so that there are more than a few
    values[1 : len(words)] = marked[1:] if "1.234,5" in words else values[1 : len(words)]
    frame().assign(x=values).to_csv(tmp_path / "t.csv", sep=";", index=False)
    message = f"line 2: x is '{words[0]}', but it must be a finite number, with a decimal point; correct it"
    assert message in refused(tmp_path / "t.csv", formula=formula)


def test_an_array_has_its_columns_by_number(tmp_path: Path) -> None:
    array = np.column_stack([np.arange(6.0), [0, 1, 0, 1, 1, 0]])
    np.save(tmp_path / "t.npy", array)
    names, factors, responses = coded(tmp_path / "t.npy", response="1")
    assert names == ["0"]
    np.testing.assert_array_equal(factors[:, 0], array[:, 0])
    np.testing.assert_array_equal(responses[:, 0], array[:, 1] == 1)


@pytest.mark.parametrize("word", ["NA", "", "NaN", "null", "N/A", "<NA>"])
def test_a_missing_value_leaves_out_its_trial_whatever_the_word(word: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"x,choice\n1,left\n{word},right\n2,{word}\n3,right\n")
    _, factors, responses = coded(tmp_path / "t.csv")
    np.testing.assert_array_equal(factors[:, 0], [1, 3])
    np.testing.assert_array_equal(responses[:, 0], [False, True])


STRANGE = {  # what rows that are not taken may hold
    "contrast": ["practice", "inf", "0", "-5", "1e9"],
    "rule": ["z", "q", "9", "a", "b"],
    "block": ["7", "none", "8", "9", "1"],
}


@pytest.mark.parametrize("formula", [None, "~ contrast + rule + C(block)", "~ log(contrast) + bs(contrast, df=4)*rule"])
@pytest.mark.parametrize("taken", ["where", "response"])
def test_rows_that_are_not_taken_are_not_coded(formula: str | None, taken: str, tmp_path: Path) -> None:
    table = frame().assign(block=np.arange(40) % 3, phase="main").astype({"contrast": object, "block": object})
    table["contrast"] = 3 + table.contrast
    table.to_csv(tmp_path / "main.csv", index=False)
    strange = table.iloc[:5].assign(**STRANGE, phase="practice")
    if taken == "response":
        strange = strange.assign(choice=None, phase="main")
    pd.concat([strange, table, strange]).to_csv(tmp_path / "whole.csv", index=False)
    where = "phase == 'main'" if taken == "where" else None
    names, factors, responses = coded(tmp_path / "whole.csv", formula=formula, where=where)
    expected = coded(tmp_path / "main.csv", formula=formula)
    assert names == expected[0]
    np.testing.assert_array_equal(factors, expected[1])
    np.testing.assert_array_equal(responses, expected[2])


def test_a_lag_of_a_row_that_is_not_taken_is_coded_or_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,n,choice\n1,0,left\nb,1,right\n3,2,right\n4,3,left\n5,4,right\n")
    keys = {"formula": "lag(x, 1)", "where": "n != 1"}
    assert "line 4: lag(x, 1) is 'b'; it must be a number" in refused(tmp_path / "t.csv", **keys)
    _, factors, _ = coded(tmp_path / "t.csv", **keys | {"where": "n > 2"})
    np.testing.assert_array_equal(factors[:, 0], [3, 4])


def test_differences_are_of_columns_of_numbers_and_their_few_words_are_missing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 2)).round(2), columns=["x_1", "x_2"]).astype(object)
    table = table.assign(second=rng.integers(0, 2, 40), c_1=rng.choice(["a", "b"], 40), c_2=rng.choice(["a", "b"], 40))
    table.loc[3, "x_1"] = "out"
    table.to_csv(tmp_path / "t.csv", index=False)
    keys: dict[str, Any] = {"response": "second", "intervals": ["_1", "_2"]}
    names, factors, _ = coded(tmp_path / "t.csv", **keys)
    assert sorted(names) == ["c_1[T.b]", "c_2[T.b]", "x"]
    expected = (table.x_2 - table.x_1.replace("out", np.nan)).drop(3).astype(float)
    np.testing.assert_allclose(factors[:, names.index("x")], expected)
    assert "two columns of numbers must differ in the endings '1' and 'b'" in refused(
        tmp_path / "t.csv", **keys | {"intervals": ["1", "b"]}
    )


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("x,choice\n1,left\n2\n", {}, "line 3: 1 values, but 2 columns have names"),
        ("x,choice\na,1,left\nb,right\n", {}, "line 2: 3 values, but 2 columns have names"),
        (
            "x;dots;choice\n.1;900;left\n.3;1,201;right\n" + ".5;8;left\n" * 9,
            {"formula": "~ x + dots"},
            "dots is '1,201'",
        ),
        ("x,x,choice\n1,2,left\n", {}, "'x' occurs twice"),
        ("bias,choice\n1,left\n2,right\n", {}, "two factors are named bias (bias is the fit's own)"),
        ("1,2\n3,4\n", {}, "must name the columns"),
        ("x,choice\n", {}, "holds no trials"),
        ("", {}, "holds no trials"),
        ("x,choice\n1,left\n2,left\n", {}, "holds only 'left'"),
        ("x,choice\n1,left\n2,up\n3,right\n", {}, "more than two values: 'left', 'right', 'up'"),
        ("x,choice\n1,left\n2,right\n", {"response": "choice"}, "which is yes? choice=left or choice=right"),
        ("x,choice\n1,left\n2,right\n", {"response": "choice=rigth"}, "the nearest is right"),
        ("x,choice\n1,left\n2,right\n", {"group": "X"}, "the nearest is x"),
        ("x,choice\n1,left\n2,right\n", {"where": "x > 5"}, "no row fulfils where"),
        ("choice\tid\nleft\ta\nright\ta\n", {}, "holds no factor"),
        ("x,choice\n1,left\n1e999,right\n", {}, "line 3: x is '1e999', but it must be a finite number"),
        ('x,x[T.b],choice\n"a",1,left\n"b",3,right\n', {}, "two factors are named x[T.b]"),
        ("x,o\n1,hit\n1,false alarm\n", {"response": "o"}, "every response was the same"),
    ],
)
def test_what_is_wrong_is_named(text: str, keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert message in refused(tmp_path / "t.csv", **keys)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
def test_encodings_are_found(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("größe,choice\n1,left\n2,right\n".encode(encoding))
    assert coded(tmp_path / "t.csv")[0] == ["größe"]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None, 3], object, [1.0, np.nan, 3.0]),
        ([True, None], "boolean", [1.0, np.nan]),
        ([1, None], "category", [1.0, np.nan]),
        (["TRUE", "", "false"], "str", [1.0, np.nan, 0.0]),
        ([b"1", b"x"], object, ["1", "x"]),
        (["1", "007"], "str", ["1", "007"]),
        ([2**53, 1], "int64", [str(2**53), "1"]),
    ],
)
def test_a_column_of_any_kind_holds_numbers_or_words(values: Any, dtype: Any, expected: Any) -> None:
    assert_series_equal(plain(pd.Series(values, dtype=dtype)), pd.Series(expected))


@pytest.mark.parametrize("ending", ["parquet", "feather", "npy"])
def test_text_that_is_damaged_is_refused(ending: str, tmp_path: Path) -> None:
    path, table = tmp_path / f"t.{ending}", pa.table({"x": [1.0, 2.0], "choice": ["left", "right"]})
    if ending == "parquet":
        pq.write_table(table, path, compression="none", write_statistics=False)
    elif ending == "feather":
        pa.feather.write_feather(table, path, compression="uncompressed")
    else:
        np.save(path, np.array([("left", 1), ("right", 2)], [("choice", "S5"), ("x", float)]))
    path.write_bytes(path.read_bytes().replace(b"right", b"r\xffght"))
    assert f"{path.name}: it cannot be read" in refused(path)


def test_a_word_commands_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('x\tchoice\n1\tleft\n2\t"ri\nght"\n', newline="")
    assert "the nearest is ri�ght" in refused(path, response="choice=right")
    path.write_text("side\tchoice\na\tleft\n\x1b]0;title\x07\tright\nb\u202e\tleft\n")
    assert coded(path)[0] == ["side[T.b�]", "side[T.�]0;title�]"]


ROWS = "".join(f"{i % 7},{'ab'[i % 2]},{('left', 'right')[i % 3 % 2]}\n" for i in range(20_000)).splitlines()


@pytest.mark.parametrize(
    ("first", "second", "cell"), [(3, None, 2), (15_000, None, 1), (3, 4, 0), (3, 900, 1), (1, None, 1)]
)
def test_a_stray_quote_takes_no_lines_away(first: int, second: int | None, cell: int, tmp_path: Path) -> None:
    lines = ["x,side,choice", *ROWS]
    for line in filter(None, (first, second)):
        cells = lines[line - 1].split(",")
        lines[line - 1] = ",".join([*cells[:cell], '"' + cells[cell], *cells[cell + 1 :]])
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    assert f"line {first}: a quote begins a cell that takes in the lines below" in refused(path)
    path.write_text("\n".join(lines[: first + 5]) + "\n")
    assert f"line {first}: a quote begins a cell that takes in the lines below" in refused(path)


def test_quoted_cells_may_hold_line_breaks_and_inches(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('note,x,choice\n"we paused,\nand went on",1,left\n14" screen,2,right\n"a\n\nb, c\n",3,left\n')
    assert coded(path)[1][:, -1].tolist() == [1, 2, 3]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_truth_values_are_0_and_1_and_their_words_in_any_case(ending: str, tmp_path: Path) -> None:
    table, path = pd.DataFrame({"x": np.arange(6), "y": np.arange(6) % 3 == 0}), tmp_path / f"t.{ending}"
    table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
    for words, is_yes in (("1 true True TRUE", True), ("0 false False", False)):
        for word in words.split():
            np.testing.assert_array_equal(coded(path, response=f"y={word}")[2][:, 0], table.y == is_yes)
    assert "but never 'yes'" in refused(path, response="y=yes")


@pytest.mark.parametrize(
    ("no", "yes", "response"), [("0", "1", "y"), ("false", "TRUE", "y"), ("1", "2", "y=2"), ("2.0", "7", "y=7.0")]
)
def test_numbers_words_and_truth_values_may_be_the_response(no: str, yes: str, response: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"x,y\n1,{no}\n2,{yes}\n3,{no}\n")
    assert coded(tmp_path / "t.csv", response=response)[2][:, 0].tolist() == [False, True, False]


def test_several_response_columns_are_classes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,a,b\n1,0,u\n2,1,v\n3,1,u\n")
    _, _, responses = coded(tmp_path / "t.csv", response=["a", "b=v"])
    np.testing.assert_array_equal(responses, [[False, False], [True, True], [True, False]])


def test_two_intervals_become_their_difference_wide_and_long(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 2, 3))  # trial, interval, position
    second = rng.random(12) < 0.5
    wide = pd.DataFrame({f"p{j}_{i + 1}": values[:, i, j] for i in range(2) for j in range(3)})
    wide["second"] = second.astype(int)
    wide.to_csv(tmp_path / "wide.csv", index=False)
    rows = [
        {"t": t, "i": i + 1, "p": f"p{j}", "v": values[t, i, j], "chosen": int(second[t] == (i == 1)), "day": t // 5}
        for t in range(12) for i in range(2) for j in range(3)
    ]  # fmt: skip
    long = pd.DataFrame(rows).sample(frac=1, random_state=1)
    long.to_parquet(tmp_path / "long.parquet")
    keys = {"trial": "t", "position": "p", "value": "v", "intervals": "i", "group": "day"}
    _, from_wide, chosen = coded(tmp_path / "wide.csv", response="second", intervals=["_1", "_2"])
    found = learn(asked(response="chosen", **keys), tmp_path / "long.parquet")
    names, from_long, responses = coded(tmp_path / "long.parquet", response="chosen", **keys)
    order = [found.table.frame["t"].tolist().index(t) for t in range(12)]
    assert names == ["v[p0]", "v[p1]", "v[p2]"]
    np.testing.assert_allclose(from_wide, values[:, 1] - values[:, 0])
    np.testing.assert_array_equal(from_long[order], values[:, 1] - values[:, 0])
    np.testing.assert_array_equal(chosen[:, 0], second)
    np.testing.assert_array_equal(responses[order, 0], second)
    assert "i: '1' is first and '2' second" in " ".join(found.table.notes)
    pd.concat([long, long.iloc[:1]]).to_parquet(tmp_path / "twice.parquet")
    assert "trial 3, day 0 has two values for one position" in refused(
        tmp_path / "twice.parquet", response="chosen", **keys
    )


def long_trials(n: int = 12) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A row per value of two intervals; the differences (n, 2); and whether the second was chosen."""
    rng = np.random.default_rng(0)
    values, second = rng.normal(size=(n, 2, 2)), np.arange(n) % 3 == 0
    rows = [
        {"t": t, "i": i + 1, "p": j, "v": values[t, i, j], "chosen": int(second[t] == (i == 1))}
        for t in range(n) for i in range(2) for j in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows), values[:, 1] - values[:, 0], second


LONG = {"response": "chosen", "trial": "t", "position": "p", "value": "v", "intervals": "i"}


@pytest.mark.parametrize("mark", [0, 1])
def test_a_response_that_marks_both_intervals_or_none_is_missing(mark: int, tmp_path: Path) -> None:
    table, _, _ = long_trials()
    table.loc[table.t == 7, "chosen"] = mark
    table.to_csv(tmp_path / "t.csv", index=False)
    for response in ("chosen", "chosen=1"):
        trials = learn(asked(**LONG | {"response": response}), tmp_path / "t.csv")
        assert trials.lacking == {"chosen": (1, "t.csv, trial 7")}


def test_trial_numbers_may_restart_in_each_group(tmp_path: Path) -> None:
    table, differences, second = long_trials()
    table = table.assign(who=np.where(table.t < 6, "a", "b"), t=table.t % 6).sample(frac=1, random_state=2)
    table.to_csv(tmp_path / "t.csv", index=False)
    order = (table.t + 6 * (table.who == "b")).unique()
    _, factors, responses = coded(tmp_path / "t.csv", **LONG, group="who")
    np.testing.assert_array_equal(factors, differences[order])
    np.testing.assert_array_equal(responses[:, 0], second[order])
    _, factors, _ = coded(tmp_path / "t.csv", **LONG, group="who", where="who == 'b'")
    np.testing.assert_array_equal(factors, differences[order[order >= 6]])
    assert "restart must be there, and named as group" in refused(tmp_path / "t.csv", **LONG)
    assert "restart must be there, and named as group" in refused(tmp_path / "t.csv", **LONG, where="who == 'b'")
    pd.concat([table, table.iloc[:1]]).to_csv(tmp_path / "t.csv", index=False)
    assert f", who {table.who.iloc[0]} has two" in refused(tmp_path / "t.csv", **LONG, group="who")


def test_what_a_trial_has_no_row_for_is_missing(tmp_path: Path) -> None:
    table, differences, second = long_trials()
    table[~((table.t == 3) & (table.p == 1) & (table.i == 2) | (table.t == 5) & (table.i == 1))].to_csv(
        tmp_path / "t.csv", index=False
    )
    trials = learn(asked(**LONG), tmp_path / "t.csv")
    rest = np.delete(np.arange(12), [3, 5])
    np.testing.assert_array_equal(trials.factors, differences[rest])
    np.testing.assert_array_equal(trials.yes[:, 0], second[rest])
    assert {name: n for name, (n, _) in trials.lacking.items()} == {"v[0]": 1, "v[1]": 2, "chosen": 1}
    message = refused(tmp_path / "t.csv", **LONG, missing="refuse")
    assert message.startswith("t.csv, trial 5: v[0] is missing; with missing: drop")


def doubled(table: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Another observer's rows above those of a."""
    return pd.concat([table.assign(who="b", p=table.p + 1).assign(**columns), table.assign(who="a")])


def blocks(table: pd.DataFrame) -> pd.DataFrame:
    """Odd trials have other positions."""
    return table.assign(block=table.t % 2, p=table.p + 5 * (table.t % 2))


EVEN = np.arange(12) % 2 == 0
LONG_FORMS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], Callable[[np.ndarray], Any]]] = [
    (lambda t: t, {"where": "`v[0]` > 0"}, lambda d: d[:, 0] > 0),
    # another observer numbers trials twice, without all places, or without numbers
    (
        lambda t: doubled(t, t=t.t + 6, chosen=1, p=t.p.where(t.index > 0)),
        {"where": "who == 'a'"},
        lambda d: d[:, 0] < 9,
    ),
    (lambda t: doubled(t, t=t.t.where(t.index > 3)), {"where": "who == 'a'"}, lambda d: d[:, 0] < 9),
    (lambda t: doubled(t), {"where": "who == 'a' and (`v[1]` > 0 and t >= 0)"}, lambda d: d[:, 1] > 0),
    (blocks, {"where": "t >= 0 and (block == 0 and `v[1]` > 0)"}, lambda d: EVEN & (d[:, 1] > 0)),
    (
        blocks,
        {"where": "block == 0 and (`v[1]` > 0 or t == 0)"},
        lambda d: EVEN & ((d[:, 1] > 0) | (np.arange(12) == 0)),
    ),
    (lambda t: t.assign(who="a"), {"group": ["who", "who"]}, lambda d: d[:, 0] < 9),
    (lambda t: t, {"group": "t"}, lambda d: d[:, 0] < 9),
]


@pytest.mark.parametrize(("change", "keys", "taken"), LONG_FORMS)
def test_of_a_long_file_the_trials_that_are_meant_are_taken(
    change: Any, keys: dict[str, Any], taken: Any, tmp_path: Path
) -> None:
    table, differences, second = long_trials()
    changed = change(table)
    changed.to_csv(tmp_path / "t.csv", index=False)
    group = {"group": "who"} if "who" in changed else {}
    names, factors, responses = coded(tmp_path / "t.csv", **LONG, formula="~ `v[0]` + `v[1]`", **group | keys)
    assert names == ["v[0]", "v[1]"]
    np.testing.assert_array_equal(factors, differences[taken(differences)])
    np.testing.assert_array_equal(responses[:, 0], second[taken(differences)])


def test_a_response_of_the_whole_trial_stands_in_both_intervals(tmp_path: Path) -> None:
    table, differences, second = long_trials()
    named = table.assign(second=second[table.t].astype(int), i=table.i + 8, p=table.p * 8 + 2)  # 9 before 10
    named.to_csv(tmp_path / "t.csv", index=False)
    _, factors, responses = coded(tmp_path / "t.csv", **LONG | {"response": "second", "formula": "~ `v[2]` + `v[10]`"})
    np.testing.assert_array_equal(factors, differences)
    np.testing.assert_array_equal(responses[:, 0], second)


def test_a_position_is_no_column_of_trials(tmp_path: Path) -> None:
    long_trials()[0].to_csv(tmp_path / "t.csv", index=False)
    for keys in ({"group": "p"}, {"where": "p < 9"}):
        assert "t.csv: p is no column of trials, whose factors are named v[…]" in refused(
            tmp_path / "t.csv", **LONG | keys
        )


def test_where_may_not_cut_trials(tmp_path: Path) -> None:
    table, _, _ = long_trials()
    table.assign(side=table.p).to_csv(tmp_path / "t.csv", index=False)
    message = "t.csv, trial 0: where takes only a part of its rows; it must take whole trials"
    assert message in refused(tmp_path / "t.csv", **LONG, where="side == 1")
    both = pd.concat([table.assign(who="a", side=table.p), table.assign(who="b", side=table.p)])
    both.to_csv(tmp_path / "t.csv", index=False)
    for condition in ("who == 'b' and side == 1", "who == 'a' and side == 0 or who == 'b' and side == 1"):
        assert "it must take whole trials" in refused(tmp_path / "t.csv", **LONG, where=condition)
        assert "it must take whole trials" in refused(tmp_path / "t.csv", **LONG, where=condition, group="who")


def test_lags_look_back_on_trials_of_a_long_file_that_where_does_not_take(tmp_path: Path) -> None:
    table, _, second = long_trials()
    table.assign(block=table.t % 2).to_csv(tmp_path / "t.csv", index=False)
    _, factors, _ = coded(tmp_path / "t.csv", **LONG, formula="~ lag(chosen, 1)", where="block == 1")
    np.testing.assert_array_equal(factors[:, 0], second[0::2])


@pytest.mark.parametrize("column", ["t", "p", "i"])
def test_a_row_that_does_not_say_where_it_belongs_is_named(column: str, tmp_path: Path) -> None:
    table, _, _ = long_trials()
    table.loc[9, column] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    assert f"t.csv, line 11: {column} is missing" in refused(tmp_path / "t.csv", **LONG)


def test_a_position_that_few_trials_have_is_no_factor_and_that_is_told(tmp_path: Path) -> None:
    table, _, _ = long_trials(40)
    mistake = table.p.map({0: "left", 1: "right"}).where(table.index != 30, "leftt")
    table.assign(p=mistake).to_csv(tmp_path / "t.csv", index=False)
    found = learn(asked(**LONG), tmp_path / "t.csv")
    assert found.names == ["v[left]", "v[right]"]
    assert found.left_out == {"v[leftt]": "it is empty"}
    assert len(found.factors) == 39


def test_numbers_that_are_equal_are_one_also_with_a_sign_of_0(tmp_path: Path) -> None:
    table, differences, second = long_trials()
    is_odd = table.index % 8 < 3
    table = table.assign(p=np.where((table.p == 0) & is_odd, -0.0, table.p.astype(float)))
    table = table.assign(chosen=np.where((table.chosen == 0) & is_odd, -0.0, table.chosen.astype(float)))
    table.to_parquet(tmp_path / "t.parquet")
    names, factors, responses = coded(tmp_path / "t.parquet", **LONG)
    assert names == ["v[0]", "v[1]"]
    np.testing.assert_array_equal(factors, differences)
    np.testing.assert_array_equal(responses[:, 0], second)


def test_a_column_that_differs_within_a_trial_is_no_factor_and_that_is_told(tmp_path: Path) -> None:
    table, _, _ = long_trials()
    table.assign(contrast=(table.t % 5).where(table.index != 9)).to_csv(tmp_path / "t.csv", index=False)
    found = learn(asked(**LONG), tmp_path / "t.csv")
    assert found.names == ["v[0]", "v[1]"]
    assert found.left_out == {"contrast": "it differs within t.csv, trial 2; it must have one value a trial"}


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_large_whole_numbers_stay_what_they_are(ending: str, tmp_path: Path) -> None:
    table, path = frame().assign(who=[7] * 10 + [2**53] * 10 + [2**53 + 1] * 20), tmp_path / f"t.{ending}"
    table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
    trials = learn(asked(group="who"), path)
    assert trials.labels == ["7", str(2**53), str(2**53 + 1)]
    assert trials.groups is not None
    assert np.bincount(trials.groups).tolist() == [10, 10, 20]
    for condition, n in ((f"who == {2**53 + 1}", 20), (f"who in ({2**53}, 7)", 20), (f"who > {2**52}", 30)):
        assert learn(asked(where=condition), path).taken.sum() == n


def one_interval(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.i == 1].assign(yes=lambda rows: (rows.t % 2).where(rows.index != 13, 5))


LONG_FAULTS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], str]] = [
    (lambda t: t.assign(v=np.where(t.v > 0, "a", "b")), {}, "line 2: v is 'a', but it must be a finite number"),
    (
        lambda t: t.assign(rt=np.arange(len(t))),
        {"formula": "~ `v[0]` + rt"},
        "rt differs within t.csv, trial 0; it must have",
    ),
    (
        one_interval,
        {"response": "yes", "intervals": None},
        "yes differs within t.csv, trial 3; it must have one value a trial",
    ),
    (lambda t: t.assign(p=t.t * 2 + t.p), {}, "t.csv holds no factor: it needs columns of numbers"),
    (lambda t: t.assign(i=t.i + t.p), {}, "i must number two intervals, but holds ['1', '2', '3']"),
    (lambda t: t, {"where": "t > 99"}, "no row fulfils where"),
]


@pytest.mark.parametrize(("change", "keys", "message"), LONG_FAULTS)
def test_what_is_wrong_in_a_long_file_is_named(change: Any, keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    table, _, _ = long_trials()
    change(table).to_csv(tmp_path / "t.csv", index=False)
    assert message in refused(tmp_path / "t.csv", **LONG | keys)


cell = st.text("0123456789.,-eE abNA\"'\n\r;\tée\0", max_size=6) | st.sampled_from(["1", "0.5", "left", "NA", ""])


@given(
    rows=st.lists(st.lists(cell, min_size=1, max_size=4), min_size=0, max_size=6),
    header=st.lists(st.sampled_from(["x", "choice", "rule", "", "x", "a b", '"']), max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    raw=st.booleans(),
    delimiter=st.sampled_from(",;\t"),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_file_gives_arrays_or_one_line(
    rows: list[list[str]], header: list[str], end: str, raw: bool, delimiter: str, tmp_path: Path
) -> None:
    text = io.StringIO(newline="")
    if raw:
        text.write(end.join(delimiter.join(row) for row in [header, *rows]))
    else:
        csv.writer(text, lineterminator=end, delimiter=delimiter).writerows([header, *rows])
    (tmp_path / "t.csv").write_text(text.getvalue(), encoding="utf-8", newline="")

    def read() -> None:
        _, factors, responses = coded(tmp_path / "t.csv", response="choice=1")
        assert len(factors) == len(responses)
        assert np.isfinite(factors).all()

    assert one_line(read)


@given(
    content=st.binary(max_size=60),
    ending=st.sampled_from(["csv", "parquet", "feather", "npy", "npz", "json", "xlsx", "rda", "nwb", "csv.gz"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_one_line(content: bytes, ending: str, tmp_path: Path) -> None:
    (tmp_path / f"t.{ending}").write_bytes(content)
    assert refused(tmp_path / f"t.{ending}")


@pytest.mark.parametrize("ending", ["parquet", "feather", "npz"])
def test_a_damaged_file_gives_arrays_or_one_line(ending: str, tmp_path: Path) -> None:
    path, rng = tmp_path / f"t.{ending}", np.random.default_rng(0)
    {"parquet": frame().to_parquet, "feather": frame().to_feather, "npz": lambda p: npz(frame(), p)}[ending](path)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else whole)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        assert one_line(lambda: coded(path))
