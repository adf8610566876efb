"""What commands print for a person: as wide as the terminal, and plain text in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

CONSOLE = Console(highlight=False, markup=False, emoji=False)
if not CONSOLE.is_terminal:
    CONSOLE.width = 10_000  # a pipe has no width: nothing is broken or cropped


def say(*sentences: str) -> None:
    """A line each: broken between words on a terminal, whole in a pipe."""
    for sentence in sentences:
        CONSOLE.print(sentence, soft_wrap=not CONSOLE.is_terminal)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], first: Literal["left", "right"] = "left") -> None:
    """Numbers, right-aligned; the first column may be names, left-aligned and broken where they are long."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, heading in enumerate(headings):
        drawn.add_column(heading, justify="right" if k else first, no_wrap=k > 0, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    CONSOLE.print(drawn)


def numbers(rows: Iterable[tuple[str, str]]) -> None:
    """Right-aligned numbers, and what each is."""
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    CONSOLE.print(drawn)
