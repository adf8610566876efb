"""Are guess and lapse rates, and the weights corrected for them, right? A simulation study over designs.

    python -m benchmarks.asymptotes --seconds 60            each design for a minute
    python -m benchmarks.asymptotes --only cancer binary    those whose names contain a word

Per design the factors and the truth are fixed, and responses are drawn again for each replicate. "corrected" is what
`infer` gives, "joint" the fraction of replicates in which that comes from the joint fit, not from the link. Predictions
are of fresh trials: how often the 95 % interval holds the true probability. Beside the coverage of the worst factor is
the one to expect from chance alone. The last column names what misses its goal.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn import datasets

from hdlogit.exact import fit
from hdlogit.inference import ClassInference, infer
from hdlogit.inference.check import expected_by_rank
from hdlogit.inference.link import logistic_test

Array = NDArray[np.float64]
Row = list[NDArray[Any]]
Draw = Callable[[np.random.Generator, int, int], Array]

AT_ONCE = 10  # replicates that are fitted together
FRESH = 500  # trials to predict


@dataclass(frozen=True)
class Design:
    name: str
    draw: Draw
    n: int
    p: int
    signal: float
    guess_rate: float
    lapse_rate: float
    intercept: float = 0.0
    fixed_guess_rate: float | None = None

    def probability(self, x: Array, truth: Array) -> Array:
        """Of a yes in trials (n, p) by the observer with these coefficients (p + 1,)."""
        logistic = expit(x @ truth[:-1] + truth[-1])
        return np.asarray(self.guess_rate + (1 - self.guess_rate - self.lapse_rate) * logistic)


def normal(rng: np.random.Generator, n: int, p: int) -> Array:
    return rng.normal(size=(n, p))


def lognormal(rng: np.random.Generator, n: int, p: int) -> Array:
    return np.asarray(np.exp(rng.normal(size=(n, p))))


def t4(rng: np.random.Generator, n: int, p: int) -> Array:
    """Rows with scales of their own."""
    return np.asarray(rng.normal(size=(n, p)) * np.sqrt(4 / rng.chisquare(4, (n, 1))))


def binary(rate: float) -> Draw:
    return lambda rng, n, p: (rng.random((n, p)) < rate).astype(float)


def one_hot(rng: np.random.Generator, n: int, p: int) -> Array:
    frequency = 1 / np.arange(1, p + 2)
    level = rng.choice(p + 1, size=n, p=frequency / frequency.sum())
    return np.asarray(level[:, None] == np.arange(1, p + 1), np.float64)


def squares(rng: np.random.Generator, n: int, p: int) -> Array:
    """Each factor and its square."""
    x = rng.normal(size=(n, p // 2))
    return np.hstack([x, x * x])


def real(name: str) -> Draw:
    """Factors as scikit-learn ships them, standardised, rows drawn with replacement."""

    def draw(rng: np.random.Generator, n: int, p: int) -> Array:
        x = np.asarray(getattr(datasets, f"load_{name}")().data, np.float64)[:, :p]
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        return np.asarray(x[rng.integers(len(x), size=n)])

    return draw


DESIGNS = [
    Design("gaussian", normal, 4000, 200, 3, 0.05, 0.05),
    Design("gaussian, none", normal, 4000, 200, 3, 0, 0),
    Design("gaussian .05/.10", normal, 3000, 40, 2, 0.05, 0.1),
    Design("as the notebook", normal, 10_000, 256, 16, 0.02, 0.02),
    Design("lognormal", lognormal, 4000, 200, 3, 0.05, 0.05),
    Design("many factors", normal, 6000, 1200, 1.5, 0.03, 0.03),
    Design("t4", t4, 2000, 200, 3, 0.03, 0.03),
    Design("null, 100", normal, 2000, 100, 2, 0, 0),
    Design("null, weak", normal, 1000, 50, 1, 0, 0),
    Design("null, lognormal", lognormal, 2000, 100, 2, 0, 0, -1),
    Design("null, notebook", normal, 10_000, 256, 16, 0, 0),
    Design("null, 5", binary(0.5), 2000, 5, 2, 0, 0),
    Design("2AFC", normal, 4000, 100, 3, 0.5, 0.03, 0, 0.5),
    Design("2AFC, none", normal, 4000, 100, 3, 0.5, 0, 0, 0.5),
    Design("2AFC, 8 binary", binary(0.5), 3000, 8, 2, 0.5, 0.03, 0, 0.5),
    Design("rare yes", normal, 4000, 200, 2, 0.02, 0.05, -2.5),
    Design("five normal", normal, 5000, 5, 2, 0.05, 0.05),
    Design("five rare binary", binary(0.1), 5000, 5, 2.5, 0.05, 0.05),
    Design("20 rare binary", binary(0.1), 5000, 20, 2, 0.05, 0.05),
    Design("100 rare binary", binary(0.1), 4000, 100, 2, 0.05, 0.05),
    Design("50 binary", binary(0.5), 2000, 50, 3, 0.05, 0.05),
    Design("cancer", real("breast_cancer"), 4552, 10, 4, 0.05, 0.05),
    Design("cancer, none", real("breast_cancer"), 4552, 10, 4, 0, 0),
    Design("wine", real("wine"), 4450, 8, 3, 0.05, 0.05),
    Design("diabetes", real("diabetes"), 3536, 10, 3, 0.05, 0.05),
    Design("squares, few", squares, 2000, 10, 3, 0.05, 0.05),
    Design("squares, border", squares, 2000, 60, 3, 0.05, 0.05),
    Design("squares, many", squares, 4000, 200, 3, 0.05, 0.05),
    Design("one-hot", one_hot, 5000, 30, 1.5, 0.05, 0.05),
    Design("few trials", normal, 400, 10, 2, 0.05, 0.05),
    Design("weak", normal, 3000, 50, 0.5, 0.05, 0.05),
]


def replicate(
    c: ClassInference, fresh: Array, truth: Array, y: NDArray[np.bool_], spread: Array, design: Design
) -> Row:
    """The numbers that are collected from one replicate; spread: Σβ."""
    rates = np.array([design.guess_rate, design.lapse_rate])
    found, found_error = np.array([c.guess_rate, c.lapse_rate]), c.link.errors[-2:]
    p = design.probability(fresh, truth)
    low, high = c.classical_interval()
    corrected_low, corrected_high = c.interval()
    new = c.predict(fresh)
    return [
        found,
        np.abs(found - rates) <= 1.96 * found_error,
        np.array([w[:-1] @ spread / (truth[:-1] @ spread) for w in (c.estimate, c.corrected)]),
        ((low < truth) & (truth < high))[:-1],
        (corrected_low < truth) & (truth < corrected_high),
        np.array(
            [
                logistic_test(*c.index, y, guess_rate=design.fixed_guess_rate or 0.0).p_value < 0.05,
                ((new.low <= p) & (p <= new.high)).mean(),
                c.joint is not None,
            ]
        ),
    ]


def study(design: Design, seconds: float) -> None:
    rng = np.random.default_rng([2027, *design.name.encode()])
    x, fresh = np.split(design.draw(rng, design.n + FRESH, design.p), [design.n])
    weights = rng.normal(size=design.p)
    covariance = np.cov(x.T, bias=True)
    weights *= design.signal / np.sqrt(weights @ covariance @ weights)
    truth = np.append(weights, design.intercept - x.mean(axis=0) @ weights)
    yes = design.probability(x, truth)
    rows: list[Row] = []
    refused, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        y = rng.random((design.n, AT_ONCE)) < yes[:, None]
        found = infer(x, y, fit(x, y).coefficients, asymptotes="estimate", guess_rate=design.fixed_guess_rate)
        for c, inference in enumerate(found):
            if inference.reason:
                refused += 1
            else:
                rows.append(replicate(inference, fresh, truth, y[:, c], covariance @ weights, design))
    print(line(design, rows, refused), flush=True)


def line(design: Design, rows: list[Row], refused: int) -> str:
    if not rows:
        return f"| {design.name} | 0 of {refused} |"
    rates, rates_in, slopes, classical, covered, other = (np.mean(column, axis=0) for column in zip(*rows, strict=True))
    weights, count = covered[:-1], len(rows)
    chance = expected_by_rank(design.p, count)[0]
    null = design.lapse_rate == 0 and design.guess_rate in (0, design.fixed_guess_rate)
    error = 2 * np.sqrt(0.05 * 0.95 / count)
    misses = [] if 0.94 - error / 2 <= weights.mean() <= 0.965 + error / 2 else ["weights"]
    if weights.min() < min(0.925, chance) - error:
        misses.append(f"factor {weights.argmin()}")
    if null and other[0] > 0.06 + error:
        misses.append("size")
    if not 0.93 <= other[1] <= 0.97:
        misses.append("predictions")
    cells = [
        design.name,
        f"{design.n} | {design.p} | {design.signal:g} | {design.guess_rate:g}/{design.lapse_rate:g}",
        f"{count} of {count + refused}",
        f"{rates[0]:.3f}, {rates[1]:.3f} | {rates_in[0]:.2f}, {rates_in[1]:.2f}",
        f"{other[2]:.2f}",
        f"{slopes[0]:.2f} | {slopes[1]:.2f} | {classical.mean():.3f} | **{weights.mean():.3f}**",
        f"{classical.min():.2f} | {weights.min():.2f} ({chance:.2f}) | {covered[-1]:.2f}",
        f"{other[0]:.2f} | {other[1]:.3f} | {', '.join(misses)}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = (
    "| design | n | p | γ | g/l | fits | ĝ, l̂ | their coverage | joint | slope: plain | corrected "
    "| weights covered: classical | corrected | worst: classical | corrected (chance) | bias | test ≤ .05 "
    "| predictions | misses |\n|" + "---|" * 19
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="per design")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="designs whose names contain one of these")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(HEADER, flush=True)
    for each in DESIGNS:
        if not arguments.only or any(word in each.name for word in arguments.only):
            study(each, arguments.seconds)
