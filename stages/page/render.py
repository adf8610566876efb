"""All results of a run, as HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.files.tables import Table
from stages.page import tables
from stages.page.meanings import FIGURES
from stages.page.words import sentences

STAGES = ("simulate", "prepare", "train", "evaluate", "plot")  # that have parameters
WIDE = 6.0  # inches; a wider figure takes both columns

MEDIA = {"png": "image/png", "svg": "image/svg+xml"}  # formats that browsers show, the better one first


@dataclass(frozen=True)
class Run:
    """What a page is made of."""

    parameters: Mapping[str, Mapping[str, Any]]  # by section
    metrics: dict[str, Any]
    coefficients: Table
    trajectory: Table
    drawn: str  # the class whose weights the figures show
    answer: Sequence[str]  # lines
    notices: Sequence[str]  # lines: what was left out, and why
    description: Mapping[str, Any] | None  # of own trials
    figures: Mapping[str, tuple[Path, tuple[float, float]]]  # by name: the file, and its size in inches
    hashed: Sequence[Path]


def render(run: Run) -> str:
    """The page: the same bytes for the same run."""
    here = Path(__file__).parent
    templates = Environment(
        loader=FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    found = tables.coefficients(run.coefficients, run.parameters["evaluate"]["interval_level"])
    classes = [*dict.fromkeys(run.coefficients["class"])]
    return templates.get_template("page.html").render(
        title=title(run),
        facts=facts(run, len(classes)),
        sentences=sentences(run.answer, run.metrics, run.trajectory),
        sections=[*tables.metric_sections(run.metrics)],
        coefficients=found,
        inferred="inference" in run.metrics,
        unit=unit(run),
        classes=classes,
        drawn=run.drawn,
        figures=[embedded(name, *run.figures[name]) for name in FIGURES if name in run.figures],
        notices=run.notices,
        description=run.description,
        trial_counts=tables.trial_counts(run.description) if run.description else [],
        missing=tables.missing(run.description) if run.description else [],
        parameters={key: tables.flat(run.parameters[key]) for key in STAGES if key in run.parameters},
        hashes=hashes(run),
    )


def title(run: Run) -> str:
    """What was fitted to which trials."""
    if run.description is None:
        return "simulated trials"
    return f"{', '.join(run.description['classes'][:3])} in {run.description['file']['name']}"


def unit(run: Run) -> str:
    """The unit of a factor, to which weights refer."""
    standardised = run.description is not None and run.parameters["prepare"]["standardise"]
    return "standard deviation of a factor" if standardised else "unit of a factor"


def facts(run: Run, n_classes: int) -> list[tuple[str, str]]:
    """What kind of run this is, in numbers."""
    train = run.parameters["train"]
    if run.description:
        n_train, n_test = (run.description["trials"][split] for split in ("train", "test"))
    else:
        n_train, n_test = (run.parameters["simulate"][key] for key in ("n_trials", "n_test_trials"))
    n_factors = run.coefficients["factor"].index("bias")
    fit = f"Adam, {train['num_epochs']} epochs" if train["solver"] == "adam" else "exact"
    counts = {"training trials": n_train, "held-out trials": n_test, "factors": n_factors, "classes": n_classes}
    return [*((what, tables.number(count)) for what, count in counts.items()), ("fit", fit)]


def embedded(name: str, path: Path, size: tuple[float, float]) -> dict[str, Any]:
    """A figure, embedded in the page; if browsers cannot show its format, its name."""
    what, how = FIGURES[name]
    width, height = (round(96 * inches) for inches in size)
    media = MEDIA.get(path.suffix.removeprefix("."))
    source = f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}" if media else ""
    shape = {"width": width, "height": height, "wide": size[0] > WIDE}
    return {"file": path.name, "source": source, "what": what, "how": how, **shape}


def hashes(run: Run) -> list[tuple[str, str]]:
    """SHA-256 of files, by name."""
    found = []
    if run.description:
        found.append((run.description["file"]["name"], run.description["file"]["sha256"]))
    for path in run.hashed:
        with path.open("rb") as file:
            found.append((path.as_posix(), hashlib.file_digest(file, "sha256").hexdigest()))
    return found
