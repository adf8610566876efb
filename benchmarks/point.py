"""The cost of one exact fit, in a process of its own without libraries that it does not need.

    python -m benchmarks.point FOLDER N_TRIALS      # for `benchmarks.growth`; prints JSON

Fits the first trials of FOLDER/factors.npy and responses.npy.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.memory import anonymous
from hdlogit.exact import fit


def main() -> None:
    folder, n_trials = Path(sys.argv[1]), int(sys.argv[2])
    factors = np.load(folder / "factors.npy", mmap_mode="r")[:n_trials]
    responses = np.load(folder / "responses.npy", mmap_mode="r")[:n_trials]
    peak, going = [0], threading.Event()

    def watch() -> None:
        while not going.wait(0.005):
            peak[0] = max(peak[0], own_memory())

    watching = threading.Thread(target=watch, daemon=True)
    before, times = own_memory(), []
    watching.start()
    for _ in range(2 if n_trials > 500_000 else 4):
        start = time.perf_counter()
        found = fit(factors, responses)
        times.append(time.perf_counter() - start)
    going.set()
    passes = int(found.evaluations.max())
    taken = statistics.median(times[1:])
    print(json.dumps({"seconds": taken, "memory": peak[0], "before": before, "passes": passes}))


def own_memory() -> int:
    """Anonymous resident memory of this process, MB."""
    return anonymous(os.getpid()) // 10**6


if __name__ == "__main__":
    main()
