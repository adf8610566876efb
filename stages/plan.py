"""How many trials do I need? A table, before any data exist: `python -m stages.plan 256 --signal 16`."""

from __future__ import annotations

import argparse

from hdlogit.asymptotics.existence import OutsideTheory
from hdlogit.asymptotics.planning import Plan, intercept_for, plan, smallest_n_trials
from stages.errors import InputError, run

COLUMNS = {
    "n_trials": "{0.n_trials}",
    "estimate exists": "yes",
    "weights too large by": "{0.alpha:.3f}",
    "weight error": "{0.weight_error:.3f}",
    "corrected, scale known": "{0.debiased_weight_error:.3f}",
    "plain 95 % intervals cover": "{0.classical_coverage:.3f}",
    "held-out": "{0.held_out:.4f}",
    "best": "{0.best:.4f}",
    "Bayes": "{0.bayes:.4f}",
}


def main() -> None:
    """Read the observer from the command line, and print a Markdown table over n_trials."""
    arguments = parse()
    try:
        intercept = intercept_for(arguments.base_rate, arguments.signal)
        first = smallest_n_trials(arguments.n_factors, arguments.signal, intercept)
        sizes = arguments.n_trials or [round(first * factor) for factor in (0.9, 1.1, 1.5, 2, 3, 5, 10, 30, 100)]
        lines = plan(arguments.n_factors, arguments.signal, arguments.base_rate, sizes)
    except OutsideTheory as error:
        raise InputError(str(error)) from None
    print(f"A maximum-likelihood estimate exists from about {first} trials on.\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " ---: |" * len(COLUMNS))
    for line in lines:
        print("| " + " | ".join(cells(line)) + " |")
    print(
        "\nWeight errors are root-mean-square, in units of the root-mean-square true weight; held-out cross-entropies\n"
        "of the plain fit, of the best prediction from it, and of the true observer are in nats per response.\n"
        "Corrected weights err somewhat more, as their scale must be estimated; plain intervals cover somewhat more\n"
        "than said where few weights make up the signal."
    )


def cells(line: Plan) -> list[str]:
    """One line of the table."""
    if line.exists:
        return [form.format(line).replace("inf", "-") for form in COLUMNS.values()]  # no signal, no relative error
    return [str(line.n_trials), "no", *["-"] * (len(COLUMNS) - 3), f"{line.bayes:.4f}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.plan", description=__doc__)
    parser.add_argument("n_factors", type=int, help="number of factors")
    parser.add_argument("--signal", type=float, required=True, help="sd of the true logits, e.g. 16 in the notebook")
    parser.add_argument("--base-rate", type=float, default=0.5, help="probability of a yes (default 0.5)")
    parser.add_argument("--n-trials", type=int, nargs="+", help="numbers of trials (default: from where a fit exists)")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
