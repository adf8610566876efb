"""Do the intervals cover for factors like these? The experiment repeated by simulation: `python -m stages.check`."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from hdlogit.inference.check import Check, check
from hdlogit.inference.result import ClassInference
from stages.files.account import measured, named
from stages.files.errors import InputError, run
from stages.files.parameters import Evaluate
from stages.files.reading import Fit
from stages.finished import for_each, read_finished
from stages.terminal import say, table

HEADINGS = "class", "intervals", "slope", "covered\n%", "bias\ncovered %", "worst\nfactor", "covered\n%"
NOTES = """\
Slope: of the estimated logits on those that the responses were drawn from (1 =
right size). Covered: how often intervals hold the truth: of all factors, of the
bias, and of the worst factor, which by chance is below for perfect ones, too."""


def main() -> None:
    """Repeat the experiment of each class, and print the results."""
    arguments = parse()
    if arguments.repetitions < 2:
        raise InputError(f"--repetitions {arguments.repetitions}: it must be at least 2")
    for_each(arguments.study, lambda _, folder: check_one(folder, arguments))


def check_one(folder: str, arguments: argparse.Namespace) -> None:
    lines = list[list[str]]()
    with contextlib.chdir(folder):
        fit, results, p = read_finished()
        for name, c in results.items():
            if c.reason:
                say(f"{named(name, 'class')} has no inference: {c.reason}")
                continue
            result = repeat(fit, name, c, p, arguments)
            reasons = result.reasons
            without = f"; {len(reasons)} more have no inference: {reasons[0]}" if reasons else ""
            say(f"{named(name, 'class')}: {result.repetitions} repetitions of your experiment{without}")
            lines += rows(name, result, fit.factors, 100 * p.interval_level)
    table(HEADINGS, lines, {0, 5})
    say(NOTES)


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


def rows(name: str, result: Check, factors: Sequence[str], level: float) -> Iterator[list[str]]:
    """Lines of the table, readable at 80 columns: both kinds of intervals, and perfect ones."""
    for kind, one in (("classical", result.classical), ("corrected", result.corrected)):
        yield [
            name if kind == "classical" else "",
            kind,
            measured(one.slope, one.slope_error) if math.isfinite(one.slope) else "infinite",
            measured(100 * one.all_factors, 100 * one.all_factors_error),
            f"{100 * one.bias:.1f}",
            named(factors[int(one.by_factor.argmin())], "factor"),
            f"{100 * one.by_factor.min():.1f}",
        ]
    yield ["", "perfect", "1", f"{level:g}", f"{level:g}", "", f"{100 * result.by_chance[0]:.1f}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.check", description=__doc__)
    parser.add_argument("study", nargs="?", default=".", help="folder of a study (default: this one)")
    parser.add_argument("--repetitions", type=int, default=200, help="how often to repeat the experiment (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn responses (default 0)")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
