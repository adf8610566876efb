"""Do the intervals cover for factors like these? The experiment repeated by simulation: `python -m stages.check`."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from hdlogit.inference.check import Check, Coverage, check
from hdlogit.inference.result import ClassInference
from stages.files.account import named
from stages.files.documents import nearest
from stages.files.errors import InputError, run
from stages.files.parameters import Evaluate
from stages.files.reading import Fit
from stages.finished import for_each, inside, read_finished
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
    for_each(arguments.study, lambda name, folder: check_one(folder, out / name if out else None, arguments))


def check_one(folder: str, out: Path | None, arguments: argparse.Namespace) -> None:
    with inside(folder):
        fit, results, p = read_finished()
        for name, c in results.items():
            if c.reason:
                say(f"{named(name, 'class')} has no inference: {c.reason}")
        names = [name for name, c in results.items() if not c.reason]
        if arguments.only and arguments.only not in names:
            near = nearest(arguments.only, names)
            raise InputError(f"--class {arguments.only}: no such class has an inference; {near}")
        chosen = [arguments.only] if arguments.only else names
        checks = {name: repeat(fit, name, results[name], p, arguments) for name in chosen}
    for name, found in checks.items():
        say(sentence(named(name, "class"), found, fit.factors))
    rows = [
        row(name if kind == "classical" else "", kind, getattr(found, kind), found.by_chance[0])
        for name, found in checks.items()
        for kind in ("classical", "corrected")
    ]
    table(HEADINGS, rows)
    say(NOTES)
    if out:
        write(out, checks, fit.factors)
        say(f"Table of all factors: {os.path.relpath(out)}")


def repeat(fit: Fit, name: str, c: ClassInference, p: Evaluate, arguments: argparse.Namespace) -> Check:
    """The experiment of one class, over and over."""
    guess_rate, lapse_rate = p.known_rates
    with tqdm(total=arguments.repetitions, desc=name, unit="repetition", disable=None, leave=False) as progress:
        try:
            return check(
                fit.train.factors,
                c,
                repetitions=arguments.repetitions,
                level=p.interval_level,
                ridge=fit.evidence["ridge"],
                shrinkage=fit.shrinkage[name],
                asymptotes=p.asymptotes,
                guess_rate=guess_rate,
                lapse_rate=lapse_rate,
                seed=arguments.seed,
                progress=lambda done: progress.update(done - progress.n),
            )
        except ValueError as error:
            raise InputError(f"{named(name, 'class')}: {error}") from None


def sentence(name: str, found: Check, factors: Sequence[str]) -> str:
    """The result in words."""

    def covered(one: Coverage) -> tuple[str, str]:
        worst = int(one.by_factor.argmin())
        return f"{100 * one.all_factors:.1f} %", f"({factors[worst]}) {100 * one.by_factor[worst]:.1f} %"

    (corrected, worst), (classical, worst_classical) = covered(found.corrected), covered(found.classical)
    chance = f"chance alone: {100 * found.by_chance[0]:.1f} %"
    without = f"; {len(found.reasons)} more have no inference: {found.reasons[0]}" if found.reasons else ""
    return (
        f"{name}: in {found.repetitions} repetitions of your experiment, {corrected} of the corrected intervals "
        f"covered; the worst factor's {worst} ({chance}). Classical ones: {classical}; the worst factor's "
        f"{worst_classical}{without}"
    )


def row(name: str, kind: str, one: Coverage, chance: float) -> list[str]:
    """A line of the table, readable at 80 columns."""
    return [
        name,
        kind,
        f"{one.slope:.3f} ± {one.slope_error:.3f}" if math.isfinite(one.slope) else "infinite",
        f"{100 * one.all_factors:.1f} ± {100 * one.all_factors_error:.1f}",
        f"{100 * one.by_factor.min():.1f} ({100 * chance:.1f})",
        f"{100 * one.bias:.1f}",
    ]


def write(folder: Path, checks: dict[str, Check], factors: Sequence[str]) -> None:
    """A table of the coverage of all factors."""
    folder.mkdir(parents=True)
    tables = {
        name: pd.DataFrame({"factor": factors, "classical": c.classical.by_factor, "corrected": c.corrected.by_factor})
        for name, c in checks.items()
    }
    whole = pd.concat(tables, names=["class"]).reset_index(level=0)
    whole.to_csv(folder / "coverage.csv", index=False, float_format="%.6g", lineterminator="\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.check", description=__doc__)
    parser.add_argument("study", nargs="?", default=".", help="folder of a study (default: this one)")
    parser.add_argument("--class", dest="only", help="name or number of one class (default: all)")
    parser.add_argument("--repetitions", type=int, default=200, help="how often to repeat the experiment (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn responses (default 0)")
    parser.add_argument("--out", help="a new folder for a table of the coverage of each factor")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
