"""What `evaluate` writes: a function for each file and each section of metrics.json, which touches no file itself."""

from typing import Any

Table = dict[str, Any]  # columns of equal length
