"""The psychometric function along a stimulus, by condition: its numbers, its points, and a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from hdlogit.inference.sums import Responses
from hdlogit.inference.threshold import Estimate, Stimulus, stimuli, thresholds
from hdlogit.psychometric.detection import detection
from hdlogit.scores.calibration import wilson
from stages.files.account import named
from stages.tables.inferred import Inferred

LEVELS, BINS = 20, 10  # different stimuli up to which each is a point; else bins of equally many trials
LOGARITHM = re.compile(r"(?:np\.)?(log|log2|log10)\(`?([^()`]+)`?\)")
BASES = {"log": np.e, "log2": 2.0, "log10": 10.0}
CONDITIONS = 4  # that the answer names
IN_WORDS = ("threshold", "slope", "d′ (yes/no)", "criterion (yes/no)", "guess rate", "lapse rate")


def along(inferred: Inferred) -> list[Stimulus]:
    """What the fit's factors are functions of, in its own units."""
    account = inferred.fit.account
    units = (np.array(account["mean"]), np.array(account["sd"])) if account and account["standardise"] else ()
    return stimuli(inferred.fit.train.factors, inferred.fit.factors, *units) if account else []


def psychometric_table(inferred: Inferred, stimuli: Sequence[Stimulus]) -> pd.DataFrame:
    """A row for each class, condition and number, with its interval.

    Of several factors of two values the signal is the one by which responses differ most. Responses that are
    right or wrong (a guess rate is given) are no hits and false alarms.
    """
    (x, y), p, rows = inferred.fit.train, inferred.p, list[tuple[str, *tuple[object, ...]]]()
    for k, (name, c) in enumerate(zip(inferred.fit.classes, inferred.classes, strict=True)):
        if stimuli and _is_graded(stimuli[0]):
            estimates = thresholds(c, x, y[:, k], stimuli[0], p.interval_level, p.threshold_at or ())
        else:
            signals = [] if p.known_rates[0] else stimuli
            tried = [[*_detections(one, y[:, k], p.interval_level)] for one in signals]
            estimates = max(tried, key=lambda rows: sum(abs(d.estimate) for d in rows[::2]), default=[])
        rows += [(name, *row) for each in estimates for row in (each, *_without_logarithm(each))]
    return pd.DataFrame(rows, columns=["class", *Estimate._fields])


def _is_graded(one: Stimulus) -> bool:
    """Whether it has more than two values."""
    return len(np.unique(one.x)) > 2


def _detections(one: Stimulus, yes: Responses, level: float) -> Iterator[Estimate]:
    """d′ and criterion, where the larger value of the stimulus is the signal."""
    for condition in one.conditions:
        x, y = one.x[condition.rows], yes[condition.rows]
        signal, noise = y[x == x.max()], y[x == x.min()]
        d = detection(int(signal.sum()), len(signal), int(noise.sum()), len(noise), level)
        note = "half a trial more of either response was added" if d.log_linear else ""
        yield Estimate(one.name, condition.name, "d′ (yes/no)", d.d_prime, *d.d_prime_interval, note)
        yield Estimate(one.name, condition.name, "criterion (yes/no)", d.criterion, *d.criterion_interval, note)


def _without_logarithm(one: Estimate) -> Iterator[Estimate]:
    """A threshold of log(x) as one of x, too."""
    if (match := LOGARITHM.fullmatch(one.stimulus)) and one.quantity.startswith("threshold"):
        with np.errstate(over="ignore"):  # without bounds
            values = np.power(BASES[match[1]], [one.estimate, one.low, one.high])
        yield one._replace(stimulus=match[2], estimate=values[0], low=values[1], high=values[2])


def points_table(inferred: Inferred, stimuli: Sequence[Stimulus]) -> pd.DataFrame:
    """Where there are thresholds, fractions of yes at each stimulus, or in bins; Wilson's 95 % interval."""
    parts, responses = [pd.DataFrame()], inferred.fit.train.responses.T
    for name, c, yes in zip(inferred.fit.classes, inferred.classes, responses, strict=True):
        for one in filter(_is_graded, () if c.separated else stimuli):
            for condition in one.conditions:
                trials = pd.DataFrame({"x": one.x[condition.rows], "yes": yes[condition.rows]})
                few = trials.x.nunique() <= LEVELS
                bins = trials.x if few else pd.qcut(trials.x, BINS, duplicates="drop")
                groups = trials.groupby(bins.rename("bin"), observed=True)
                part = groups.agg(x=("x", "mean"), trials=("x", "size"), observed=("yes", "mean"))
                part["low"], part["high"] = wilson(part.observed.to_numpy(), part.trials.to_numpy())
                parts.append(part.assign(**{"class": name}, stimulus=one.name, condition=condition.name))
    return pd.concat(parts, ignore_index=True)


def in_words(table: pd.DataFrame, level: float, holds: Mapping[str, bool]) -> list[str]:
    """A line for each class and stimulus. holds: whether the model of a class does."""
    lines = []
    for (name, stimulus), rows in table.groupby(["class", "stimulus"], sort=False):
        parts = []
        for condition, chosen in rows[rows.quantity.isin(IN_WORDS)].groupby("condition", sort=False):
            columns = chosen[["quantity", "estimate", "low", "high", "note"]]
            numbers = ", ".join(_number(*row) for row in columns.itertuples(index=False))
            parts.append(f"where {condition}: {numbers}" if condition else numbers)
        rest = len(parts) - CONDITIONS
        more = f"; {rest} more in data/inference/psychometric.csv" if rest > 0 else ""
        of = f"{named(name, 'class')}, " if table["class"].nunique() > 1 else ""
        is_counted = rows.quantity.str.startswith("d′").any()  # no model is fitted for d′
        held = "" if holds[name] or is_counted else "if the model held, "
        text = f"{of}along {stimulus}: {held}{'; '.join(parts[:CONDITIONS])}{more}"
        lines.append(f"{text} ({100 * level:g} % intervals)")
    return lines


def _number(quantity: str, estimate: float, low: float, high: float, note: str) -> str:
    interval = f"{quantity} {estimate:.3g} [{low:.3g}, {high:.3g}]".replace("inf", "∞")
    text = f"no {quantity}" if note and not np.isfinite(high - low) else interval
    return (f"{text} ({note})" if note else text).replace("-", "−")
