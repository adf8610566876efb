"""How a study adds what its model lacks: a command to copy where its terms make a short one, else what to write."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hdlogit.inference.families import DIFFERENCES, MEMORY, PREVIOUS, PRODUCTS, SQUARES, TREND, TRENDS
from hdlogit.inference.questions import ASYMMETRY, LINK, OTHER_RATE, RISING

LONGEST = 80  # of a formula
NAME = re.compile(r"[A-Za-z_]\w*\*?")  # a column, or a pattern of columns

WORDS = {
    LINK: "{rates} (evaluate.asymptotes) allows for guesses and lapses; another shape may explain it, too",
    OTHER_RATE: "--rates estimate (evaluate.asymptotes) estimates both",
    ASYMMETRY: "It is steeper on one side than a logistic one: try a transform of the factors, as in log(x)",
    RISING: "No guess or lapse rate explains that: look at the figure of the psychometric function",
    SQUARES: "{squares}",
    TREND: "a column that counts the trials",
    DIFFERENCES: "C(group), or fit each group alone",
    TRENDS: "C(group) * t, if t counts the trials",
    MEMORY: "lags({response}, 3)",
    PREVIOUS: "lag(x, 1) for each factor x",
    PRODUCTS: "a * in the place of the + between this factor and the others",
}


def remedy(family: str, response: str, terms: Mapping[str, bool], *, guess_rate: float = 0.0) -> str:
    """What adds a family to a model.

    response: the class; terms: of the model, and whether a term has more than two values; guess_rate:
    the one that is given.
    """
    column = response.partition("=")[0]
    column = "response" if column.isdigit() else column if column.isidentifier() else f"`{column}`"
    kind = PRODUCTS if family.startswith(PRODUCTS) else family
    rates = f"--rates {guess_rate:g},estimate" if guess_rate else "--rates estimate"
    graded = [term for term, is_graded in terms.items() if is_graded]
    is_short = 0 < len(graded) < 4 and all(map(NAME.fullmatch, graded))
    squares = " + ".join(_squares(terms)) if is_short else "I(x ** 2) for each factor x"
    words = WORDS[kind].format(response=column, rates=rates, squares=squares)
    if kind in (LINK, OTHER_RATE, ASYMMETRY, RISING):
        return words
    formula = _formula(family, column, terms) if all(map(NAME.fullmatch, terms)) else ""
    if formula and len(formula) <= LONGEST:
        return f"To add them: --formula '~ {formula}'"
    return f"To add {'it' if kind == TREND else 'them'}: --formula (prepare.formula) with {words}"


def _squares(terms: Mapping[str, bool]) -> list[str]:
    return [f"I({term} ** 2)" for term, is_graded in terms.items() if is_graded]


def _formula(family: str, column: str, terms: Mapping[str, bool]) -> str:
    """Of all terms, which are columns or patterns, with what is added; "" where that is no column of the study."""
    if family.startswith(PRODUCTS):
        factor = family.removeprefix(PRODUCTS).partition("[")[0]
        others = [term for term in terms if term != factor]
        both = " + ".join(others)
        return f"{factor} * {f'({both})' if others[1:] else both}" if factor in terms and others else ""
    added = {
        SQUARES: _squares(terms),
        MEMORY: [f"lags({column}, 3)"],
        PREVIOUS: [] if "*" in "".join(terms) else [f"lag({term}, 1)" for term in terms],
    }.get(family, [])
    return " + ".join([*terms, *added]) if added and terms else ""
