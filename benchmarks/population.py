"""Several observers: does the interval of the population mean cover? Beside what people do today.

    python -m benchmarks.population --replicates 100

Observers' weights are those of the population plus differences of sd `spread` times the root mean square of the
population's weights, smaller for some factors than for others (0.2 to 1.8 times). Per design: coverage of 95 %
intervals of the population means, over all factors and of the worst one (beside it what chance makes of the worst),
rejections of a family without effect (the last fifth of the factors), and the slope of the means on the truth. Then
slope and coverage of means of classical weights ± t standard errors, and of one classical fit to all trials.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit
from tqdm import tqdm

from hdlogit import population
from hdlogit.exact import fit
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.check import expected_by_rank

Array = NDArray[np.float64]


def normal(n: int, p: int, rng: np.random.Generator) -> Array:
    return rng.normal(size=(n, p))


def signal_and_frames(n: int, p: int, rng: np.random.Generator) -> Array:
    """Signal present or absent, noise frames, and frames where the signal is present."""
    signal, frames = rng.choice([-0.5, 0.5], (n, 1)), rng.normal(size=(n, p // 2))
    return np.hstack([signal, frames, (frames * (signal > 0))[:, : p - 1 - p // 2]])


@dataclass(frozen=True)
class Design:
    trials: list[int]  # of each observer
    n_factors: int
    spread: float
    draw: Callable[[int, int, np.random.Generator], Array] = normal
    signal: float = 1.5  # sd of the logit that the population's weights give

    def __str__(self) -> str:
        lowest, highest = min(self.trials), max(self.trials)
        trials = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        kind = "" if self.draw is normal else ", signal × frames"
        return f"{len(self.trials)} × {trials} × {self.n_factors}, {self.spread:g}{kind}"


def spaced(count: int, low: int, high: int) -> list[int]:
    return [int(n) for n in np.geomspace(low, high, count)]


DESIGNS = [
    Design([300] * 4, 5, 0.0),
    Design([300] * 4, 20, 0.5),
    Design(spaced(4, 150, 1000), 10, 1.0),
    Design([150] * 8, 5, 0.5),
    Design([300] * 8, 40, 0.5),
    Design(spaced(8, 200, 1000), 20, 0.0),
    Design(spaced(8, 200, 1000), 20, 1.0),
    Design(spaced(8, 200, 1000), 21, 0.5, signal_and_frames),
    Design([150] * 20, 20, 0.5),
    Design(spaced(20, 150, 1000), 5, 1.0),
    Design(spaced(20, 200, 600), 33, 0.5, signal_and_frames),
]


def observer(x: Array, y: NDArray[np.bool_]) -> ClassInference:
    found = fit(x, y[:, None], polish=True, shrinkage="auto")
    return infer(x, y[:, None], found.coefficients, shrinkage=float(found.shrinkage[0]))[0]


def of_population(design: Design, rng: np.random.Generator) -> tuple[Array, Array]:
    """Mean and sd of the observers' weights (p,), the last fifth of mean 0."""
    p = design.n_factors
    truth = rng.normal(size=p)
    truth[p - p // 5 :] = 0
    truth *= design.signal / (design.draw(4000, p, rng) @ truth).std()
    return truth, design.spread * np.sqrt(np.mean(truth**2)) * np.linspace(0.2, 1.8, p)[rng.permutation(p)]


def study(design: Design, replicates: int) -> list[str]:
    """A line of the table."""
    rng = np.random.default_rng([31, *str(design).encode()])
    p, nulls = design.n_factors, range(design.n_factors - design.n_factors // 5, design.n_factors)
    truth, spread = of_population(design, rng)
    covered, slopes, rejected = np.zeros((3, p)), np.zeros((replicates, 3)), 0
    for replicate in tqdm(range(replicates), str(design), leave=False, disable=None):
        xs = [design.draw(n, p, rng) for n in design.trials]
        ys = [rng.random(len(x)) < expit(x @ (truth + spread * rng.normal(size=p))) for x in xs]
        results = [observer(x, y) for x, y in zip(xs, ys, strict=True)]
        whole = population(results, families={"null": nulls})
        rejected += whole.families["null"].p_value < 0.05
        classical = np.stack([c.estimate[:-1] for c in results if not c.reason])
        k, mean = len(classical), classical.mean(axis=0)
        half = stdtrit(k - 1, 0.975) * classical.std(axis=0, ddof=1) / np.sqrt(k)
        one = observer(np.vstack(xs), np.concatenate(ys))
        of_one = [end[:-1] for end in one.classical_interval()]
        intervals = whole.interval(), (mean - half, mean + half), of_one
        covered += [(low < truth) & (truth < high) for low, high in intervals]
        slopes[replicate] = [w @ truth / (truth @ truth) for w in (whole.mean, mean, one.estimate[:-1])]
    covered /= replicates
    chance = expected_by_rank(p, replicates)[0]
    cells = [f"{covered[0].mean():.3f}, {covered[0].min():.2f} ({chance:.2f})", f"{rejected / replicates:.2f}"]
    cells += [f"{slopes[:, 0].mean():.3f} ± {slopes[:, 0].std(ddof=1) / np.sqrt(replicates):.3f}"]
    cells += [f"{s.mean():.2f}, {c.mean():.2f}" for s, c in zip(slopes.T[1:], covered[1:], strict=True)]
    return [str(design), *cells]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=100, help="of each design")
    replicates = parser.parse_args().replicates
    heads = ["observers × trials × factors, spread", "covered, worst (chance)", "null family", "slope"]
    heads += ["classical means: slope, covered", "all trials"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for design in DESIGNS:
        print(f"| {' | '.join(study(design, replicates))} |", flush=True)
