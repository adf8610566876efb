"""Smooth kernels: do their bands cover across the function, and what does smoothing gain? A table of docs/theory.md.

    python -m benchmarks.smooth [--replicates 20]

Factors are normal and independent, the kernels have a length of 1.5 (the signal), 0 for noise; a Gabor function has two
cycles.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from hdlogit.exact import fit
from hdlogit.inference import infer
from hdlogit.inference.ridge import choose
from hdlogit.inference.sums import Refused
from hdlogit.smooth import fit_smooth

Array = NDArray[np.float64]

SIGNAL, INTERCEPT = 1.5, 0.3
COMPARED = 4  # replicates that are fitted without smoothing, too
DESIGNS = ((150, 32, 0), (400, 32, 0), (1000, 32, 0), (4000, 32, 0), (150, 100, 0), (600, 100, 0), (1500, 100, 0))
MANY = (500, 32, 100), (1500, 100, 300)  # with other factors, which are not smooth, of signal 1 together


def kernels(m: int) -> dict[str, Array]:
    t = (np.arange(m) + 0.5) / m - 0.5
    shapes = {
        "Gabor": np.exp(-((t / 0.13) ** 2) / 2) * np.cos(2 * np.pi * 2.2 * t),
        "step": (t > 0) * 1.0,
        "flat": np.ones(m),
    }
    return {name: SIGNAL * w / np.linalg.norm(w) for name, w in shapes.items()} | {"noise": np.zeros(m)}


def draw(kernel: Array, n: int, others: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.bool_], Array]:
    """Factors, responses, true weights."""
    truth = np.append(kernel, rng.normal(size=others) / np.sqrt(max(others, 1)))
    x = rng.normal(size=(n, len(truth)))
    return x, rng.random(n) < expit(x @ truth + INTERCEPT), truth


def unsmoothed(x: Array, y: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Corrected weights of maximum likelihood, and those of ridge; NaN where there are none."""
    weights = []
    for with_ridge in (False, True):
        try:
            ridge = choose(x, y[:, None]) if with_ridge else 0.0
            found = fit(x, y[:, None], ridge=ridge).coefficients
            [inference] = infer(x, y[:, None], found, ridge)
            weights.append((found[:, 0] if with_ridge else inference.corrected)[:-1] if not inference.reason else None)
        except ValueError:
            weights.append(None)
    plain, ridge_ = (np.full(x.shape[1], np.nan) if w is None else w for w in weights)
    return plain, ridge_


def of_design(name: str, n: int, m: int, others: int, replicates: int) -> list[str]:
    rng = np.random.default_rng([n, m, others, len(name)])
    kernel, rows = kernels(m)[name], []
    plain, ridge = list[float](), list[float]()
    for r in range(replicates):
        x, y, truth = draw(kernel, n, others, rng)
        try:
            found = fit_smooth(x, y, [range(m)])
        except Refused:
            continue
        low, high = found.interval()[:-1].T
        covered, error = (low <= truth) & (truth <= high), found.corrected[:-1] - truth
        slope = float(truth @ found.corrected[:-1]) / max(float(truth @ truth), 1e-300)
        rest = covered[m:].mean() if others else np.nan
        rows.append([covered[:m].mean(), rest, np.mean(error[:m] ** 2), slope, found.alpha, found.effective[0]])
        for weights, into in zip(unsmoothed(x, y) if r < COMPARED else (), (plain, ridge), strict=False):
            into.append(float(np.mean((weights[:m] - truth[:m]) ** 2)))
    cover, rest, square, slope, alpha, effective = np.mean(rows, axis=0)
    sizes = [np.sqrt(square), *(np.sqrt(np.nanmean(s)) if np.isfinite(s).any() else np.nan for s in (plain, ridge))]
    return [
        f"{name}, {n}×{m}" + f" + {others}" * (others > 0),
        f"{len(rows)}",
        f"{cover:.3f}" + f", {rest:.3f}" * (others > 0),
        f"{slope:.2f}" if kernel.any() or others else "",
        f"{alpha:.2f}",
        f"{effective:.1f}",
        ", ".join(f"{size:.3f}" if np.isfinite(size) else "none" for size in sizes),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=20)
    replicates = parser.parse_args().replicates
    designs = [(name, *size) for size in DESIGNS + MANY for name in kernels(3)]
    table = [of_design(*d, replicates) for d in tqdm(designs, disable=None)]
    heads = ["kernel, trials × positions", "fits", "covered", "slope", "α̂", "effective", "rmse: smooth, plain, ridge"]
    print(pd.DataFrame(table, columns=heads).to_markdown(index=False, disable_numparse=True))
