"""A classical fit to observers who guess and lapse: what the theory says, and what simulations give.

    python -m benchmarks.rates          the table of docs/theory.md

For each design 20 sets of Gaussian factors, and on each 10 observers with weights of their own; means over all, and the
standard error of that over the sets. Held-out cross-entropy is of the fit on fresh trials, in nats per response.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from hdlogit.asymptotics.predictions import predict
from hdlogit.asymptotics.theory import solve
from hdlogit.exact import fit

Array = NDArray[np.float64]

SETS, OBSERVERS, FRESH = 20, 10, 20_000


class Design(NamedTuple):
    n: int
    p: int
    signal: float
    intercept: float
    guess_rate: float
    lapse_rate: float


DESIGNS = (
    Design(2000, 400, 2, 0.5, 0.1, 0.05),
    Design(2000, 300, 3, 0, 0.5, 0.02),
    Design(3000, 300, 5, -1, 0.02, 0.1),
    Design(1500, 400, 4, 0, 0.2, 0.2),
)


def observed(design: Design, rng: np.random.Generator) -> Array:
    """(3,) means over observers on one set of factors: slope, sd of the rest of the logits, held-out cross-entropy."""
    n, p, signal, intercept, guess, lapse = design
    x, fresh = rng.normal(size=(n, p)), rng.normal(size=(FRESH, p))
    weights = rng.normal(size=(p, OBSERVERS))
    weights *= signal / np.linalg.norm(weights, axis=0)

    def responses(factors: Array) -> NDArray[np.bool_]:
        probability = guess + (1 - guess - lapse) * expit(factors @ weights + intercept)
        return np.asarray(rng.random(probability.shape) < probability)

    found = fit(x, responses(x)).coefficients
    slopes = (found[:-1] * weights).sum(axis=0) / signal**2
    rest = np.linalg.norm(found[:-1] - slopes * weights, axis=0)
    logits = fresh @ found[:-1] + found[-1]
    loss = np.logaddexp(0, np.where(responses(fresh), -logits, logits)).mean(axis=0)
    return np.asarray(np.nanmean([slopes, rest, loss], axis=1))  # without classes that have no estimate


def main() -> None:
    rng, rows = np.random.default_rng(2026), []
    for design in DESIGNS:
        n, p, signal, intercept, guess, lapse = design
        a = solve(p / n, signal, intercept, guess_rate=guess, lapse_rate=lapse)
        theory = a.alpha, a.s, predict(a).held_out
        sets = np.array([observed(design, rng) for _ in tqdm(range(SETS), leave=False, disable=None)])
        errors = sets.std(axis=0, ddof=1) / np.sqrt(SETS)
        cells = [f"{t:.3f}, {m:.3f} ± {e:.3f}" for t, m, e in zip(theory, sets.mean(axis=0), errors, strict=True)]
        rows.append([f"{n}×{p}, {signal:g}, {intercept:g}, {guess:g}, {lapse:g}", *cells])
    heads = ["n × p, γ, β0, g, l", "slope: theory, simulated", "sd of the rest", "held-out cross-entropy"]
    print(pd.DataFrame(rows, columns=heads).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
