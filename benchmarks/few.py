"""Small files of two alternatives, and tests of several factors: do they hold? Two tables of docs/theory.md.

    python -m benchmarks.few

Files: one factor of seven levels, guess rate 1/2 (given), lapse rate 2 % (estimated), threshold −0.3/slope. Terms:
normal factors, a signal of 1 on those outside the term, and 0 or 0.8 on the term.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.exact import fit
from hdlogit.inference import infer
from hdlogit.inference.terms import joint_test

Array = NDArray[np.float64]

FILES, FITS = 150, 200
LEVELS = np.arange(-3.0, 4.0)


def of_file(n: int, slope: float, rng: np.random.Generator) -> list[str]:
    x, truth = np.resize(LEVELS, n)[:, None], np.array([slope, 0.3])
    p = 0.5 + 0.48 * expit(slope * LEVELS + 0.3)
    y = rng.random((n, FILES)) < np.resize(p, n)[:, None]
    results = infer(x, y, fit(x, y).coefficients, asymptotes="estimate", guess_rate=0.5)
    answered = [c for c in results if not c.reason]
    ends = np.array([c.interval() for c in answered])  # (files, 2, 2)
    weight, bias = ((ends[:, 0] < truth) & (truth < ends[:, 1])).mean(axis=0)
    new = [c.predict(LEVELS[:, None]) for c in answered]
    predicted = np.mean([(each.low <= p) & (p <= each.high) for each in new], axis=0)
    rejected = np.mean([c.p_values()[0] < 0.05 for c in answered])
    classical = np.mean([c.classical_p_values()[0] < 0.05 for c in answered])
    named = np.mean([c.note is not None for c in answered])
    covered = f"{weight:.3f}, {bias:.3f}", f"{predicted.mean():.3f} ({predicted.min():.2f})"
    first = f"{n}, {slope:g}", f"{len(answered)} of {FILES}"
    return [*first, *covered, f"{rejected:.2f} ({classical:.2f})", f"{named:.2f}"]


def of_term(n: int, p: int, size: int, rng: np.random.Generator) -> list[str]:
    cells = [f"{n}×{p}, {size}"]
    for effect in (0.0, 0.8):
        tests = []
        for _ in range(FITS):
            x, w = rng.normal(size=(n, p)), rng.normal(size=p)
            w[:size] *= effect / np.linalg.norm(w[:size])
            w[size:] /= np.linalg.norm(w[size:])
            y = rng.random((n, 1)) < expit(x @ w)[:, None]
            [c] = infer(x, y, fit(x, y).coefficients)
            if not c.reason:
                tests.append(joint_test(c, range(size), x, y[:, 0]))
        statistic, p_value = np.transpose(tests)
        cells.append(f"{statistic.mean() / size:.2f}, {(p_value < 0.05).mean():.3f}")
    return cells


if __name__ == "__main__":
    rng = np.random.default_rng(2028)
    rows = [of_file(n, slope, rng) for n in (60, 200, 800) for slope in (0, 0.5, 1, 2, 4)]
    heads = [
        "trials, slope",
        "answered",
        "weight, bias covered",
        "p at a level (worst)",
        "p < .05 (classical)",
        "noted",
    ]
    print(pd.DataFrame(rows, columns=heads).to_markdown(index=False, disable_numparse=True), end="\n\n")
    terms = [of_term(*shape, rng) for shape in ((1000, 60, 4), (600, 80, 20), (300, 100, 30))]
    heads = ["n × p, factors tested", "no effect: S/J, rejected", "with effect"]
    print(pd.DataFrame(terms, columns=heads).to_markdown(index=False, disable_numparse=True))
