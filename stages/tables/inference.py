"""How far an exact fit can be trusted: from the data alone, and compared with the truth where it is known.

The statistics are in `hdlogit.inference` (these data) and `hdlogit.asymptotics` (what to expect of such data), with
their sources and what is proven; here they are put side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hdlogit.asymptotics.existence import existence_threshold
from hdlogit.asymptotics.planning import smallest_n_trials
from hdlogit.compute.threads import each, single_threaded_blas
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.curve import psychometric_curve
from hdlogit.inference.link import logistic_test
from hdlogit.inference.separation import Constant
from hdlogit.inference.terms import joint_test
from hdlogit.psychometric.function import Floats, logits, probability
from hdlogit.scores import calibration, recovery
from hdlogit.scores.blocks import blocks
from hdlogit.scores.predictions import Booleans
from stages.files.account import named
from stages.files.fit import Fit
from stages.files.parameters import Evaluate
from stages.tables import Findings, Table
from stages.tables.answer import Situation, Unbounded, trustworthy, without_inference
from stages.tables.coefficients import coefficient_table, raw_columns
from stages.tables.scores import calibrated, coefficient_rows, prediction_scores
from stages.tables.theory import map_table, planning_table, theory_metrics

SCORES = ("cross_entropy", "brier", "calibration_intercept", "calibration_slope")  # of corrected predictions

Classes = Mapping[int, ClassInference]  # by place among the classes of the fit


Results = Sequence[ClassInference]


def refined(fit: Fit, results: Results) -> Fit:
    """The fit with the coefficients that inference begins with: a Newton step from the stored ones."""
    coefficients = fit.coefficients.copy()
    for k, result in enumerate(results):
        if not result.reason:
            coefficients[:, k] = result.estimate
    return replace(fit, coefficients=coefficients)


def inferred(fit: Fit, results: Results, fitted: Floats, corrected: Mapping[str, Floats], p: Evaluate) -> Findings:
    """What inference says about an exact fit's coefficients, with a notice for each class that has none.

    results: of `infer_classes`; fitted: held-out logits (n_test_trials, n_classes); `debiased` and `best` in
    `corrected` are arrays of that shape, to be filled. A class without inference keeps its fitted logits there.
    """
    classes = {k: result for k, result in enumerate(results) if not result.reason}
    names = [named(name, "class") for name in fit.classes]
    reasons = {k: result.reason for k, result in enumerate(results) if result.reason}
    notices = [f"{names[k]}: inference is left out: {reason}" for k, reason in reasons.items()]
    notices += [f"{names[k]}: {c.note}" for k, c in classes.items() if c.note and not c.separated]  # the answer says it
    told = {fit.classes[k] for k, c in classes.items() if c.separated}
    shrunk = {name: factors for name, factors in fit.separating.items() if name not in told}
    untold = without_inference({fit.classes[k]: reason for k, reason in reasons.items()}, shrunk)
    if not classes:
        return Findings(notices=notices, answer=untold)
    part, found = fit.part([*classes]), [*classes.values()]
    responses = left_out_responses(part.train.responses, found[0])
    table, by_class = coefficient_table(found, p.interval_level), class_table(part, found, responses, p)
    metrics: dict[str, Any] = {"inference": {"level": p.interval_level}}
    findings = predictions_left_out(found, responses, p)
    if len(fit.test.factors):
        findings = Findings(findings.metrics)  # the tables are of the held-out trials
        write_corrected_logits(classes, fit.test.factors, fitted, corrected)
        findings += corrected_predictions("test", corrected, fit.test.responses, p)
    if part.observer is not None:
        by_class |= coverage(table, part.observer.coefficients)
        findings += recovered(found, part.coefficients, by_class, part.observer.coefficients)
    metrics["theory"] = theory_metrics(found, by_class, p.interval_level)
    tables = {
        "inference/classes.csv": by_class,
        "inference/coefficients.csv": {**coefficient_rows(part), **table},
        "inference/planning.csv": planning_table(found, len(part.train.factors)),
        "inference/map.csv": map_table(max(1.25 * metrics["theory"]["signal"], 1)),
        **curve_tables(part, found, responses),
    }
    if fit.description:
        tables["inference/terms.csv"] = term_table(part, found, fit.description.terms)
        if fit.description.standardise:
            tables["inference/coefficients.csv"] |= raw_columns(found, fit.description, p.interval_level)
    size, classified = (len(part.train.factors), len(part.factors)), situations(part, by_class, table, found, p)
    answer = trustworthy(*size, p.interval_level, classified, estimated=rates_estimated(p))
    return findings + Findings(metrics, tables, notices, answer + untold)


def situations(
    part: Fit, by_class: Table, table: Table, classes: Sequence[ClassInference], p: Evaluate
) -> list[Situation]:
    """What the answer in words needs to know about each class."""
    names, odd = map(str, by_class["class"]), by_class["logistic_p"]
    coefficients = [*part.factors, "bias"]
    intervals = np.reshape([*zip(table["low"], table["high"], strict=True)], (len(classes), -1, 2)).tolist()
    return [
        Situation(
            name,
            c.theory.signal,
            c.theory.alpha,
            c.alpha_error,
            *c.expected_classical_coverage(p.interval_level),
            c.guess_rate,
            c.lapse_rate,
            logistic_p,
            name not in part.separating,
            None
            if c.separated is None
            else Unbounded(c.separated.n_separated, {coefficients[j]: ends[j] for j in c.separated.infinite}),
        )
        for name, c, logistic_p, ends in zip(names, classes, odd, intervals, strict=True)
    ]


def infer_classes(fit: Fit, p: Evaluate) -> list[ClassInference]:
    """A result or a reason for each class; classes that were shrunk alike are inferred together."""
    guess_rate, lapse_rate = known_rates(p)
    results: dict[int, ClassInference] = {}
    for strength in set(fit.evidence.shrinkage):
        places = [k for k, s in enumerate(fit.evidence.shrinkage) if s == strength]
        part = fit.part(places)
        x, y, w = part.train.factors, part.train.responses, part.coefficients
        found = infer(x, y, w, fit.evidence.ridge, strength, p.asymptotes, guess_rate, lapse_rate, fit.factors)
        results |= dict(zip(places, found, strict=True))
    return [results[k] for k in range(len(fit.classes))]


def known_rates(p: Evaluate) -> tuple[float | None, float | None]:
    """Guess and lapse rate as given; None for auto."""
    guess_rate, lapse_rate = (None if rate == "auto" else rate for rate in (p.guess_rate, p.lapse_rate))
    return guess_rate, lapse_rate


def rates_estimated(p: Evaluate) -> bool:
    """Whether guess or lapse rates are estimated."""
    return p.asymptotes == "estimate" and None in known_rates(p)


def left_out_responses(responses: Booleans, c: ClassInference) -> Booleans:
    """Those (m,) or (m, n_classes) of the trials that were left out one by one: all, or some, evenly spaced."""
    return np.asarray(responses[:: -(-len(responses) // len(c.index.logit))])


def predictions_left_out(classes: Sequence[ClassInference], responses: Booleans, p: Evaluate) -> Findings:
    """Scores of predictions of each training trial from the fit to all others, and their calibration."""
    plain, debiased, best = (
        np.stack(logits, axis=1) for logits in zip(*(c.leave_one_out for c in classes), strict=True)
    )
    corrected = {"debiased": debiased, "best": best}
    found = corrected_predictions("loo", corrected, responses, p)
    return Findings({"loo": prediction_scores(plain, responses)}, calibrated({"fitted": plain}, responses, p)) + found


def corrected_predictions(section: str, corrected: Mapping[str, Floats], responses: Booleans, p: Evaluate) -> Findings:
    """Scores of the debiased fit and of the best prediction, and their calibration curves."""
    metrics, tables = {}, {}
    for name, predicted in corrected.items():
        scores = prediction_scores(predicted, responses)
        metrics[name] = {key: scores[key] for key in SCORES}
        curve = calibration.calibration_curve(predicted, responses, p.calibration_bins)
        tables[f"inference/calibration_{name}.csv"] = vars(curve)
    return Findings({section: metrics}, tables)


def curve_tables(part: Fit, classes: Sequence[ClassInference], responses: Booleans) -> dict[str, Table]:
    """The psychometric curve of each class along its leave-one-out index: bins of trials, and smooth curves.

    `true`, where the observer is known, is the mean of its probabilities over the trials of a bin.
    """

    def curve_of(k: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
        c, y = classes[k], responses[:, k]
        curve = psychometric_curve(*c.index, y, c.link)
        bins = {key: getattr(curve, key) for key in ("index", "trials", "observed", "low", "high")}
        smooth = {key: getattr(curve, key) for key in ("grid", "fitted", "logistic", "function")}
        if part.observer is not None:
            x = part.train.factors[:: -(-len(part.train.factors) // len(y))]
            true = probability(logits(x, part.observer.coefficients[:, k]), *part.observer.rates[:, k])
            in_bins = np.array_split(true[np.argsort(c.index.logit)], len(curve.index))
            smooth["true"] = np.interp(curve.grid, curve.index, [some.mean() for some in in_bins])
        return bins, smooth

    with single_threaded_blas():
        bins, smooth = zip(*each(curve_of, range(len(classes))), strict=True)
    return {
        "inference/curve_bins.csv": stacked(part.classes, bins),
        "inference/curve.csv": stacked(part.classes, smooth),
    }


def term_table(part: Fit, classes: Sequence[ClassInference], terms: Mapping[str, Sequence[int]]) -> Table:
    """Per class and term of a formula: the joint test that none of its weights has an effect."""
    rows = [
        (name, term, len(places), *joint_test(c, places, part.train.factors, y))
        for name, c, y in zip(part.classes, classes, part.train.responses.T, strict=True)
        for term, places in terms.items()
    ]
    return dict(zip(("class", "term", "factors", "chi2", "p"), zip(*rows, strict=True), strict=True))


def stacked(names: Sequence[str], tables: Sequence[Mapping[str, Floats]]) -> Table:
    """Tables of the same columns one below the other, after a column with the class."""
    lengths = [len(next(iter(table.values()))) for table in tables]
    columns = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
    return {"class": np.repeat(np.array(names), lengths), **columns}


def recovered(classes: Sequence[ClassInference], coefficients: Floats, by_class: Table, true: Floats) -> Findings:
    """Coverage of the intervals, and how close the corrected coefficients come to the true ones, of classes in which
    all are finite.
    """
    found: dict[str, Any] = {"residual_sd": recovery.residual_sd(coefficients, true)}
    finite = [k for k, c in enumerate(classes) if not c.separated]
    if finite:
        corrected = np.stack([classes[k].corrected for k in finite], axis=1)
        found["corrected"] = recovery.recovery(corrected, true[:, finite])
    inference = {name: float(by_class[name].mean()) for name in ("coverage", "classical_coverage")}
    return Findings({"inference": inference, "recovery": found})


def class_table(part: Fit, classes: Sequence[ClassInference], responses: Booleans, p: Evaluate) -> dict[str, Any]:
    """Per class: where it is on the map, from the data alone (columns as in `theory_metrics`).

    logistic_p: p-value of the test that the psychometric function is logistic, with known rates only; inflation: of
    the variance of a weight by correlations of the factors.
    """
    observers = [(c.theory.signal, float(c.theory.intercept), c.guess_rate, c.lapse_rate) for c in classes]
    n_factors, known = len(part.factors), [rate or 0.0 for rate in known_rates(p)]

    def logistic_p(k: int) -> float:
        separated = classes[k].separated
        if separated is None:
            index, y = classes[k].index, responses[:, k]
        elif isinstance(separated.others, Constant):
            return 1.0
        else:  # separated trials follow any function
            index, y = separated.others.index, separated.responses[separated.separation.left]
            y = left_out_responses(y, separated.others)
        return logistic_test(*index, y, guess_rate=known[0], lapse_rate=known[1]).p_value

    return {
        "class": part.classes,
        "signal": [signal for signal, *_ in observers],
        "intercept": [intercept for _, intercept, *_ in observers],
        "guess_rate": [c.guess_rate for c in classes],
        "lapse_rate": [c.lapse_rate for c in classes],
        "logistic_p": [*each(logistic_p, range(len(classes)))],
        "alpha": [c.theory.alpha for c in classes],
        "inflation": [c.inflation for c in classes],
        "existence_threshold": [existence_threshold(*observer) for observer in observers],
        "smallest_n_trials": [smallest_n_trials(n_factors, *observer) for observer in observers],
        "certificate": [_bound(c.certificate) for c in classes],
    }


def _bound(certificate: float) -> float:
    """The next power of ten: a certificate is a solver's last step, and only its order of magnitude has a meaning."""
    return 10.0 ** math.ceil(math.log10(certificate)) if certificate > 0 else 0.0


def coverage(table: Table, true: Floats) -> dict[str, Floats]:
    """Per class, the fraction of weights whose interval holds the `true` one; that is (n_factors + 1, n_classes)."""
    truth = true.T  # (n_classes, n_factors + 1), as the table goes

    def covered(low: str, high: str) -> Floats:
        inside = (table[low].reshape(truth.shape) <= truth) & (truth <= table[high].reshape(truth.shape))
        return np.asarray(inside[:, :-1].mean(1))

    return {
        "classical_coverage": covered("classical_low", "classical_high"),
        "coverage": covered("low", "high"),
    }


def write_corrected_logits(classes: Classes, factors: Floats, fitted: Floats, corrected: Mapping[str, Floats]) -> None:
    """For held-out trials with these fitted logits (n, n_classes): those of the debiased weights, and the best ones."""

    def write(k: int) -> None:
        for rows in blocks(len(fitted), 1):
            corrected["debiased"][rows, k], corrected["best"][rows, k] = classes[k].corrected_logits(
                factors[rows], fitted[rows, k]
            )

    for out in corrected.values():
        out[:] = fitted
    with single_threaded_blas():
        list(each(write, [*classes]))
