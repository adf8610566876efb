"""How fast does `simulate` write, and what limits it: the random number generator, or the disk?

    python -m benchmarks.simulate [--trials 400000] [--rounds 5] [--folder .]

In turn, in one process, for the same trials: the whole stage; all cores filling buffers with standard normal numbers
and nothing else; the same with the responses drawn to them; writing as many bytes to a file, without and
with waiting for the disk (fsync). Everything is written to a folder of its own in `--folder`: that disk is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from threadpoolctl import threadpool_limits

from hdlogit.psychometric.function import logits, probability
from hdlogit.psychometric.simulation import PIECE
from stages import simulate

N_FACTORS, N_CLASSES = 256, 10
BYTES = {"float64": 8, "float32": 4}


def whole_stage(n_trials: int, dtype: str) -> None:
    """`python -m stages.simulate`, without starting Python."""
    section: dict[str, object] = {
        "seed": 1973,
        "n_factors": N_FACTORS,
        "n_classes": N_CLASSES,
        "n_trials": n_trials,
        "n_test_trials": 1,
    }
    section |= {"weight_scale": 1.0, "dtype": dtype, "streams": "independent"}
    Path("params.yaml").write_text(yaml.safe_dump({"simulate": section}))
    with contextlib.redirect_stdout(io.StringIO()):
        simulate.main()


def generate(n_trials: int, responses: bool) -> None:
    """Every core draws its part of the factors, piece by piece into one buffer; nothing is stored."""
    cores = os.cpu_count() or 1
    coefficients = np.random.default_rng(0).standard_normal((N_FACTORS + 1, N_CLASSES))

    def draw(seed: int) -> None:
        stream = np.random.default_rng(seed)
        factors, yes = np.empty((PIECE // N_FACTORS, N_FACTORS)), np.empty((PIECE // N_FACTORS, N_CLASSES), bool)
        for _ in range(n_trials // cores // len(factors)):
            stream.standard_normal(out=factors)
            if responses:
                yes[:] = probability(logits(factors, coefficients)) > stream.random(yes.shape)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores) as pool:
        list(pool.map(draw, range(cores)))


def write(n_bytes: int, fsync: bool) -> None:
    buffer = np.random.default_rng(0).bytes(2**21)
    with Path("plain").open("wb", buffering=0) as file:
        for _ in range(n_bytes // len(buffer)):
            file.write(buffer)
        if fsync:
            os.fsync(file.fileno())


def cost(work: Callable[[], None], n_bytes: int) -> tuple[float, float]:
    """Seconds of one run, on the clock and of all cores together. What it wrote is removed.

    First pending writes are completed, and as much memory as the run will fill is used and freed: a virtual machine
    returns free memory to its host after seconds, and getting it back can take longer than the run itself.
    """
    write(n_bytes, fsync=True)
    Path("plain").unlink()
    clock, processor = time.perf_counter(), time.process_time()
    work()
    taken = time.perf_counter() - clock, time.process_time() - processor
    os.sync()
    for path in Path().rglob("*"):
        if path.is_file():
            path.unlink()
    return taken


@contextlib.contextmanager
def working_in(parent: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(dir=parent) as folder, contextlib.chdir(folder):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path())
    arguments = parser.parse_args()
    n = arguments.trials
    print(
        f"{n} trials, {N_FACTORS} factors, {N_CLASSES} classes, {os.cpu_count()} cores; medians of {arguments.rounds}"
    )
    for dtype, size in BYTES.items():
        n_bytes = n * N_FACTORS * size
        sides = {
            "simulate": partial(whole_stage, n, dtype),
            "generator": partial(generate, n, responses=False),
            "generator, responses": partial(generate, n, responses=True),
            "disk": partial(write, n_bytes, fsync=False),
            "disk, fsync": partial(write, n_bytes, fsync=True),
        }
        with working_in(arguments.folder):
            rounds = [{name: cost(work, n_bytes) for name, work in sides.items()} for _ in range(arguments.rounds)]
        print(f"{dtype}: {n_bytes / 1e6:.0f} MB of factors")
        for name in sides:
            clock, processor = (statistics.median(times[name][k] for times in rounds) for k in (0, 1))
            print(f"  {name:<21} {clock:6.2f} s  {n_bytes / 1e6 / clock:6.0f} MB/s   {processor:6.2f} s of processor")
        for limit in ("generator", "generator, responses"):
            fractions = [max(times[limit], times["disk, fsync"])[0] / times["simulate"][0] for times in rounds]
            print(
                f"  simulate at {statistics.median(fractions):.2f} of the speed of the slower of disk, fsync "
                f"and {limit} ({min(fractions):.2f} .. {max(fractions):.2f})"
            )


if __name__ == "__main__":
    main()
