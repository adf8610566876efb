"""How many trials do I need? A table, before any data exist: `python -m stages.plan 256 --signal 16`.

For a study that has been run, how many more: `python -m stages.plan --study studies/rat`.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, base_rate_for, inflation_for, plan, signal_for
from stages.files.account import counted, named
from stages.files.errors import InputError, run
from stages.finished import for_each, read_finished
from stages.tables.planning import Planned, goal_table, neediest
from stages.terminal import say, table

COLUMNS = {
    "trials": "{0.n_trials}",
    "weight\nslope": "{0.alpha:.3f}",
    "error": "{0.weight_error:.3f}",
    "corrected\nerror": "{0.corrected_weight_error:.3f}",
    "95 %\ncover": "{0.classical_coverage:.3f}",
    "held-out\nloss": "{0.held_out:.4f}",
    "best\nloss": "{0.best:.4f}",
    "Bayes\nloss": "{0.bayes:.4f}",
}
GOALS = "trials", "in all", "more"
FACTORS = 0.9, 1.1, 1.5, 2, 3, 5, 10, 30, 100  # of the fewest trials, if none are named
TIMES = 1, 2, 3, 5, 10, 30  # of the trials that a study has
NOTES = """\
Weight slope: of the weights of a maximum-likelihood fit on the true ones; 1.2
is 20 % too large, 0.8 too small, as guesses and lapses make them.
Errors of weights are root-mean-square, in units of the root-mean-square true
weight; corrected ones are somewhat larger, as the scale must be estimated,
and clearly so where guess or lapse rates must be.
95 % cover: the fraction of true weights inside their classical 95 % intervals,
somewhat more where few weights make up the signal.
Assumed: normal factors, uncorrelated unless --correlation or --study says
otherwise, and weights that have nothing to do with their correlations. Rare
conditions need more trials than this, also for a fit to exist.
Losses are cross-entropies in nats per response: of the classical fit on new
trials, of the best prediction from it, and of the true observer, the least
possible."""
SIGNAL_HELP = """\
The signal is the standard deviation of the true logits. If you have no data to estimate it from, guess in which
fraction of trials the observer's response could be predicted at best, and give --accuracy instead."""


def main() -> None:
    """Read the observer from the command line, or from a study, and print a table over n_trials."""
    arguments = parse()
    try:
        if arguments.study is None:
            tabulate(observer_of(arguments), arguments.n_trials)
        else:
            for_each(arguments.study, lambda _, folder: tabulate(*of_study(folder, arguments.n_trials)))
    except OutsideTheory as error:
        raise InputError(str(error)) from None
    say(NOTES)


def tabulate(observer: Planned, sizes: Sequence[int] | None) -> None:
    """What so many trials would give, by default from where an estimate exists."""
    first = observer.smallest_n_trials()
    lines = plan(**observer._asdict(), n_trials=sizes or sorted({round(first * factor) for factor in FACTORS}))
    say(f"Signal {observer.signal:.3g}: a maximum-likelihood estimate exists from about {first} trials on.")
    table([*COLUMNS], map(cells, lines), text=())


def observer_of(arguments: argparse.Namespace) -> Planned:
    rates = arguments.guess_rate or 0.0, arguments.lapse_rate or 0.0
    signal = arguments.signal if arguments.accuracy is None else signal_for(arguments.accuracy, *rates)
    even = base_rate_for(0, signal, *rates)  # also refuses impossible observers
    base_rate = even if arguments.base_rate is None else arguments.base_rate
    inflation = inflation_for(arguments.correlation or 0.0, arguments.n_factors)
    return Planned(arguments.n_factors, signal, base_rate, *rates, inflation)


def of_study(folder: str, sizes: Sequence[int] | None) -> tuple[Planned, Sequence[int]]:
    """The class that needs the most trials, and how many to tabulate, by default what it has, and more.

    Prints how many more each goal needs.
    """
    with contextlib.chdir(folder):
        _, results, _ = read_finished()
    classes = {name: c for name, c in results.items() if not (c.reason or c.separated)}
    if not classes:
        raise InputError(f"{folder}: factors separate its trials, so nothing tells how many are needed")
    name, observer = neediest(classes)
    n_trials = round(observer.n_factors / classes[name].theory.kappa)
    size = f"{counted(n_trials, 'trial')} of {counted(observer.n_factors, 'factor')}"
    if not observer.signal > 0:
        raise InputError(f"{size}: no factor beats chance, so nothing tells how many are needed")
    say(f"{size}. Needed for {named(name, 'class')}, with its signal of {observer.signal:.3g}:")
    goals = goal_table(classes, n_trials, 0)[["goal", "n_trials", "more"]].itertuples(index=False)
    rows = [(goal, f"{needed:.0f}", f"{more:.0f}") for goal, needed, more in goals]
    table(GOALS, [[cell.replace("nan", "no number is enough") for cell in row] for row in rows])
    return observer, sizes or [n_trials * times for times in TIMES]


def cells(line: Plan) -> list[str]:
    """A row of the table, readable at 80 columns."""
    if not line.exists:
        return [str(line.n_trials), "no fit", *["-"] * (len(COLUMNS) - 3), f"{line.bayes:.4f}"]
    return [form.format(line).replace("inf", "-") for form in COLUMNS.values()]  # no signal, no relative errors


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.plan", description=__doc__, epilog=SIGNAL_HELP)
    parser.add_argument("n_factors", type=int, nargs="?", help="number of factors")
    strength = parser.add_mutually_exclusive_group(required=True)
    strength.add_argument("--signal", type=float, help="sd of the true logits, e.g. 16 in the notebook")
    strength.add_argument("--accuracy", type=float, help="fraction of responses that could be predicted at best")
    strength.add_argument("--study", help="folder of a study that has been run; it gives everything else")
    parser.add_argument("--base-rate", type=float, help="probability of a yes (default: that of a mean logit of 0)")
    parser.add_argument("--guess-rate", type=float, help="0.5 where the response is correct in 2AFC")
    parser.add_argument("--lapse-rate", type=float, help="of the observer (default of both rates: 0)")
    parser.add_argument("--correlation", type=float, help="of each pair of factors (default 0)")
    parser.add_argument("--n-trials", type=int, nargs="+", help="numbers of trials (default: from where a fit exists)")
    arguments = parser.parse_args()
    keys = "n_factors", "base_rate", "guess_rate", "lapse_rate", "correlation"
    named = [key for key in keys if getattr(arguments, key) is not None]
    if named if arguments.study is not None else "n_factors" not in named:
        parser.error("n_factors is needed; but --study gives it, and rates and correlations, too")
    return arguments


if __name__ == "__main__":
    run(main)
