"""How fast is the exact fit? Against scikit-learn, and against its own matrix products.

    python -m benchmarks.exact [headline] [table] [floor] [--full]

Both sides of a comparison run in this process, in turn, on the same data, and both must end with
max |gradient| <= 1e-6, which is computed here from the coefficients that each returns. Medians are printed;
--full adds the large points.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.trials import trials
from hdlogit.exact.objective import product
from hdlogit.exact.solver import fit

TOLERANCE = 1e-6
SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky")
HEADLINE = (10_000, 256, 10)


def max_gradient(factors: Tensor, responses: Tensor, coefficients: Tensor) -> float:
    largest = torch.zeros(coefficients.shape).double()
    for start in range(0, len(factors), 65_536):
        x = factors[start : start + 65_536].double()
        residuals = torch.sigmoid(x @ coefficients[:-1] + coefficients[-1])
        residuals -= responses[start : start + 65_536].double()
        largest[:-1] += x.T @ residuals
        largest[-1] += residuals.sum(0)
    return float(largest.abs().max()) / len(factors)


def peer(solver: str, factors: Tensor, responses: Tensor) -> Tensor:
    """scikit-learn, a fit per class: (n_factors + 1, n_classes)."""
    x, columns = factors.numpy(), []
    for k in range(responses.shape[1]):
        model = LogisticRegression(C=np.inf, solver=solver, tol=TOLERANCE, max_iter=10_000)
        model.fit(x, responses[:, k].numpy())
        columns.append(np.append(model.coef_[0], model.intercept_))
    return torch.from_numpy(np.stack(columns, axis=1))


def seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    return statistics.median(_timed(work) for _ in range(repeats))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(shape: tuple[int, int, int], repeats: int, solvers: tuple[str, ...] = SOLVERS) -> None:
    """One line: both times, the fastest of the peers, their ratio, and the gradients that both reached."""
    factors, responses = trials(*shape)
    found = fit(factors, responses, tolerance=TOLERANCE)
    ours = max_gradient(factors, responses, found.coefficients)
    own: list[
        float
    ] = []  # measured before each run of a peer, so that both sides share the machine's good and bad times
    best, name, theirs = np.inf, "-", np.nan
    for solver in solvers:
        own.append(seconds(lambda: fit(factors, responses, tolerance=TOLERANCE), repeats))
        start = time.perf_counter()
        coefficients = peer(solver, factors, responses)
        taken = [time.perf_counter() - start]
        reached = max_gradient(factors, responses, coefficients)
        for _ in range(2 if taken[0] < 30 else 0):
            own.append(seconds(lambda: fit(factors, responses, tolerance=TOLERANCE), repeats))
            taken.append(_timed(partial(peer, solver, factors, responses)))
        if reached <= 1.01 * TOLERANCE and statistics.median(taken) < best:
            best, name, theirs = statistics.median(taken), solver, reached
    exact = statistics.median(own)
    print(
        f"{shape[0]:>9,} x {shape[1]:>4} x {shape[2]:>3}   exact {exact:8.4f} s  {name:>15} {best:8.3f} s   "
        f"ratio {best / exact:6.1f}   max |gradient| {ours:.1e}  {theirs:.1e}",
        flush=True,
    )
    if ours > 1.01 * TOLERANCE:
        raise SystemExit("the exact fit has not reached the tolerance that it claims")


def table(full: bool) -> None:
    """One dimension at a time around the headline. Peers that would take many minutes are left out."""
    n_trials, n_factors, n_classes = HEADLINE
    for n in (1_000, 3_000, 30_000, 100_000) + ((300_000, 1_000_000) if full else ()):
        compare((n, n_factors, n_classes), 3, SOLVERS if n <= 100_000 else ("lbfgs", "newton-cholesky"))
    for p in (16, 64) + ((512, 1024) if full else ()):
        compare((n_trials, p, n_classes), 3)
    for k in (1, 3, 30) + ((100,) if full else ()):
        compare((n_trials, n_factors, k), 3, SOLVERS if k <= 30 else ("lbfgs",))


def products(operands: list[tuple[Tensor, int]], n_classes: int) -> Callable[[], None]:
    """The two matrix products of an evaluation, n times over each of these factors."""
    ready = [
        (x, torch.randn(n_classes, x.shape[1]).to(x), torch.randn(n_classes, len(x)).to(x), n) for x, n in operands
    ]

    def work() -> None:
        for x, weights, residuals, n in ready:
            for _ in range(n):
                product(weights, x.T)
                product(residuals, x)

    return work


def floor(shape: tuple[int, int, int]) -> None:
    """The fit against its own evaluations' products alone: of the data as they are, and in the precision it used."""
    factors, responses = trials(*shape)
    found = fit(factors, responses, tolerance=TOLERANCE)
    single, double = found.pilot_evaluations, int(found.evaluations.max())
    as_given = products([(factors, single + double)], shape[2])
    as_used = products([(factors[: found.pilot_trials].float(), single), (factors, double)], shape[2])
    times = [
        [_timed(work) for work in (lambda: fit(factors, responses, tolerance=TOLERANCE), as_given, as_used)]
        for _ in range(15)
    ]
    given, used = (statistics.median(t[0] / t[k] for t in times) for k in (1, 2))
    print(
        f"floor at {shape}: {single} evaluations in single precision, {double} in double. The fit takes {given:.2f} "
        f"times as long as the products of {single + double} evaluations on the data, {used:.2f} times as long as "
        "these products in the precision they were made in"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["headline", "floor", "table"])
    parser.add_argument("--full", action="store_true", help="the large points as well: tens of minutes")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # scikit-learn's, about names of its arguments
    print(f"{torch.get_num_threads()} threads")
    if "headline" in arguments.parts:
        compare(HEADLINE, 9)
    if "floor" in arguments.parts:
        floor(HEADLINE)
    if "table" in arguments.parts:
        table(arguments.full)


if __name__ == "__main__":
    main()
