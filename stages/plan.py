"""How many trials do I need? A table, before any data exist: `python -m stages.plan 256 --signal 16`.

For a study that has been run, how many more: `python -m stages.plan --study studies/rat`.
"""

from __future__ import annotations

import argparse

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, base_rate_for, inflation_for, plan, signal_for
from stages.files.account import counted, named
from stages.files.errors import InputError, run
from stages.finished import for_each, inside, read_finished
from stages.tables.planning import GOALS, Planned, neediest
from stages.terminal import numbers, say, table

COLUMNS = {
    "trials": "{0.n_trials}",
    "weight\nslope": "{0.alpha:.3f}",
    "error": "{0.weight_error:.3f}",
    "corrected\nerror": "{0.debiased_weight_error:.3f}",
    "95 %\ncover": "{0.classical_coverage:.3f}",
    "held-out\nloss": "{0.held_out:.4f}",
    "best\nloss": "{0.best:.4f}",
    "Bayes\nloss": "{0.bayes:.4f}",
}
FACTORS = 0.9, 1.1, 1.5, 2, 3, 5, 10, 30, 100  # of the fewest trials, if none are named
NOTABLE = 1.05  # inflation of the variance of a weight that is worth a line
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
    if arguments.study is None:
        tabulate(arguments, None)
    else:
        for_each(arguments.study, lambda _, folder: tabulate(arguments, folder))
    say(NOTES)


def tabulate(arguments: argparse.Namespace, study: str | None) -> None:
    try:
        observer = observer_of(arguments) if study is None else of_study(study)
        first = observer.smallest_n_trials()
        sizes = arguments.n_trials or sorted({round(first * factor) for factor in FACTORS})
        lines = plan(**observer._asdict(), n_trials=sizes)
    except OutsideTheory as error:
        raise InputError(str(error)) from None
    say(f"Signal {observer.signal:.3g}: a maximum-likelihood estimate exists from about {first} trials on.")
    if observer.inflation > NOTABLE:
        larger = observer.inflation**0.5
        say(f"Correlations of the factors make errors of weights {larger:.3g} times as large.")
    table([*COLUMNS], map(cells, lines), text=())


def observer_of(arguments: argparse.Namespace) -> Planned:
    rates = arguments.guess_rate or 0.0, arguments.lapse_rate or 0.0
    signal = arguments.signal if arguments.accuracy is None else signal_for(arguments.accuracy, *rates)
    even = base_rate_for(0, signal, *rates)  # also refuses impossible observers
    base_rate = even if arguments.base_rate is None else arguments.base_rate
    inflation = inflation_for(arguments.correlation or 0.0, arguments.n_factors)
    return Planned(arguments.n_factors, signal, base_rate, *rates, inflation)


def of_study(folder: str) -> Planned:
    """The class that needs the most trials; says how many more."""
    with inside(folder):
        _, results, _ = read_finished()
    classes = {name: c for name, c in results.items() if not c.reason}
    name, observer = neediest(classes)
    n_trials = round(observer.n_factors / classes[name].theory.kappa)
    size = f"{counted(n_trials, 'trial')} of {counted(observer.n_factors, 'factor')}"
    which = f"{named(name, 'class')} needs the most, for its" if len(classes) > 1 else "Needed for the"
    say(f"{size}. {which} signal of {observer.signal:.3g}:")
    if observer.signal > 0:
        numbers(needed(n_trials, goal, observer) for goal in GOALS)
        say(outlook(*plan(**observer._asdict(), n_trials=[n_trials, 2 * n_trials])))
    else:
        nothing = "nothing tells how many trials it needs"
        say(f"No factor predicts its responses better than chance would: {nothing}.")
    return observer


def needed(n_trials: int, goal: str, observer: Planned) -> tuple[str, str]:
    """How many trials a goal needs, and how many more that is."""
    guesses, n = observer.guess_rate > 0 or observer.lapse_rate > 0, observer.trials_for(goal)
    if n is None:
        why = ", as the observer guesses or lapses: use corrected ones"
        of = why if guesses and observer.signal > 0 else ""
        return "no", f"number of trials is enough {goal}{of}"
    least = "at least " if guesses and "corrected" in goal else ""  # the theory assumes that rates are known
    return f"{least}{n}", f"trials, {goal}: {f'{n - n_trials} more' if n > n_trials else 'reached'}"


def outlook(now: Plan, twice: Plan) -> str:
    """What twice as many trials would give."""
    columns = "weight\nslope", "corrected\nerror", "held-out\nloss"
    parts = [f"{' '.join(c.split())} {shown(twice, c)} instead of {shown(now, c)}" for c in columns]
    return f"With twice the trials, {twice.n_trials}: {', '.join(parts)}."


def shown(line: Plan, column: str) -> str:
    if not line.exists:
        return "no fit"
    return COLUMNS[column].format(line).replace("inf", "-")  # without signal there are no relative errors


def cells(line: Plan) -> list[str]:
    """A row of the table, readable at 80 columns."""
    if line.exists:
        return [shown(line, column) for column in COLUMNS]
    return [str(line.n_trials), "no fit", *["-"] * (len(COLUMNS) - 3), f"{line.bayes:.4f}"]


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
    if (arguments.n_factors is None) == (arguments.study is None):
        parser.error("n_factors is needed, but not with --study, which gives it")
    given = arguments.base_rate, arguments.guess_rate, arguments.lapse_rate, arguments.correlation
    if arguments.study is not None and given != (None,) * 4:
        parser.error("--study gives the base rate, the rates and the correlations: leave them out")
    return arguments


if __name__ == "__main__":
    run(main)
