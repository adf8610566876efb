"""Printing for a person: as wide as the terminal, and plain text in a pipe."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

CONSOLE = Console(highlight=False, markup=False, emoji=False)
if not CONSOLE.is_terminal:
    CONSOLE.width = 10_000  # a pipe has no width: nothing is broken or cropped


def say(*sentences: str) -> None:
    """One line per sentence: wrapped on a terminal, unbroken in a pipe."""
    for sentence in sentences:
        CONSOLE.print(sentence, soft_wrap=not CONSOLE.is_terminal)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], text: Collection[int] = (0,)) -> None:
    """Numbers, right-aligned; columns of text, by default the first, are left-aligned and wrapped if long."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, heading in enumerate(headings):
        side: Literal["left", "right"] = "left" if k in text else "right"
        drawn.add_column(heading, justify=side, no_wrap=k not in text, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    CONSOLE.print(drawn)
