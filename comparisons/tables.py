"""Tables that read well on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate  # type: ignore[import-untyped]  # it ships no types


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]], align: str = "left") -> str:
    """A Markdown table, its columns padded to one width."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return str(tabulate(cells, header, tablefmt="pipe", disable_numparse=True, colalign=[align] * len(header)))
