"""CSV and similar text files: delimiter, decimal mark and encoding are detected."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stages.files.errors import InputError
from stages.trials.cells import COMMA, THOUSANDS
from stages.trials.table import BATCH, MISSING, Batches, Table

DELIMITERS = ";\t|, "  # of equals the first: commas occur in numbers and names, the others rarely
SAMPLE = 1 << 18  # bytes from which the delimiter and the decimal mark are detected
POINT = r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Dialect:
    """How a text file is written."""

    encoding: str
    delimiter: str
    header: list[str]
    decimal_comma: frozenset[int]  # columns, by their index in the header
    header_lines: int


def open_text(path: Path) -> Table:
    """The file as a table of text. Raises InputError, with the line, for what is not a table."""
    dialect = sniff(path)
    _check_quotes(path, dialect)
    names = [name if name else f"\0{index}" for index, name in enumerate(dialect.header)]  # row names, mostly
    commas = [names[index] for index in dialect.decimal_comma]

    def read(columns: list[str]) -> Batches:
        try:
            for batch in _reader(path, dialect, names, columns):
                for start in range(0, batch.num_rows, BATCH):
                    yield _with_points(batch.slice(start, BATCH), commas) if commas else batch.slice(start, BATCH)
        except (pa.ArrowException, UnicodeError) as error:
            raise _fault(path, dialect, error) from None

    def place(row: int) -> str:
        return f"{path.name}, line {_line(path, dialect, row)}"

    return Table(path.name, tuple(name for name in names if not name.startswith("\0")), read, place)


def sniff(path: Path) -> Dialect:
    """How the file is written, by its first lines."""
    try:
        with path.open("rb") as file:
            sample = file.read(SAMPLE)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    encoding = _encoding(sample)
    text = sample.decode(encoding, errors="replace")
    if "\0" in text:
        raise InputError(f"{path} is not a text file, although it ends in {path.suffix}")
    if len(sample) == SAMPLE and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    said = re.match(r'"?sep=([,;\t|: ])"?[\r\n]', text)  # as Excel reads and writes it
    rows = {delimiter: _rows(text, delimiter)[bool(said) :] for delimiter in (said[1] if said else DELIMITERS)}
    delimiter = max(rows, key=lambda delimiter: _fit(delimiter, rows[delimiter]))
    lines = [row for _, row in rows[delimiter]]
    if text.partition("\n")[0].count('"') % 2 and (len(lines) < 2 or len(lines[0]) < 2):
        raise _stray_quote(path, 1)
    if len(lines) < 2:
        raise InputError(f"{path} holds no trials: it must be a line of column names, and then a line per trial")
    header_lines, _ = rows[delimiter][0]
    header = [" ".join(name.split()) for name in _header(lines)]
    numbers = [name for name in header if re.fullmatch(r"[-+]?[\d.]+", name)]
    if len(numbers) == len([name for name in header if name]):
        raise InputError(
            f"{path}, line {header_lines}: the first line must name the columns, but it holds numbers only"
        )
    cells = [[cell.strip() for cell in column] for column in zip_longest(*lines[1:], fillvalue="")]
    commas = [] if delimiter == "," else _decimal_commas(cells[: len(header)])
    return Dialect(encoding, delimiter, header, frozenset(commas), header_lines)


def _encoding(sample: bytes) -> str:
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"  # Excel's "Unicode text"
    try:
        sample[: max(len(sample) - 3, 0) or None].decode("utf-8") if len(sample) == SAMPLE else sample.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 8:
            return "cp1252"  # Excel's "CSV" on Windows
    return "utf-8-sig"


def _rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its last line; of a stray quote, those before it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    with suppress(csv.Error):
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
    return rows


def _fit(delimiter: str, rows: list[tuple[int, list[str]]]) -> tuple[bool, float, int]:
    """How well a delimiter splits lines: whether most become rows, not words of a running text; what fraction has as
    many cells as the first line; and, between equals, as cells may hold other delimiters, how many cells.
    """
    lines = [row for _, row in rows]
    if len(lines) < 2:
        return False, 0, 0
    width = len(_header(lines))
    agreement = sum(len(row) == width for row in lines[1:]) / (len(lines) - 1) if width > 1 else 0
    return agreement > 0.5 and delimiter != " ", agreement, len(lines[0])


def _header(lines: list[list[str]]) -> list[str]:
    """The first line; if every row has one more cell, with a nameless column added: last, if its cells are all empty;
    first, if they are distinct names of the rows, as R's write.table writes them.
    """
    header, *rows = lines
    if len(header) < 2 or {len(row) for row in rows} != {len(header) + 1}:
        return header
    if not any(row[-1].strip() for row in rows):
        return [*header, ""]
    return ["", *header] if len({row[0] for row in rows}) == len(rows) else header


def _decimal_commas(columns: list[list[str]]) -> list[int]:
    """In which columns commas are decimal: those without points in any cell, unless commas may separate thousands,
    because three digits follow each and another column has points.
    """
    points = [any(re.fullmatch(POINT, cell) for cell in column) for column in columns]
    marked = [[cell for cell in column if re.match(COMMA, cell)] for column in columns]
    return [
        j
        for j, found in enumerate(marked)
        if found and not points[j] and not (any(points) and all(re.fullmatch(THOUSANDS, cell) for cell in found))
    ]


def _reader(path: Path, dialect: Dialect, names: list[str], columns: list[str]) -> pa.csv.CSVStreamingReader:
    longest = sum(map(len, names)) + 64 * len(names)
    return pa.csv.open_csv(
        path,
        pa.csv.ReadOptions(
            use_threads=False,
            block_size=max(1 << 22, 16 * longest),
            column_names=names,
            skip_rows=dialect.header_lines,
            encoding="utf8" if dialect.encoding == "utf-8-sig" else dialect.encoding,
        ),
        pa.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        pa.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=list(MISSING),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _with_points(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """Decimal points for the decimal commas of these columns."""
    columns = {
        name: pc.replace_substring_regex(column, COMMA, r"\1.\2") if name in names else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return pa.RecordBatch.from_pydict(columns)


def _records(path: Path, dialect: Dialect) -> Iterator[tuple[int, int, list[str]]]:
    """Rows, blank lines too, each with its first and its last line."""
    first = 1
    with path.open(encoding=dialect.encoding, errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=dialect.delimiter)
        try:
            for cells in reader:
                yield first, reader.line_num, cells
                first = reader.line_num + 1
        except csv.Error:  # a cell of more than 128 KiB
            raise _stray_quote(path, first) from None


def _line(path: Path, dialect: Dialect, row: int) -> int:
    """The line in which a row ends; blank lines are not rows, and quoted rows may hold several lines."""
    ends = (end for _, end, cells in _records(path, dialect) if cells and end > dialect.header_lines)
    return next(islice(ends, row, None))


def _check_quotes(path: Path, dialect: Dialect) -> None:
    """Raise InputError for a stray quote, which makes one cell of all lines up to the next one, or to the end.

    Cells with line breaks are fine, but none may hold as many delimiters in each line as lines of the table do.
    """
    with path.open("rb") as file:
        if not any(b'"' in line for line in file):
            return
    most = len(dialect.header) - 1  # delimiters in a line
    for start, end, cells in _records(path, dialect):
        for before, cell in enumerate(cells if end > start else ()):
            found = [line.count(dialect.delimiter) for line in cell.rstrip("\r\n").split("\n")]
            rest = [most - before, *[most] * (len(found) - 2)]  # of the cell's own line, and of those that follow
            if len(found) > 1 and found in ([*rest, before], [*rest, most]):
                raise _stray_quote(path, start)


def _stray_quote(path: Path, line: int) -> InputError:
    return InputError(f"{path}, line {line}: a quote begins a cell that takes in the lines below; remove or close it")


def _fault(path: Path, dialect: Dialect, error: BaseException) -> InputError:
    """The line that pyarrow could not read."""
    width = len(dialect.header)
    for start, end, cells in _records(path, dialect):
        if any("�" in cell for cell in cells):
            return InputError(f"{path}, line {end} is not {dialect.encoding[:5].upper()} text; save the file as UTF-8")
        if cells and end > dialect.header_lines and len(cells) != width:
            if end > start:
                return _stray_quote(path, start)
            return InputError(f"{path}, line {end}: {len(cells)} values where the first line names {width} columns")
    return InputError(f"{path} cannot be read: {' '.join(str(error).split())}")
