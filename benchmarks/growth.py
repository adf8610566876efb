"""How the cost of the exact fit grows: seconds and memory against trials, factors and classes.

    python -m benchmarks.growth [--most 4000000]        # trials; these take 8 GB of disk, the run five minutes

Every point is a process of its own with memory-mapped factors: the median of three runs after a
first one, or above 500 000 trials the second of two. Slopes on log-log axes are printed last. Draws docs/growth.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.memory import LIMIT
from benchmarks.trials import trials

FIT, FAINT, TRUTH = "#0072B2", "#999999", "black"
N_TRIALS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 4_000_000)
N_FACTORS = (16, 64, 256, 512, 1024, 2048)
N_CLASSES = (1, 3, 10, 30, 100)
SCRATCH = Path("data/.partial")  # git and DVC do not look there
MIDDLE = (10_000, 256, 10)
Point = dict[str, float]
Found = dict[str, tuple[list[int], list[Point]]]  # values of what is varied, and the cost of each


def measured(folder: Path, n_trials: int) -> Point:
    """The point, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.point", str(folder), str(n_trials)]
    process = subprocess.run(command, stdout=subprocess.PIPE)
    if process.returncode:
        raise SystemExit("a measurement failed; its own message is above")
    found: Point = json.loads(process.stdout)
    return found


def drawn(folder: Path, shape: tuple[int, int, int]) -> None:
    """Draw trials of this shape into the folder."""
    _, responses = trials(*shape, path=folder / "factors.npy")
    np.save(folder / "responses.npy", responses.numpy())


def report(name: str, value: int, found: Point) -> None:
    print(
        f"{value:>9,} {name:<8} {found['seconds']:8.3f} s   {found['memory']:5.0f} MB anonymous, "
        f"{found['before']:.0f} of them before the fit   {found['passes']} passes in double precision",
        flush=True,
    )


def slope(values: list[int], points: list[Point]) -> float:
    """Least squares on log-log axes, of the upper half of the values: the lower is overhead."""
    half = len(values) // 2
    x, y = np.log(values[half - 1 :]), np.log([p["seconds"] for p in points[half - 1 :]])
    return float(np.polyfit(x, y, 1)[0])


def draw(found: Found) -> None:
    """Seconds above memory, on logarithmic axes, against the number of trials, factors and classes."""
    figure = Figure(figsize=(10, 5.4))
    axes = figure.subplots(2, 3, sharex="col", sharey="row")
    for (above, below), (name, (values, points)) in zip(axes.T, found.items(), strict=True):
        above.loglog(values, [p["seconds"] for p in points], "o-", color=FIT, label="two cores")
        below.semilogx(values, [p["memory"] for p in points], "o-", color=FIT, label="peak in the fit")
        below.semilogx(values, [p["before"] for p in points], "^:", color=FAINT, label="before it: libraries")
        above.set_title(f"{name}: time grows to the power {slope(values, points):.2f}")
        below.set_xlabel(f"number of {name}")
    axes[0, 0].set_ylabel("seconds per fit")
    axes[1, 0].set_ylabel("memory (RSS, without file cache) (MB)")
    axes[1, 0].axhline(LIMIT, color=TRUTH, linestyle="--", label="promised for 256 factors")
    axes[1, 0].set_ylim(bottom=0)
    for ax in axes[:, 0]:
        ax.legend(loc="upper left")
    figure.savefig("docs/growth.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=N_TRIALS[-1], help="trials; 2 KB of disk each")
    arguments = parser.parse_args()
    n, p, k = MIDDLE
    SCRATCH.mkdir(exist_ok=True)
    sizes = [value for value in N_TRIALS if value <= arguments.most]
    found: Found = {
        "trials": (sizes, []),
        "factors": ([*N_FACTORS], []),
        "classes": ([*N_CLASSES], []),
    }
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        drawn(Path(folder), (sizes[-1], p, k))
        for size in sizes:
            found["trials"][1].append(measured(Path(folder), size))
            report("trials", size, found["trials"][1][-1])
    for name, shapes in {
        "factors": [(n, value, k) for value in N_FACTORS],
        "classes": [(n, p, value) for value in N_CLASSES],
    }.items():
        values, points = found[name]
        for value, shape in zip(values, shapes, strict=True):
            with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
                drawn(Path(folder), shape)
                points.append(measured(Path(folder), shape[0]))
            report(name, value, points[-1])
    for name, (values, points) in found.items():
        print(f"seconds grow as {name} to the power {slope(values, points):.2f}")
    draw(found)


if __name__ == "__main__":
    main()
