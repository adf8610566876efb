"""Designs for the study of coverage: factors, truth, and how responses are drawn.

The formulas were found on the designs in `THEORY`; those in `FRESH` were added afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.linear_model import LogisticRegression

from hdlogit.asymptotics.planning import intercept_for

Array = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Design:
    name: str
    kind: Callable[..., Array]  # of (generator, *shape): the factors (n, p)
    shape: tuple[Any, ...]
    signal: float | None = 2.0  # γ of the drawn weights; None: the truth is a (slightly ridged) fit to real responses
    base_rate: float = 0.5
    guess_rate: float = 0.0
    lapse_rate: float = 0.0
    asymptotes: bool = False  # whether guess and lapse rates are estimated
    ridge: float = 0.0  # in units of κ/γ²
    shrinkage: Literal[0, "auto", "always"] = 0  # n/(n + p)
    weights: tuple[float, ...] = ()  # of the first factors, in logits per sd; the others share the signal
    zeros: float = 0.2  # fraction of the weights that are zero
    large: bool = False  # takes minutes

    def draw(self, rng: Generator) -> Array:
        return self.kind(rng, *self.shape)


def normal(rng: Generator, n: int, p: int, mean: float = 0.0) -> Array:
    return rng.normal(mean, 1, (n, p))


def autoregressive(rng: Generator, n: int, p: int, r: float) -> Array:
    """Gaussian, correlation r^|i − j|."""
    x = rng.normal(size=(n, p))
    for j in range(1, p):
        x[:, j] = r * x[:, j - 1] + np.sqrt(1 - r * r) * x[:, j]
    return x


def lognormal(rng: Generator, n: int, p: int, sd: float = 1.0) -> Array:
    return np.exp(sd * rng.normal(size=(n, p)))


def row_scaled(rng: Generator, n: int, p: int, degrees: float) -> Array:
    """Multivariate t: rows have scales of their own."""
    return rng.normal(size=(n, p)) / np.sqrt(rng.chisquare(degrees, (n, 1)) / degrees)


def binary(rng: Generator, n: int, p: int, rate: float) -> Array:
    return (rng.random((n, p)) < rate).astype(float)


def one_hot(rng: Generator, n: int, variables: int, levels: int) -> Array:
    """Categorical variables with Zipf frequencies, without the most frequent level."""
    frequency = 1 / np.arange(1, levels + 1)
    chosen = rng.choice(levels, size=(n, variables), p=frequency / frequency.sum())
    return np.asarray((chosen[:, :, None] == np.arange(1, levels)).reshape(n, -1), np.float64)


def products(rng: Generator, n: int, p: int) -> Array:
    """Gaussian factors and all their pairwise products."""
    x, (first, second) = rng.normal(size=(n, p)), np.triu_indices(p, 1)
    return np.hstack([x, x[:, first] * x[:, second]])


def lags(rng: Generator, n: int, p: int, smooth: float) -> Array:
    """The last p values of one autoregressive stimulus."""
    noise, stimulus = rng.normal(size=n + p), np.zeros(n + p)
    for t in range(1, n + p):
        stimulus[t] = smooth * stimulus[t - 1] + np.sqrt(1 - smooth**2) * noise[t]
    return np.lib.stride_tricks.sliding_window_view(stimulus, p)[:n].copy()


def repeated(rng: Generator, n: int, p: int, times: int) -> Array:
    return np.repeat(rng.normal(size=(n // times, p)), times, axis=0)


def exponential(rng: Generator, n: int, p: int) -> Array:
    """Skewed, with a common component."""
    return rng.exponential(size=(n, p)) + rng.exponential(size=(n, 1))


def mixed(rng: Generator, n: int, p: int) -> Array:
    """A session's table: continuous stimuli, rare events, a trend, and previous stimuli."""
    k = p // 3
    stimuli = rng.laplace(size=(n + 1, k))
    events = rng.random((n, p - 2 * k - 1)) < np.geomspace(0.3, 0.02, p - 2 * k - 1)
    return np.hstack([stimuli[1:], stimuli[:-1], events.astype(float), np.linspace(-1, 1, n)[:, None]])


def real(_: Generator, name: str, columns: int | None = None, squares: bool = False) -> Array:
    """Factors as scikit-learn ships them, standardised; columns that hardly vary left out."""
    x = np.asarray(getattr(datasets, f"load_{name}")().data, np.float64)[:, :columns]
    x = x[:, (x != np.median(x, axis=0)).mean(axis=0) > 0.05]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    if squares:
        first, second = np.triu_indices(x.shape[1])
        x = np.hstack([x, x[:, first] * x[:, second]])
        x = x[:, [j for j in range(x.shape[1]) if len(np.unique(x[:, j])) > 2]]
    return x


def levels(rng: Generator, n: int, p: int, *values: float) -> Array:
    """Each as often; five levels, as the method of constant stimuli has them, or ±1."""
    return rng.choice(values, (n, p))


def beside(rng: Generator, n: int, p: int, *first: str) -> Array:
    """Gaussian factors, the first of which are others."""
    some = np.hstack([OTHERS[kind](rng, n) for kind in first])
    return np.hstack([some, rng.normal(size=(n, p - some.shape[1]))])


OTHERS: dict[str, Callable[[Generator, int], Array]] = {
    "±1": lambda rng, n: rng.choice([-1.0, 1.0], (n, 1)),
    "two ±1": lambda rng, n: rng.choice([-1.0, 1.0], (n, 2)),
    "exponential": lambda rng, n: rng.exponential(size=(n, 1)),
    "lognormal": lambda rng, n: np.exp(0.8 * rng.normal(size=(n, 1))),
    "3 %": lambda rng, n: (rng.random((n, 1)) < 0.03).astype(float),
    "two of 3 %": lambda rng, n: (rng.random((n, 2)) < 0.03).astype(float),
    "level of three": lambda rng, n: np.asarray(rng.choice(3, (n, 1), p=[0.5, 0.46, 0.04]) == [1, 2], np.float64),
}


THEORY = [
    Design("gaussian 3000×300", normal, (3000, 300)),
    Design("gaussian 1500×450", normal, (1500, 450), signal=1.0),
    Design("gaussian, β0 −2.5", normal, (3000, 300), base_rate=0.15),
    Design("means 0.5", normal, (3000, 200, 0.5), base_rate=0.2, signal=3.0),
    Design("as the notebook", normal, (10_000, 256), signal=16.0, large=True),
    Design("lognormal", lognormal, (2000, 200)),
    Design("one-hot", one_hot, (3000, 13, 16)),
    Design("products", products, (1500, 15)),
    Design("t4", row_scaled, (2000, 200, 4.0), signal=3.0),
    Design("t8", row_scaled, (2000, 400, 8.0)),
    Design("rare binary", binary, (10_000, 150, 0.01), large=True),
    Design("lags", lags, (3000, 150, 0.9)),
    Design("rows ×4", repeated, (2000, 150, 4)),
    Design("cancer", real, ("breast_cancer", 10), signal=None),
    Design("wine", real, ("wine", 8), signal=None),
    Design("diabetes, squares", real, ("diabetes", None, True), signal=1.5),
]

FRESH = [
    Design("five factors", normal, (300, 5)),
    Design("AR 0.8, rare yes", autoregressive, (4000, 200, 0.8), base_rate=0.05),
    Design("exponential", exponential, (2000, 100)),
    Design("session", mixed, (1500, 60)),
    Design("digits", real, ("digits",), signal=1.5),
    Design("iris", real, ("iris", 3), signal=1.0, zeros=0.4),
    Design("t4, rare yes", row_scaled, (3000, 150, 4.0), base_rate=0.1),
    Design("binary 5 %, unbalanced", binary, (2000, 60, 0.05), base_rate=0.15, signal=1.0),
    Design("no signal", normal, (1000, 100), signal=0.0),
]

ASYMPTOTES = [
    Design("5/5 %, 4000×200", normal, (4000, 200), 3.0, 0.5, 0.05, 0.05, asymptotes=True),
    Design("0/0 % estimated", normal, (4000, 200), 3.0, 0.5, asymptotes=True),
    Design("5/10 %, 3000×40", normal, (3000, 40), 2.0, 0.5, 0.05, 0.1, asymptotes=True),
    Design("2/2 %, notebook", normal, (10_000, 256), 16.0, 0.5, 0.02, 0.02, asymptotes=True, large=True),
    Design("5/5 %, lognormal", lognormal, (4000, 200), 3.0, 0.5, 0.05, 0.05, asymptotes=True),
    Design("3/3 %, t4", row_scaled, (2000, 200, 4.0), 3.0, 0.5, 0.03, 0.03, asymptotes=True),
    Design("10/10 %, session", mixed, (3000, 60), 3.0, 0.5, 0.1, 0.1, asymptotes=True),
    Design("5/5 %, five binary", binary, (5000, 5, 0.1), 3.0, 0.5, 0.05, 0.05, asymptotes=True),
    Design("5/5 %, five normal", normal, (5000, 5), 2.0, 0.5, 0.05, 0.05, asymptotes=True),
]

PENALISED = [
    Design("ridge 2000×200", normal, (2000, 200), 4.0, ridge=1.0),
    Design("ridge ×0.3, means 1", normal, (2000, 200, 1.0), 2.0, 0.3, ridge=0.3),
    Design("ridge ×10", normal, (1500, 150), 4.0, 0.6, ridge=10.0),
    Design("ridge, no estimate without", normal, (1000, 400), 3.0, ridge=1.0),
    Design("ridge, binary ±1", levels, (2000, 200, -1.0, 1.0), 3.0, ridge=1.0),
    Design("ridge, t8", row_scaled, (2000, 200, 8.0), 3.0, ridge=1.0),
    Design("ridge, sparse lognormal", lognormal, (3000, 150), 2.0, ridge=1.0, zeros=0.8),
    Design("shrinkage 2000×200", normal, (2000, 200), 4.0, shrinkage="always"),
    Design("shrinkage, separated", normal, (800, 300), 5.0, shrinkage="always"),
    Design("shrinkage, lognormal", lognormal, (2000, 200), 4.0, 0.3, shrinkage="always"),
    Design("shrinkage, cancer 30", real, ("breast_cancer",), signal=None, shrinkage="always"),
]

KINDS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "normal": (normal, ()),
    "lognormal": (lognormal, (0.8,)),
    "rare dummy": (binary, (0.05,)),
    "five levels": (levels, (-2.0, -1.0, 0.0, 1.0, 2.0)),
}
FEW = [
    Design(f"few: {name} {n}×{len(w)}, {w[-1]:g}", kind, (n, len(w), *more), None, weights=w, shrinkage="auto")
    for name, (kind, more) in KINDS.items()
    for n in (60, 200, 500, 5000)
    for w in ((0.0,), (0.2,), (0.5,), (1.0,), (2.0,), (0.0, 1.0), (0.0, 0.5, 2.0), (0.0, 0.2, 0.5, 1.0, 2.0))
]

DOMINANT = [  # one or two factors carry the index
    Design("dominant ±1 of 3", beside, (1000, 150, "±1"), 0.6, weights=(3.0,)),
    Design("dominant ±1 of 4", beside, (3000, 150, "±1"), 0.6, weights=(4.0,)),
    Design("dominant ±1 of 3, rest 1.5", beside, (1000, 150, "±1"), 1.5, weights=(3.0,)),
    Design("dominant ±1, few", beside, (600, 20, "±1"), 0.6, weights=(3.0,)),
    Design("dominant lognormal", beside, (1000, 150, "lognormal"), 0.8, weights=(2.0,)),
    Design("dominant exponential", beside, (1000, 150, "exponential"), 0.8, weights=(2.0,)),
    Design("two dominant ±1", beside, (1000, 100, "two ±1"), 0.8, weights=(1.5, -1.5)),
    Design("dominant ±1 and exponential", beside, (2000, 100, "±1", "exponential"), 0.8, weights=(2.0, 1.5)),
]

SEPARATED = [  # in many of the replicates one level is always, or never, a yes
    Design("separating dummy", beside, (200, 3, "3 %"), 1.0, shrinkage="auto", weights=(0.5,)),
    Design("separating level of three", beside, (300, 4, "level of three"), 1.0, shrinkage="auto", weights=(0.3, 0.5)),
    Design("two separating dummies", beside, (200, 4, "two of 3 %"), 1.0, shrinkage="auto", weights=(0.5, -0.5)),
    Design("one-hot, 2 × 6 levels", one_hot, (150, 2, 6), 0.8, shrinkage="auto"),
    Design("40 trials of a steep curve", normal, (40, 1), None, weights=(6.0,), shrinkage="auto"),
    Design("one of ten nearly decides", normal, (200, 10), 0.5, weights=(12.0,), shrinkage="auto"),
]

DESIGNS = [*THEORY, *FRESH, *DOMINANT, *ASYMPTOTES, *PENALISED, *SEPARATED, *FEW]


def draw_truth(rng: np.random.Generator, design: Design, factors: Array) -> tuple[Array, float]:
    """Weights (p,) and bias; a fraction `zeros` of the weights is zero."""
    scale, centre = factors.std(axis=0), factors.mean(axis=0)
    t = (factors - centre) / scale
    p = t.shape[1]
    nonzero = rng.permutation(p) >= int(design.zeros * p)
    if design.weights:
        fixed = np.array(design.weights)
        others = rng.normal(size=p - len(fixed)) * nonzero[len(fixed) :]
        if design.signal is not None:
            others *= design.signal / np.linalg.norm(others)
        weights, bias = np.append(fixed, others), 0.0
    elif design.signal is None:
        truth = _real_truth(design.name, t)
        weights, bias = truth[:-1] * nonzero, float(truth[-1])
    else:
        weights = rng.normal(size=p) * nonzero
        spread = float((t @ weights).std())
        weights *= design.signal / spread
        bias = intercept_for(design.base_rate, design.signal)
    return weights / scale, bias - float(centre @ (weights / scale))


def _real_truth(name: str, t: Array) -> Array:
    """A slightly ridged fit to the responses of the data set that the design's name begins with."""
    data = datasets.load_breast_cancer() if "cancer" in name else datasets.load_wine()
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10).fit(t, data.target == 1)
    return np.append(model.coef_[0], model.intercept_)
