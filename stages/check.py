"""Do the intervals cover for factors like these? The experiment repeated by simulation: `python -m stages.check`."""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from hdlogit.inference.check import Check, Coverage, check
from stages.figures.coefficients import factor_coverage
from stages.figures.style import saved
from stages.files.account import named
from stages.files.errors import InputError, run
from stages.files.fit import Fit
from stages.files.parameters import Evaluate
from stages.finished import inside, place_of, read_exact_fit
from stages.tables.inferred import infer_classes, known_rates
from stages.terminal import CONSOLE, say, table

HEADINGS = ("class", "intervals", "slope", "covered\n%", "worst (by\nchance) %", "bias\n%")
NOTES = """\
Slope: of the estimated logits on those that the responses were drawn from (1 =
right size). Covered: how often intervals hold the truth, over all factors, and
for the worst one; by chance: what the worst would be with perfect intervals."""


def main() -> None:
    """Repeat the experiment of each class, print the results, and write them if --out asks for it."""
    arguments = parse()
    if arguments.repetitions < 2:
        raise InputError(f"--repetitions {arguments.repetitions}: it must be at least 2")
    out = Path(arguments.out).absolute() if arguments.out else None
    if out and out.exists():
        raise InputError(f"{arguments.out} exists already; --out must name a new folder")
    with inside(arguments.study):
        fit, p = read_exact_fit()
        places = [place_of(fit, arguments.only)] if arguments.only else [*range(len(fit.classes))]
        part = fit.part(places)
        checks = run_checks(part, p, arguments.repetitions, arguments.seed)
    say(*(sentence(name, found, part.factors) for name, found in checks.items()))
    table(HEADINGS, (row for name, found in checks.items() for row in lines(name, found)))
    say(NOTES)
    if out:
        write(out, checks, part.factors, p.interval_level)


def run_checks(fit: Fit, p: Evaluate, repetitions: int, seed: int) -> dict[str, Check]:
    """Check each class that has an inference; print why the others have none. Raises InputError if none has."""
    with CONSOLE.status("inference of these data"):
        results = infer_classes(fit, p)
    pairs = zip(fit.classes, results, strict=True)
    reasons = [f"{named(name, 'class')}: {result.reason}" for name, result in pairs if result.reason]
    if len(reasons) == len(results):
        raise InputError(f"there is no inference to check: {reasons[0]}")
    say(*reasons)
    guess_rate, lapse_rate = known_rates(p)
    found: dict[str, Check] = {}
    total = repetitions * (len(results) - len(reasons))
    with tqdm(total=total, unit="repetition", disable=None, leave=False) as progress:
        for name, result, shrinkage in zip(fit.classes, results, fit.evidence.shrinkage, strict=True):
            if result.reason:
                continue
            before = progress.n
            try:
                found[name] = check(
                    fit.train.factors,
                    result,
                    repetitions=repetitions,
                    level=p.interval_level,
                    ridge=fit.evidence.ridge,
                    shrinkage=shrinkage,
                    asymptotes=p.asymptotes,
                    guess_rate=guess_rate,
                    lapse_rate=lapse_rate,
                    seed=seed,
                    progress=lambda done, before=before: progress.update(before + done - progress.n),  # type: ignore[misc]  # mypy infers no type for `before`
                )
            except ValueError as error:
                raise InputError(f"{named(name, 'class')}: {error}") from None
    return found


def sentence(name: str, found: Check, factors: Any) -> str:
    """The result in words."""
    corrected, classical = found.corrected, found.classical
    without = f"; {len(found.reasons)} more have no inference: {found.reasons[0]}" if found.reasons else ""
    return (
        f"{named(name, 'class')}: in {found.repetitions} repetitions of your experiment, "
        f"{percent(corrected.all_factors)} of the corrected intervals covered; the worst factor's "
        f"({factors[corrected.worst_factor]}) {percent(corrected.worst)} (chance alone: "
        f"{percent(found.worst_by_chance)}). Classical ones: {percent(classical.all_factors)}; the worst factor's "
        f"({factors[classical.worst_factor]}) {percent(classical.worst)}{without}"
    )


def lines(name: str, found: Check) -> list[list[str]]:
    """Two lines of the table, readable at 80 columns."""
    return [
        cells(name, "classical", found.classical, found.worst_by_chance),
        cells("", "corrected", found.corrected, found.worst_by_chance),
    ]


def cells(name: str, kind: str, one: Coverage, chance: float) -> list[str]:
    return [
        name,
        kind,
        f"{one.slope:.3f} ± {one.slope_error:.3f}" if math.isfinite(one.slope) else "infinite",
        f"{100 * one.all_factors:.1f} ± {100 * one.all_factors_error:.1f}",
        f"{100 * one.worst:.1f} ({100 * chance:.1f})",
        f"{100 * one.bias:.1f}",
    ]


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def write(folder: Path, checks: dict[str, Check], factors: Any, level: float) -> None:
    """A table of all factors, and a figure for each class."""
    folder.mkdir(parents=True)
    with (folder / "coverage.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "factor", "classical", "corrected"])
        for name, found in checks.items():
            pairs = zip(factors, found.classical.by_factor, found.corrected.by_factor, strict=True)
            writer.writerows([name, factor, f"{a:.6g}", f"{b:.6g}"] for factor, a, b in pairs)
    for k, found in enumerate(checks.values()):
        path = folder / ("coverage.png" if len(checks) == 1 else f"coverage_{k}.png")
        classical, corrected = found.classical.by_factor, found.corrected.by_factor
        columns = {"factor": factors, "classical": classical, "corrected": corrected, "chance": found.by_chance}
        with saved(path, dpi=150) as figure:
            factor_coverage(figure, pd.DataFrame(columns), level, found.repetitions)
    with contextlib.suppress(ValueError):  # it is elsewhere
        folder = folder.relative_to(Path.cwd())
    say(f"Table and figure: {folder}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.check", description=__doc__)
    parser.add_argument("study", nargs="?", default=".", help="folder of a study (default: this one)")
    parser.add_argument("--class", dest="only", help="name or number of one class (default: all)")
    parser.add_argument("--repetitions", type=int, default=200, help="how often to repeat the experiment (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn responses (default 0)")
    parser.add_argument("--out", help="a new folder for the coverage of each factor: table and figure")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
