"""Nested values under dotted names, and tables that read well on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate  # type: ignore[import-untyped]  # it ships no types


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings, each under its path: {"a": {"b": 1}} gives {"a.b": 1}."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]], align: str = "left") -> str:
    """A Markdown table, its columns padded to one width."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return str(tabulate(cells, header, tablefmt="pipe", disable_numparse=True, colalign=[align] * len(header)))
