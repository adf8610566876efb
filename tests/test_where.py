"""Conditions that choose rows of a file of trials: as pandas would choose, and no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files.errors import InputError
from stages.trials import where
from stages.trials.read import read
from stages.trials.values import Table
from tests.coding import one_line


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("x > 1 and rule == 'a'", lambda t: (t.x > 1) & (t.rule == "a")),
        ("not (x > 1) or rule in ('b', 'c')", lambda t: (t.x <= 1) | t.rule.isin(["b", "c"])),
        ("0 < x <= 2", lambda t: (t.x > 0) & (t.x <= 2)),
        ("rule != 'a' and x != -1", lambda t: t.rule.notna() & (t.rule != "a") & t.x.notna() & (t.x != -1)),
        ("`a name` == True", lambda t: t["a name"]),
        ("x < y", lambda t: t.x < t.y),
        ("y >= x and rule < 'c'", lambda t: (t.y >= t.x) & (t.rule < "c")),
        ("x not in [1, 2]", lambda t: t.x.notna() & ~t.x.isin([1, 2])),
        (
            "not (x in (1, 2) or rule == 'c')",
            lambda t: t.x.notna() & t.rule.notna() & ~t.x.isin([1, 2]) & (t.rule != "c"),
        ),
        ("x + y > 3 and rule == 'A'", lambda t: (t.x + t.y > 3) & (t.rule == "a")),  # in whatever case
        ("rule.notna() and x == [1, 2, 3]", lambda t: t.rule.notna() & t.x.isin([1, 2, 3])),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_where_takes_the_rows_it_says(condition: str, expected: Any, ending: str, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "x": [1.0, 2, 3, np.nan, -1, 0],
            "y": [10.0, 2, 20, 5, -10, 100],
            "rule": ["a", "b", None, "a", "c", "a"],
            "a name": [True, False, True, True, False, True],
        }
    )
    path = tmp_path / f"t.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    taken = where.taken(read(path), condition)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(taken, expected(table).to_numpy(bool))


def test_a_backtick_in_a_text_is_itself(tmp_path: Path) -> None:
    texts = ["x`y`z", """it's "`q`\"""", "c"]
    pd.DataFrame({"a b": texts, "class": [1, 2, 3]}).to_csv(tmp_path / "t.csv", index=False)
    for text in texts:
        taken = where.taken(read(tmp_path / "t.csv"), f"`class` > 0 and `a b` == {text!r}")
        assert taken.tolist() == [value == text for value in texts]


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os')", "x", "x +", "(lambda: 1)() == 1", "x is 1", ""),
        *("1 == 1", "'a' in ('a', 'b')", "x == 1 and True < 2"),  # no column decides them
    ],
)
def test_where_compares_columns_with_values(text: str) -> None:
    table = Table("t.csv", pd.DataFrame({"x": [1.0, 2.0], "y.z": [1.0, 1.0]}))
    with pytest.raises(InputError, match=r"where = |has no column"):
        where.taken(table, text)


@given(st.text(max_size=30))
def test_any_condition_is_read_or_refused_in_one_line(text: str) -> None:
    assert one_line(lambda: where.taken(Table("t.csv", pd.DataFrame({"x": [1.0, 2.0]})), text))
