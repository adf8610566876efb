"""Text files: encoding, delimiter, the line of column names and decimal commas are found."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from stages.files.account import first_of
from stages.files.errors import InputError
from stages.trials.values import COMMA, THOUSANDS, Read, is_number

DELIMITERS = ";\t|, "  # of equally good ones the first: others occur in numbers and names
HEAD = 2000  # lines from which delimiter and column names are found
COMMENTS = ("#", "%", "//")
END = "END OF FILE"  # Gorilla's last line

AS_TEXT: Any = {"header": None, "dtype": "str", "keep_default_na": False, "skip_blank_lines": False}

csv.field_size_limit(2**31 - 1)  # a cell may hold a recording


def read_text(source: Any, name: str) -> Read:
    """A text file as columns; the index has the lines. Raises InputError for what is not a table."""
    text = decode(source.read(), name)
    if text.startswith("Scenario -") and "Logfile written" in text[:1000]:
        raise InputError(f"{name} is a log of Presentation, a line per event; it must be a table of trials")
    if "*** LogFrame Start ***" in text[: 1 << 18]:
        return read_log_frames(text)
    text = re.sub(r'\A"?sep=[^\r\n]*', "", text)  # Excel's own first line
    head = [*islice(io.StringIO(text, newline=""), HEAD)]
    delimiter = max(DELIMITERS, key=lambda each: fit(head, each))
    n_cells = lengths(io.StringIO(text, newline=""), delimiter)
    width = usual(n_cells)
    columns = range(min(width + 1, max(n_cells, default=1)))  # one more, as it must be blank
    stray = "a quote begins a cell that takes in the lines below; remove or close it"
    try:
        source = io.BytesIO(text.encode())
        blanks = {"sep": delimiter, "skipinitialspace": True}
        cells = pd.read_csv(source, names=columns, usecols=columns, **blanks, **AS_TEXT)
    except pd.errors.ParserError as error:
        if row := re.search(r"EOF inside string starting at row (\d+)", str(error)):
            raise InputError(f"{name}, line {int(row[1]) + 1}: {stray}") from None
        raise
    cells.index = n_cells.index
    for column in columns:  # a cell with line breaks may not hold whole lines of the table
        several = cells[column][cells[column].str.contains("[\r\n]")]
        n_lines = several.str.count("\r\n|\r|\n")
        for line in several.index[several.str.count(re.escape(delimiter)) >= n_lines * max(width - 1, 1)][:1]:
            raise InputError(f"{name}, line {line}: {stray}")
    return tabulate(cells, n_cells, name, delimiter)


def decode(data: bytes, name: str) -> str:
    """UTF-16 by its mark, UTF-8, or else Windows' code page."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise InputError(f"{name} is not a text file, nor one that is known by its ending")
    return text


def lengths(lines: Iterable[str], delimiter: str) -> pd.Series[int]:
    """How many cells each row has; the index has its line."""
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    n_cells = np.fromiter(map(len, rows), np.int64)
    return pd.Series(n_cells, range(1, len(n_cells) + 1))


def usual(n_cells: Iterable[int]) -> int:
    """The most frequent number of cells of a row, if any has more than one."""
    rows = Counter(n_cells)
    return max(rows, key=lambda width: (width > 1, rows[width], width), default=0)


def fit(lines: list[str], delimiter: str) -> tuple[bool, float, int]:
    """How well a delimiter splits lines: whether most become rows, not words of a running text; what
    fraction has as many cells as most; and how many, as cells may hold other delimiters.
    """
    n_cells = lengths([line for line in lines if not line.isspace()], delimiter)
    width = usual(n_cells)
    agreement = float((n_cells == width).mean()) if width > 1 else 0.0
    return agreement > 0.5 and delimiter != " ", agreement, width


def tabulate(cells: pd.DataFrame, n_cells: pd.Series[int], name: str, delimiter: str = "") -> Read:
    """Cells of a text or a sheet as columns. The index of both has the lines, each of so many cells.

    What stands above the column names is ignored. A repeated line of names is dropped, and if it has another
    order, the rows below it are re-ordered. Raises InputError for a row of another length.
    """
    is_filled = (cells != "").any(axis=1)
    cells, n_cells = cells[is_filled], n_cells[is_filled]
    pairs = zip(cells[:HEAD].to_numpy(), n_cells[:HEAD], strict=True)
    head = [[" ".join(cell.split()) for cell in row[:n]] for row, n in pairs]
    names, start, notes = find_names(head, cells.index, name)
    last = max((j for j, each in enumerate(names, start=1) if each), default=0)  # that has a name
    width, cells, n_cells = len(names), cells[start:], n_cells[start:]
    first, beyond = cells[0].str.strip(), (cells.iloc[:, width:] != "").any(axis=1)
    is_faulty = (n_cells < last) | (n_cells > cells.shape[1]) | beyond
    is_row = (first != END) & ~(is_faulty & first.str.startswith(COMMENTS))
    for line in cells.index[is_row & is_faulty][:1]:
        raise InputError(f"{name}, line {line}: {n_cells[line]} values, but {width} columns have names")
    cells = cells.loc[is_row, range(width)]
    alike = cells[first[is_row].isin(names)].apply(lambda column: column.str.strip())
    repeated = [line for line, row in alike.iterrows() if sorted(row) == sorted(names)]
    for line in repeated:
        if (order := [*cells.loc[line].str.strip()]) != names:
            cells.loc[line:] = cells.loc[line:, [order.index(each) for each in names]].to_numpy()
    if repeated:
        notes.append(f"column names are repeated in line {first_of([*map(str, repeated)])}; left out")
    cells = cells.drop(index=repeated).rename_axis("line")
    return (cells if delimiter == "," else with_points(cells)).set_axis(names, axis=1), notes


def find_names(rows: list[list[str]], lines: pd.Index[int], name: str) -> tuple[list[str], int, list[str]]:
    """Column names, the first row below them, and notes. They stand in the first row that is as long as most
    are, or in a comment above. One may lack: an empty last one, or that of R's names of rows.
    """
    width = usual(len(cells) for cells in rows if not cells[0].startswith(COMMENTS))
    is_whole = [len(cells) == width and not cells[0].startswith(COMMENTS) for cells in rows]
    at = is_whole.index(True) if any(is_whole) else 0
    names, below, start = (rows or [[]])[at], rows[at:], at + 1
    if at and any(map(is_number, names)):
        above = rows[at - 1]
        if above[0].startswith(COMMENTS):
            above = [cell.lstrip("#%/ ") for cell in above if cell.strip("#%/ ")]
        if len(above) == width - 1 and not any(cells[-1] for cells in below):
            above = [*above, ""]
        elif len(above) == width - 1 and len({cells[0] for cells in below}) == len(below):
            above = ["", *above]
        names, start = (above, at) if len(above) == width else (names, start)
    texts = [j for j, each in enumerate(names) if each and not is_number(each)]
    again = any(cells[j : j + 1] == [names[j]] for j in texts for cells in rows[at + 1 :] if cells != names)
    if any(map(is_number, names)) and (not texts or again):
        what = f"but it holds values; add a line above it with the names of the {width}, as in: x,side,choice"
        raise InputError(f"{name}, line {lines[start - 1]} must name the columns, {what}")
    if any(cell.startswith('{"ImportId"') for cell in [*below[2:3], []][0]):
        return names, start + 2, ["Qualtrics' two further lines of names are left out"]
    notes = [f"column names are in line {lines[start - 1]}; what is above is left out"] if start > 1 else []
    return names, start, notes


def with_points(cells: pd.DataFrame) -> pd.DataFrame:
    """Decimal commas as points: in columns without points, unless commas may separate thousands, as
    three digits follow each and another column has points.
    """
    columns = {j: cells[j].str.strip() for j in cells}
    pointed = [j for j, column in columns.items() if column.str.fullmatch(COMMA.replace(",", r"\.")).any()]
    for j, column in columns.items():
        is_marked = column.str.fullmatch(COMMA)
        if j not in pointed and not (pointed and column[is_marked].str.fullmatch(THOUSANDS).all()):
            cells[j] = column.mask(is_marked, column.str.replace(",", "."))
    return cells


def read_log_frames(text: str) -> Read:
    """E-Prime's own log: a frame of `name: value` lines is a row, LogFrame.Level tells trials from blocks."""
    text = text.replace("\r\n", "\n")
    head = dict(re.findall(r"(?m)^(Subject|Session|Group|Experiment): (.*?)\s*$", text))
    frames = re.findall(r"(?s)Level: (\d+)\s+\*\*\* LogFrame Start \*\*\*\n(.*?)\*\*\* LogFrame End", text)
    pair = re.compile(r"(?m)^[ \t]*([^:\n]+):[ \t]*(.*?)[ \t]*$")
    rows = [head | {"LogFrame.Level": level} | dict(pair.findall(body)) for level, body in frames]
    return pd.DataFrame(rows), []
