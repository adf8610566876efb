"""How many trials do I need? A table, before any data exist: `python -m stages.plan 256 --signal 16`."""

from __future__ import annotations

import argparse

from rich import box
from rich.console import Console
from rich.table import Table

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, intercept_for, plan, signal_for, smallest_n_trials
from stages.errors import InputError, run

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
    """Read the observer from the command line, and print a table over n_trials."""
    arguments = parse()
    try:
        signal = arguments.signal if arguments.accuracy is None else signal_for(arguments.accuracy)
        intercept = intercept_for(arguments.base_rate, signal)
        first = smallest_n_trials(arguments.n_factors, signal, intercept)
        sizes = arguments.n_trials or [round(first * factor) for factor in (0.9, 1.1, 1.5, 2, 3, 5, 10, 30, 100)]
        lines = plan(arguments.n_factors, signal, arguments.base_rate, sizes)
    except OutsideTheory as error:
        raise InputError(str(error)) from None
    console = Console()
    console.print(f"Signal {signal:.3g}: a maximum-likelihood estimate exists from about {first} trials on.")
    console.print(table(lines))
    print(NOTES)


def table(lines: list[Plan]) -> Table:
    """One line per number of trials, readable at 80 columns."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        drawn.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        if line.exists:
            cells = [form.format(line).replace("inf", "-") for form in COLUMNS.values()]  # no signal: no relative error
        else:
            cells = [str(line.n_trials), "no fit", *["-"] * (len(COLUMNS) - 3), f"{line.bayes:.4f}"]
        drawn.add_row(*cells)
    return drawn


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.plan", description=__doc__, epilog=SIGNAL_HELP)
    parser.add_argument("n_factors", type=int, help="number of factors")
    strength = parser.add_mutually_exclusive_group(required=True)
    strength.add_argument("--signal", type=float, help="sd of the true logits, e.g. 16 in the notebook")
    strength.add_argument("--accuracy", type=float, help="fraction of responses that could be predicted at best")
    parser.add_argument("--base-rate", type=float, default=0.5, help="probability of a yes (default 0.5)")
    parser.add_argument("--n-trials", type=int, nargs="+", help="numbers of trials (default: from where a fit exists)")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
