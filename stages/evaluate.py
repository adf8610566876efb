"""Stage `evaluate`: score the fit on its own trials and on held-out ones, and say how far it can be trusted.

Without data/observer.npy (a person's own trials) everything that needs the truth is left out; without an exact fit
everything that the theory of exact fits says.
"""

from __future__ import annotations

from collections.abc import Mapping

from hdlogit.scores.predictions import all_finite, write_logits
from stages.errors import InputError, run_stage
from stages.files.reading import Floats, Trials, read_checkpoints, read_model, read_observer, read_trials
from stages.files.writing import Outputs
from stages.parameters import read_parameters
from stages.tables import Findings, scores


def main() -> None:
    p = read_parameters().evaluate
    train, test = read_trials("train"), read_trials("test")
    observer, model = read_observer(), read_model()
    checkpoints = read_checkpoints(model.evidence.checkpoints)
    check_shapes({"train": train, "test": test}, model.coefficients, observer, checkpoints)
    with Outputs("evaluate") as outputs:
        coefficients = {"fitted": model.coefficients} | ({} if observer is None else {"true": observer})
        logits = {name: outputs.scratch_array(test.responses.shape) for name in coefficients}
        for name, w in coefficients.items():
            write_logits(test.factors, w, out=logits[name])
        if not all_finite(logits["fitted"]):
            raise InputError("data/test/factors.npy holds NaN or infinite factors; they must be finite")
        found = (
            scores.held_out(logits, test.responses, p)
            + scores.recovered(model.coefficients, observer)
            + scores.trajectory(train, test, model.coefficients, checkpoints, observer)
        )
        if model.evidence.solver == "lbfgs":
            from stages.tables import inference  # and with it scipy: only what needs it pays for it

            corrected = {name: outputs.scratch_array(test.responses.shape) for name in ("debiased", "best")}
            found += inference.inferred(train, test, model, observer, logits["fitted"], corrected, p)
        else:
            found.notices.append("intervals and corrections are left out: they are for exact fits, train.solver: lbfgs")
        if observer is None:
            found.notices.append("data/observer.npy is absent: what needs the truth is left out")
        write(outputs, found + scores.evidence(model.evidence))


def write(outputs: Outputs, found: Findings) -> None:
    """Tables, metrics, and what was left out."""
    outputs.json("metrics.json", found.metrics)
    for name, table in found.tables.items():
        outputs.table(name, table)
    for notice in found.notices:
        print(notice)
    if found.notices:
        outputs.text("inference/left_out.txt", "\n".join(found.notices))


def check_shapes(
    splits: Mapping[str, Trials], fitted: Floats, observer: Floats | None, checkpoints: Mapping[int, Floats]
) -> None:
    """Raise InputError unless the trials, the truth and every fit speak of the same factors and classes."""
    named = {"model.safetensors": fitted, "observer.npy": observer}
    named |= {f"checkpoints, epoch {epoch}": w for epoch, w in checkpoints.items()}
    for name, trials in splits.items():
        shape = (trials.factors.shape[1] + 1, trials.responses.shape[1])
        for what, coefficients in named.items():
            if coefficients is not None and coefficients.shape != shape:
                found = (coefficients.shape[0] - 1, coefficients.shape[1])
                raise InputError(
                    f"data/{what} has {found[0]} factors and {found[1]} classes, but data/{name} has {shape[0] - 1} "
                    f"and {shape[1]}; the stages that write them must run again"
                )


if __name__ == "__main__":
    run_stage(main)
