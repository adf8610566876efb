"""Files as people have them, as a table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from stages.trials.read import read
from stages.trials.table import Table, in_memory


def open_table(path: Path) -> Table:
    """The file as a table. Raises InputError for a file that is not a table."""
    table = read(path)
    return in_memory(table.name, pa.Table.from_pandas(table.frame, preserve_index=False), place=table.place)
