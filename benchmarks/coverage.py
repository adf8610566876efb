"""Do the corrected intervals cover? A simulation study over designs.

    python -m benchmarks.coverage                    all designs, 1000 replicates each: hours on one core, so in pieces:
    python -m benchmarks.coverage --replicates 60 --only one-hot lags

Per design (`benchmarks.designs`) factors and truth are fixed, a fifth of the weights are zero, and responses are drawn
again for each replicate; replicates are fitted at once, as classes that share the factors. With ridge the theory
holds for random factors (for given ones, a weight is also pulled towards those whose factors happen to correlate with
its own), so factors are drawn again for every ten replicates. Beside the coverage of the worst factor is the one to
expect, by chance alone, of the worst of so many perfect intervals. What misses the goals is named.
"""

import argparse
import warnings
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from benchmarks.designs import DESIGNS, Design, draw_truth
from hdlogit.exact import fit
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.check import expected_by_rank

Array = NDArray[np.float64]

AT_ONCE = 50  # replicates that are fitted together
REDRAWN = 10  # with ridge, replicates that share factors
COLUMNS = (
    "design", "n", "p", "fits", "classical", "corrected", "largest: classical", "corrected", "worst: classical",
    "corrected", "(chance)", "bias", "nulls: classical", "corrected", "slope", "corrected", "separated", "misses",
)  # fmt: skip


def study(design: Design, replicates: int) -> None:
    """Print a line of the table, and the most frequent reasons of refusals."""
    rng = np.random.default_rng([2026, *design.name.encode()])
    x = first = design.draw(rng)
    weights, bias = draw_truth(rng, design, x)
    n, p = x.shape
    ridge = design.ridge * p / n / (design.signal or 1.0) ** 2 * float(x.var(axis=0).mean())
    rows, reasons = [], Counter[str]()
    count = REDRAWN if ridge else AT_ONCE
    for start in tqdm(range(0, replicates, count), design.name, leave=False, disable=None):
        x = design.draw(rng) if ridge else x
        yes = design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(x @ weights + bias)
        y = rng.random((n, min(count, replicates - start))) < yes[:, None]
        y = y[:, y.any(axis=0) & ~y.all(axis=0)]
        if not y.size:
            continue
        fitted = fit(x, y, ridge, shrinkage=design.shrinkage)
        for strength in np.unique(fitted.shrinkage):
            alike = fitted.shrinkage == strength
            how = ridge, float(strength), "estimate" if design.asymptotes else "none"
            results = infer(x, y[:, alike], fitted.coefficients[:, alike], *how)  # type: ignore[arg-type]
            reasons.update(c.reason.split(": ", 1)[-1][:60] for c in results if c.reason)
            rows += [row(c) for c in results if not c.reason]
    cells = numbers(np.array(rows), np.append(weights, bias), first) if rows else ["refused"]
    print(f"| {' | '.join([design.name, str(n), str(p), str(len(rows)), *cells])} |", flush=True)
    for reason, times in reasons.most_common(3):
        print(f"    {design.name}: {times} × {reason}", flush=True)


def row(c: ClassInference) -> Array:
    """(2, 4, p + 1): of the classical and the corrected answer low ends, high ends, estimates and p-values."""
    low, high = np.array([c.classical_interval(), c.interval()]).transpose(1, 0, 2)
    p_values = np.stack([c.classical_p_values(), c.p_values()])
    return np.stack([low, high, [c.estimate, c.corrected], p_values], axis=1)


def numbers(rows: Array, truth: Array, factors: Array) -> list[str]:
    """The columns after `fits`. rows: (fits, 2, 4, p + 1)."""
    low, high, estimates, p_values = np.moveaxis(rows, 2, 0)
    fits, p, w = len(rows), len(truth) - 1, truth[:-1] * factors.std(axis=0)
    covered = ((low < truth) & (truth < high)).mean(axis=0)
    weights, bias = covered[:, :-1], covered[1, -1]
    average, worst, chance = weights.mean(axis=1), weights.min(axis=1), expected_by_rank(p, fits)[0]
    largest = weights[:, np.abs(w) >= np.quantile(np.abs(w), 0.9)].mean(axis=1)
    centred = factors - factors.mean(axis=0)
    spread = centred.T @ (centred @ truth[:-1])  # Σβ
    with warnings.catch_warnings(action="ignore"):  # means of nothing: no null, or no finite estimate
        rejected = (p_values < 0.05).mean(axis=0)[:, :-1][:, w == 0].mean(axis=1)
        means = np.nanmean(np.where(np.isfinite(estimates), estimates, np.nan), axis=0)[:, :-1]
        slopes = means @ spread / (truth[:-1] @ spread)
    misses = []
    error = 0.2 / np.sqrt(fits * max(p / 4, 1))  # about two standard errors of an average
    if not 0.94 - error <= average[1] <= 0.965 + error:
        misses.append("average")
    if not worst[1] >= min(0.925, chance) - 0.44 * np.sqrt(1 / fits):  # by more than chance
        misses.append(f"factor {weights[1].argmin()}")
    error = 0.44 / np.sqrt(fits * max((w == 0).sum(), 1))
    if (w == 0).any() and not 0.04 - error <= rejected[1] <= 0.06 + error:
        misses.append("nulls")
    separated = (~np.isfinite(estimates[:, 1])).any(axis=1).mean()
    values = (*average, *largest, *worst, chance, bias, *rejected, *slopes, separated)
    return [*(f"{v:.3f}" for v in values), ", ".join(misses)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000, help="of each design")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[""], help="designs with one of these in the name")
    arguments = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for design in DESIGNS:
        if any(word in design.name for word in arguments.only):
            study(design, arguments.replicates)
