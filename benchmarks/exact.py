"""How fast is the exact fit, against what one would write or call instead?

    python -m benchmarks.exact [--points 10000x256x10 ...] [--runs 3] [--cpu]

Every program runs in a process of its own: trials are drawn, one fit warms up, and the median of further ones counts.
The programs take turns, --runs times, and the median of their medians is printed. All end with max |gradient| <= 1e-6
for every class, which is computed here from what they return. Every point is printed, won or lost. With --cpu every
program has one thread and its CPU time counts: on a shared machine, that says more than the clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.alone import alone
from hdlogit.exact import fit

Array = NDArray[np.float64]
Responses = NDArray[np.bool_]

TOLERANCE = 1e-6
POINTS = (
    "300x10x1", "1000x64x10", "3000x40x1", "10000x256x1", "10000x256x10", "2000x200x200", "10000x256x100",
    "10000x1024x10", "100000x256x10", "1000000x256x10",
)  # fmt: skip


# --- the programs: factors (n, p), responses (n, k) -> coefficients (p + 1, k)


def exact(factors: Array, responses: Responses) -> Array:
    return fit(factors, responses, tolerance=TOLERANCE).coefficients


def torch_lbfgs(factors: Array, responses: Responses) -> Array:
    """`torch.optim.LBFGS` with strong Wolfe conditions: all classes jointly, gradient by formula, no autograd."""
    x, y = torch.from_numpy(factors), torch.from_numpy(responses).double()
    w = torch.zeros(x.shape[1] + 1, y.shape[1], dtype=torch.float64)
    w.grad = g = torch.zeros_like(w)
    how = {"history_size": 10, "line_search_fn": "strong_wolfe"}
    steps = torch.optim.LBFGS([w], 1, 10_000, 20_000, TOLERANCE, 0, **how)  # type: ignore[arg-type]

    def closure() -> float:
        z = torch.addmm(w[-1], x, w[:-1])
        r = torch.sigmoid(z).sub_(y)
        torch.mm(x.T, r, out=g[:-1])
        torch.sum(r, 0, out=g[-1])
        g.div_(len(x))
        return float(torch.nn.functional.softplus(z).sum() - torch.vdot(z.view(-1), y.view(-1))) / len(x)

    with torch.no_grad():
        steps.step(closure)  # type: ignore[no-untyped-call]  # torch
    return w.numpy()


def scikit_learn(factors: Array, responses: Responses) -> Array:
    """Its lbfgs, classes shared out over cores by joblib, each with one BLAS thread."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits

    def one(y: Responses) -> Array:
        with threadpool_limits(1):
            return scikit_learn_default(factors, y[:, None])[:, 0]

    if responses.shape[1] == 1:
        return one(responses[:, 0])[:, None]
    with threadpool_limits(1):
        columns = Parallel(n_jobs=-1, prefer="threads")(delayed(one)(y) for y in responses.T)
    return np.stack(columns, axis=1)


def scikit_learn_default(factors: Array, responses: Responses) -> Array:
    """As most people call it: class after class, with the default number of threads."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, solver="lbfgs", tol=TOLERANCE, max_iter=10_000)
    fitted = [model.fit(factors, y) and np.append(model.coef_[0], model.intercept_) for y in responses.T]
    return np.stack(fitted, axis=1)


PROGRAMS = (exact, torch_lbfgs, scikit_learn, scikit_learn_default)


def trials(n_trials: int, n_factors: int, n_classes: int) -> tuple[Array, Responses]:
    """Gaussian factors; logits of sd 16, as in the notebook, or less, so that an estimate safely exists."""
    kappa = n_factors / n_trials  # an estimate exists for 0.063 at sd 16, for 0.3 at sd 2
    sd = 16 if kappa < 0.04 else 4 if kappa < 0.12 else 1
    rng = np.random.default_rng(1973)
    weights = rng.standard_normal((n_factors, n_classes)) * sd / n_factors**0.5
    factors = rng.standard_normal((n_trials, n_factors))
    return factors, rng.random((n_trials, n_classes)) < expit(factors @ weights)


def measure(program: Callable[[Array, Responses], Array], shape: str, cpu: bool) -> float:
    """Median seconds of a fit. Raises RuntimeError where a gradient is left."""
    clock = time.process_time if cpu else time.perf_counter
    factors, responses = trials(*map(int, shape.split("x")))
    times: list[float] = []
    while len(times) < 2 or (sum(times) < 2 and len(times) < 50):
        start = clock()
        coefficients = program(factors, responses)
        times.append(clock() - start)
    residuals = expit(factors @ coefficients[:-1] + coefficients[-1]) - responses
    gradient = np.abs(np.vstack([factors.T @ residuals, residuals.sum(axis=0)])).max() / len(factors)
    if gradient > 1.02 * TOLERANCE:
        raise RuntimeError(f"{program.__name__} at {shape}: max |gradient| is {gradient:.1e}")
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", nargs="+", default=POINTS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    if arguments.cpu:  # for the processes that are started
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    print("| trials × factors × classes | exact fit, s | torch L-BFGS | scikit-learn, tuned | as is | times faster |")
    print("|---|---|---|---|---|---|")
    for shape in arguments.points:
        turns = [[alone(measure, program, shape, arguments.cpu) for program in PROGRAMS] for _ in range(arguments.runs)]
        medians = np.median(turns, axis=0)
        shown = " | ".join(f"{m:.4f}" for m in medians)
        print(f"| {shape.replace('x', ' × ')} | {shown} | {medians[1:3].min() / medians[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
