"""Tables of `evaluate`: whether they are complete, and the rows of one class."""

from __future__ import annotations

from collections.abc import Sequence

from stages.files.errors import InputError
from stages.files.tables import AGAIN, Table, read_table


def check_whole(tables: dict[str, Table]) -> None:
    """Raise InputError if a table was cut off at the end of a line: the counts of tables must agree."""
    for name in tables.keys() & {"coefficients", "inference/coefficients"}:
        check_coefficients(name, tables[name])
    loss, histogram = tables["loss"]["epoch"], tables["histogram"]
    if histogram["low"] != [0, *histogram["high"][:-1]] or histogram["high"][-1] != 1:
        raise InputError(f"data/histogram.csv: the bins must go from 0 to 1, without a gap; {AGAIN}")
    counts = {
        "loss": (len(loss), tables["trajectory"]["epoch"][-1] + 1),
        "calibration": (sum(tables["calibration"]["responses"]), sum(histogram["fitted"])),
    }
    for name, (found, wanted) in counts.items():
        if found != wanted:
            raise InputError(
                f"data/{name}.csv is cut off, or another table is: it counts {found:g} where {wanted:g} are wanted; "
                f"{AGAIN}"
            )


def check_coefficients(name: str, table: Table) -> None:
    """Raise InputError unless there is a line for each class and factor, the bias last."""
    factors, classes = table["factor"], [*dict.fromkeys(table["class"])]
    n = factors.index("bias") + 1 if "bias" in factors else 0
    if factors != factors[:n] * len(classes) or table["class"] != [k for k in classes for _ in range(n)]:
        raise InputError(
            f"data/{name}.csv must have a line for each class and factor, class by class, the bias last; {AGAIN}"
        )


def read_class(name: str, chosen: str, *columns: str, undefined: Sequence[str] = ()) -> Table:
    """The rows of one class of a table in data/inference."""
    table = one_class(read_table(f"inference/{name}.csv", "class", *columns, undefined=undefined), chosen)
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
