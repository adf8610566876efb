"""Do the corrected intervals cover? A simulation study over designs, and a sweep of the solver.

python -m benchmarks.coverage              the table of designs, some ten minutes on one core
python -m benchmarks.coverage --sweep 2000 solves so many random cases, none may fail
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from hdlogit.asymptotics.existence import existence_threshold
from hdlogit.asymptotics.planning import intercept_for
from hdlogit.asymptotics.predictions import best_logits, best_ridge, debiased_logits
from hdlogit.asymptotics.theory import solve
from hdlogit.inference.infer import infer
from tests.problems import fit, random_observer

Array = NDArray[np.float64]

N_FRESH = 20_000  # trials per experiment, for the held-out cross-entropies
N_CLASSES = 5


@dataclass(frozen=True)
class Design:
    name: str
    n_trials: int
    n_factors: int
    signal: float  # γ
    base_rate: float = 0.5
    factors: str = "normal"  # or "ar1", "binary", "t8"; mean 0 and variance 1 all
    sparsity: float = 1.0  # share of weights that are not zero
    mean: float = 0.0  # of every factor
    ridge: bool = False  # at the strength that the theory recommends


DESIGNS = [
    Design("weak signal", 2000, 200, 1.0),
    Design("strong signal", 2000, 200, 4.0),
    Design("as in the notebook", 10_000, 256, 16.0),
    Design("notebook, fewer factors", 4000, 100, 16.0),
    Design("AR(1), 0.7", 2000, 200, 3.0, factors="ar1"),
    Design("binary factors", 2000, 200, 3.0, factors="binary"),
    Design("heavy tails, t8", 2000, 200, 3.0, factors="t8"),
    Design("1 weight in 10", 2000, 200, 3.0, sparsity=0.1),
    Design("base rate 0.1", 3000, 200, 3.0, base_rate=0.1),
    Design("base rate 0.1, means 0.5", 3000, 200, 3.0, base_rate=0.1, mean=0.5),
    Design("many factors, AR(1), 0.3", 2000, 400, 2.0, base_rate=0.3, factors="ar1"),
    Design("ridge", 2000, 200, 4.0, ridge=True),
    Design("ridge, as in the notebook", 10_000, 256, 16.0, ridge=True),
    Design("ridge, no estimate without", 1000, 400, 3.0, ridge=True),
]


def draw_factors(rng: np.random.Generator, design: Design, n: int) -> Array:
    shape = (n, design.n_factors)
    if design.factors == "binary":
        return np.asarray(rng.choice([-1.0, 1.0], size=shape))
    if design.factors == "t8":
        return np.asarray(rng.standard_t(8, size=shape) / np.sqrt(8 / 6))
    x = rng.normal(size=shape)
    if design.factors == "ar1":
        for j in range(1, design.n_factors):
            x[:, j] = 0.7 * x[:, j - 1] + np.sqrt(1 - 0.7**2) * x[:, j]
    return x


def draw_observer(rng: np.random.Generator, design: Design) -> Array:
    """True coefficients (p + 1, k) with Var(x·β) = γ² and the base rate asked for."""
    p = design.n_factors
    weights = rng.normal(size=(p, N_CLASSES)) * (rng.random((p, N_CLASSES)) < design.sparsity)
    lag = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    covariance = 0.7**lag if design.factors == "ar1" else np.eye(p)
    weights *= design.signal / np.sqrt(np.einsum("ik,ij,jk->k", weights, covariance, weights))
    bias = intercept_for(design.base_rate, design.signal) - design.mean * weights.sum(axis=0)
    return np.vstack([weights, bias])


def experiment(rng: np.random.Generator, design: Design, ridge: float) -> Array:
    """Per class: coverage of the weights (classical, corrected), of their largest tenth, of the bias;
    slopes (classical, corrected); held-out cross-entropies (plain, debiased, best, Bayes).
    """
    observer = draw_observer(rng, design)
    x = draw_factors(rng, design, design.n_trials) + design.mean
    y = rng.random((len(x), N_CLASSES)) < expit(x @ observer[:-1] + observer[-1])
    coefficients = fit(x, y, ridge)
    fresh = draw_factors(rng, design, N_FRESH) + design.mean
    truth, plain = (fresh @ w[:-1] + w[-1] for w in (observer, coefficients))  # (N_FRESH, k)
    rows = []
    for c, inference in enumerate(infer(x, y, coefficients, ridge)):
        true = observer[:, c]
        large = np.abs(true[:-1]) > np.quantile(np.abs(true[:-1]), 0.9)
        row = []
        for low, high in (inference.classical_interval(), inference.interval()):
            covered = (low < true) & (true < high)
            row += [covered[:-1].mean(), covered[:-1][large].mean(), covered[-1]]
        for estimate in (inference.estimate, inference.corrected):
            row.append((estimate[:-1] @ true[:-1]) / (true[:-1] @ true[:-1]))
        p = expit(truth[:, c])
        for logits in (
            plain[:, c],
            debiased_logits(inference.theory, plain[:, c]),
            best_logits(inference.theory, plain[:, c]),
            truth[:, c],
        ):
            row.append((p * np.logaddexp(0, -logits) + (1 - p) * np.logaddexp(0, logits)).mean())
        rows.append(row)
    return np.array(rows, dtype=np.float64)


def study(repetitions: int) -> None:
    print(
        "| design | n | p | γ | weights: classical | corrected | largest tenth: classical | corrected "
        "| bias: classical | corrected | slope | corrected | held-out: plain | ÷ α̂ | π(V) | Bayes |\n|" + "---|" * 16
    )
    for number, design in enumerate(DESIGNS):
        intercept = intercept_for(design.base_rate, design.signal)
        kappa = design.n_factors / design.n_trials
        ridge = best_ridge(kappa, design.signal, intercept) if design.ridge else 0.0
        rng = np.random.default_rng([2024, number])
        # The notebook's size has five times the weights of the others' and takes five times as long.
        count = max(2, repetitions // 4) if design.n_trials >= 10_000 else repetitions
        runs = [experiment(rng, design, ridge) for _ in tqdm(range(count), design.name, leave=False, disable=None)]
        m = np.concatenate(runs).mean(axis=0)
        print(
            f"| {design.name} | {design.n_trials} | {design.n_factors} | {design.signal:g} "
            f"| {m[0]:.3f} | **{m[3]:.3f}** | {m[1]:.3f} | {m[4]:.3f} | {m[2]:.2f} | {m[5]:.2f} "
            f"| {m[6]:.3f} | {m[7]:.3f} | {m[8]:.4f} | {m[9]:.4f} | **{m[10]:.4f}** | {m[11]:.4f} |",
            flush=True,
        )


def sweep(cases: int) -> None:
    """Solves random cases up to 0.99 of the existence threshold; raises at the first that fails."""
    rng, seconds, residuals = np.random.default_rng(0), [], []
    for case in tqdm(range(cases), disable=None):
        signal, intercept = random_observer(rng)
        share = rng.uniform(0.9, 0.99) if case % 2 else 0.99 * 10 ** rng.uniform(-4, 0)
        kappa = share * existence_threshold(signal, intercept)
        start = time.perf_counter()
        residuals.append(solve(kappa, signal, intercept).residual)
        seconds.append(time.perf_counter() - start)
    print(
        f"{cases} cases, 0 failures; milliseconds: median {1e3 * np.median(seconds):.2f}, "
        f"99 % {1e3 * np.quantile(seconds, 0.99):.2f}; largest residual {max(residuals):.1e}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=12, help="experiments per design, five classes each")
    parser.add_argument("--sweep", type=int, metavar="CASES", help="sweep the solver instead")
    arguments = parser.parse_args()
    sweep(arguments.sweep) if arguments.sweep else study(arguments.repetitions)
