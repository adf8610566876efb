"""Our Adam against the notebook's loop: the same trials, batches and epochs, in one process, one after the other.

The notebook's side is its loop as it stands there: a DataLoader that collates single trials, autograd, BCELoss on a
sigmoid, torch.optim.Adam, in float64. Both sides start from the same coefficients; their orders of trials differ.
Also: the two matrix products of one batch, by torch and by NumPy, which is why ours are NumPy's on the CPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from hdlogit.adam.model import LogisticRegression
from hdlogit.adam.training import Training
from hdlogit.psychometric.simulation import draw_notebook_trials, draw_observer

N_TRIALS, N_FACTORS, N_CLASSES, BATCH_SIZE = 10_000, 256, 10, 256
LEARNING_RATE, BETA1, BETA2, AMSGRAD = 0.005, 0.9, 0.999, True
NUM_EPOCHS, ROUNDS = 33, 5


def notebook(factors: torch.Tensor, responses: torch.Tensor) -> list[float]:
    """Losses of the notebook's loop."""
    model = start()
    loader = DataLoader(TensorDataset(factors, responses.double()), batch_size=BATCH_SIZE, shuffle=True)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=(BETA1, BETA2), amsgrad=AMSGRAD)
    criterion, means = torch.nn.BCELoss(reduction="mean"), []
    for _ in range(NUM_EPOCHS):
        losses = []
        for x, y in loader:
            loss = criterion(torch.sigmoid(model(x)), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(float(np.mean(losses)))
    return means


def ours(factors: torch.Tensor, responses: torch.Tensor) -> list[float]:
    """Losses of the pipeline's loop."""
    training = Training(
        start(),
        factors,
        responses,
        learning_rate=LEARNING_RATE,
        beta1=BETA1,
        beta2=BETA2,
        amsgrad=AMSGRAD,
        batch_size=BATCH_SIZE,
        seed=0,
    )
    return list(training.epochs(NUM_EPOCHS))


def start() -> LogisticRegression:
    torch.manual_seed(1973)
    return LogisticRegression(N_FACTORS, N_CLASSES, torch.float64, torch.device("cpu"))


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def products() -> None:
    """Microseconds of a batch's two products, by each library, at its own number of threads."""
    x, w = (
        torch.randn(BATCH_SIZE, N_FACTORS, dtype=torch.float64),
        torch.randn(N_FACTORS, N_CLASSES, dtype=torch.float64),
    )
    z, g = torch.empty(BATCH_SIZE, N_CLASSES, dtype=torch.float64), torch.empty_like(w)

    def by_torch() -> None:
        torch.mm(x, w, out=z)
        torch.mm(x.T, z, out=g)

    def by_numpy() -> None:
        np.matmul(x.numpy(), w.numpy(), out=z.numpy())
        np.matmul(x.T.numpy(), z.numpy(), out=g.numpy())

    for name, call in (("torch", by_torch), ("NumPy", by_numpy)):
        times = [seconds(call) for _ in range(2000)]
        print(f"a batch's two products by {name}: {1e6 * statistics.median(times):.0f} us (median of {len(times)})")


def main() -> None:
    observer = draw_observer(1973, N_FACTORS, N_CLASSES, 1.0, notebook=True)
    x, y = np.empty((N_TRIALS, N_FACTORS)), np.empty((N_TRIALS, N_CLASSES), bool)
    draw_notebook_trials(1973, observer, x, y)
    factors, responses = torch.from_numpy(x), torch.from_numpy(y)

    size = f"{N_TRIALS} trials, {N_FACTORS} factors, {N_CLASSES} classes"
    print(f"{size}, {NUM_EPOCHS} epochs, {torch.get_num_threads()} threads")
    last = [side(factors, responses)[-1] for side in (notebook, ours)]  # also warms both up
    print(f"loss of the last epoch: notebook {last[0]:.5f}, ours {last[1]:.5f}")
    if abs(last[1] / last[0] - 1) > 0.02:  # the order of the trials differs, so the losses do, by less than this
        raise SystemExit("the two sides do not reach the same loss")
    pairs = [[seconds(lambda side=side: side(factors, responses)) for side in (notebook, ours)] for _ in range(ROUNDS)]  # type: ignore[misc]
    for name, times in zip(("notebook", "ours"), zip(*pairs, strict=True), strict=True):
        median = statistics.median(times)
        print(f"{name}: {median:.2f} s (median of {ROUNDS}; 513 epochs: {median * 513 / NUM_EPOCHS:.1f} s)")
    ratios = sorted(theirs / mine for theirs, mine in pairs)
    print(f"ratio: {statistics.median(ratios):.1f} times faster (median of pairs; {ratios[0]:.1f} .. {ratios[-1]:.1f})")
    products()


if __name__ == "__main__":
    main()
