"""Do the corrected intervals cover? A simulation study over designs.

    python -m benchmarks.coverage --quick            60 replicates of the smaller designs
    python -m benchmarks.coverage                    all designs, 1000 replicates each: hours on one core, so in pieces:
    python -m benchmarks.coverage --only one-hot lags

Per design (`benchmarks.designs`) factors and truth are fixed, a fifth of the weights are zero, and responses are drawn
again for each replicate; replicates are fitted at once, as classes that share the factors. With ridge the theory
holds for random factors (for given ones, a weight is also pulled towards those whose factors happen to correlate with
its own), so factors are drawn again for every ten replicates. Beside the coverage of the worst factor is the one to
expect, by chance alone, of the worst of so many perfect intervals. What misses the goals is named.
"""

import argparse
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


class Tally:
    """Sums over one design's replicates."""

    def __init__(self, truth: Array, factors: Array) -> None:
        self.truth, centred = truth, factors - factors.mean(axis=0)  # (p + 1,), the bias last
        self.sd, self.spread = factors.std(axis=0), centred.T @ (centred @ truth[:-1])  # (p,), Σβ
        self.fits, self.infinite = 0, 0
        self.covered = np.zeros((2, len(truth)))  # classical, corrected
        self.rejected = np.zeros((2, len(truth) - 1))
        self.mean, self.finite = np.zeros((2, len(truth))), np.zeros((2, len(truth)))
        self.reasons = Counter[str]()

    def add(self, result: ClassInference) -> None:
        if result.reason:
            self.reasons[result.reason.split(": ", 1)[-1][:60]] += 1
            return
        self.fits += 1
        self.infinite += result.separated is not None
        for row, (low, high) in enumerate((result.classical_interval(), result.interval())):
            self.covered[row] += (low < self.truth) & (self.truth < high)
        for row, p in enumerate((result.classical_p_values(), result.p_values())):
            self.rejected[row] += p[:-1] < 0.05
        estimates = np.stack([result.estimate, result.corrected])
        self.finite += np.isfinite(estimates)
        self.mean += np.where(np.isfinite(estimates), estimates, 0)

    def line(self, design: Design, n: int) -> list[str]:
        covered, w = self.covered / max(self.fits, 1), self.truth[:-1] * self.sd
        weights, p = covered[:, :-1], len(self.truth) - 1
        largest = weights[:, np.abs(w) >= np.quantile(np.abs(w), 0.9)].mean(axis=1)
        chance = expected_by_rank(p, self.fits)[0]
        rejected = self.rejected[:, w == 0].mean(axis=1) / max(self.fits, 1)
        with np.errstate(invalid="ignore"):
            slopes = (self.mean / self.finite)[:, :-1] @ self.spread / (self.truth[:-1] @ self.spread)
        average, worst = weights.mean(axis=1), weights.min(axis=1)
        misses = []
        error = 0.2 / np.sqrt(self.fits * max(p / 4, 1))  # about two standard errors of an average
        if not 0.94 - error <= average[1] <= 0.965 + error:
            misses.append("average")
        if not worst[1] >= min(0.925, chance) - 0.44 * np.sqrt(1 / self.fits):  # by more than chance
            misses.append(f"factor {weights[1].argmin()}")
        error = 0.44 / np.sqrt(self.fits * max((w == 0).sum(), 1))
        if (w == 0).any() and not 0.04 - error <= rejected[1] <= 0.06 + error:
            misses.append("nulls")
        values = (*average, *largest, *worst, chance, covered[1, -1], *rejected, *slopes, self.infinite / self.fits)
        return [design.name, str(n), str(p), str(self.fits), *(f"{v:.3f}" for v in values), ", ".join(misses)]


def study(design: Design, replicates: int) -> Tally:
    rng = np.random.default_rng([2026, *design.name.encode()])
    x = design.draw(rng)
    weights, bias = draw_truth(rng, design, x)
    n, p = x.shape
    ridge = design.ridge * p / n / (design.signal or 1.0) ** 2 * float(x.var(axis=0).mean())
    yes = design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(x @ weights + bias)
    tally = Tally(np.append(weights, bias), x)
    count = REDRAWN if ridge else AT_ONCE
    for start in tqdm(range(0, replicates, count), design.name, leave=False, disable=None):
        if ridge:
            x = design.draw(rng)
            yes = design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(x @ weights + bias)
        y = rng.random((n, min(count, replicates - start))) < yes[:, None]
        y = y[:, y.any(axis=0) & ~y.all(axis=0)]
        if not y.size:
            continue
        found = fit(x, y, ridge, shrinkage=design.shrinkage)
        for strength in np.unique(found.shrinkage):
            some = found.shrinkage == strength
            fitted = x, y[:, some], found.coefficients[:, some], ridge, float(strength)
            for result in infer(*fitted, "estimate" if design.asymptotes else "none"):
                tally.add(result)
    return tally


def main(designs: list[Design], replicates: int) -> None:
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for design in designs:
        tally = study(design, replicates)
        n = design.draw(np.random.default_rng(0)).shape[0]
        print(f"| {' | '.join(tally.line(design, n))} |" if tally.fits else f"| {design.name} | refused |", flush=True)
        for reason, count in tally.reasons.most_common(3):
            print(f"    {design.name}: {count} × {reason}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 replicates of the designs that are not large")
    parser.add_argument("--replicates", type=int, help="of each design")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="designs whose names contain one of these")
    arguments = parser.parse_args()
    chosen = [d for d in DESIGNS if not (arguments.quick and d.large)]
    if arguments.only:
        chosen = [d for d in chosen if any(word in d.name for word in arguments.only)]
    main(chosen, arguments.replicates or (60 if arguments.quick else 1000))
