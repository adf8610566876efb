"""How many trials do I need? A table, before any data exist: `python -m stages.plan 256 --signal 16`.

Of a study that has been run, how many more: `python -m stages.plan --study studies/rat`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import inf

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import (
    Plan,
    base_rate_for,
    intercept_for,
    n_trials_until,
    plan,
    signal_for,
    smallest_n_trials,
)
from stages.errors import InputError, run
from stages.files import DATA
from stages.files.account import named
from stages.files.tables import read_metrics, read_table
from stages.study import inside
from stages.terminal import numbers, say, table

COLUMNS = {
    "trials": "{0.n_trials}",
    "too large\nby": "{0.alpha:.3f}",
    "error": "{0.weight_error:.3f}",
    "corrected\nerror": "{0.debiased_weight_error:.3f}",
    "95 %\ncover": "{0.classical_coverage:.3f}",
    "held-out\nloss": "{0.held_out:.4f}",
    "best\nloss": "{0.best:.4f}",
    "Bayes\nloss": "{0.bayes:.4f}",
}
Observer = tuple[str, float, float]  # class, signal, base rate
GOALS: dict[str, Callable[[Plan], bool]] = {
    "for weights at most 5 % too large": lambda line: (line.alpha or inf) <= 1.05,
    "for classical 95 % intervals that cover 94 %": lambda line: (line.classical_coverage or 0) >= 0.94,
}
NOTES = """\
Too large by: the factor by which a maximum-likelihood fit overstates weights.
Errors of weights are root-mean-square, in units of the root-mean-square true
weight; corrected ones are somewhat larger, as the scale must be estimated.
95 % cover: the fraction of true weights inside their classical 95 % intervals,
somewhat more where few weights make up the signal.
Losses are cross-entropies in nats per response: of the plain fit on new trials,
of the best prediction from it, and of the true observer, the least possible."""
SIGNAL_HELP = """\
The signal is the standard deviation of the true logits. If you have no data to estimate it from, guess in which
fraction of trials the observer's response could be predicted at best, and give --accuracy instead."""


def main() -> None:
    """Read the observer from the command line, or from a study, and print a table over n_trials."""
    arguments = parse()
    try:
        if arguments.study is None:
            signal = arguments.signal if arguments.accuracy is None else signal_for(arguments.accuracy)
            n_factors, base_rate = arguments.n_factors, arguments.base_rate
        else:
            with inside(arguments.study):
                n_trials, n_factors, (name, signal, base_rate) = hardest(*read_study())
            say(f"{n_trials} trials of {n_factors} factors. {name} needs the most, for its signal of {signal:.3g}:")
            needed = {goal: n_trials_until(n_factors, signal, base_rate, good) for goal, good in GOALS.items()}
            numbers((str(n), f"trials, {goal}: {more(n_trials, n)}") for goal, n in needed.items())
        first = smallest_n_trials(n_factors, signal, intercept_for(base_rate, signal))
        sizes = arguments.n_trials or [round(first * factor) for factor in (0.9, 1.1, 1.5, 2, 3, 5, 10, 30, 100)]
        lines = plan(n_factors, signal, base_rate, sizes)
    except OutsideTheory as error:
        raise InputError(str(error)) from None
    say(f"Signal {signal:.3g}: a maximum-likelihood estimate exists from about {first} trials on.")
    table([*COLUMNS], map(cells, lines), first="right")
    say(NOTES)


def read_study() -> tuple[int, int, list[Observer]]:
    """Numbers of trials and factors, and the observer of each class, as `evaluate` found them."""
    theory = read_metrics().get("theory")
    if theory is None:
        raise InputError(f"{DATA / 'metrics.json'} has no section theory; params.yaml: train.solver must be lbfgs")
    table = read_table("inference/classes.csv", "class", "signal", "intercept")
    n_factors = read_table("inference/coefficients.csv", "class")["factor"].index("bias")
    observers = zip(table["class"], table["signal"], table["intercept"], strict=True)
    return theory["n_trials"], n_factors, [(named(name, "class"), s, base_rate_for(b, s)) for name, s, b in observers]


def hardest(n_trials: int, n_factors: int, observers: list[Observer]) -> tuple[int, int, Observer]:
    """The observer whose estimate needs the most trials to exist."""
    worst = max(observers, key=lambda o: smallest_n_trials(n_factors, o[1], intercept_for(o[2], o[1])))
    return n_trials, n_factors, worst


def more(n_trials: int, needed: int) -> str:
    """How many more trials are needed."""
    return f"{needed - n_trials} more" if needed > n_trials else "reached"


def cells(line: Plan) -> list[str]:
    """A row of the table, readable at 80 columns."""
    if line.exists:
        return [form.format(line).replace("inf", "-") for form in COLUMNS.values()]  # no signal: no relative error
    return [str(line.n_trials), "no fit", *["-"] * (len(COLUMNS) - 3), f"{line.bayes:.4f}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.plan", description=__doc__, epilog=SIGNAL_HELP)
    parser.add_argument("n_factors", type=int, nargs="?", help="number of factors")
    strength = parser.add_mutually_exclusive_group(required=True)
    strength.add_argument("--signal", type=float, help="sd of the true logits, e.g. 16 in the notebook")
    strength.add_argument("--accuracy", type=float, help="fraction of responses that could be predicted at best")
    strength.add_argument("--study", help="folder of a study that has been run; it gives everything else")
    parser.add_argument("--base-rate", type=float, default=0.5, help="probability of a yes (default 0.5)")
    parser.add_argument("--n-trials", type=int, nargs="+", help="numbers of trials (default: from where a fit exists)")
    arguments = parser.parse_args()
    if (arguments.n_factors is None) == (arguments.study is None):
        parser.error("n_factors is needed, but not with --study, which gives it")
    return arguments


if __name__ == "__main__":
    run(main)
