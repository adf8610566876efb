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
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.trials import trials

TOLERANCE = 1e-6
PROGRAMS = ("exact", "torch_lbfgs", "scikit_learn", "scikit_learn_default")
POINTS = (
    "300x10x1",
    "1000x64x10",
    "3000x40x1",
    "10000x256x1",
    "10000x256x10",
    "2000x200x200",
    "10000x256x100",
    "10000x1024x10",
    "100000x256x10",
    "1000000x256x10",
)
PATIENCE = 120  # seconds for a process, all its fits together


def measure(program: str, shape: str, clock: Callable[[], float]) -> tuple[float, float]:
    """In this process: median seconds of a fit, and the largest gradient that is left."""
    from benchmarks import peers
    from hdlogit.exact import fit

    n_trials, n_factors, n_classes = map(int, shape.split("x"))
    factors, responses = (tensor.numpy() for tensor in trials(n_trials, n_factors, n_classes))
    times: list[float] = []
    while len(times) < 2 or (sum(times) < 2 and len(times) < 50):
        start = clock()
        if program == "exact":
            coefficients = fit(factors, responses, tolerance=TOLERANCE).coefficients
        else:
            coefficients = getattr(peers, program)(factors, responses, TOLERANCE)
        times.append(clock() - start)
    gradient = np.zeros_like(coefficients)
    for rows in np.array_split(np.arange(len(factors)), -(-len(factors) // 65_536)):
        x = factors[rows[0] : rows[-1] + 1]
        residuals = 1 / (1 + np.exp(-(x @ coefficients[:-1] + coefficients[-1]))) - responses[rows]
        gradient += np.vstack([x.T @ residuals, residuals.sum(0)])
    return statistics.median(times[1:]), float(np.abs(gradient).max()) / len(factors)


def measured(program: str, shape: str, cpu: bool) -> tuple[float, float]:
    """The same in a process of its own; infinite if it takes too long."""
    command = [sys.executable, "-m", "benchmarks.exact", "--measure", program, shape]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1") if cpu else {}
    command += ["--cpu"] if cpu else []
    try:
        said = subprocess.run(
            command, env={**os.environ, **threads}, stdout=subprocess.PIPE, check=True, timeout=PATIENCE
        ).stdout
    except subprocess.TimeoutExpired:
        return float("inf"), float("nan")
    seconds, gradient = json.loads(said)
    return seconds, gradient


def compare(shape: str, runs: int, cpu: bool) -> None:
    """One line of the table: seconds of all programs, and how many times faster the exact fit is than the best peer."""
    seconds: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for _ in range(runs):
        for program in PROGRAMS:
            if program != "exact" and np.inf in seconds[program]:
                continue
            taken, gradient = measured(program, shape, cpu)
            seconds[program].append(taken)
            if gradient > 1.02 * TOLERANCE:
                print(f"  {program} at {shape}: max |gradient| is {gradient:.1e}", flush=True)
    medians = [statistics.median(seconds[program]) for program in PROGRAMS]
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
        warnings.filterwarnings("ignore", category=FutureWarning)  # scikit-learn's, about names of its arguments
        clock = time.process_time if arguments.cpu else time.perf_counter
        print(json.dumps(measure(arguments.measure[0], arguments.measure[1], clock)))
        return
    print("| trials × factors × classes | exact fit, s | torch L-BFGS | scikit-learn, tuned | as is | times faster |")
    print("|---|---|---|---|---|---|")
    for shape in arguments.points:
        compare(shape, arguments.runs, arguments.cpu)


if __name__ == "__main__":
    main()
