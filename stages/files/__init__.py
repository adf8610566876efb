"""The pipeline's files below data/: reading them and writing them, whole or not at all.

observer.npy                           true coefficients (n_factors + 1, n_classes), if they are known
observer_rates.npy                     true guess and lapse rates (2, n_classes); with observer.npy
trials.json                            names in a person's own trials, and how they were coded
train/, test/: factors.npy             (n_trials, n_factors) float64 or float32
               responses.npy           (n_trials, n_classes) bool
               groups.npy              (n_trials,) int32; only where own trials have groups
model.safetensors, checkpoints/*       weight (n_classes, n_factors) float32, bias (n_classes,) float64
loss.csv, metrics.json, *.csv          tables, numbers
figures/*.png, report.html, paper.md    the figures, the page that shows all, and what a paper needs
"""

from pathlib import Path

DATA = Path("data")
OBSERVERS = "observers"  # of a study with prepare.by: a folder for each observer, with its own data/


def checkpoint_name(epoch: int) -> str:
    """The output that holds the coefficients after `epoch`."""
    return f"checkpoints/epoch-{epoch:06d}.safetensors"
