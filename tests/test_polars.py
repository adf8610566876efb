"""Files that polars wrote, kept in tests/polars_files with the script that made them: all mean the same trials."""

from pathlib import Path

import numpy as np
import pytest

from tests.coding import coded

FILES = sorted(path for path in (Path(__file__).parent / "polars_files").iterdir() if path.suffix != ".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_polars_gives_the_arrays_that_it_means(path: Path) -> None:
    names, factors, responses = coded(path)
    i = np.delete(np.arange(60), 7)  # whose contrast is missing
    rule, easy = i * i % 3, i % 4 == 1
    columns = [37 * i % 100 / 8 - 6, i * i % 11, rule == 1, easy]
    assert names == ["contrast", "dots", "rule[T.b]", names[3]]
    assert names[3] in ("easy[T.true]", "easy")
    np.testing.assert_array_equal(factors, np.column_stack(columns))
    np.testing.assert_array_equal(responses[:, 0], i * 7 % 5 < 2)


def test_there_is_a_file_of_each_kind() -> None:
    assert {path.suffix for path in FILES} == {".csv", ".parquet", ".arrow"}
