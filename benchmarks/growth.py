"""How the cost of the exact fit grows: seconds and anonymous memory against trials, factors, classes and processes.

    python -m benchmarks.growth [--full]        # --full: to 4 million trials, which is 8 GB of disk, some minutes

Every point is a process of its own (or two, one core each), whose factors are memory-mapped, and is a median of three
runs after a first; what is printed last are slopes on log-log axes. Draws docs/growth.png.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.exact import trials
from benchmarks.memory import anonymous
from stages import processes
from stages.exact import fit, serve
from stages.figures import FAINT, FIT, OTHER, STYLE, TRUTH

N_TRIALS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 4_000_000)
N_FACTORS = (16, 64, 256, 512, 1024, 2048)
N_CLASSES = (1, 3, 10, 30, 100)
SCRATCH = Path("data/.partial")  # git and DVC do not look there
MIDDLE = (10_000, 256, 10)
Point = dict[str, float]


def point(folder: Path, n_trials: int) -> None:
    """In a process of its own: fit the first n_trials of the folder, and print what it took."""
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


def measured(folder: Path, n_trials: int, count: int = 1) -> Point:
    """The point in `count` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "benchmarks.growth", "--point", str(folder), str(n_trials)]
    several = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            command, env={**os.environ, **({**several, "RANK": str(k)} if count > 1 else {})}, stdout=subprocess.PIPE
        )
        for k in range(count)
    ]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a measurement failed; its own words stand above")
    found: Point = json.loads(said[0])
    return found


def own_memory() -> int:
    """Anonymous resident memory of this process, MB."""
    return anonymous(os.getpid()) // 2**20


def drawn(folder: Path, shape: tuple[int, int, int]) -> None:
    """Draw trials of this shape into the folder."""
    _, responses = trials(*shape, path=folder / "factors.npy")
    np.save(folder / "responses.npy", responses.numpy())


def series(name: str, shapes: list[tuple[int, int, int]], values: list[int]) -> list[Point]:
    """One fit for each of the shapes, each with trials of its own."""
    points = []
    for shape, value in zip(shapes, values, strict=True):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            drawn(Path(folder), shape)
            points.append(measured(Path(folder), shape[0]))
        report(name, value, points[-1])
    return points


def report(name: str, value: int, found: Point) -> None:
    print(
        f"{value:>9,} {name:<22} {found['seconds']:8.3f} s   {found['memory']:5.0f} MB anonymous, "
        f"{found['before']:.0f} of them before the fit   {found['passes']} passes in double precision",
        flush=True,
    )


def slope(values: list[int], points: list[Point]) -> float:
    """Least squares on log-log axes, of the upper half of the values: the lower is overhead."""
    half = len(values) // 2
    x, y = np.log(values[half - 1 :]), np.log([p["seconds"] for p in points[half - 1 :]])
    return float(np.polyfit(x, y, 1)[0])


def draw(found: dict[str, tuple[list[int], list[Point]]], two: tuple[list[int], list[Point]]) -> None:
    """Three panels of seconds on log-log axes, and one of memory."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # mpl types its keys as an enumeration
        figure = Figure(figsize=(11, 3))
        axes = figure.subplots(1, 4)
        for ax, (name, (values, points)) in zip(axes, found.items(), strict=False):
            ax.loglog(values, [p["seconds"] for p in points], "o-", color=FIT, label="one process, two cores")
            if name == "trials":
                ax.loglog(two[0], [p["seconds"] for p in two[1]], "s--", color=OTHER, label="two processes")
                ax.set_ylim(top=10 * max(p["seconds"] for p in two[1]))  # room for the legend
                ax.legend(loc="upper left")
            ax.set(xlabel=f"number of {name}", ylabel="seconds per fit")
            ax.set_title(f"slope {slope(values, points):.2f}")
        values, points = found["trials"]
        ax = axes[3]
        ax.semilogx(values, [p["memory"] for p in points], "o-", color=FIT, label="peak in the fit")
        ax.semilogx(values, [p["before"] for p in points], "^:", color=FAINT, label="before it: libraries")
        ax.axhline(600, color=TRUTH, linestyle="--", label="what is promised")
        ax.set(xlabel="number of trials", ylabel="anonymous memory (MB)", ylim=(0, 950))
        ax.legend(loc="upper left", ncols=1)
        figure.savefig("docs/growth.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--point", nargs=2, metavar=("FOLDER", "N_TRIALS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        point(Path(arguments.point[0]), int(arguments.point[1]))
        return
    n, p, k = MIDDLE
    SCRATCH.mkdir(exist_ok=True)
    sizes = [value for value in N_TRIALS if arguments.full or value <= 300_000]
    alone, two = [], []
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        drawn(Path(folder), (sizes[-1], p, k))
        for size in sizes:
            alone.append(measured(Path(folder), size))
            report("trials", size, alone[-1])
            two.append(measured(Path(folder), size, count=2))
            report("trials, two processes", size, two[-1])
    found = {
        "trials": (sizes, alone),
        "factors": ([*N_FACTORS], series("factors", [(n, value, k) for value in N_FACTORS], [*N_FACTORS])),
        "classes": ([*N_CLASSES], series("classes", [(n, p, value) for value in N_CLASSES], [*N_CLASSES])),
    }
    for name, (values, points) in found.items():
        print(f"seconds grow as {name} to the power {slope(values, points):.2f}")
    draw(found, (sizes, two))


if __name__ == "__main__":
    main()
