"""Text files: encoding, delimiter, the line of column names and decimal commas are found."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
import pandas as pd

from stages.files.errors import InputError
from stages.trials.values import COMMA, NUMBER, THOUSANDS, plain

DELIMITERS = ";\t|, "  # of equally good ones the first: commas also occur in numbers and names, blanks in both
SAMPLE = 1 << 18  # characters from which the delimiter is found
COMMENTS = ("#", "%", "//")
POINT = r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?"

Row = tuple[int, list[str]]  # the number of its last line, and its cells
Read = tuple[pd.DataFrame, np.ndarray, list[str]]  # columns, the line of each row, and what is to be said


def read_text(data: bytes, name: str) -> Read:
    """A text file as columns. Raises InputError, with the line, for what is not a table."""
    text = decode(data, name)
    if text.startswith("Scenario -") and "Logfile written" in text[:1000]:
        raise InputError(f"{name} is a log of Presentation, a line per event; it must be a table of one row per trial")
    if "*** LogFrame Start ***" in text[:SAMPLE]:
        return read_log_frames(text)
    said = re.match(r'"?sep=([,;\t|: ])"?\r?\n', text)  # as Excel reads and writes it
    sample = text[:SAMPLE] if len(text) <= SAMPLE else text[: text.rfind("\n", 0, SAMPLE) + 1] or text
    delimiter = said[1] if said else max(DELIMITERS, key=lambda delimiter: fit(sample, delimiter))
    rows = split(text, delimiter, name)
    return tabulate(rows if not said else islice(rows, 1, None), name, delimiter)


def decode(data: bytes, name: str) -> str:
    """UTF-8, UTF-16 with or without a mark, or Windows' code page."""
    encoding = "utf-8-sig"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data[1:200:2].count(0) > 0.9 * len(data[1:200:2]) > 0:
        encoding = "utf-16-le"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if encoding != "utf-8-sig" or error.start > SAMPLE or not data[: error.start].isascii():
            raise InputError(
                f"{name}, line {line} is not {encoding[:5].upper()} text; save the file as UTF-8"
            ) from None
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise InputError(f"{name} is not a text file, nor one that is known by its ending")
    return text


def split(text: str, delimiter: str, name: str = "") -> Iterator[Row]:
    """Rows that are not blank. Raises InputError for a stray quote, which makes one cell of the lines up to the next.

    Cells with line breaks are fine, but none may hold as many delimiters in each line as lines of the table do.
    """
    file = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline="")  # StringIO: 4 bytes for each sign
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
    most, before = 0, 0
    stray = "a quote begins a cell that takes in the lines below; remove or close it"
    try:
        for cells in reader:
            for at, cell in enumerate(cells if reader.line_num > before + 1 else ()):
                counts = [line.count(delimiter) for line in re.split("\r\n|\r|\n", cell.rstrip("\r\n"))]
                width = most or max(counts)
                whole = [
                    width - at,
                    *[width] * (len(counts) - 2),
                ]  # of the cell's own line, and of those below it
                if len(counts) > 1 and width and counts in ([*whole, at], [*whole, width]):
                    raise InputError(f"{name}, line {before + 1}: {stray}")
            most, before = most or len(cells) - 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield before, cells
    except csv.Error:  # a cell of more than 128 KiB
        raise InputError(f"{name}, line {before + 1}: {stray}") from None


def fit(sample: str, delimiter: str) -> tuple[bool, float, int]:
    """How well a delimiter splits lines: whether most become rows, not words of a running text; what fraction has as
    many cells as the most frequent row; and, between equals, as cells may hold other delimiters, how many cells.
    """
    widths: Counter[int] = Counter()
    try:
        widths.update(len(cells) for _, cells in split(sample, delimiter))
    except InputError:  # a stray quote: its line is named when the file is read
        widths = widths or Counter({2: 1})
    width = _usual(widths)
    agreement = widths[width] / widths.total() if width > 1 else 0
    return agreement > 0.5 and delimiter != " ", agreement, width


def _usual(widths: Counter[int]) -> int:
    return max(widths, key=lambda width: (width > 1, widths[width], width), default=0)


def tabulate(rows: Iterator[Row], name: str, delimiter: str = "") -> Read:
    """Rows of cells, of a text or of a sheet, as columns.

    What stands above the column names is ignored. A repeated line of names is dropped, and if it has another order, the
    rows below it are re-ordered. Raises InputError for a row of another length.
    """
    first = [*islice(rows, 2000)]
    names, start, notes = find_names(first, name)
    width, key = len(names), sorted(names)
    order: list[int] | None = None
    lines, chunks, cells_of = list[int](), list[pd.DataFrame](), list[list[str]]()
    repeated = list[int]()
    for line, cells in chain(first[start:], rows):
        if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
            cells = cells[:width]
        if len(cells) < width and not any(names[len(cells) :]):
            cells = [*cells, *[""] * (width - len(cells))]
        if len(cells) != width:
            if cells[0].strip() == "END OF FILE" or cells[0].startswith(COMMENTS):  # the first is Gorilla's
                continue
            raise InputError(f"{name}, line {line}: {len(cells)} values where the first line names {width} columns")
        if cells[0].strip() in key and sorted(map(tidy, cells)) == key:
            here = [*map(tidy, cells)]
            order = None if here == names else [here.index(each) for each in names]
            repeated.append(line)
        elif cells[0].strip() != "END OF FILE":
            cells_of.append([cells[at] for at in order] if order else cells)
            lines.append(line)
        if len(cells_of) >= 50_000:
            chunks.append(pd.DataFrame(cells_of, columns=range(width), dtype="str"))
            cells_of = []
    chunks.append(pd.DataFrame(cells_of, columns=range(width), dtype="str"))
    if repeated:
        what = f"line {repeated[0]}" if len(repeated) == 1 else f"{len(repeated)} lines, the first: line {repeated[0]}"
        notes.append(f"column names are repeated in {what}; left out")
    frame = pd.concat(chunks, ignore_index=True)
    frame.columns = names
    if not lines:
        raise InputError(f"{name} holds no trials: it must be a line of column names, and then a line per trial")
    keep = [at for at, each in enumerate(names) if each]
    commas = decimal_commas(frame) if delimiter != "," else [False] * width
    found = pd.DataFrame({at: plain(frame.iloc[:, at], commas[at]) for at in keep}, index=frame.index)
    found.columns = [names[at] for at in keep]
    return found, np.array(lines), notes


def tidy(cell: str) -> str:
    return " ".join(cell.split())


def find_names(rows: list[Row], name: str) -> tuple[list[str], int, list[str]]:
    """Column names, the first row below them, and notes. They stand in the first row that is as long as most are.

    One name may lack: the first, if the cells below it are names of the rows, as R writes them, or an empty last one.
    """
    rows = [(line, [*map(tidy, cells)]) for line, cells in rows]
    usable = [i for i, (_, cells) in enumerate(rows) if not cells[0].startswith(COMMENTS)]
    width = _usual(Counter(len(rows[i][1]) for i in usable))
    at = next((i for i in usable if len(rows[i][1]) == width), 0)
    below = [cells for _, cells in rows[at:]]
    line, names = rows[at] if rows else (1, [])
    above = next((cells for _, cells in reversed(rows[:at])), [])
    comment = [cell for cell in [*above[:1], *above[1:]] if cell.strip("#%/ ")]
    start = at + 1
    if any(map(is_number, names)):
        if len(above) == width - 1 and at - 1 in usable and all(len(cells) == width for cells in below):
            if not any(cells[-1] for cells in below):
                line, names, start = rows[at - 1][0], [*above, ""], at
            elif len({cells[0] for cells in below}) == len(below):
                line, names, start = rows[at - 1][0], ["", *above], at
        elif above and above[0].startswith(COMMENTS) and len(comment) == width:
            line, names, start = rows[at - 1][0], [comment[0].lstrip("#%/ "), *comment[1:]], at
    texts = [j for j, each in enumerate(names) if each and not is_number(each)]
    again = any(cells[j : j + 1] == [names[j]] for j in texts for cells in below[1:] if cells != names)
    if names and (not texts or (len(texts) < len([*filter(None, names)]) and again)):
        raise InputError(
            f"{name}, line {line} must name the columns, but it holds {'values' if texts else 'numbers only'}; add a "
            f"line above it that gives each of the {width} columns a name, as in: x,side,choice"
        )
    if len(below) > 2 and any(cell.startswith('{"ImportId"') for cell in below[2]):
        return names, start + 2, ["Qualtrics' two further lines of names are left out"]
    return names, start, [f"column names are in line {line}; what is above is left out"] if start > 1 else []


def is_number(cell: str) -> bool:
    return re.fullmatch(f"{NUMBER}|{COMMA}", cell) is not None


def decimal_commas(frame: pd.DataFrame) -> list[bool]:
    """Which columns have decimal commas: those without points, unless commas may separate thousands, because three
    digits follow each and another column has points.
    """
    columns = [frame.iloc[:, j].str.strip() for j in range(frame.shape[1])]
    points = [bool(column.str.fullmatch(POINT).any()) for column in columns]
    marked = [column[column.str.fullmatch(COMMA)] for column in columns]
    return [
        len(found) > 0 and not points[j] and not (any(points) and found.str.fullmatch(THOUSANDS).all())
        for j, found in enumerate(marked)
    ]


def read_log_frames(text: str) -> Read:
    """E-Prime's own log: a frame of `name: value` lines is a row. LogFrame.Level tells trials, blocks, … apart."""
    head = dict(re.findall(r"(?m)^(Subject|Session|Group|Experiment): (.*?)\s*$", text))
    rows, lines, level, here = list[dict[str, str]](), list[int](), "", dict[str, str]()
    for line, content in enumerate(map(str.strip, text.splitlines()), start=1):
        name, _, value = content.partition(":")
        if name == "Level":
            level = value.strip()
        elif content == "*** LogFrame Start ***":
            here = head | {"LogFrame.Level": level}
            rows.append(here)
            lines.append(line)
        elif content == "*** LogFrame End ***":
            here = {}
        elif name and not name.startswith("***"):
            here[name] = value
    return pd.DataFrame(rows).astype("str"), np.array(lines), []
