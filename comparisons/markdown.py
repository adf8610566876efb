"""Tables that are read as well on a terminal as on a page."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded to one width."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, *lines)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    ruler = ["-" * width for width in widths]
    padded = (
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (rows[0], ruler, *rows[1:])
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)
