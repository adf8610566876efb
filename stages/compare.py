"""Which of several models predicts one and the same trials best? `python -m stages.compare studies/a studies/b`.

Each study beside the first: leave-one-out cross-entropy, what is gained over the first (with the standard error of the
difference, trial by trial), the textbook's AIC and BIC, and of nested models a test of what the larger one adds.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from matplotlib.figure import Figure

from hdlogit.inference.comparison import Comparison, Model, compare
from stages.figures.style import saved
from stages.files.account import measured, named, some
from stages.files.errors import InputError, run
from stages.finished import inside, read_finished
from stages.terminal import say, table

HEADINGS = ("study", "leave-\none-out", "gain", "±", "para-\nmeters", "AIC", "BIC", "more", "p")
NOTES = """\
Leave-one-out: cross-entropy of the best prediction, nats per trial, each trial
predicted without it. Gain: over the first study, ± its standard error. More:
columns that the larger of two nested models has beyond the other's; p: of the
test that these tell nothing."""


def main() -> None:
    """Compare the studies, and draw the gains if --out asks for it."""
    arguments = parse()
    out = Path(arguments.out).absolute() if arguments.out else None
    if out and out.exists():
        raise InputError(f"{arguments.out} exists already; --out must name a new file")
    found = side_by_side(arguments.studies)
    if out:
        with saved(out, 150, [out.suffix[1:] or "png"]) as figure:
            figure.set_size_inches(6, 1 + 0.4 * len(arguments.studies) * len(found))
            draw(figure, found)


def side_by_side(studies: list[str]) -> dict[str, list[Comparison]]:
    """Compare class by class, and print a table for each."""
    models = {study: models_of(study) for study in studies}
    first = models[studies[0]]
    shared = [name for name in first if all(name in one for one in models.values())]
    if not shared:
        raise InputError(f"the studies share no response: {studies[0]} has {some([*first])}")
    found = {}
    for name in shared:
        try:
            found[name] = compare([one[name] for one in models.values()])
        except ValueError as reason:
            raise InputError(f"{named(name, 'class')}: {reason}") from None
    for name, rows in found.items():
        say(sentence(named(name, "class"), rows))
        table(HEADINGS, map(row, rows))
    say(NOTES)
    return found


def models_of(study: str) -> dict[str, Model]:
    """The classes of a study, by their names."""
    with inside(study):
        fit, results, _ = read_finished()
    x, y = fit.train.factors, fit.train.responses
    return {name: Model(study, c, x, y[:, fit.classes.index(name)]) for name, c in results.items()}


def sentence(name: str, rows: list[Comparison]) -> str:
    """Which model predicts best, and whether by more than its error."""
    first, best = rows[0], max(rows[1:], key=lambda one: one.gain)
    better, worse = (best, first) if best.gain > 0 else (first, best)
    clear = "" if abs(best.gain) > 2 * best.gain_error else ", which may be chance"
    gain = f"{measured(abs(best.gain), best.gain_error)} nats per trial"
    return f"{name}: {better.name} predicts best, by {gain} better than {worse.name}{clear}"


def row(one: Comparison) -> tuple[str, ...]:
    numbers = (f"{one.leave_one_out:.4f}", f"{one.gain:.4f}", f"{one.gain_error:.4f}", f"{one.n_parameters}")
    likelihood = ("" if math.isnan(value) else f"{value:.1f}" for value in (one.aic, one.bic))
    return Path(one.name).name, *numbers, *likelihood, str(one.df or ""), f"{one.p_value:.2g}" if one.df else ""


def draw(figure: Figure, found: dict[str, list[Comparison]]) -> None:
    """What each study gains over the first, with two standard errors."""
    axes = figure.subplots()
    rows = [(name, one) for name, some_rows in found.items() for one in some_rows]
    gains, errors = [one.gain for _, one in rows], [2 * one.gain_error for _, one in rows]
    axes.errorbar(gains, range(len(rows)), xerr=errors, fmt="o", capsize=3)
    axes.axvline(0, color="0.6", lw=0.8)
    labels = [one.name if len(found) == 1 else f"{one.name}, {name}" for name, one in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"gain over {rows[0][1].name} (nats per trial, leave-one-out; bars: 2 standard errors)")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__)
    parser.add_argument("studies", nargs="+", help="folders of studies of the same trials; others are beside the first")
    parser.add_argument("--out", help="a new file for the figure, as in gains.png")
    arguments = parser.parse_args()
    if len(arguments.studies) < 2:
        raise InputError(f"{arguments.studies[0]} alone: it must be two studies or more, as in: studies/a studies/b")
    return arguments


if __name__ == "__main__":
    run(main)
