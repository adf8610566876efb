"""CSV and its relatives: the delimiter, the decimal mark and the encoding are found in the file."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stages.errors import InputError
from stages.trials.table import BATCH, MISSING, Batches, Table

DELIMITERS = ",;\t| "
SAMPLE = 1 << 18  # bytes, in which the delimiter and the decimal mark must show
COMMA = r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$"


@dataclass(frozen=True)
class Dialect:
    """How a text file is written."""

    encoding: str
    delimiter: str
    decimal_comma: bool
    header: list[str]
    header_lines: int


def open_text(path: Path) -> Table:
    """The file as a table of text. Raises InputError, with the line, for what is no table."""
    dialect = sniff(path)
    names = [name if name else f"\0{index}" for index, name in enumerate(dialect.header)]  # row names, mostly

    def read(columns: list[str]) -> Batches:
        try:
            for batch in _reader(path, dialect, names, columns):
                for start in range(0, batch.num_rows, BATCH):
                    yield _decimal(batch.slice(start, BATCH)) if dialect.decimal_comma else batch.slice(start, BATCH)
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
    rows = {delimiter: _rows(text, delimiter) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda delimiter: _agreement(rows[delimiter]))
    lines = [row for _, row in rows[delimiter]]
    if len(lines) < 2:
        raise InputError(f"{path} holds no trials: it must be a line of column names, and then a line per trial")
    header_lines, header = rows[delimiter][0]
    header = [" ".join(name.split()) for name in header]
    if len(lines[1]) == len(header) + 1:  # R's write.table: row names have no name
        header = ["", *header]
    numbers = [name for name in header if re.fullmatch(r"[-+]?[\d.]+", name)]
    if len(numbers) == len([name for name in header if name]):
        raise InputError(
            f"{path}, line {header_lines}: the first line must name the columns, but it holds numbers only"
        )
    cells = [cell.strip() for row in lines[1:] for cell in row]
    points = any(re.fullmatch(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?", cell) for cell in cells)
    commas = delimiter != "," and not points and any(re.fullmatch(COMMA, cell) for cell in cells)
    return Dialect(encoding, delimiter, commas, header, header_lines)


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
    """Rows that are not blank, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error:
        return []


def _agreement(rows: list[tuple[int, list[str]]]) -> float:
    """How well a delimiter cuts lines into equally many cells, and at least two."""
    widths = [len(row) for _, row in rows[1:200]]
    width = max(set(widths), key=widths.count, default=0)
    is_table = width > 1 and len(rows[0][1]) in (width, width - 1)
    return widths.count(width) / len(widths) if is_table else 0


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


def _decimal(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [pc.replace_substring_regex(column, COMMA, r"\1.\2") for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _records(path: Path, dialect: Dialect) -> csv.reader:  # type: ignore[valid-type]
    file = io.StringIO(path.read_bytes().decode(dialect.encoding, errors="replace"), newline="")
    return csv.reader(file, delimiter=dialect.delimiter)


def _line(path: Path, dialect: Dialect, row: int) -> int:
    """The line in which a row ends; blank lines are no rows, and quoted ones may hold several."""
    reader = _records(path, dialect)
    for cells in reader:  # type: ignore[attr-defined]
        if cells and reader.line_num > dialect.header_lines:  # type: ignore[attr-defined]
            row -= 1
        if row < 0:
            break
    return int(reader.line_num)  # type: ignore[attr-defined]


def _fault(path: Path, dialect: Dialect, error: BaseException) -> InputError:
    """The line that pyarrow could not read."""
    width = len(dialect.header)
    reader = _records(path, dialect)
    for cells in reader:  # type: ignore[attr-defined]
        where = f"{path}, line {reader.line_num}"  # type: ignore[attr-defined]
        if any("�" in cell for cell in cells):
            return InputError(f"{where} is not {dialect.encoding[:5].upper()} text; save the file as UTF-8")
        if cells and reader.line_num > dialect.header_lines and len(cells) != width:  # type: ignore[attr-defined]
            return InputError(f"{where}: {len(cells)} values where the first line names {width} columns")
    return InputError(f"{path} cannot be read: {' '.join(str(error).split())}")
