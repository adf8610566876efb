"""Tables of `evaluate`, and the rows of one class."""

from __future__ import annotations

from collections.abc import Sequence

from stages.files.errors import InputError
from stages.files.tables import AGAIN, Table, read_table


def read_columns(name: str, *columns: str) -> Table:
    """A table as lists, by column."""
    columns_of: Table = read_table(name, *columns).to_dict("list")
    return columns_of


def read_class(name: str, chosen: str, *columns: str) -> Table:
    """The rows of one class of a table in data/inference."""
    table = one_class(read_columns(f"inference/{name}.csv", "class", *columns), chosen)
    if not table["class"]:
        raise InputError(f"data/inference/{name}.csv has no line of class {chosen}; {AGAIN}")
    return table


def chosen_class(table: Table, names: Sequence[str], index: int) -> str:
    """The class of this index among all; if it is left out, the first in the table."""
    wanted = names[index] if index < len(names) else f"{index}"
    return wanted if wanted in table["class"] else str(table["class"][0])


def one_class(table: Table, chosen: str) -> Table:
    """The rows of one class, without the bias."""
    factors = table.get("factor", [None] * len(table["class"]))
    return rows(table, [k == chosen and factor != "bias" for k, factor in zip(table["class"], factors, strict=True)])


def rows(table: Table, wanted: list[bool]) -> Table:
    """The `wanted` rows of a table."""
    return {key: [v for v, keep in zip(column, wanted, strict=True) if keep] for key, column in table.items()}
