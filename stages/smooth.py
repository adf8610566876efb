"""Smooth kernels of a study: `python -m stages.smooth studies/experiment 'frame*' 'lag(choice, *)'`.

Each pattern takes factors by their names, in which * stands for anything. Factors whose names differ in one number only
are a family, in the order of that number, of which neighbours are taken to have similar weights.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from hdlogit.smooth import Smooth, fit_smooth
from stages.current import check_current
from stages.figures.kernel import families, smooth_kernel
from stages.figures.style import saved
from stages.files.account import named, some
from stages.files.errors import InputError, run
from stages.files.fit import read_fit
from stages.files.parameters import Evaluate, Plot, read_study
from stages.finished import for_each, inside
from stages.tables.stored import read_inference
from stages.terminal import say, table

FEWEST = 3  # positions of a family
COLUMNS = ["factor", "position", "smooth", "smooth_low", "smooth_high", "corrected"]
HEADINGS = ("factor", "position", "smooth", "from", "to", "corrected,\nnot smoothed")
NO_RATES = "the smooth fit knows no guesses and lapses, which this study has: its weights are too small"


def main() -> None:
    """Fit the kernels of each observer and class, say what smoothing did, and write them if --out asks for it."""
    arguments = parse()
    out = Path(arguments.out).absolute() if arguments.out else None
    if out and out.exists():
        raise InputError(f"{arguments.out} exists already; --out must name a new folder")

    def smooth(observer: str, folder: str) -> None:
        smooth_one(folder, arguments, out / Path(folder).name if out and observer else out)

    for_each(arguments.study, smooth)


def smooth_one(folder: str, arguments: argparse.Namespace, out: Path | None) -> None:
    with inside(folder):
        parameters = read_study()
        check_current()
        fit, level = read_fit(), parameters.evaluate.interval_level
        chosen = choose(fit.factors, arguments.patterns, parameters.plot.axis)
        inferred = read_inference() if parameters.train.solver == "exact" else {}
    tables, reasons = dict[str, pd.DataFrame](), list[str]()
    groups = {str(family): [*part.index] for family, part in chosen.groupby("family", sort=False)}
    for k, name in enumerate(tqdm(fit.classes, unit="class", disable=None, leave=False)):
        try:
            found = fit_smooth(fit.train.factors, fit.train.responses[:, k], [*groups.values()], fit.factors)
        except ValueError as reason:
            reasons.append(f"{named(name, 'class')} has no smooth fit: {reason}")
            continue
        tqdm.write("\n".join(sentences(named(name, "class"), [*groups], found)))
        (low, high), weights = found.interval(level)[:-1].T, np.full(len(fit.factors), np.nan)
        if name in inferred and not inferred[name].reason:
            weights = inferred[name].corrected[:-1]
        of_factors = pd.DataFrame({"factor": fit.factors, "smooth": found.corrected[:-1]})
        of_factors = of_factors.assign(smooth_low=low, smooth_high=high, corrected=weights)
        tables[name] = chosen.join(of_factors).assign(**{"class": name})
    if not tables:
        raise InputError(reasons[0])
    say(*reasons, *([NO_RATES] if may_guess(parameters.evaluate) else []))
    if arguments.table:
        for one in tables.values():
            table(HEADINGS, [(row[0], *(f"{x:.4g}" for x in row[1:])) for row in one[COLUMNS].itertuples(index=False)])
    if out:
        write(out, tables, parameters.plot, level)
        say(f"Table and figure: {os.path.relpath(out)}")


def choose(names: Sequence[str], patterns: Sequence[str], axis: Sequence[object] | None) -> pd.DataFrame:
    """The factors that the patterns take: family, position, axis, by index; family by family in order of position."""
    taken = set[int]()
    for pattern in patterns:
        literal = pattern.replace("[", "[[]")  # brackets occur in names: signal[absent]:frame01
        matching = {j for j, name in enumerate(names) if fnmatchcase(name, literal)}
        if not matching:
            raise InputError(f"{pattern}: no factor has such a name; there are {some([*names])}")
        taken |= matching
    places = sorted(taken)
    chosen = families([names[j] for j in places], axis, FEWEST).set_index(pd.Index(places))
    for j in chosen.index[chosen.family.isna()]:
        raise InputError(f"{names[j]}: a kernel needs {FEWEST} factors or more whose names differ in one number only")
    parts = [part.sort_values("position", kind="stable") for _, part in chosen.groupby("family", sort=False)]
    for part in parts:
        steps = np.diff(part.position)
        uneven = np.flatnonzero(~np.isclose(steps, np.median(steps)) | (steps <= 0))
        for k in uneven:
            left, right = names[part.index[k]], names[part.index[k + 1]]
            raise InputError(f"a kernel's factors must be evenly spaced, but {left} and {right} are not")
    return pd.concat(parts)


def write(folder: Path, tables: dict[str, pd.DataFrame], p: Plot, level: float) -> None:
    """A table of all classes, and a figure of each."""
    folder.mkdir(parents=True)
    whole = pd.concat(tables.values())[["class", "family", *COLUMNS]]
    whole.to_csv(folder / "kernel.csv", index=False, float_format="%.6g", lineterminator="\n")
    for k, one in enumerate(tables.values()):
        path = folder / ("kernel.png" if len(tables) == 1 else f"kernel_{k}.png")
        with saved(path, p.dpi, p.formats, p.width) as figure:
            smooth_kernel(figure, one, level)


def may_guess(p: Evaluate) -> bool:
    """Whether the study has guesses or lapses, known or estimated."""
    return p.asymptotes == "estimate" or any(rate not in (0, "auto") for rate in (p.guess_rate, p.lapse_rate))


def sentences(name: str, families: Sequence[str], smooth: Smooth) -> list[str]:
    """What smoothing did to each family, and how much too large the fitted weights were."""
    of_each = [f"{name}, {family}: {smooth.sentence(k)}" for k, family in enumerate(families)]
    alpha = f"α = {smooth.alpha:.2f} (standard error {100 * smooth.alpha_error:.0f} %)"
    return [
        *of_each,
        f"{name}: weights are divided by {alpha}, as many factors make them too large, smoothing too small",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.smooth", description=__doc__)
    parser.add_argument("study", help="folder of a study that has been run")
    parser.add_argument("patterns", nargs="+", help="names of factors, as in 'frame*', in quotes")
    parser.add_argument("--table", action="store_true", help="print the kernels, too")
    parser.add_argument("--out", help="a new folder for the kernels: table and figure")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
