"""How far an exact fit can be trusted: from the data alone, and compared with the truth where it is known.

The statistics are in `hdlogit.inference` (these data) and `hdlogit.asymptotics` (what to expect of such data), with
their sources and what is proven; here they are put side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlogit.asymptotics.existence import existence_threshold
from hdlogit.asymptotics.planning import smallest_n_trials
from hdlogit.compute.threads import each, single_threaded_blas
from hdlogit.inference import ClassInference
from hdlogit.inference.comparison import Usefulness, usefulness
from hdlogit.inference.curve import psychometric_curve
from hdlogit.inference.link import logistic_test
from hdlogit.inference.questions import LINK, Question, questions
from hdlogit.inference.result import Array, wald_interval
from hdlogit.inference.sums import Units
from hdlogit.inference.terms import joint_test
from hdlogit.psychometric.function import logits, probability
from hdlogit.scores import recovery
from stages.files.families import families
from stages.files.reading import Description
from stages.tables import Table
from stages.tables.answer import Agreement, Situation, Unbounded
from stages.tables.inferred import Inferred, known_rates, thinned
from stages.tables.scores import names_table

Asked = Sequence[tuple[Usefulness, Sequence[Question]]]  # of each class


def coefficient_table(found: Inferred) -> Table:
    """One row per class and coefficient, the bias last: classical, then corrected."""
    level, description, parts = found.p.interval_level, found.fit.description, []
    for c in found.classes:
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
        if description and description.standardise:
            part |= _raw(c, interval, description, level)
        parts.append(part)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return names_table(found.fit) | columns


def _raw(c: ClassInference, interval: tuple[Array, Array], description: Description, level: float) -> Table:
    """For standardised factors: coefficients per unit of the factors as they were read.

    The bias, that of factors which are 0, is NaN where a weight is infinite.
    """
    units = Units(0, np.array(description.mean), np.array(description.sd))
    to_bias = np.append(-units.centre / units.scale, 1.0)
    bias, variance = math.nan, math.nan
    if not c.separated:
        bias = float(to_bias @ c.corrected)
        variance = float(to_bias @ c.covariance[:-2, :-2] @ to_bias)
    low, high = wald_interval(np.array(bias), np.sqrt(variance), level)
    return {
        "raw_estimate": units.original(c.estimate),
        "raw_corrected": np.append(c.corrected[:-1] / units.scale, bias),
        "raw_low": np.append(interval[0][:-1] / units.scale, low),
        "raw_high": np.append(interval[1][:-1] / units.scale, high),
    }


def ask(found: Inferred, groups: NDArray[np.generic] | None) -> list[tuple[Usefulness, list[Question]]]:
    """Of each class: is its model any use, and what does it lack? groups: (n,) or (n, k) of the trials."""
    fit = found.fit
    group = None if groups is None else np.unique(groups, axis=0, return_inverse=True)[1].ravel()
    in_order = fit.description is None or fit.description.in_order
    x, y = fit.train.factors, fit.train.responses

    def of_class(k: int) -> tuple[Usefulness, list[Question]]:
        c = found.classes[k]
        some = [_logistic(found, k)] if c.separated else questions(c, x, y[:, k], fit.factors, group, in_order=in_order)
        return usefulness(c, x, y[:, k]), some

    return [*each(of_class, range(len(found.classes)))]


def question_table(found: Inferred, asked: Asked) -> Table:
    """What the model may lack: per class and family its test, and about what it would gain (nats per trial)."""
    rows = [(name, *one) for name, (_, some) in zip(found.fit.classes, asked, strict=True) for one in some]
    return dict(zip(("class", *Question._fields), zip(*rows, strict=True), strict=True)) if rows else {}


def usefulness_table(found: Inferred, asked: Asked) -> Table:
    """Leave-one-out cross-entropies of a constant, of the fit and of the best prediction; the test of all factors."""
    uses = [use for use, _ in asked]
    table = dict(zip(Usefulness._fields, zip(*uses, strict=True), strict=True))
    return {"class": found.fit.classes, **table, "r_squared": [use.r_squared for use in uses]}


def class_table(found: Inferred, coefficients: Table, asked: Asked) -> Table:
    """One row per class: where it is on the map, from the data alone (columns as in `theory.theory_metrics`).

    logistic_p: p-value of the test that the psychometric function is logistic, with known rates only; inflation: of
    the variance of a weight by correlations of the factors. coefficients: the `coefficient_table`.
    """
    classes, n_factors = found.classes, len(found.fit.factors)
    observers = [(c.signal, float(c.theory.intercept), c.guess_rate, c.lapse_rate) for c in classes]
    table = {
        "class": found.fit.classes,
        "signal": [c.signal for c in classes],
        "intercept": [float(c.theory.intercept) for c in classes],
        "guess_rate": [c.guess_rate for c in classes],
        "lapse_rate": [c.lapse_rate for c in classes],
        "logistic_p": [_logistic_p(found, k, some) for k, (_, some) in enumerate(asked)],
        "alpha": [c.theory.alpha for c in classes],
        "inflation": [c.inflation for c in classes],
        "existence_threshold": [existence_threshold(*observer) for observer in observers],
        "smallest_n_trials": [smallest_n_trials(n_factors, *observer) for observer in observers],
        "certificate": [_bound(c.certificate) for c in classes],
    }
    if "true" in coefficients:
        for name in ("classical_", ""):
            low, high = coefficients[f"{name}low"], coefficients[f"{name}high"]
            inside = (low <= coefficients["true"]) & (coefficients["true"] <= high)
            table[f"{name}coverage"] = inside.reshape(len(classes), -1)[:, :-1].mean(axis=1)  # of the weights
    return table


def _logistic_p(found: Inferred, k: int, asked: Sequence[Question]) -> float:
    of_link = [one for one in asked if one.family == LINK] or [_logistic(found, k)]
    return of_link[0].p_value


def _logistic(found: Inferred, k: int) -> Question:
    """Is the psychometric function logistic, with known rates only? Separated trials follow any function."""
    c, y = found.classes[k], found.responses[:, k]
    if c.separated:
        y, c = found.fit.train.responses[c.separated.left, k], c.separated.others
        if not len(c.scale):  # no factor is left
            return Question(LINK, 2, 0.0, 1.0, 0.0)
        y = thinned(y, c)
    guess_rate, lapse_rate = (rate or 0.0 for rate in known_rates(found.p))
    test = logistic_test(*c.index, y, guess_rate=guess_rate, lapse_rate=lapse_rate)
    return Question(LINK, 2, test.statistic, test.p_value, (test.statistic - 2) / (2 * len(y)))


def _bound(certificate: float) -> float:
    """The next power of ten: a certificate is a solver's last step, and only its order of magnitude has a meaning."""
    return 10.0 ** math.ceil(math.log10(certificate)) if certificate > 0 else 0.0


def curve_tables(found: Inferred) -> tuple[Table, Table]:
    """The psychometric curve of each class along its leave-one-out index: bins of trials, and smooth curves.

    `true`, where the observer is known, is the mean of its probabilities over the trials of a bin.
    """
    observer, names = found.fit.observer, found.fit.classes

    def curve_of(k: int) -> tuple[Table, Table]:
        c, y = found.classes[k], found.responses[:, k]
        curve = vars(psychometric_curve(*c.index, y, c.link))
        bins = {key: curve[key] for key in ("index", "trials", "observed", "low", "high")}
        smooth = {key: curve[key] for key in ("grid", "fitted", "logistic", "function")}
        if observer is not None:
            z = logits(thinned(found.fit.train.factors, c), observer.coefficients[:, k])
            true = probability(z, *observer.rates[:, k])[np.argsort(c.index.logit)]
            in_bins = [some.mean() for some in np.array_split(true, len(curve["index"]))]
            smooth["true"] = np.interp(curve["grid"], curve["index"], in_bins)
        return bins, smooth

    with single_threaded_blas():
        bins, smooth = zip(*each(curve_of, range(len(names))), strict=True)
    return _stacked("index", names, bins), _stacked("grid", names, smooth)


def _stacked(key: str, names: Iterable[str], tables: Iterable[Table]) -> Table:
    """Tables of the same columns one below the other, after a column with the class; `key` is one of theirs."""
    rows = [*tables]
    columns = {name: np.concatenate([table[name] for table in rows]) for name in rows[0]}
    return {"class": np.repeat([*names], [len(table[key]) for table in rows]), **columns}


def term_table(found: Inferred, terms: Mapping[str, list[int]]) -> Table:
    """Per class and family of factors, the joint test that none of its weights has an effect.

    Families are terms of a formula, patterns of names, and names that differ in one number only.
    """
    x, y = found.fit.train.factors, found.fit.train.responses
    numbered = families(found.fit.factors).groupby("family").indices
    terms = {**terms, **{name: [*at] for name, at in numbered.items() if [*at] not in terms.values()}}
    rows = [
        (name, term, len(places), *joint_test(c, places, x, y[:, k]))
        for k, (name, c) in enumerate(zip(found.fit.classes, found.classes, strict=True))
        for term, places in terms.items()
    ]
    return dict(zip(("class", "term", "factors", "chi2", "p"), zip(*rows, strict=True), strict=True))


def coverage_metrics(found: Inferred, by_class: Table) -> dict[str, float]:
    """The level of the intervals, and where the truth is known which fraction of weights they cover."""
    metrics = {"level": found.p.interval_level}
    if found.fit.observer is not None:
        metrics |= {name: float(by_class[name].mean()) for name in ("coverage", "classical_coverage")}
    return metrics


def corrected_recovery(found: Inferred) -> dict[str, Any]:
    """How close the corrected coefficients come to the true ones, of classes in which all are finite."""
    assert found.fit.observer is not None
    true = found.fit.observer.coefficients
    metrics: dict[str, Any] = {"residual_sd": recovery.residual_sd(found.fit.coefficients, true)}
    finite = [k for k, c in enumerate(found.classes) if not c.separated]
    if finite:
        corrected = np.stack([found.classes[k].corrected for k in finite], axis=1)
        metrics["corrected"] = recovery.recovery(corrected, true[:, finite])
    return metrics


def situations(
    found: Inferred, by_class: Table, coefficients: Table, asked: Asked, groups: Sequence[Agreement | None]
) -> list[Situation]:
    """What the answer in words needs to know about each class; from the tables of classes and of coefficients."""
    names = [*found.fit.factors, "bias"]
    pairs = [*zip(coefficients["low"], coefficients["high"], strict=True)]
    ends = np.reshape(pairs, (-1, len(names), 2)).tolist()
    return [
        Situation(
            found.fit.classes[k],
            c.signal,
            c.theory.alpha,
            c.alpha_error,
            *c.expected_classical_coverage(found.p.interval_level),
            c.guess_rate,
            c.lapse_rate,
            by_class["logistic_p"][k],
            asked[k][0],
            tuple(asked[k][1]),
            found.fit.classes[k] not in found.fit.separating,
            Unbounded(c.separated.n_separated, {names[j]: ends[k][j] for j in c.separated.infinite})
            if c.separated
            else None,
            groups[k],
        )
        for k, c in enumerate(found.classes)
    ]
