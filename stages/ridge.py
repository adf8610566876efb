"""Stage `ridge`: the strength of an exact fit's ridge, as given, or the best one by theory."""

from __future__ import annotations

from stages.errors import InputError, run_stage
from stages.files.reading import read_trials
from stages.files.writing import Outputs
from stages.parameters import read_parameters


def main() -> None:
    p = read_parameters().train
    with Outputs("ridge") as outputs:
        outputs.json("ridge.json", {"ridge": best() if p.ridge == "auto" else float(p.ridge)})


def best() -> float:
    """The best strength for the training trials."""
    from hdlogit.inference import ridge  # imports torch and scipy, which a given strength does not need

    trials = read_trials("train")
    try:
        strength = ridge.choose(trials.factors, trials.responses)
    except ValueError as error:
        raise InputError(f"data/train: {error} (params.yaml: train.ridge = auto)") from None
    print(f"ridge {strength:.6g}, the best by theory")
    return strength


if __name__ == "__main__":
    run_stage(main)
