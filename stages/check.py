"""Do the intervals cover for factors like these? The experiment repeated by simulation: `python -m stages.check`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from hdlogit.inference.check import Check, Coverage, check
from hdlogit.inference.result import ClassInference
from stages.figures.coefficients import factor_coverage
from stages.figures.style import saved
from stages.files.account import named
from stages.files.documents import nearest
from stages.files.errors import InputError, run
from stages.files.fit import Fit, read_fit
from stages.files.parameters import Evaluate
from stages.finished import inside, read_finished
from stages.tables.inferred import known_rates
from stages.terminal import say, table

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
        results, p = read_finished()
        say(*(f"{named(name, 'class')} has no inference: {c.reason}" for name, c in results.items() if c.reason))
        names = [name for name, c in results.items() if not c.reason]
        if arguments.only and arguments.only not in names:
            near = nearest(arguments.only, names)
            raise InputError(f"--class {arguments.only}: no such class has an inference; {near}")
        chosen = {name: results[name] for name in names if arguments.only in (None, name)}
        fit = read_fit()
        checks = run_checks(fit, chosen, p, arguments.repetitions, arguments.seed)
    say(*(sentence(name, found, fit.factors) for name, found in checks.items()))
    table(HEADINGS, (row for name, found in checks.items() for row in lines(name, found)))
    say(NOTES)
    if out:
        write(out, checks, fit.factors, p.interval_level)
        say(f"Table and figure: {arguments.out}")


def run_checks(
    fit: Fit, classes: dict[str, ClassInference], p: Evaluate, repetitions: int, seed: int
) -> dict[str, Check]:
    """Repeat the experiment of each class."""
    checks: dict[str, Check] = {}
    guess_rate, lapse_rate = known_rates(p)
    with tqdm(total=repetitions * len(classes), unit="repetition", disable=None, leave=False) as progress:
        for name, c in classes.items():
            before = repetitions * len(checks)
            try:
                checks[name] = check(
                    fit.train.factors,
                    c,
                    repetitions=repetitions,
                    level=p.interval_level,
                    ridge=fit.evidence.ridge,
                    shrinkage=fit.evidence.shrinkage[fit.classes.index(name)],
                    asymptotes=p.asymptotes,
                    guess_rate=guess_rate,
                    lapse_rate=lapse_rate,
                    seed=seed,
                    progress=lambda done, before=before: progress.update(before + done - progress.n),  # type: ignore[misc]  # mypy infers no type for `before`
                )
            except ValueError as error:
                raise InputError(f"{named(name, 'class')}: {error}") from None
    return checks


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
    chance = found.worst_by_chance
    return [cells(name, "classical", found.classical, chance), cells("", "corrected", found.corrected, chance)]


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
    tables = {
        name: pd.DataFrame(
            {
                "factor": factors,
                "classical": found.classical.by_factor,
                "corrected": found.corrected.by_factor,
                "chance": found.by_chance,
            }
        )
        for name, found in checks.items()
    }
    whole = pd.concat(tables, names=["class"]).reset_index(level=0).drop(columns="chance")  # which is not by factor
    whole.to_csv(folder / "coverage.csv", index=False, float_format="%.6g", lineterminator="\n")
    for k, (name, found) in enumerate(checks.items()):
        with saved(folder / ("coverage.png" if len(checks) == 1 else f"coverage_{k}.png"), dpi=150) as figure:
            factor_coverage(figure, tables[name], level, found.repetitions)


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
