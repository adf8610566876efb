"""CSV and JSON files below data/, and the one place where a damaged file becomes one line that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from stages.files import DATA
from stages.files.errors import InputError

AGAIN = "`dvc repro` makes it again"
TEXT = {  # columns of text, even if it looks like a number
    *("class", "condition", "factor", "family", "goal", "group", "note"),
    *("quantity", "reason", "stimulus", "term", "verdict"),
}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a library raises about a missing or damaged file becomes one InputError that names it."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path} is missing; {AGAIN}") from None
    except Exception as error:  # parsers also pass on what Python raises: IndexError, struct.error
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}; {AGAIN}") from None


def read_table(name: str, *columns: str) -> pd.DataFrame:
    """A CSV file of text and numbers with at least these columns and one line."""
    path = DATA / name
    with reading(path):
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
        for column in table.columns.difference([*TEXT]):
            table[column] = table[column].astype(float)
    if table.empty or not {*columns} <= {*table.columns}:
        raise InputError(f"{path} must have lines with the columns {', '.join(columns)}; {AGAIN}")
    return table


class Document(dict[str, Any]):
    """Named values of a JSON file; one that is not there is of another version of the program."""

    def __missing__(self, name: str) -> None:
        raise InputError(f"{DATA} holds a file without {name}, of another version of the program; {AGAIN}")


def read_json(name: str) -> Any:
    """A JSON file of named values."""
    with reading(DATA / name):
        return json.loads((DATA / name).read_bytes(), object_hook=Document)


def read_lines(name: str) -> list[str]:
    """The lines of a text file that exists only if it is not empty."""
    path = DATA / name
    with reading(path):
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
