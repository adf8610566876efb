"""How trials.csv was made, once: `pip download psytrack==2.0.2 --no-deps --no-binary :all:`, unpack it, and run

python studies/rat/convert.py psytrack-2.0.2/psytrack/examples/sampleRatData.npz > studies/rat/trials.csv
"""

from __future__ import annotations

import csv
import sys

import numpy as np


def main() -> None:
    # The package's own file holds pickled objects: read it only from where you trust it.
    rat = np.load(sys.argv[1], allow_pickle=True)["D"].item()
    day = np.repeat(np.arange(1, len(rat["dayLength"]) + 1), rat["dayLength"])
    side = np.array(["", "left", "right"])
    tones = (rat["inputs"][name][:, 0] for name in ("s1", "s2"))  # the second column is the trial before
    columns = {
        "day": day,
        "tone_a": [f"{level:.4f}" for level in next(tones)],
        "tone_b": [f"{level:.4f}" for level in next(tones)],
        "answer": side[rat["answer"].astype(int)],
        "choice": side[rat["y"].astype(int)],
    }
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))


if __name__ == "__main__":
    main()
