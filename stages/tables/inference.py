"""How far an exact fit can be trusted: from the data alone, and compared with the truth where it is known.

The statistics are in `hdlogit.inference` (these data) and `hdlogit.asymptotics` (what to expect of such
data), with their sources and what is proven; here they are put side by side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hdlogit.compute.threads import each, single_threaded_blas
from hdlogit.inference.comparison import Usefulness, usefulness
from hdlogit.inference.curve import psychometric_curve
from hdlogit.inference.link import logistic_test
from hdlogit.inference.questions import LINK, Question, questions
from hdlogit.inference.result import Separated
from hdlogit.inference.sums import Responses
from hdlogit.inference.terms import joint_test
from hdlogit.psychometric.function import logits, probability
from hdlogit.scores import recovery
from stages.files.families import families
from stages.files.reading import Fit
from stages.tables.answer import Situation
from stages.tables.inferred import Inferred
from stages.tables.scores import names_table

if TYPE_CHECKING:
    from hdlogit.inference.replication import Replication  # brings torch

BINS = "class", "index", "trials", "observed", "low", "high"
CURVE = "class", "grid", "fitted", "logistic", "function"

Asked = Sequence[tuple[Usefulness, Sequence[Question]]]  # of each class


def coefficient_table(inferred: Inferred) -> pd.DataFrame:
    """One row per class and coefficient, the bias last: classical, then corrected."""
    level, parts = inferred.p.interval_level, []
    for c in inferred.classes:
        classical, interval = c.classical_interval(level), c.interval(level)
        part = {
            "estimate": c.estimate,
            "classical_error": c.classical_error,
            "classical_low": classical[0],
            "classical_high": classical[1],
            "classical_p": c.classical_p_values(),
            "corrected": c.corrected,
            "error": c.corrected_error,
            "low": interval[0],
            "high": interval[1],
            "p": c.p_values(),
        }
        parts.append(pd.DataFrame(part))
    return names_table(inferred.fit).join(pd.concat(parts, ignore_index=True))


def ask(inferred: Inferred) -> list[tuple[Usefulness, list[Question]]]:
    """Of each class: is its model any use, and what does it lack?"""
    fit = inferred.fit
    in_order = fit.account is None or fit.account["in_order"]

    def of_class(k: int) -> tuple[Usefulness, list[Question]]:
        c, (x, y) = inferred.classes[k], (fit.train.factors, fit.train.responses[:, k])
        if c.separated:
            return usefulness(c, x, y), _of_separated(c.separated, y, inferred.p.known_rates)
        return usefulness(c, x, y), questions(c, x, y, fit.factors, fit.groups, in_order=in_order)

    return [*each(of_class, range(len(inferred.classes)))]


def _of_separated(separated: Separated, y: Responses, rates: Sequence[float | None]) -> list[Question]:
    """Do the trials that are left follow a logistic function, with the known rates only?"""
    others = separated.others
    if not len(others.scale):  # no factor is left
        return []
    y = y[separated.left]
    y = y[others.left_out(len(y))]
    test = logistic_test(*others.index, y, (rates[0] or 0.0, rates[1] or 0.0))
    return [Question(LINK, 2, test.statistic, test.p_value, (test.statistic - 2) / (2 * len(y)))]


def question_table(inferred: Inferred, asked: Asked) -> pd.DataFrame:
    """What the model may lack: per class and family its test, and what it would gain, nats per trial."""
    pairs = zip(inferred.fit.classes, asked, strict=True)
    return pd.DataFrame([{"class": name} | one._asdict() for name, (_, questions) in pairs for one in questions])


def usefulness_table(inferred: Inferred, asked: Asked) -> pd.DataFrame:
    """Per class, leave-one-out cross-entropies of a constant, of the fit and of the best prediction."""
    table = pd.DataFrame([use._asdict() | {"r_squared": use.r_squared} for use, _ in asked])
    table.insert(0, "class", inferred.fit.classes)
    return table


def coverages(coefficients: pd.DataFrame) -> dict[str, float]:
    """Fractions of the true weights inside their intervals; coefficients: the `coefficient_table`."""
    weights = coefficients[coefficients.factor != "bias"]
    return {
        f"{kind}coverage": float(weights.true.between(weights[f"{kind}low"], weights[f"{kind}high"]).mean())
        for kind in ("", "classical_")
    }


def curve_tables(inferred: Inferred) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The psychometric curve of each class along its leave-one-out index: bins of trials, and smooth curves.

    `true`, where the observer is known, is the mean of its probabilities over the trials of a bin.
    """
    observer, names = inferred.fit.observer, inferred.fit.classes

    def curve_of(k: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        c, y = inferred.classes[k], inferred.responses[:, k]
        curve = vars(psychometric_curve(*c.index, y, c.link)) | {"class": names[k]}
        bins = pd.DataFrame({key: curve[key] for key in BINS})
        smooth = pd.DataFrame({key: curve[key] for key in CURVE})
        if observer is not None:
            factors = inferred.fit.train.factors
            z = logits(factors[c.left_out(len(factors))], observer.coefficients[:, k])
            true = probability(z, *observer.rates[:, k])[np.argsort(c.index[0])]
            in_bins = [part.mean() for part in np.array_split(true, len(bins))]
            smooth["true"] = np.interp(smooth["grid"], bins["index"], in_bins)
        return bins, smooth

    with single_threaded_blas():
        bins, smooth = zip(*each(curve_of, range(len(names))), strict=True)
    return pd.concat(bins), pd.concat(smooth)


def term_table(inferred: Inferred, terms: Mapping[str, list[int]]) -> pd.DataFrame:
    """Per class and family of factors, the joint test that none of its weights has an effect.

    Families are terms of a formula, patterns of names, and names that differ in one number only.
    """
    x, y = inferred.fit.train
    numbered = families(inferred.fit.factors).groupby("family").indices
    terms = {**terms, **{name: [*at] for name, at in numbered.items() if [*at] not in terms.values()}}
    rows = [
        (name, term, len(places), *joint_test(c, places, x, y[:, k]))
        for k, (name, c) in enumerate(zip(inferred.fit.classes, inferred.classes, strict=True))
        for term, places in terms.items()
    ]
    return pd.DataFrame(rows, columns=["class", "term", "factors", "chi2", "p"])


def corrected_recovery(inferred: Inferred) -> dict[str, Any]:
    """How close the corrected coefficients come to the true ones, of classes in which all are finite."""
    assert inferred.fit.observer is not None
    true = inferred.fit.observer.coefficients
    metrics: dict[str, Any] = {"residual_sd": recovery.residual_sd(inferred.fit.coefficients, true)}
    finite = [k for k, c in enumerate(inferred.classes) if not c.separated]
    if finite:
        corrected = np.stack([inferred.classes[k].corrected for k in finite], axis=1)
        metrics["corrected"] = recovery.recovery(corrected, true[:, finite])
    return metrics


def situations(inferred: Inferred, asked: Asked, groups: Sequence[Replication | None]) -> list[Situation]:
    """What the answer in words needs to know about each class."""
    fit, level, situations = inferred.fit, inferred.p.interval_level, list[Situation]()
    names, terms = [*fit.factors, "bias"], _terms(fit)
    for k, (name, c) in enumerate(zip(fit.classes, inferred.classes, strict=True)):
        unbounded = dict[str, tuple[float, float]]()
        if c.separated:
            low, high = c.interval(level)
            unbounded = {names[j]: (float(low[j]), float(high[j])) for j in c.separated.infinite}
        situation = Situation(
            name,
            *(c.signal, c.theory.alpha, c.alpha_error),
            *c.expected_classical_coverage(level),
            *asked[k],
            rates=(c.guess_rate, c.lapse_rate),
            exists=name not in fit.separating,
            n_separated=c.separated.n_separated if c.separated else 0,
            unbounded=unbounded,
            groups=groups[k],
            terms=terms,
            level=level,
            n_classes=len(fit.classes),
        )
        situations.append(situation)
    return situations


def _terms(fit: Fit) -> dict[str, bool]:
    """The terms of own trials' model, patterns for what they take; and whether each has more than two values."""
    if fit.account is None:
        return {}
    terms, x = fit.account["terms"], fit.train.factors[:: max(len(fit.train.factors) // 10_000, 1)]
    patterns = [term for term in terms if re.fullmatch(r"\w+\*", term)]
    by_pattern = {j for term in patterns for j in terms[term]}
    kept = {term: places for term, places in terms.items() if term in patterns or not by_pattern.issuperset(places)}
    return {term: any(len(np.unique(x[:, j])) > 2 for j in places) for term, places in kept.items()}
