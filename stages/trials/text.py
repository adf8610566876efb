"""Text files: encoding, delimiter, the line of column names and decimal commas are found."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pandas as pd

from stages.files.errors import InputError
from stages.trials.values import COMMA, NUMBER, THOUSANDS, is_number, plain

DELIMITERS = ";\t|, "  # of equally good ones the first: commas also occur in numbers and names, blanks in both
SAMPLE = 1 << 18  # characters from which the delimiter is found
COMMENTS = ("#", "%", "//")
END = "END OF FILE"  # Gorilla's last line

Row = tuple[int, list[str]]  # the number of its last line, and its cells
Read = tuple[pd.DataFrame, list[str]]  # columns, and what is to be said


def read_text(data: bytes, name: str) -> Read:
    """A text file as columns; the index has the lines. Raises InputError, with the line, for what is not a table."""
    text = decode(data, name)
    if text.startswith("Scenario -") and "Logfile written" in text[:1000]:
        raise InputError(f"{name} is a log of Presentation, a line per event; it must be a table of one row per trial")
    if "*** LogFrame Start ***" in text[:SAMPLE]:
        return read_log_frames(text)
    said = re.match(r'"?sep=([,;\t|: ])"?\r?\n', text)  # as Excel reads and writes it
    sample = text[:SAMPLE] if len(text) <= SAMPLE else text[: text.rfind("\n", 0, SAMPLE) + 1] or text
    delimiter = said[1] if said else max(DELIMITERS, key=lambda each: fit(sample, each))
    rows = split(text, delimiter, name)
    return tabulate(islice(rows, 1 if said else 0, None), name, delimiter)


def decode(data: bytes, name: str) -> str:
    """UTF-8, UTF-16 with or without a mark, or Windows' code page."""
    is_wide = data[1:200:2].count(0) > 0.9 * len(data[1:200:2]) > 0
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le" if is_wide else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if encoding != "utf-8-sig" or error.start > SAMPLE or not data[: error.start].isascii():
            wanted = encoding[:5].upper()
            raise InputError(f"{name}, line {line} is not {wanted} text; save the file as UTF-8") from None
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
    width, before = 0, 0  # delimiters in a line; the last line before the row
    stray = "a quote begins a cell that takes in the lines below; remove or close it"
    try:
        for cells in reader:
            for at, cell in enumerate(cells if reader.line_num > before + 1 else ()):
                counts = [line.count(delimiter) for line in re.split("\r\n|\r|\n", cell.rstrip("\r\n"))]
                width = width or max(counts)
                is_whole = counts[:-1] == [width - at, *[width] * (len(counts) - 2)] and counts[-1] in (at, width)
                if len(counts) > 1 and width and is_whole:
                    raise InputError(f"{name}, line {before + 1}: {stray}")
            width, before = width or len(cells) - 1, reader.line_num
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
    width = usual(widths)
    agreement = widths[width] / widths.total() if width > 1 else 0
    return agreement > 0.5 and delimiter != " ", agreement, width


def usual(widths: Counter[int]) -> int:
    return max(widths, key=lambda width: (width > 1, widths[width], width), default=0)


def tabulate(rows: Iterator[Row], name: str, delimiter: str = "") -> Read:
    """Rows of cells, of a text or of a sheet, as columns.

    What stands above the column names is ignored. A repeated line of names is dropped, and if it has another order, the
    rows below it are re-ordered. Raises InputError for a row of another length.
    """
    head = [*islice(rows, 2000)]
    names, start, notes = find_names(head, name)
    width, last = len(names), max((j for j, each in enumerate(names, start=1) if each), default=0)  # that has a name
    order, repeated, lines, chunks = [*range(width)], list[int](), list[int](), list[pd.DataFrame]()
    batch = head[start:]
    while batch:
        held = list[list[str]]()
        for line, cells in batch:
            is_faulty = len(cells) < last or any(cell.strip() for cell in cells[width:])
            if cells[0].strip() == END or (is_faulty and cells[0].startswith(COMMENTS)):
                continue
            if is_faulty:
                count = f"{len(cells)} values where the first line names {width} columns"
                raise InputError(f"{name}, line {line}: {count}")
            cells = [*cells[:width], *[""] * (width - len(cells))]
            if cells[0].strip() in names and sorted(map(tidy, cells)) == sorted(names):
                order = [[*map(tidy, cells)].index(each) for each in names]
                repeated.append(line)
                continue
            held.append([cells[j] for j in order])
            lines.append(line)
        chunks.append(pd.DataFrame(held, columns=range(width), dtype="str"))
        batch = [*islice(rows, 50_000)]
    if not lines:
        raise InputError(f"{name} holds no trials: it must be a line of column names, and then a line per trial")
    if repeated:
        what = f"line {repeated[0]}" if len(repeated) == 1 else f"{len(repeated)} lines, the first: line {repeated[0]}"
        notes.append(f"column names are repeated in {what}; left out")
    frame = pd.concat(chunks).set_axis(pd.Index(lines, name="line"))
    commas = decimal_commas(frame) if delimiter != "," else [False] * width
    found = pd.DataFrame({j: plain(frame.pop(j), commas[j]) for j in range(width)})
    return found.set_axis(names, axis=1), notes


def tidy(cell: str) -> str:
    return " ".join(cell.split())


def find_names(rows: list[Row], name: str) -> tuple[list[str], int, list[str]]:
    """Column names, the first row below them, and notes. They stand in the first row that is as long as most are.

    One name may lack: the first, if the cells below it are names of the rows, as R writes them, or an empty last one.
    """
    tidied = [[*map(tidy, cells)] for _, cells in rows]
    usable = [i for i, cells in enumerate(tidied) if not cells[0].startswith(COMMENTS)]
    width = usual(Counter(len(tidied[i]) for i in usable))
    at = next((i for i in usable if len(tidied[i]) == width), 0)
    names, below, above = (tidied or [[]])[at], tidied[at:], tidied[at - 1] if at else [""]
    start, comment = at + 1, [cell for cell in above if cell.strip("#%/ ")]
    if any(map(is_figure, names)) and at:
        if len(above) == width - 1 and at - 1 in usable and all(len(cells) == width for cells in below):
            if not any(cells[-1] for cells in below):
                names, start = [*above, ""], at
            elif len({cells[0] for cells in below}) == len(below):
                names, start = ["", *above], at
        elif above[0].startswith(COMMENTS) and len(comment) == width:
            names, start = [comment[0].lstrip("#%/ "), *comment[1:]], at
    line = rows[start - 1][0] if rows else 1
    texts = [j for j, each in enumerate(names) if each and not is_figure(each)]
    again = any(cells[j : j + 1] == [names[j]] for j in texts for cells in below[1:] if cells != names)
    if names and (not texts or (len(texts) < len([*filter(None, names)]) and again)):
        raise InputError(
            f"{name}, line {line} must name the columns, but it holds {'values' if texts else 'numbers only'}; add a "
            f"line above it that gives each of the {width} columns a name, as in: x,side,choice"
        )
    if len(below) > 2 and any(cell.startswith('{"ImportId"') for cell in below[2]):
        return names, start + 2, ["Qualtrics' two further lines of names are left out"]
    return names, start, [f"column names are in line {line}; what is above is left out"] if start > 1 else []


def is_figure(cell: str) -> bool:
    return is_number(cell) or re.fullmatch(COMMA, cell) is not None


def decimal_commas(frame: pd.DataFrame) -> list[bool]:
    """Which columns have decimal commas: those without points, unless commas may separate thousands, because three
    digits follow each and another column has points.
    """
    columns = [frame[j].str.strip() for j in frame]
    points = [bool((column.str.contains(".", regex=False) & column.str.fullmatch(NUMBER)).any()) for column in columns]
    marked = [column[column.str.fullmatch(COMMA)] for column in columns]
    return [
        len(found) > 0 and not points[j] and not (any(points) and found.str.fullmatch(THOUSANDS).all())
        for j, found in enumerate(marked)
    ]


def read_log_frames(text: str) -> Read:
    """E-Prime's own log: a frame of `name: value` lines is a row. LogFrame.Level tells trials, blocks, … apart."""
    text = text.replace("\r\n", "\n")
    head = dict(re.findall(r"(?m)^(Subject|Session|Group|Experiment): (.*?)\s*$", text))
    form = r"(?s)Level: (\d+)\s+\*\*\* LogFrame Start \*\*\*\n(.*?)\*\*\* LogFrame End"
    frames = [*re.finditer(form, text)]
    pairs = [re.findall(r"(?m)^[ \t]*([^:\n]+):[ \t]*(.*?)[ \t]*$", frame[2]) for frame in frames]
    rows = [head | {"LogFrame.Level": frame[1]} | dict(pair) for frame, pair in zip(frames, pairs, strict=True)]
    lines = [text.count("\n", 0, frame.start(2)) for frame in frames]
    return pd.DataFrame(rows, pd.Index(lines, name="line")).astype("str"), []
