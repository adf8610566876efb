"""How well would the rat's days replicate one another if it never changed? A simulation for studies/rat/README.md.

    dvc repro studies/rat/dvc.yaml      reads the rat's trials
    python -m benchmarks.unchanged      twelve repeats, some five minutes

Responses are drawn anew from the corrected weights of all trials, on the same factors, and compared as by the stage
`evaluate`: without guesses and lapses, and with the rat's, whose rates are then estimated from the drawn responses.
Factors are not simulated: lagged choices stay those of the rat. Mean ± standard error over the repeats.
"""

import argparse
from contextlib import chdir
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from hdlogit.exact import fit
from hdlogit.inference import infer
from hdlogit.inference.replication import replicate
from hdlogit.psychometric.function import Floats, logits, probability
from stages.files.reading import read_fit
from stages.tables.replication import replication_metrics

Asymptotes = Literal["none", "estimate"]

STUDY = Path(__file__).parents[1] / "studies" / "rat"
CASES: dict[str, Asymptotes] = {"no rates": "none", "guess and lapse rates": "estimate"}
NUMBERS = ("classical_slope", "corrected_slope", "coverage", "corrected_heterogeneity_p")


def unchanged(x: Floats, y: NDArray[np.bool_], groups: NDArray[np.integer], asymptotes: Asymptotes, n: int) -> Floats:
    """(n, 4): the `NUMBERS` for each of n times that responses to the factors x are drawn from the truth."""
    (truth,) = infer(x, y, fit(x, y).coefficients, asymptotes=asymptotes)
    yes = probability(logits(x, truth.corrected), truth.guess_rate, truth.lapse_rate)
    responses = np.random.default_rng(2026).random((len(x), n)) < yes[:, None]
    drawn = infer(x, responses, fit(x, responses).coefficients, asymptotes=asymptotes)
    rows = []
    for c, of_one in zip(tqdm(drawn, leave=False, disable=None), responses.T, strict=True):
        of_groups = replicate(x, of_one, groups, guess_rate=c.guess_rate, lapse_rate=c.lapse_rate)
        rows.append([replication_metrics([of_groups])[name] for name in NUMBERS])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=12, help="2 or more")
    n, lines = parser.parse_args().repeats, []
    with chdir(STUDY):
        study = read_fit()
    assert study.groups is not None
    for name, asymptotes in CASES.items():
        rows = unchanged(study.train.factors, study.train.responses, study.groups, asymptotes, n)
        errors = rows.std(axis=0, ddof=1) / np.sqrt(n)
        lines.append([name, *(f"{m:.3f} ± {e:.3f}" for m, e in zip(rows.mean(axis=0), errors, strict=True))])
    heads = ["drawn with", "slope, classical", "corrected", "coverage", "p of one slope"]
    print(pd.DataFrame(lines, columns=heads).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
