"""Smooth kernels of a study: `python -m stages.smooth studies/experiment 'frame*' 'lag(choice, *)'`.

Each pattern takes factors by their names; * stands for anything. Factors whose names differ in one number only are
a family, in the order of that number, and neighbours are taken to have similar weights.
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
from stages.files.parameters import Plot, read_study
from stages.finished import for_each, inside
from stages.tables.inferred import read_and_infer
from stages.terminal import say

FEWEST = 3  # positions of a family
COLUMNS = ["factor", "position", "smooth", "smooth_low", "smooth_high", "corrected"]


def main() -> None:
    """Fit the kernels of each observer, say what smoothing did, and write them if --out asks for it."""
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
        p = parameters.evaluate
        fit, inferred = read_and_infer(p)
    chosen = choose(fit.factors, arguments.patterns, parameters.plot.axis)
    groups = {str(family): [*part.index] for family, part in chosen.groupby("family", sort=False)}
    tables, lines, reasons = dict[str, pd.DataFrame](), list[str](), list[str]()
    for k, name in enumerate(tqdm(fit.classes, unit="class", disable=None, leave=False)):
        try:
            found = fit_smooth(fit.train.factors, fit.train.responses[:, k], [*groups.values()], fit.factors)
        except ValueError as reason:
            reasons.append(f"{named(name, 'class')} has no smooth fit: {reason}")
            continue
        lines += sentences(named(name, "class"), [*groups], found)
        low, high = found.interval(p.interval_level)[:-1].T
        kernel = {"smooth": found.corrected[:-1], "smooth_low": low, "smooth_high": high}
        known = name in inferred and not inferred[name].reason
        corrected = inferred[name].corrected[:-1] if known else np.nan
        of_factors = pd.DataFrame({"factor": fit.factors, **kernel, "corrected": corrected})
        tables[name] = chosen.join(of_factors).assign(**{"class": name})
    if not tables:
        raise InputError(reasons[0])
    say(*lines, *reasons)
    if p.asymptotes == "estimate" or {p.guess_rate, p.lapse_rate} - {0, "auto"}:
        say("the smooth fit knows no guesses and lapses, which this study has: they make its weights too small")
    if arguments.table:
        say(*(one[COLUMNS].to_string(index=False, float_format="{:.4g}".format) for one in tables.values()))
    if out:
        write(out, tables, parameters.plot, p.interval_level)
        say(f"Table and figure: {os.path.relpath(out)}")


def choose(names: Sequence[str], patterns: Sequence[str], axis: Sequence[object] | None) -> pd.DataFrame:
    """Family, position and axis of the factors that the patterns take, by index; families in order of position."""
    taken = set[int]()
    for pattern in patterns:
        literal = pattern.replace("[", "[[]").replace("…", "*")  # names have brackets, families a …
        matching = {j for j, name in enumerate(names) if fnmatchcase(name, literal)}
        if not matching:
            raise InputError(f"{pattern}: no factor has such a name; there are {some([*names])}")
        taken |= matching
    places = sorted(taken)
    chosen = families([names[j] for j in places], axis, FEWEST).set_index(pd.Index(places))
    for j in chosen.index[chosen.family.isna()]:
        raise InputError(f"{names[j]}: a kernel needs {FEWEST} factors whose names differ in one number only")
    parts = [part.sort_values("position", kind="stable") for _, part in chosen.groupby("family", sort=False)]
    for part in parts:
        steps = np.diff(part.position)
        for k in np.flatnonzero(~np.isclose(steps, np.min(steps[steps > 0], initial=np.inf))):
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


def sentences(name: str, families: Sequence[str], smooth: Smooth) -> list[str]:
    """What smoothing did to each family, and by how much the size of the fitted weights was wrong."""
    alpha = f"α = {smooth.alpha:.2f} (standard error {100 * smooth.alpha_error:.0f} %)"
    of_all = f"weights are divided by {alpha}: many factors per trial make them too large, smoothing too small"
    of_each = [f"{name}, {family}: {smooth.sentence(k)}" for k, family in enumerate(families)]
    return [*of_each, f"{name}: {of_all}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.smooth", description=__doc__)
    parser.add_argument("study", help="folder of a study that has been run")
    parser.add_argument("patterns", nargs="+", help="names of factors, as in 'frame*', in quotes")
    parser.add_argument("--table", action="store_true", help="print the kernels, too")
    parser.add_argument("--out", help="a new folder for the kernels: table and figure")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
