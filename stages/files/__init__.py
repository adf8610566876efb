"""The pipeline's files below data/: reading them and writing them, whole or not at all.

observer.npy                           true coefficients (n_factors + 1, n_classes); absent where no truth is known
observer_rates.npy                     true guess and lapse rates (2, n_classes); with observer.npy
trials.json                            names in a person's own trials, and how they were coded
train/, test/: factors.npy             (n_trials, n_factors) float64 or float32
               responses.npy           (n_trials, n_classes) bool
               groups.npy              (n_trials,) int32; only where own trials have groups
model.safetensors, checkpoints/*       weight (n_classes, n_factors) float32, bias (n_classes,) float64, evidence
loss.csv, metrics.json, *.csv          tables, numbers
figures/*.png, report.html, paper.md    the figures, the page that shows all, and what a paper needs
"""

import shutil
from pathlib import Path

DATA = Path("data")
OBSERVERS = "observers"  # of a study with prepare.by: a folder for each observer, with its own data/
TABLES = ("calibration.csv", "coefficients.csv", "histogram.csv", "trajectory.csv")
RESULTS = {  # what people read: stage -> its outputs, in the order of the stages
    "evaluate": (*TABLES, "inference", "metrics.json"),
    "plot": ("figures", "paper.md", "report.html"),
}


def checkpoint_name(epoch: int) -> str:
    """The output that holds the coefficients after `epoch`."""
    return f"checkpoints/epoch-{epoch:06d}.safetensors"


def remove_results_after(stage: str) -> None:
    """Remove the results that later stages made of this stage's earlier outputs: if it fails, they would stay."""
    stages = [*RESULTS]
    for later in stages[stages.index(stage) + 1 :] if stage in stages else stages:
        for path in (DATA / name for name in RESULTS[later]):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
