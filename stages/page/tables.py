"""The tables of the page, as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stages.files.account import lacking
from stages.files.tables import Table
from stages.page.meanings import COLUMNS, SECTIONS

MOST = 5000  # rows of coefficients; if there are more, the largest are shown

CORRECTED = {"corrected": "weight", "low": "from", "high": "to", "p": "p"}
CLASSICAL = {"estimate": "weight", "classical_low": "from", "classical_high": "to", "classical_p": "p"}


class Group(NamedTuple):
    """Columns of the coefficients below a common heading."""

    heading: str
    kind: str  # truth, plain or corrected, which the figures draw in their own colours
    columns: list[str]


class Coefficients(NamedTuple):
    """One row per class and factor."""

    groups: list[Group]
    rows: list[tuple[str, str, list[str]]]  # class, factor, numbers
    n_rows: int  # before all but the largest were left out


class Section(NamedTuple):
    """Some metrics: a row each, with a number for each fit."""

    heading: str
    fits: list[str]
    rows: list[tuple[str, str, str, list[str]]]  # key, what it is, how to read it, numbers


def metric_sections(metrics: Mapping[str, Any]) -> Iterator[Section]:
    """All metrics, section by section; scores of corrected fits stand beside those of the plain one."""
    for name, (heading, meanings) in SECTIONS.items():
        found = metrics.get(name)
        if not found:
            continue
        beside = {key: value for key, value in found.items() if isinstance(value, Mapping)}
        rows = [
            (
                f"{name}.{key}",
                *meanings[key],
                [number(found[key]), *(number(b[key]) if key in b else "" for b in beside.values())],
            )
            for key in meanings
            if key in found
        ]
        yield Section(heading, ["plain fit", *(COLUMNS[key] for key in beside)] if beside else [""], rows)


def coefficients(table: Table, level: float) -> Coefficients:
    """The coefficients with their intervals of this level, or the MOST that are largest in size."""
    interval = f"{100 * level:g} % interval"
    kinds = [
        ("true", "truth", {"true": "weight"}),
        ("fitted", "plain", {"fitted": "weight"}),
        (f"classical, with {interval}", "plain", CLASSICAL),
        (f"corrected, with {interval}", "corrected", CORRECTED),
    ]
    kinds = [(heading, kind, columns) for heading, kind, columns in kinds if set(columns) <= table.keys()]
    groups = [Group(heading, kind, [*columns.values()]) for heading, kind, columns in kinds]
    sizes = [0 if math.isnan(value) else abs(value) for value in table.get("corrected", table.get("fitted", []))]
    largest = sorted(sorted(range(len(sizes)), key=lambda i: -sizes[i])[:MOST])
    most = max([size for size in sizes if math.isfinite(size)], default=0)
    decimals = max(0, 3 - math.floor(math.log10(most))) if most > 0 else 3
    shown = [
        [p_value(table[key][i]) if key in ("p", "classical_p") else fixed(table[key][i], decimals) for i in largest]
        for _, _, columns in kinds
        for key in columns
    ]
    names = [(table["class"][i], table["factor"][i]) for i in largest]
    rows = [(*pair, [*numbers]) for pair, numbers in zip(names, zip(*shown, strict=True), strict=True)]
    return Coefficients(groups, rows, len(sizes))


def trial_counts(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A person's own trials: how many were read, taken and used, and which factors are left out."""
    n = description["trials"]
    counts = [
        ("rows in the file", n["read"]),
        ("taken by prepare.where", n["taken"]),
        ("without a missing value", n["used"]),
        ("to train on", n["train"]),
        ("held out", n["test"]),
    ]
    return [(what, number(count)) for what, count in counts]


def missing(description: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Columns of a person's own trials that lack values, in how many trials, and the first of them."""
    return [(name, number(n), first) for name, n, first in lacking(description)]


def flat(section: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters as text."""
    return [(key, parameter(value)) for key, value in section.items()]


def parameter(value: object) -> str:
    """A value as params.yaml would have it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def number(value: float | bool | None) -> str:
    """A number with four significant digits, whole ones with all: 0.09946, 10 000."""
    if value is None:
        return "not defined"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """With so many decimals; a value that would show as zero, with two significant digits."""
    if not math.isfinite(value):
        return "not determined" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    return (f"{value:.1e}" if value and float(text) == 0 else text).replace("-", "−")


def p_value(p: float) -> str:
    """With two digits if small; 0 if it is too small for floating-point numbers."""
    return (f"{p:.1e}" if p < 0.001 else f"{p:.3f}").replace("-", "−") if p else "0"
