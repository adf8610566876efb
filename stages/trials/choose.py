"""Which columns can be factors, where nobody has named any: stimuli and history, and nothing that tells the answer.

By content: a column that determines the response, alone or with another one, is the response in other words; one that
rises from row to row counts trials or tells the time. By name: what programs call reaction times, keys and the like.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.trials.values import Floats

Codes = NDArray[np.int64]

LEAST = 20  # trials from which on content tells anything
LOOKED_AT = 300, 3000  # trials, of many columns the fewer, in which leaks are looked for at first
FEW = 5  # trials that either of two columns must fail to tell, for both together to be suspicious

ASIDE = (  # what programs name so is no stimulus, unless it is of an earlier trial, or what would be correct
    ("a reaction time", r"rts?|reaction_?times?|resp(onse)?_times?|latency"),
    ("correctness", r"is_correct|(in)?correct|correctness|corr|acc|accuracy|errors?|err|hits?|outcome|success"),
    ("a key or response", r"resp(onses?)?|keys?|keypress|button|answer|choices?|chosen|press(ed)?|click(ed)?|decision"),
    ("feedback", r"feedback|feedback_type|reward|rewarded|points|score|payoff|bonus"),
    ("given after the response", r"confidence|conf|rating|certainty"),
)
NUMBER = "n|no|nr|num|number|index|idx|id|count"
COUNTED = "trials?|blocks?|runs?|sessions?|rows?|reps?|repetitions?|lines?|cycle|sample|list"
ASIDE_NUMBERS = (  # likewise, among numbers; the whole name, or its end
    ("an index", rf"(.*_)?(({COUNTED})(_?({NUMBER}))?|this_(n|index))|({NUMBER})|counter|order"),
    ("a time", r"(.*_)?(times?|timestamp|date|clock|onset|offset|started|stopped|elapsed|start|end)"),
    ("about the observer", rf"(subject|participant|observer|subj|sub)(_?({NUMBER}|parity))?|age|seed"),
)
EARLIER = {"prev", "previous", "last", "past", "lag", "lagged", "back", "history", "prior", "minus"}
WANTED = r"(.*_)?(corr(ect)?_?(ans(wer)?|resp(onse)?|key|choice|button|side)|cresp|target|expected)"


def choose(
    columns: pd.DataFrame, rows: pd.DataFrame, yes: Floats, named: Container[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Why some of `columns` (n_trials, n_columns) are left out, and why a person must decide about others, by name.

    Numbers are float64, all else words. `rows` are the same columns in all rows of the file, `yes` (n_trials,
    n_classes) the responses; `named` columns were said to be factors, and only content counts.
    """
    left_out, doubts = dict[str, str](), dict[str, str]()  # name -> why
    for name in [name for name in columns if name not in named]:
        if why := by_name(name, columns[name].dtype == float) or by_order(rows[name]):
            left_out[name] = why
        elif rows.index.is_unique and counts(rows[name]):  # else rows have no order
            doubts[name] = f"{name} counts up or down in the order of the rows, as a block or a clock does"
    n_looked_at = int(np.clip(3e5 / max(len(columns.columns), 1), *LOOKED_AT))
    sample = np.unique(np.linspace(0, len(yes) - 1, n_looked_at).astype(int))
    for y in yes.T if len(yes) >= LEAST else ():
        alone, pairs = leaks(columns.drop(columns=[*left_out]).iloc[sample], y[sample])
        suspects = [name for name in columns if name in {*alone, *itertools.chain(*pairs)}]
        alone, pairs = leaks(columns[suspects], y)
        left_out |= dict.fromkeys(alone, "it alone determines the response")
        doubts |= {b: f"{a} and {b} together determine the response" for a, b in pairs}
    return left_out, doubts


def question(columns: Iterable[str], left_out: Mapping[str, str], doubts: Mapping[str, str]) -> str:
    """What to ask a person where there are doubts or no columns are left, or ""."""
    proposed = [name for name in columns if name not in {**left_out, **doubts}]
    if proposed and not doubts:
        return ""
    listed = [*doubts.values()] or [f"{name} is left out: {left_out[name]}" for name in columns]
    more = f"; and {len(listed) - 3} more" if len(listed) > 3 else ""
    command = f"--factors {shlex.join(proposed or columns)}"
    return f"{'; '.join(listed[:3])}{more}; name what is a factor, as in: {command}"


def by_name(name: str, number: bool) -> str:
    """Why a column of this name is no factor, or ""."""
    words = "_".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)).lower()
    if EARLIER & {*words.split("_")} or re.fullmatch(WANTED, words):
        return ""
    is_whole = [(why, rf"(.*_)?({pattern})(_.*)?") for why, pattern in ASIDE]
    for why, pattern in [*is_whole, *(ASIDE_NUMBERS if number else ())]:
        if re.fullmatch(pattern, words):
            return f"it is by its name {why}"
    return ""


def by_order(column: pd.Series[Any]) -> str:
    """Why a column, in the order of the file, is no factor, or ""."""
    steps = np.diff(column.dropna()) if column.dtype == float else np.array([])
    rises = len(steps) >= LEAST and ((steps == 1).mean() > 0.9 or (steps > 0).mean() > 0.97)
    return "it rises from row to row, as a counter or a clock does" if rises else ""


def counts(column: pd.Series[Any]) -> bool:
    """Whether numbers only stay, go on to the next larger (or smaller) one, or from the last begin again."""
    if column.dtype != float or len(values := column.dropna().to_numpy()) < LEAST:
        return False
    for part in (values[:1000], values):  # most fail on the first
        numbers, ranks = np.unique(part, return_inverse=True)
        if not any(np.isin(np.diff(ranks) * sign % len(numbers), (0, 1)).all() for sign in (1, -1)):
            return False
    return len(numbers) > 2


# --- what gives the response away


def leaks(columns: pd.DataFrame, yes: Floats) -> tuple[list[str], list[tuple[str, str]]]:
    """Columns that tell all responses (n_trials,) alone; and pairs that do, first the one that tells more."""
    few = coded(columns)
    tell = {name: by_threshold(columns[name], yes) for name in columns}
    tell |= {name: max(tell[name], by_codes(codes, yes)) for name, codes in few.items()}
    alone = [name for name in columns if tell[name] == 1]
    left = [name for name in columns if (1 - tell[name]) * len(yes) >= FEW]
    of_two = {name: few[name].astype(float) for name in left if name in few and few[name].max() == 1}
    ordered = columns[left].assign(**of_two).select_dtypes("float64")
    pairs = {frozenset((a, b)) for b in left if b in few for a in separated(ordered, few[b], yes) if a != b}
    by_tell = [tuple(sorted(pair, key=lambda name: (-tell[name], name))) for pair in pairs]
    return alone, sorted(by_tell)


def coded(columns: pd.DataFrame) -> dict[str, Codes]:
    """Columns with few values, among many trials, as codes; a missing value is one, too."""
    codes = {name: pd.factorize(columns[name], use_na_sentinel=False)[0] for name in columns}
    return {name: each for name, each in codes.items() if len(each) and each.max() < min(20, len(each) / 10)}


def by_codes(codes: Codes, yes: Floats) -> float:
    """The fraction of the trials in which the response is the more frequent one of its code."""
    n, n_yes = np.bincount(codes), np.bincount(codes, yes)
    return float(np.maximum(n_yes, n - n_yes).sum() / len(yes))


def by_threshold(column: pd.Series[Any], yes: Floats) -> float:
    """The fraction of the responses that a threshold on numbers tells, a missing value being larger than all."""
    if column.dtype != float or not len(yes):
        return 0.0
    values = column.to_numpy()
    order = np.argsort(values)
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # of runs of the same number
    right = np.cumsum(2 * yes[order] - 1)[ends]  # yes below the threshold less no, so far
    most = np.abs(2 * right - right[-1]).max()  # the last threshold is above all
    return float((most / len(yes) + 1) / 2)


def separated(columns: pd.DataFrame, codes: Codes, yes: Floats) -> list[str]:
    """Columns of numbers that tell all responses by a threshold of its own, of any direction, within each code."""
    values, tell = columns.to_numpy(), np.ones(columns.shape[1], bool)
    for code in np.unique(codes):
        no, right = (values[(codes == code) & (yes == response)] for response in (0, 1))
        ends = [(np.fmin.reduce(held, initial=np.inf), np.fmax.reduce(held, initial=-np.inf)) for held in (no, right)]
        tell &= (ends[0][1] < ends[1][0]) | (ends[1][1] < ends[0][0])
    return [str(name) for name in columns.columns[tell]]
