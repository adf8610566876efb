"""All results of a run, as HTML."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from stages.files.account import lacking
from stages.files.tables import reading
from stages.page.words import sentences

STAGES = ("simulate", "prepare", "train", "evaluate", "plot")  # that have parameters
MOST = 5000  # rows of coefficients; if there are more, the largest are shown
LEAST = 1e-12  # of p-values
ASKED = 12  # questions to the model, those with the smallest p-values
COLUMNS = {"best": "best prediction", "corrected": "corrected weights"}  # beside scores of the classical fit
HERE = Path(__file__).parent

# Section, file, size in inches, and what it shows and how to read it.
Picture = tuple[str, Path, tuple[float, float], tuple[str, str]]


def render(
    *,
    parameters: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, Any],
    account: Mapping[str, Any] | None,
    tables: Mapping[str, pd.DataFrame],
    answer: Sequence[str],
    left_out: Sequence[str],
    pictures: Sequence[Picture],
    hashed: Sequence[Path],
) -> str:
    """The page of a run: the same bytes for the same run.

    parameters: by section; account: of own trials, None where they are simulated; tables: of stage plot, with
    `shown` (all coefficients) and `weights` (of the class that the figures show); answer, left_out: lines;
    hashed: files.
    """
    coefficients = tables["shown"]
    groups = column_groups(coefficients, metrics)
    return template("page.html").render(
        parameters={name: parameters[name] for name in STAGES if name in parameters},
        metrics=metrics,
        account=account,
        sentences=sentences(answer, metrics, tables.get("trajectory", pd.DataFrame())),
        sections=yaml.safe_load((HERE / "meanings.yaml").read_text(encoding="utf-8")),
        function=tables.get("inference/psychometric", pd.DataFrame()).to_dict("records"),
        useful=records(tables, "inference/usefulness"),
        asked=records(tables, "inference/questions", most=ASKED),
        n_asked=len(tables.get("inference/questions", ())),
        families=[row for row in records(tables, "inference/terms", by="p") if row["factors"] > 1],
        goals=tables.get("inference/goals", pd.DataFrame()).to_dict("records"),
        other_fits=COLUMNS,
        classes=[*coefficients["class"].unique()],
        drawn=tables["weights"]["class"].iloc[0],
        groups=groups,
        rows=largest(coefficients, [column for _, _, columns in groups for column in columns]).to_dict("records"),
        n_rows=len(coefficients),
        pictures={part: [rest for one, *rest in pictures if one == part] for part, *_ in pictures},
        missing=lacking(account) if account else [],
        left_out=left_out,
        hashes={path.as_posix(): sha256(path) for path in hashed},
    )


def render_observers(means: pd.DataFrame, **values: Any) -> str:
    """The page of several observers: title, sentences, left_out (lines); observers: the rows of each, by
    folder; means, tests: of the population; picture: its figure, if there is one.
    """
    return template("observers.html").render(means=means.to_dict("records"), **values)


def template(name: str) -> Template:
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    templates.trim_blocks = templates.lstrip_blocks = True
    templates.filters |= {"number": number, "fixed": fixed, "p": p_value}
    templates.filters |= {"parameter": parameter, "address": address}
    return templates.get_template(name)


def records(tables: Mapping[str, pd.DataFrame], name: str, most: int = 50, by: str = "p_value") -> list[dict[Any, Any]]:
    """The rows of a table, if there is one; of many the first ones, those with the smallest p-values."""
    table = tables.get(name, pd.DataFrame({by: []}))
    rows: list[dict[Any, Any]] = table.sort_values(by, kind="stable")[:most].to_dict("records")
    return rows


def address(path: Path) -> str:
    """A PNG picture as an address that holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def sha256(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def column_groups(table: pd.DataFrame, metrics: Mapping[str, Any]) -> list[tuple[str, str, dict[str, str]]]:
    """Columns of the coefficients below common headings: (heading, name of its colour, {column: words}).

    What one should use is first, as a narrow window shows no more.
    """
    interval = f", with {100 * metrics['inference']['level']:g} % interval" if "inference" in metrics else ""
    classical = {"estimate": "weight", "classical_low": "from", "classical_high": "to", "classical_p": "p"}
    groups = [
        (f"corrected{interval}", "corrected", {"corrected": "weight", "low": "from", "high": "to", "p": "p"}),
        ("fitted", "classical", {"fitted": "weight"}),
        ("true", "truth", {"true": "weight"}),
        (f"classical{interval}", "classical", classical),
    ]
    return [group for group in groups if {*group[2]} <= {*table}]


def largest(table: pd.DataFrame, columns: Sequence[str], rows: int = MOST) -> pd.DataFrame:
    """Class, factor and these numbers as text, of the rows that are largest in size, in the table's order."""
    sizes = table["corrected" if "corrected" in table else "fitted"].abs().fillna(0)
    most = sizes[np.isfinite(sizes)].max()
    decimals = max(0, 3 - math.floor(math.log10(most))) if most > 0 else 3
    shown = table.loc[sizes.nlargest(rows).index.sort_values(), ["class", "factor", *columns]]
    for column in columns:
        is_p = column in ("p", "classical_p")
        shown[column] = [p_value(x) if is_p else fixed(x, decimals) for x in shown[column]]
    return shown


def parameter(value: object) -> str:
    """A value as params.yaml would have it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def number(value: float | bool | None) -> str:
    """A number with four significant digits, whole ones with all: 0.09946, 10 000."""
    if value is None or math.isnan(value):
        return "not defined"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return fixed(value, 0)
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """A number with this many decimals, or two significant digits where they would show 0."""
    if not math.isfinite(value):
        return "not determined" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    return (f"{value:.1e}" if value and float(text) == 0 else text).replace("-", "−")


def p_value(p: float) -> str:
    """A p-value; of those below LEAST only that, as no distribution here is known so far out."""
    if math.isnan(p):
        return "not determined"
    return (f"< {LEAST:.0e}" if p < LEAST else f"{p:.1e}" if p < 0.001 else f"{p:.3f}").replace("-", "−")
