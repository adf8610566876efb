"""Are guess and lapse rates, and the weights corrected for them, right? A simulation study over designs.

    python -m benchmarks.asymptotes --seconds 60            each design for a minute
    python -m benchmarks.asymptotes --only cancer binary    those whose names contain a word

Per design the factors and the truth are fixed and responses drawn anew. "corrected" is the joint fit where
`is_for_joint_fit` says so, the link's otherwise. Predictions are of fresh trials: how often the 95 % interval holds the
true probability. Beside the coverage of the worst factor stands what chance alone makes of the worst of so many. What
misses its goal is named in the last column.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom
from sklearn import datasets

from hdlogit.exact import fit
from hdlogit.inference.joint import fit_joint, is_for_joint_fit
from hdlogit.inference.link import Link, fit_link, logistic_test
from hdlogit.inference.predict import Prediction, predict

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


class LeftOut(NamedTuple):
    """THEORY's leave-one-out quantities of one class, straight from their formulas."""

    inverse: Array  # (p + 1, p + 1) H⁻¹, of centred factors and 1
    centred: Array  # (n,) V − b̂
    noise: Array  # (n,) s_i²
    f: float
    explained: float  # a²

    @property
    def total(self) -> float:
        return self.explained + float(self.noise.mean())


def leave_one_out(x: Array, y: NDArray[np.bool_], w: Array) -> LeftOut:
    centred = np.column_stack([x - x.mean(axis=0), np.ones(len(x))])
    z = x @ w[:-1] + w[-1]
    residual, d = y - expit(z), expit(z) * expit(-z)
    inverse = np.linalg.inv((centred * d[:, None]).T @ centred)
    leverage = np.vecdot(centred @ inverse, centred)
    h = d * leverage
    q = leverage / (1 - h)
    f = float((residual**2).mean() / (d * (1 - h)).mean())
    index = z - q * residual - z.mean()
    return LeftOut(inverse, index, f * q, f, float(index.var() - (f * q).mean()))


def by_link(x: Array, w: Array, out: LeftOut, link: Link) -> tuple[Array, Array]:
    """(weights, bias) and their errors, (p + 1,) each."""
    scale, p, centre = link.gain / np.sqrt(out.explained), len(w) - 1, x.mean(axis=0)
    weights = scale * w[:-1]
    spread = np.cov(x.T, bias=True) @ w[:-1]
    along = out.f * spread @ out.inverse[:p, :p] @ spread / (w[:-1] @ spread) ** 2
    stretch = out.explained / out.total * weights * np.sqrt(max(link.covariance[0, 0] - along, 0.0))
    noise = scale**2 * out.f * out.inverse[:p, :p] + np.outer(stretch, stretch)
    bias = centre @ noise @ centre + max(link.covariance[1, 1], out.f * scale**2 * out.inverse[p, p])
    return np.append(weights, link.intercept - centre @ weights), np.sqrt(np.append(np.diag(noise), bias))


def predict_by_link(x: Array, fresh: Array, w: Array, out: LeftOut, link: Link) -> Prediction:
    centred = np.column_stack([fresh - x.mean(axis=0), np.ones(len(fresh))])
    noise = np.sqrt(out.f * np.vecdot(centred @ out.inverse, centred) / out.total)
    scale = link.gain / np.sqrt(out.explained)
    spread = np.append(np.cov(x.T, bias=True) @ w[:-1], 0.0) / float(w[:-1] @ np.cov(x.T, bias=True) @ w[:-1])
    both = np.stack([spread, np.append(np.zeros(len(w) - 1), scale)])  # of log Γ and b, by the noise of ŵ
    counted = out.f * both @ out.inverse @ both.T
    return predict(centred[:, :-1] @ w[:-1], np.sqrt(out.explained) / out.total, noise, link, counted=counted)


def replicate(x: Array, fresh: Array, truth: Array, y: NDArray[np.bool_], w: Array, design: Design) -> Row | None:
    """What is counted of one replicate, None where no signal is found."""
    out, g = leave_one_out(x, y, w), design.fixed_guess_rate
    if out.explained <= 0:
        return None
    slope, noise = np.sqrt(out.explained) / out.total, np.sqrt(out.noise / out.total)
    link = fit_link(out.centred, slope, noise, y, guess_rate=g)
    test = logistic_test(out.centred, slope, noise, y, guess_rate=g)
    if is_for_joint_fit(*x.shape):
        joint = fit_joint(x, y, w, link, link.gain / np.sqrt(out.explained), guess_rate=g)
        estimate, error, new = joint.coefficients, joint.errors[:-2], joint.predict(fresh)
        found, found_error = np.array([joint.guess_rate, joint.lapse_rate]), joint.errors[-2:]
    else:
        (estimate, error), new = by_link(x, w, out, link), predict_by_link(x, fresh, w, out, link)
        found, found_error = link.parameters[2:], link.errors[2:]
    covariance = np.cov(x.T, bias=True)
    signal = truth[:-1] @ covariance @ truth[:-1]
    classical = np.sqrt(np.diag(out.inverse)[:-1])
    p = design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(fresh @ truth[:-1] + truth[-1])
    rates = np.array([design.guess_rate, design.lapse_rate])
    return [
        found,
        np.abs(found - rates) <= 1.96 * found_error,
        np.array([v[:-1] @ covariance @ truth[:-1] / signal for v in (w, estimate)]),
        np.abs(w[:-1] - truth[:-1]) < 1.96 * classical,
        np.abs(estimate - truth) < 1.96 * error,
        np.array([test.p_value < 0.05, ((new.low <= p) & (p <= new.high)).mean(), link.reason is None]),
    ]


def fit_all(x: Array, y: NDArray[np.bool_]) -> tuple[Array, NDArray[np.intp]]:
    """Coefficients (p + 1, classes), of the classes that have an estimate, and their numbers."""
    found = fit(x, y)
    left = np.flatnonzero(found.converged)
    return found.coefficients[:, left], left


def study(design: Design, seconds: float) -> None:
    rng = np.random.default_rng([2027, *design.name.encode()])
    x, fresh = np.split(design.draw(rng, design.n + FRESH, design.p), [design.n])
    weights = rng.normal(size=design.p)
    weights *= design.signal / np.sqrt(weights @ np.cov(x.T, bias=True) @ weights)
    truth = np.append(weights, design.intercept - x.mean(axis=0) @ weights)
    yes = design.guess_rate + (1 - design.guess_rate - design.lapse_rate) * expit(x @ truth[:-1] + truth[-1])
    rows: list[Row] = []
    refused, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        y = rng.random((design.n, AT_ONCE)) < yes[:, None]
        coefficients, left = fit_all(x, y)
        found = [replicate(x, fresh, truth, y[:, c], w, design) for c, w in zip(left, coefficients.T, strict=True)]
        kept = [row for row in found if row is not None]
        rows, refused = rows + kept, refused + AT_ONCE - len(kept)
    print(line(design, rows, refused), flush=True)


def line(design: Design, rows: list[Row], refused: int) -> str:
    if not rows:
        return f"| {design.name} | 0 of {refused} |"
    rates, rates_in, slopes, classical, covered, other = (np.mean(column, axis=0) for column in zip(*rows, strict=True))
    weights, count = covered[:-1], len(rows)
    chance = expected_worst(design.p, count)
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
        f"{count} of {count + refused} | {other[2]:.2f}",
        f"{rates[0]:.3f}, {rates[1]:.3f} | {rates_in[0]:.2f}, {rates_in[1]:.2f}",
        "joint" if is_for_joint_fit(design.n, design.p) else "link",
        f"{slopes[0]:.2f} | {slopes[1]:.2f} | {classical.mean():.3f} | **{weights.mean():.3f}**",
        f"{classical.min():.2f} | {weights.min():.2f} ({chance:.2f}) | {covered[-1]:.2f}",
        f"{other[0]:.2f} | {other[1]:.3f} | {', '.join(misses)}",
    ]
    return f"| {' | '.join(cells)} |"


def expected_worst(p: int, replicates: int) -> float:
    """Of p perfect intervals, in so many replicates: expected coverage of the worst, were they independent."""
    below = binom.cdf(np.arange(replicates + 1), replicates, 0.95)
    return float(((1 - below) ** p).sum() / replicates)  # E[min] = Σ P(min > k)


HEADER = (
    "| design | n | p | γ | g/l | fits | determined | ĝ, l̂ | their coverage | by | slope: plain | corrected "
    "| weights covered: classical | corrected | worst: classical | corrected (chance) | bias | test ≤ .05 "
    "| predictions | misses |\n|" + "---|" * 20
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
