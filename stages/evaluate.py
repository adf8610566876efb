"""Stage `evaluate`: score the fit on its own trials and on held-out ones, and report how far it can be trusted.

Without data/observer.npy (a person's own trials) everything that needs the truth is left out; without an exact fit,
everything that the theory of exact fits predicts. Each class without an estimate is left out, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from hdlogit.compute.threads import each
from hdlogit.psychometric.function import log_odds
from hdlogit.scores.blocks import blocks
from hdlogit.scores.predictions import write_logits
from stages.files.account import named
from stages.files.errors import InputError, run_stage
from stages.files.fit import Fit, read_fit
from stages.files.parameters import Evaluate, read_parameters
from stages.files.reading import Floats, read_groups
from stages.files.writing import Outputs
from stages.tables import Findings, scores

LARGEST_FACTOR = 1e100  # its square and sums of such squares are finite
LARGEST_LOGIT = 1e6  # a single wrong one beyond it would decide the mean over all trials


def main() -> None:
    p = read_parameters().evaluate
    whole = read_fit()
    fit = whole.part(whole.evidence.classes)
    exact = fit.evidence.solver == "exact"
    with Outputs("evaluate") as outputs:
        with steps(4 if exact else 2) as begin:
            if exact:
                from stages.tables import inference  # imports scipy, so only if needed

                begin("inference")
                names = [named(name, "factor") for name in fit.factors]
                check_size("train", fit.train.factors, names, LARGEST_FACTOR, ", too large to compute with")
                results = inference.infer_classes(fit, p)
                fit = inference.refined(fit, results)
            begin("predictions")
            logits = held_out_logits(fit, outputs)
            found = scores.predicted(fit, logits, p) + scores.recovered(fit)
            begin("trajectory")
            found += scores.trajectory(fit)
            if exact:
                begin("corrected predictions")
                corrected = {name: outputs.scratch_array(fit.test.responses.shape) for name in ("debiased", "best")}
                found += inference.inferred(fit, results, logits["fitted"], corrected, p)
        if exact:
            found += replication(fit, found, p)
        else:
            found.notices.append("intervals and corrections are left out: they are for exact fits, train.solver: exact")
        found += scores.evidence(whole)
        if "calibration.csv" not in found.tables:
            found += calibration_on_training_trials(fit, outputs, p)
        if not len(fit.test.factors):
            source = "leave-one-out predictions" if "loo" in found.metrics else "the training trials, which flatters it"
            found.notices.append(f"no trials are held out: calibration.csv and histogram.csv are of {source}")
        if fit.observer is None and fit.description is None:
            found.notices.append("data/observer.npy is absent: what needs the truth is left out")
        write(outputs, found)


@contextmanager
def steps(total: int) -> Iterator[Callable[[str], None]]:
    """On a terminal, a line that names the step that has begun."""
    with tqdm(total=total, disable=None, leave=False, bar_format="{desc}step {n} of {total}, {elapsed}") as bar:

        def begin(step: str) -> None:
            bar.n += 1
            bar.set_description(step)

        yield begin


def replication(fit: Fit, found: Findings, p: Evaluate) -> Findings:
    """Do groups of trials replicate one another? For the classes that have an inference, as `found` says."""
    inferred = found.tables.get("inference/classes.csv")
    if inferred is None or fit.description is None or not fit.description.groups:
        return Findings()
    part = fit.part([fit.classes.index(name) for name in inferred["class"]])
    if part.evidence.ridge or any(part.evidence.shrinkage):
        return Findings(notices=["replication across groups is left out: it is for fits without ridge and shrinkage"])
    from stages.tables.replication import replicated  # imports torch, for the fits of the groups

    rates = [*zip(inferred["guess_rate"], inferred["lapse_rate"], strict=True)]
    total = len(fit.description.groups) * len(set(rates))
    with tqdm(total=total, unit="group", desc="replication", disable=None, leave=False) as progress:
        return replicated(
            part,
            read_groups(fit.train, len(fit.description.groups)),
            rates,
            p.interval_level,
            lambda done: progress.update(done - progress.n),
        )


def held_out_logits(fit: Fit, outputs: Outputs) -> dict[str, Floats]:
    """Logits of the held-out trials by the fit and, where it is known, by the true observer: files of the run."""
    logits = {"fitted": outputs.scratch_array(fit.test.responses.shape)}
    write_logits(fit.test.factors, fit.coefficients, out=logits["fitted"])
    names = [f"the logit of {named(name, 'class')}" for name in fit.classes]
    damaged = ": a factor is damaged, or in other units than that trained on (or the fit has diverged)"
    check_size("test", logits["fitted"], names, LARGEST_LOGIT, damaged)
    if fit.observer is not None:
        logits["true"] = true = outputs.scratch_array(fit.test.responses.shape)
        write_logits(fit.test.factors, fit.observer.coefficients, out=true)
        for rows in blocks(*true.shape):
            true[rows] = log_odds(true[rows], *fit.observer.rates)
    return logits


def calibration_on_training_trials(fit: Fit, outputs: Outputs, p: Evaluate) -> Findings:
    """Used where no other trials are predicted; it flatters the fit."""
    logits = outputs.scratch_array(fit.train.responses.shape)
    write_logits(fit.train.factors, fit.coefficients, out=logits)
    return Findings(tables=scores.calibrated({"fitted": logits}, fit.train.responses, p))


def check_size(split: str, numbers: Floats, names: Sequence[str], largest: float, what: str) -> None:
    """Raise InputError for the first of `numbers` (n_trials, width), factors or logits, that is NaN or beyond."""
    largest = min(largest, float(np.finfo(numbers.dtype).max))
    parts = [*blocks(*numbers.shape)]
    within = each(lambda rows: numbers[rows].max() <= largest and numbers[rows].min() >= -largest, parts)
    for rows, fine in zip(parts, within, strict=True):
        if not fine:  # nor where one is NaN
            trial, column = np.argwhere(~(np.abs(numbers[rows]) <= largest))[0] + [rows.start, 0]
            value = numbers[trial, column]
            why = "which is no number" if np.isnan(value) else f"beyond ±{largest:g}"
            raise InputError(f"data/{split}/factors.npy, trial {trial}: {names[column]} is {value:.3g}, {why}{what}")


def write(outputs: Outputs, found: Findings) -> None:
    """Tables, metrics, and what was left out."""
    outputs.json("metrics.json", found.metrics)
    for name, table in found.tables.items():
        outputs.table(name, table)
    if found.notices:
        outputs.text("inference/left_out.txt", "\n".join(found.notices))
    if found.answer:
        outputs.text("inference/answer.txt", "\n".join(found.answer))
    print(*dict.fromkeys([*found.notices, *found.answer]), sep="\n")  # what is left out may be the answer


if __name__ == "__main__":
    run_stage(main)
