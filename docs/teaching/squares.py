"""An observer who answers to contrast and to its square: python docs/teaching/squares.py squares.csv."""

import sys

import numpy as np
import pandas as pd

rng = np.random.default_rng(4)
frames = rng.normal(size=(2000, 16))  # contrast of 16 frames of noise
kernel = 0.3 * np.hanning(18)[1:-1]  # the middle ones count most
logit = (frames + frames**2) @ kernel - 2
numbers = [f"{j:02}" for j in range(1, 17)]
table = pd.DataFrame(
    np.hstack([frames, frames**2]), columns=[f"{what}{j}" for what in ("frame", "square") for j in numbers]
)
table["choice"] = np.where(rng.random(2000) < 1 / (1 + np.exp(-logit)), "yes", "no")
table.to_csv(sys.argv[1], index=False, float_format="%.4f")
