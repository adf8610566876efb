"""How much memory does each stage take, and how long, as the trials grow?

    python -m benchmarks.memory [--trials 10000 100000]

The stages run one after the other, as DVC runs them, in a folder of their own in the current one, with trials in double
and in single precision and the exact solver. What must fit is the process's RssAnon, read every 5 ms: pages of the
trials' files can be dropped from memory. Fails if a stage takes more than 600 MB. Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
LIMIT = 600  # MB


def run(stage: str, folder: Path) -> tuple[float, int]:
    """Seconds and the most MB of one stage in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", f"stages.{stage}"]
    start, most = time.perf_counter(), 0
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            resident = re.search(r"RssAnon:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            most = max(most, int(resident[1]) // 1000 if resident else 0)  # none once it has ended
            time.sleep(0.005)
    if process.returncode:
        raise SystemExit(f"{stage} failed")
    return time.perf_counter() - start, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10_000, 100_000])
    params, most = yaml.safe_load((ROOT / "params.yaml").read_text()), 0
    for dtype, n_trials in product(("float64", "float32"), parser.parse_args().trials):
        params["simulate"] |= {"n_trials": n_trials, "dtype": dtype}
        params["train"] |= {"solver": "exact", "dtype": dtype}
        with tempfile.TemporaryDirectory(dir=Path()) as folder:
            Path(folder, "params.yaml").write_text(yaml.safe_dump(params))
            for stage in ("simulate", "train", "evaluate", "plot"):
                seconds, memory = run(stage, Path(folder))
                print(f"{stage:<9} {n_trials:>9,} {dtype}  {seconds:8.2f} s  {memory:6} MB", flush=True)
                most = max(most, memory)
    if most > LIMIT:
        raise SystemExit(f"a stage took {most} MB of memory; it must stay below {LIMIT}")


if __name__ == "__main__":
    main()
