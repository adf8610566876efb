"""Our Adam against the notebook's loop: same trials, batch size and epochs; each alone in a process, in alternation.

The notebook's side is its loop as it stands there: a DataLoader that collates single trials, autograd, BCELoss on a
sigmoid, torch.optim.Adam, in float64. Both start from the same coefficients; their orders of trials differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.alone import alone
from hdlogit.adam import Training, initial_coefficients
from hdlogit.psychometric.simulation import draw_notebook_trials, draw_observer

N_TRIALS, N_FACTORS, N_CLASSES, BATCH_SIZE = 10_000, 256, 10, 256
LEARNING_RATE, BETA1, BETA2 = 0.005, 0.9, 0.999
SEED, NUM_EPOCHS, ROUNDS = 1973, 33, 5


def notebook(factors: torch.Tensor, responses: torch.Tensor) -> Iterator[float]:
    """Losses of the notebook's loop."""
    torch.manual_seed(SEED)
    model = torch.nn.Linear(N_FACTORS, N_CLASSES, dtype=torch.float64)
    loader = DataLoader(TensorDataset(factors, responses.double()), batch_size=BATCH_SIZE, shuffle=True)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=(BETA1, BETA2), amsgrad=True)
    criterion = torch.nn.BCELoss(reduction="mean")
    while True:
        losses = []
        for x, y in loader:
            loss = criterion(torch.sigmoid(model(x)), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        yield float(np.mean(losses))


def ours(factors: torch.Tensor, responses: torch.Tensor) -> Iterator[float]:
    """Losses of the pipeline's loop."""
    start = initial_coefficients(N_FACTORS, N_CLASSES, SEED)
    how = {"learning_rate": LEARNING_RATE, "beta1": BETA1, "beta2": BETA2, "batch_size": BATCH_SIZE}
    return Training(start, factors, responses, amsgrad=True, seed=0, **how).epochs(NUM_EPOCHS + 1)  # type: ignore[arg-type]


def measure(side: Callable[[torch.Tensor, torch.Tensor], Iterator[float]]) -> tuple[float, float]:
    """The seconds that NUM_EPOCHS take after a first one, and the last loss."""
    x, y = np.empty((N_TRIALS, N_FACTORS)), np.empty((N_TRIALS, N_CLASSES), bool)
    draw_notebook_trials(SEED, draw_observer(SEED, N_FACTORS, N_CLASSES, 1.0, notebook=True), x, y)
    epochs = side(torch.from_numpy(x), torch.from_numpy(y))
    next(epochs)
    begin = time.perf_counter()
    losses = list(islice(epochs, NUM_EPOCHS))
    return time.perf_counter() - begin, losses[-1]


def main() -> None:
    print(f"{N_TRIALS} trials, {N_FACTORS} factors, {N_CLASSES} classes, {NUM_EPOCHS} epochs")
    rounds = np.array([[alone(measure, side) for side in (notebook, ours)] for _ in range(ROUNDS)])
    seconds, losses = rounds[..., 0], rounds[-1, :, 1]
    if abs(losses[1] / losses[0] - 1) > 0.02:  # losses differ, as orders of trials do, but by less than this
        raise SystemExit(f"the two sides do not reach the same loss: {losses}")
    for name, median in zip(("notebook", "ours"), np.median(seconds, axis=0), strict=True):
        print(f"{name}: {median:.2f} s (median of {ROUNDS}; 513 epochs: {median * 513 / NUM_EPOCHS:.1f} s)")
    ratios = np.sort(seconds[:, 0] / seconds[:, 1])
    print(f"ratio: {np.median(ratios):.1f} times faster (median of pairs; {ratios[0]:.1f} .. {ratios[-1]:.1f})")


if __name__ == "__main__":
    main()
