"""How fast is the exact fit, against what one would write or call instead (`benchmarks.peers`)?

    python -m benchmarks.exact [--points 10000x256x10 ...] [--runs 3] [--cpu]

Every program runs in a process of its own: trials are drawn, one fit warms up, and the median of further ones counts.
The programs take turns, --runs times, and the median of their medians is printed. All end with max |gradient| <= 1e-6
for every class, which is computed here from what they return. Every point is printed, won or lost; a program that would
need minutes at a point is left out there. With --cpu every program has one thread and its CPU time counts: on a shared
machine, that says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

TOLERANCE = 1e-6
PROGRAMS = ("exact", "torch_lbfgs", "scikit_learn", "scikit_learn_default")
POINTS = (
    "300x10x1", "1000x64x10", "3000x40x1", "10000x256x1", "10000x256x10", "2000x200x200", "10000x256x100",
    "10000x1024x10", "100000x256x10", "1000000x256x10",
)  # fmt: skip
PATIENCE = 120  # seconds for a process, all its fits together


def trials(n_trials: int, n_factors: int, n_classes: int) -> tuple[Array, NDArray[np.bool_]]:
    """Gaussian factors; logits of sd 16, as in the notebook, or less, so that an estimate safely exists."""
    kappa = n_factors / n_trials  # an estimate exists for 0.063 at sd 16, for 0.3 at sd 2
    sd = 16 if kappa < 0.04 else 4 if kappa < 0.12 else 1
    rng = np.random.default_rng(1973)
    weights = rng.standard_normal((n_factors, n_classes)) * sd / n_factors**0.5
    factors = rng.standard_normal((n_trials, n_factors))
    return factors, rng.random((n_trials, n_classes)) < expit(factors @ weights)


def measure(program: str, shape: str, cpu: bool) -> tuple[float, float]:
    """In this process: median seconds of a fit, and the largest gradient that is left."""
    from benchmarks import peers
    from hdlogit.exact import fit

    def exact(factors: Array, responses: NDArray[np.bool_], tolerance: float) -> Array:
        return fit(factors, responses, tolerance=tolerance).coefficients

    call = exact if program == "exact" else getattr(peers, program)
    clock = time.process_time if cpu else time.perf_counter
    factors, responses = trials(*map(int, shape.split("x")))
    times: list[float] = []
    while len(times) < 2 or (sum(times) < 2 and len(times) < 50):
        start = clock()
        coefficients = call(factors, responses, TOLERANCE)
        times.append(clock() - start)
    residuals = expit(factors @ coefficients[:-1] + coefficients[-1]) - responses
    gradient = np.vstack([factors.T @ residuals, residuals.sum(axis=0)]) / len(factors)
    return statistics.median(times[1:]), float(np.abs(gradient).max())


def measured(program: str, shape: str, cpu: bool) -> tuple[float, float]:
    """The same in a process of its own; infinite if it takes too long."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.exact", "--measure", program, shape]
    command += ["--cpu"] if cpu else []
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1") if cpu else {}
    try:
        done = subprocess.run(
            command, env={**os.environ, **threads}, stdout=subprocess.PIPE, check=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return float("inf"), float("nan")
    seconds, gradient = json.loads(done.stdout)
    return seconds, gradient


def compare(shape: str, runs: int, cpu: bool) -> None:
    """One line of the table: seconds of all programs, and how many times faster the exact fit is than the best peer."""
    seconds: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for _ in range(runs):
        for program, times in seconds.items():
            if program == "exact" or np.inf not in times:
                taken, gradient = measured(program, shape, cpu)
                times.append(taken)
                if gradient > 1.02 * TOLERANCE:
                    print(f"  {program} at {shape}: max |gradient| is {gradient:.1e}", flush=True)
    medians = [statistics.median(times) for times in seconds.values()]
    shown = " | ".join(f"{m:.4f}" if m < np.inf else f"> {PATIENCE / 3:.0f}" for m in medians)
    print(f"| {shape.replace('x', ' × ')} | {shown} | {min(medians[1:3]) / medians[0]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", nargs="+", default=POINTS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        program, shape = arguments.measure
        print(json.dumps(measure(program, shape, arguments.cpu)))
        return
    print("| trials × factors × classes | exact fit, s | torch L-BFGS | scikit-learn, tuned | as is | times faster |")
    print("|---|---|---|---|---|---|")
    for shape in arguments.points:
        compare(shape, arguments.runs, arguments.cpu)


if __name__ == "__main__":
    main()
