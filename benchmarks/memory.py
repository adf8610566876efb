"""How much memory (RSS, without file cache) does each stage take, and how long, as the trials grow?

    python -m benchmarks.memory [--trials 10000 100000] [--test-trials 10000] [--dtype float64 float32]
                                [--factors 256] [--classes 10] [--solver exact] [--folder .]

The stages run one after the other, as DVC runs them, in a folder of their own in `--folder`. What must fit is RssAnon
of the process and of its children, read every 5 ms: pages of the trials' files can be dropped from memory.
Fails if a stage takes more than 600 MB. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
STAGES = ("simulate", "train", "evaluate", "plot")
LIMIT = 600  # MB


def anonymous(pid: int) -> int:
    """Anonymous resident memory of a process and its children, bytes; 0 where they have ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [
            child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    own = [1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
    return sum(own) + sum(anonymous(int(child)) for child in children)


def run(stage: str, folder: Path) -> tuple[float, float]:
    """Seconds and the most MB (RSS, without file cache) of one stage in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    start, most = time.perf_counter(), 0
    with subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.005)
    if process.returncode:
        raise SystemExit(f"{stage} failed")
    return time.perf_counter() - start, most / 1e6


def pipeline(parent: Path, simulate: dict[str, Any], solver: str) -> float:
    """Print one row per stage; return the most memory (RSS, without file cache) of all, MB."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["simulate"] |= simulate
    params["train"] |= {"solver": solver, "dtype": simulate["dtype"]}
    most = 0.0
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        for stage in STAGES:
            seconds, memory = run(stage, folder)
            sizes = f"{simulate['n_trials']:>9,} {simulate['n_test_trials']:>9,}  {simulate['dtype']}"
            print(f"{stage:<9} {sizes}  {seconds:8.2f} s  {memory:6.0f} MB", flush=True)
            most = max(most, memory)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--test-trials", type=int, default=10_000)
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"])
    parser.add_argument("--factors", type=int, default=256)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--solver", default="exact")
    parser.add_argument("--folder", type=Path, default=Path())
    a = parser.parse_args()
    print(f"{a.factors} factors, {a.classes} classes, solver {a.solver}")
    print("stage      n_trials held out  dtype         time  anonymous, most")
    sizes = {"n_factors": a.factors, "n_classes": a.classes, "n_test_trials": a.test_trials}
    most = [
        pipeline(a.folder, {**sizes, "n_trials": n_trials, "dtype": dtype}, a.solver)
        for dtype in a.dtype
        for n_trials in a.trials
    ]
    if max(most) > LIMIT:
        raise SystemExit(f"a stage took {max(most):.0f} MB of memory; it must stay below {LIMIT}")


if __name__ == "__main__":
    main()
