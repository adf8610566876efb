"""One exact fit in a process of its own, with no library that it does not need: what does it take?

    python -m benchmarks.point FOLDER N_TRIALS      # for `benchmarks.growth`; prints JSON

Fits the first trials of FOLDER/factors.npy and responses.npy; several processes, if started so, each their share.
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
import torch

from benchmarks.memory import anonymous
from hdlogit.compute import processes
from hdlogit.exact.solver import fit, serve


def main() -> None:
    folder, n_trials = Path(sys.argv[1]), int(sys.argv[2])
    factors = torch.from_numpy(np.load(folder / "factors.npy", mmap_mode="c"))[:n_trials]
    responses = torch.from_numpy(np.load(folder / "responses.npy", mmap_mode="c"))[:n_trials]
    peak, going = [0], threading.Event()

    def watch() -> None:
        while not going.wait(0.005):
            peak[0] = max(peak[0], own_memory())

    watching = threading.Thread(target=watch, daemon=True)
    with processes.together(torch.device("cpu")):
        before, times = own_memory(), []
        watching.start()
        if processes.rank() > 0:
            serve(factors, responses, torch.device("cpu"))
        else:
            for _ in range(2 if n_trials > 500_000 else 4):
                start = time.perf_counter()
                found = fit(factors, responses)
                times.append(time.perf_counter() - start)
            processes.tell()
            going.set()
            taken = statistics.median(times[1:])
            passes = int(found.evaluations.max())
            print(json.dumps({"seconds": taken, "memory": peak[0], "before": before, "passes": passes}))


def own_memory() -> int:
    """Anonymous resident memory of this process, MB."""
    return anonymous(os.getpid()) // 10**6


if __name__ == "__main__":
    main()
